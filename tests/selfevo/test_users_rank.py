import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage, GenerateConfig, get_model
from inspect_ai.scorer import includes
from scipy import stats

from benchmarks.support import support
from selfevo.cli import main
from selfevo.users_rank import compare, read_outcomes
from tests.benchmarks.fakes import output, run
from tests.benchmarks.people import make_strangers, write_people

SAID = {"quiet": "Mm.", "hostile": "Stop whining.", "silent": ""}
# What one such reply does to these people, who come with intensity 4 and trust 0.35
# (tests/benchmarks/test_support.py has the arithmetic); hostility makes them leave.
QUIET = {"relief": -0.216, "trust": 0.278, "satisfied": 0, "gave_up": 0, "turns": 1}
HOSTILE = {"relief": -0.6, "trust": 0.05, "satisfied": 0, "gave_up": 1, "turns": 1}

Manner = Callable[[str, int], str]
"""How a supporter treats a person (by opening) in their first, second ... call."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranked")


def talked(name: str, manner: Manner, folder: Path, *, start: int = 0, **args: Any) -> Path:
    """The log of conversations of one reply with four people."""
    rows = make_strangers(4, start)
    people = write_people(folder / f"{start}.jsonl", rows)
    ids = {row["opening"]: row["id"] for row in rows}
    n_calls: Counter[str] = Counter()

    def answer(messages: list[ChatMessage], *_: object) -> Any:
        person = ids[messages[0].text]
        n_calls[person] += 1
        return output(SAID[manner(person, n_calls[person])], "stop")

    model = get_model(f"mockllm/{name}", custom_outputs=answer, memoize=False)
    task = support(users=str(people), split=None, turns=1, min_turns=1, **args)
    return Path(run(task, model, folder / name).location)


def by_person(manners: Mapping[str, str]) -> Manner:
    return lambda person, _: manners[person]


@pytest.fixture(scope="module")
def calm(folder: Path) -> Path:
    return talked("calm", lambda *_: "quiet", folder)


@pytest.fixture(scope="module")
def moody(folder: Path) -> Path:
    """Hostile to the first and third."""
    manners = {"en-s0": "hostile", "en-s1": "quiet", "en-s2": "hostile", "en-s3": "quiet"}
    return talked("moody", by_person(manners), folder)


@pytest.fixture(scope="module")
def absent(folder: Path) -> Path:
    """Silent to the first, hostile to the others."""
    others = dict.fromkeys(("en-s1", "en-s2", "en-s3"), "hostile")
    return talked("absent", by_person({"en-s0": "silent", **others}), folder)


def rows(out: str) -> list[list[str]]:
    return [[c.strip() for c in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `rank` says to standard error, given that it says nothing else and fails."""
    assert main(["users", "rank", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err


# What a log says.


def test_the_outcomes_of_a_log_are_those_of_its_people(moody: Path) -> None:
    found = read_outcomes(moody)
    assert (found.name, found.n_unscored) == ("mockllm/moody", 0)
    assert found.people == {"en-s0": HOSTILE, "en-s1": QUIET, "en-s2": HOSTILE, "en-s3": QUIET}
    assert found.mean("relief") == pytest.approx((-0.6 - 0.216) / 2)
    assert found.mean("gave_up") == 0.5


def test_epochs_are_averaged_and_one_that_broke_is_left_out_and_counted(folder: Path) -> None:
    def manner(person: str, call: int) -> str:
        if call == 1:
            return "quiet"
        return {"en-s0": "hostile", "en-s1": "silent"}[person]

    found = read_outcomes(talked("fickle", manner, folder, epochs=2, limit_users=2))
    assert found.n_unscored == 1
    assert found.people["en-s1"] == QUIET
    assert found.people["en-s0"] == pytest.approx({k: (QUIET[k] + HOSTILE[k]) / 2 for k in QUIET})


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_measure_that_is_no_number_leaves_its_conversation_unscored(
    value: float | None, calm: Path, tmp_path: Path
) -> None:
    log = read_eval_log(str(calm))
    for sample in log.samples or []:
        score = (sample.scores or {})["user_outcome"]
        assert isinstance(score.value, dict)
        if sample.id == "en-s2":
            score.value["trust"] = value
    changed = tmp_path / "changed.eval"
    write_eval_log(log, str(changed))
    found = read_outcomes(changed)
    assert (set(found.people), found.n_unscored) == ({"en-s0", "en-s1", "en-s3"}, 1)
    assert found.mean("trust") == pytest.approx(QUIET["trust"])


def test_sampling_that_is_not_the_tasks_is_part_of_the_name(folder: Path) -> None:
    model = get_model(
        "mockllm/warm",
        custom_outputs=lambda *_: output("Mm.", "stop"),
        memoize=False,
        config=GenerateConfig(temperature=0.7),
    )
    people = write_people(folder / "warm.jsonl", make_strangers(1))
    log = run(support(users=str(people), split=None, turns=1, min_turns=1), model, folder / "warm")
    assert read_outcomes(Path(log.location)).name == "mockllm/warm T=0.7"


# Two logs.


def test_the_interval_is_the_paired_t_interval(calm: Path, moody: Path) -> None:
    bound = compare(read_outcomes(calm), read_outcomes(moody))
    # differences 0.384, 0, 0.384, 0: mean 0.192, sd 0.2217; t(0.975, 3) = 3.1824
    assert bound.mean == pytest.approx(0.192)
    assert bound.upper - bound.mean == pytest.approx(3.1824 * 0.2217 / 2, abs=1e-4)
    expected = stats.ttest_rel([-0.216] * 4, [-0.6, -0.216, -0.6, -0.216]).confidence_interval(0.95)
    assert (bound.lower, bound.upper) == pytest.approx((expected.low, expected.high))
    assert bound.n == 4


def test_people_unscored_on_one_side_are_left_out_of_the_pair(moody: Path, absent: Path) -> None:
    worse = read_outcomes(absent)
    assert (len(worse.people), worse.n_unscored) == (3, 1)
    bound = compare(read_outcomes(moody), worse)
    # differences of the second to fourth: 0.384, 0, 0.384
    expected = stats.ttest_1samp([0.384, 0, 0.384], 0).confidence_interval(0.95)
    assert bound.mean == pytest.approx(0.256)
    assert (bound.lower, bound.upper) == pytest.approx((expected.low, expected.high))
    assert bound.n == 3


# The table.


def test_supporters_are_ranked_by_relief_and_compared_with_the_next(
    calm: Path, moody: Path, absent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users", "rank", str(absent), str(calm), str(moody)]) == 0
    out = capsys.readouterr().out
    assert [" ".join(row) for row in rows(out)] == [
        "mockllm/calm 4 0 -0.22 0.00 0.00",
        "mockllm/moody 4 0 -0.41 0.00 0.50",
        "mockllm/absent 3 1 -0.60 0.00 1.00",
    ]
    # on lines of their own: in a column of the table, 80 characters had no room for the interval
    assert out.splitlines()[-3:] == [
        "paired, in relief, with its 95% interval:",
        "mockllm/calm over mockllm/moody: +0.19 (-0.16 to +0.54), n=4",
        "mockllm/moody over mockllm/absent: +0.26 (-0.29 to +0.81), n=3",
    ]


def test_one_log_has_nothing_to_be_compared_with(
    calm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users", "rank", str(calm)]) == 0
    out = capsys.readouterr().out
    [row] = rows(out)
    assert row[0] == "mockllm/calm"
    assert "paired" not in out


def test_logs_of_one_name_are_told_apart_by_their_files(
    calm: Path, moody: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "twin.eval"
    twin.write_bytes(calm.read_bytes())
    assert main(["users", "rank", str(twin), str(moody), str(calm)]) == 0
    names = [row[0] for row in rows(capsys.readouterr().out)]
    assert names == ["mockllm/calm (twin.eval)", f"mockllm/calm ({calm.name})", "mockllm/moody"]


# What cannot be ranked: one line, where and what to do.


def test_a_log_that_is_not_there(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = "selfevo: nowhere.eval: no such log; give the path of an .eval file\n"
    assert complaint([str(calm), "nowhere.eval"], capsys) == expected


@pytest.mark.parametrize("name", ["junk.eval", "zip.eval", "cut.eval", "empty.json", "notes.txt"])
def test_a_file_that_is_no_log(
    name: str, calm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    if name == "zip.eval":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("notes.txt", "nothing of Inspect's")
    else:
        whole = calm.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if name == "cut.eval" else b"{}")
    expected = f"selfevo: {file}: is no log of Inspect, or cut off; run it again\n"
    assert complaint([str(file)], capsys) == expected


def test_an_eval_that_failed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = talked("unplayed", lambda *_: "quiet", folder, user="model")  # nobody in the role
    expected = f"selfevo: {failed}: the eval's status is 'error'; run it again\n"
    assert complaint([str(failed)], capsys) == expected


def test_a_log_of_another_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = get_model(
        "mockllm/model", custom_outputs=lambda *_: output("Yes.", "stop"), memoize=False
    )
    log = run(Task([Sample("Is it?", target="Yes")], scorer=includes()), model, tmp_path)
    expected = "holds no user outcome; give logs of benchmarks/support.py\n"
    assert complaint([log.location], capsys) == f"selfevo: {log.location}: {expected}"


def test_a_log_in_which_every_conversation_broke(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = talked("mute", lambda *_: "silent", folder, limit_users=2)
    assert complaint([str(broken)], capsys) == (
        f"selfevo: {broken}: all 2 conversations are unscored; see why in `inspect view`, and run "
        "it again\n"
    )


def test_logs_with_other_people(
    calm: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = talked("stranger", lambda *_: "hostile", folder, start=3)
    assert complaint([str(calm), str(stranger)], capsys) == (
        "selfevo: mockllm/calm and mockllm/stranger: share 1 of their people; run them with the "
        "same people\n"
    )


def test_logs_under_other_settings(
    calm: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = talked("later", lambda *_: "quiet", folder, seed=8)
    assert complaint([str(calm), str(later)], capsys).endswith(
        "were run with seed=7 and seed=8; run them with the same arguments\n"
    )


def test_no_log_at_all_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["users", "rank"]) == 64
    assert capsys.readouterr().err == (
        "selfevo: the following arguments are required: LOG; see selfevo users rank --help\n"
    )


def test_other_people_under_the_same_ids_are_refused(
    calm: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    rows = [{**row, "intensity": 3} for row in make_strangers(4)]
    people = write_people(elsewhere / "0.jsonl", rows)
    model = get_model(
        "mockllm/other", custom_outputs=lambda *_: output("Mm.", "stop"), memoize=False
    )
    log = run(support(users=str(people), split=None, turns=1, min_turns=1), model, elsewhere)
    said = complaint([str(calm), log.location], capsys)
    assert "have other people under the same ids, such as 'en-s0'" in said


def test_a_log_with_samples_taken_out_is_refused(
    moody: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = read_eval_log(str(moody))
    log.samples = [s for s in log.samples or [] if s.id in ("en-s1", "en-s3")]
    picked = folder / "picked.eval"
    write_eval_log(log, str(picked))
    said = complaint([str(picked), str(moody)], capsys)
    assert "holds 2 completed samples, and its header says 4" in said
