import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support import support
from results.records import dump_record
from selfevo import cli
from selfevo.baseline import dump_baseline
from selfevo.cli import main
from selfevo.errors import RunError, SelfevoError, UsageError
from tests.benchmarks.fakes import answering, output, run
from tests.benchmarks.people import make_row, make_strangers, write_people

from .evaluations import blessed, record


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: toy\nrounds: 1\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def evolved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Path]]:
    """What `evolve` was called with, in place of hours of training."""
    calls: list[tuple[Any, Path]] = []
    monkeypatch.setattr("selfevo.evolve.evolve", lambda config, root: calls.append((config, root)))
    monkeypatch.setattr("selfevo.summary.print_outcome", lambda outcome: None)
    return calls


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def evolve(config: object, root: Path) -> None:
        raise error

    monkeypatch.setattr("selfevo.evolve.evolve", evolve)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("selfevo: ")
    assert err.count("\n") == 1
    return err.removeprefix("selfevo: ").rstrip("\n")


def test_a_run_goes_into_the_folder_of_its_name(
    recipe: str, evolved: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evolve", recipe, "--set", "rounds=3", "--set", "seed=9"]) == 0
    assert main(["evolve", recipe, "--run", "elsewhere"]) == 0
    assert [(c.rounds, c.seed, root) for c, root in evolved] == [
        (3, 9, tmp_path / "runs/toy"),
        (1, 7, tmp_path / "elsewhere"),
    ]


def test_the_embedded_models_path_is_printed(
    embedded_tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "path"]) == 0
    assert capsys.readouterr().out == f"{embedded_tokenizer_dir}\n"


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "evolve" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: COMMAND; see selfevo --help"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["model"], "required: COMMAND; see selfevo model --help"),
        (["evolve"], "required: recipe; see selfevo evolve --help"),
        (["model", "fetch", "--from", "attic"], "invalid choice: 'attic'"),
        (["evolve", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["evolve", "RECIPE", "--set", "ronds=2"], "unknown key 'ronds'; did you mean 'rounds'?"),
    ],
)
def test_wrong_use_is_64_and_one_line(
    arguments: list[str], told: str, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([recipe if a == "RECIPE" else a for a in arguments]) == 64
    assert told in complaint(capsys)


def test_what_fails_is_1_and_one_line(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "occupied"
    occupied.touch()
    assert main(["evolve", recipe, "--run", str(occupied)]) == 1
    assert complaint(capsys) == f"{occupied}: not a run folder: File exists; choose another"


@pytest.mark.usefixtures("embedded_tokenizer_dir")
def test_a_missing_data_file_is_1_and_one_line(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", "data.source=messages", "--set", f"data.path={tmp_path}/absent.jsonl"]
    assert main(["evolve", recipe, "--run", str(tmp_path / "run"), *options]) == 1
    assert f"{tmp_path}/absent.jsonl: no such file" in complaint(capsys)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RunError("x: damaged"), 1, "x: damaged"),
        (UsageError("sft.replay.share: too large\n  lower it"), 64, "too large lower it"),
        (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device"),
        (ModuleNotFoundError("No module", name="trl"), 1, "pip install 'selfevo[train]'"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on where it was"),
    ],
)
def test_each_failure_has_its_code_and_one_line(
    error: BaseException,
    code: int,
    told: str,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(monkeypatch, error)
    assert main(["evolve", recipe, "--run", str(tmp_path / "run")]) == code
    assert told in complaint(capsys)


def test_a_missing_api_key_is_one_line(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspect_ai.model import get_model

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("selfevo.evolve.evolve", lambda config, root: get_model("openai/gpt-4o"))
    assert main(["evolve", recipe]) == 1
    err = capsys.readouterr().err  # Inspect greets on standard output
    assert err.startswith("selfevo: ERROR: Unable to initialise OpenAI client")
    assert "No OPENAI_API_KEY" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [RunError("damaged"), OSError("full"), ModuleNotFoundError("t")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_the_traceback_wherever_it_stands(
    error: Exception, place: int, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    arguments = ["evolve", recipe]
    arguments.insert(place, "--debug")
    with pytest.raises(type(error)):
        main(arguments)


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), ModuleNotFoundError("x", name="x")])
def test_bugs_are_not_hidden(
    error: Exception, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        main(["evolve", recipe])


def test_the_program_exits_with_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", cli.__name__, "evolve", "nowhere.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "selfevo: nowhere.yaml: no such file; the shipped recipes are in recipes/"
    ]


# Output that cannot be written.


@pytest.fixture
def answer(tmp_path: Path) -> list[str]:
    """A check that passes, and whose candidate has a name that is not ASCII."""
    baseline, candidate = tmp_path / "main.json", tmp_path / "candidate.json"
    values = {"relief": [0.0] * 40}
    baseline.write_text(dump_baseline(blessed(values, date(2026, 1, 1))), encoding="utf-8")
    candidate.write_text(dump_record(record(values, "模型")), encoding="utf-8")
    return [
        *(sys.executable, "-m", cli.__name__, "check", "--config", _config(tmp_path)),
        *("--baseline", str(baseline), "--candidate", str(candidate)),
    ]


def _config(folder: Path) -> str:
    path = folder / "check.yaml"
    path.write_text("checks: [{metric: relief, margin: 0.3, worse: down}]", encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_a_name_that_cannot_be_printed_is_no_failure(answer: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(answer, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "candidate: ??, record " in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_no_answer(answer: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(answer, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 3
        assert done.stderr == "selfevo: [Errno 28] No space left on device\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_no_answer_whatever_cannot_be_written(answer: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        silent = subprocess.run(answer, stdout=full, stderr=full, check=False)
        assert silent.returncode == 3
        debug = subprocess.run([*answer, "--debug"], stdout=full, stderr=full, check=False)
        assert debug.returncode == 3
        other = [sys.executable, "-m", cli.__name__, "users", "balance"]
        assert subprocess.run(other, stdout=full, stderr=full, check=False).returncode == 1


@pytest.mark.slow
def test_a_reader_that_went_away_is_no_answer(answer: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(answer, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (3, "selfevo: [Errno 32] Broken pipe\n")


@pytest.mark.slow
def test_an_output_that_was_closed_before_is_none_to_fail_on(answer: list[str]) -> None:
    closed = ["sh", "-c", '"$@" >&-', "sh", *answer]
    assert subprocess.run(closed, stderr=subprocess.PIPE, check=False).returncode == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(28, "No space left on device"), 3),
        (ZeroDivisionError("bug"), 3),
        (RunError("damaged"), 3),
        (UsageError("wrong"), 64),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_fails_in_a_gate_is_no_rejection(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answer(options: object) -> None:
        raise error

    monkeypatch.setattr("selfevo.gate_answer.answer", answer)
    assert main(["gate", "--champion", "a.json", "--candidate", "b.json"]) == code
    assert complaint(capsys)


def test_every_error_of_the_project_has_a_documented_code() -> None:
    documented = cli.__doc__ or ""
    for kind in (SelfevoError, *SelfevoError.__subclasses__()):
        assert f"{kind.exit_code} " in documented


def test_the_shipped_people_have_no_hole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["users", "balance"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    for language in ("en", "zh"):
        assert f"\n{language}: " in out


def test_who_is_missing_is_1_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_people(tmp_path / "people.jsonl", [make_row()])
    assert main(["users", "balance", "--users", str(file), "--language", "en"]) == 1
    out, err = capsys.readouterr()
    assert "HOLE" in out
    assert err.startswith(f"selfevo: {file}: ")
    assert err.count("\n") == 1


def test_a_report_is_0_whatever_it_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = write_people(tmp_path / "people.jsonl", make_strangers(2))
    task = support(users=str(people), split=None, turns=3)
    model = answering(lambda messages: output("Mm.", "stop"))
    log = run(task, model, tmp_path / "logs").location
    assert main(["users", "report", log, "--out", str(tmp_path / "out")]) == 0
    assert "FAIL" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "report.json",
        "report.md",
        "report.png",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["balance", "--users", "absent.jsonl"], "absent.jsonl: no such file"),
        (["report", "absent.eval"], "absent.eval: no such log; give the path of an .eval file"),
        (["report", "."], ".: the folder has no .eval file"),
        (["report", "junk.eval"], "junk.eval: is no log of Inspect"),
    ],
)
def test_users_that_are_not_there_are_1_and_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "junk.eval" in arguments:
        Path("junk.eval").write_text("junk", encoding="utf-8")
    assert main(["users", *arguments]) == 1
    assert told in complaint(capsys)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: COMMAND; see selfevo users --help"),
        (["report"], "required: log; see selfevo users report --help"),
        (["balance", "--language", "fr"], "invalid choice: 'fr'"),
        (["balance", "--split", "valid"], "invalid choice: 'valid'"),
    ],
)
def test_wrong_use_of_users_is_64(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users", *arguments]) == 64
    assert told in complaint(capsys)


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    script = "import selfevo.cli, sys; print(sorted({'matplotlib', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
