import json
import shutil
from pathlib import Path

import pytest
from inspect_ai.model import Model, get_model
from PIL import Image

import benchmarks.controls
from benchmarks.errors import DataError
from benchmarks.fidelity import Fidelity
from benchmarks.support import support
from selfevo.errors import SelfevoError
from selfevo.users_report import print_balance, report_users
from tests.benchmarks.fakes import answering, output, run
from tests.benchmarks.people import make_row, make_strangers, make_zh_row, write_people

CONTROLS = benchmarks.controls.CONTROLS  # imported for Inspect to know them
FIGURES = 18
TURN = [
    {"speaker": "usr", "text": "I was let go in May and I do not know what to tell my wife."},
    {"speaker": "sys", "text": "That sounds hard. What have you told her?", "strategy": "Question"},
    {"speaker": "usr", "text": "Nothing. I leave in the morning as if I still had the job."},
    {"speaker": "sys", "text": "You carry it alone.", "strategy": "Reflection of feelings"},
]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "people.jsonl", make_strangers(12))


def talked(people: Path, model: Model, log_dir: Path, language: str = "en") -> Path:
    task = support(users=str(people), split=None, turns=4, language=language)  # type: ignore[arg-type]
    return Path(run(task, model, log_dir).location)


@pytest.fixture(scope="module")
def made(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talked(people, get_model("control/stock"), tmp_path_factory.mktemp("logs"))


@pytest.fixture
def log(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "stock.eval"))


@pytest.fixture
def esconv(tmp_path: Path) -> Path:
    rows = [
        {
            "emotion_type": "sadness",
            "problem_type": "job crisis",
            "situation": f"Case {n}.",
            "dialog": [{**turn, "text": f"{turn['text']} So {n}."} for turn in TURN],
        }
        for n in range(24)
    ]
    folder = tmp_path / "esconv"
    folder.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_a_report_is_written_beside_the_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = report_users(log)
    assert written.folder == log.with_name("stock-users")
    stored = (written.folder / "report.json").read_text(encoding="utf-8")
    assert Fidelity.model_validate_json(stored) == written.report
    assert (written.report.supporter, written.report.user) == ("control/stock", "scripted")
    assert (written.report.n_talks, written.report.n_people) == (12, 12)
    assert len(written.report.figures) == FIGURES
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-1])) <= 110
    assert f"written: {written.folder}/report.json, report.md, report.png" in out


def test_every_figure_has_a_line(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_users(log).report
    out = capsys.readouterr().out
    assert "control/stock with the scripted user: 12 conversations, 12 people" in out
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    rows = {row[0]: row for row in cells if row[0]}
    assert list(rows) == [figure.name for figure in report.figures]
    for figure in report.figures:
        shown = "-" if figure.value is None else f"{figure.value:.3f}"
        assert rows[figure.name][1:4] == [shown, figure.bar, figure.outcome]
    assert rows["drift"][3] == "not measured"
    assert "endings: " in out
    failed = [figure.name for figure in report.figures if figure.outcome == "FAIL"]
    n_missing = sum(figure.outcome == "not measured" for figure in report.figures)
    assert failed
    assert (
        f"{len(failed)} of {FIGURES - n_missing} measured figures fail: {', '.join(failed)}; "
        f"{n_missing} not measured"
    ) in out


def test_the_markdown_says_where_it_comes_from(log: Path, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out of the way"
    report = report_users(log, users=people, out=out).report
    text = (out / "report.md").read_text(encoding="utf-8")
    for told in (
        "- supporter: `control/stock`",
        "- users played by: `scripted`",
        "- 12 conversations with 12 people",
        "- log: `stock.eval` of 2",
        "selfevo 0.",
        f"- command: `selfevo users report {log} --users {people} --out '{out}'`",
        "**FAIL**",
        "![words, emotion, endings, relief](report.png)",
    ):
        assert told in text
    for figure in report.figures:
        assert f"| {figure.name} |" in text


def test_the_picture_can_be_looked_at(log: Path, esconv: Path) -> None:
    picture = report_users(log, esconv=esconv).folder / "report.png"
    assert picture.stat().st_size > 10_000
    with Image.open(picture) as image:
        assert image.size[0] == 1200
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 50  # not an empty page


def test_people_are_shown_beside_the_users(
    log: Path, esconv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {f.name: f for f in report_users(log, esconv=esconv).report.figures}
    assert figures["discriminator"].value is not None
    assert figures["agreement"].people is None  # their two turns leave none between
    assert figures["length"].people == pytest.approx(16.5 / 14.9, abs=0.001)
    assert "people" in capsys.readouterr().out.splitlines()[2]


def test_a_folder_stands_for_its_newest_log(log: Path) -> None:
    assert report_users(log.parent).folder == log.with_name("stock-users")


def test_chinese_users_are_shown_in_characters(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.jsonl", [make_zh_row()])
    log = talked(people, get_model("control/stock"), tmp_path, language="zh")
    written = report_users(log)
    assert {f.name for f in written.report.figures if f.outcome == "not measured"} >= {
        "length",
        "identity",
        "style_variance",
    }
    assert (written.folder / "report.png").stat().st_size > 10_000


def test_conversations_that_broke_are_drawn(people: Path, tmp_path: Path) -> None:
    log = talked(people, answering(lambda messages: output("", "stop")), tmp_path)
    written = report_users(log)
    assert written.report.endings == {"model_error": 12}
    figures = {figure.name: figure for figure in written.report.figures}
    assert figures["relief"].note == "every conversation was broken off by an error"
    assert (written.folder / "report.png").stat().st_size > 10_000


def test_users_of_whom_only_the_words_are_known_are_drawn(tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample

    task = Task(dataset=MemoryDataset([Sample(id="a", input="I was let go.")]))
    log = Path(run(task, answering(lambda messages: output("Mm.", "stop")), tmp_path).location)
    written = report_users(log)
    assert (written.report.user, written.report.n_people) == ("unknown", 0)
    assert (written.folder / "report.png").stat().st_size > 10_000


def test_missing_data_is_an_error(log: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or directory"):
        report_users(log, esconv=tmp_path / "absent")
    with pytest.raises(DataError, match="no such file or directory"):
        report_users(log, users=tmp_path / "absent")
    assert not log.with_name("stock-users").exists()


def test_holes_are_printed_and_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [make_row(), make_zh_row()]
    file = write_people(tmp_path / "people.jsonl", rows)
    with pytest.raises(SelfevoError) as error:
        print_balance(file)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    rows_of = {row[1]: row[2:] for row in cells}
    assert rows_of["shame"] == ["1", "█" * 12, "0", "HOLE"]
    assert rows_of["guilt"] == ["0", "HOLE", "1", "█" * 12]
    n_holes = out.count("HOLE") - 1  # the caption says what it is
    assert str(error.value).startswith(f"{file}: {n_holes} holes: en emotion anger (0 people); ")
    assert str(error.value).endswith(f" and {n_holes - 3} more; add people who have this")
    assert "en: 1 people counted" in out
    with pytest.raises(SelfevoError):
        print_balance(file, language="zh")
    assert " en " not in capsys.readouterr().out
