import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from selfevo.config import RunConfig
from selfevo.errors import RunError
from selfevo.run import PACKAGES, Run, RunInfo, describe_run, to_json

CONFIG = RunConfig(name="toy")


class Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    number: int


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path / "run", CONFIG)
    yield run
    run.close()


def never(*_: object) -> Note:
    raise AssertionError("made again")


def test_an_artefact_is_made_once_and_elsewhere_first(run: Run) -> None:
    seen = []

    def make(partial: Path) -> None:
        seen.append(partial)
        assert not (run.root / "a/b.txt").exists()
        partial.write_text("whole")

    path = run.once("a/b.txt", make)
    assert run.once("a/b.txt", never) == path == run.root / "a/b.txt"
    assert path.read_text() == "whole"
    assert seen == [run.root / "a/b.txt.partial"]
    assert not seen[0].exists()
    assert run.has("a/b.txt")


def test_what_fails_gets_no_final_name(run: Run) -> None:
    def make(partial: Path) -> None:
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.once("a.txt", make)
    assert not run.has("a.txt")
    assert (run.root / "a.txt.partial").read_text() == "half"


def test_a_partial_file_is_begun_again(run: Run) -> None:
    (run.root / "a.txt.partial").write_text("old half")

    def make(partial: Path) -> None:
        with partial.open("a") as file:
            file.write("new")

    assert run.once("a.txt", make).read_text() == "new"


def test_a_partial_folder_is_continued(run: Run) -> None:
    (run.root / "logs.partial").mkdir()
    (run.root / "logs.partial/1").touch()
    path = run.once("logs", lambda partial: (partial / "2").touch())
    assert sorted(p.name for p in path.iterdir()) == ["1", "2"]


def test_an_artefact_is_on_disk_before_it_gets_its_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync, rename = os.fsync, Path.rename

    def spy_fsync(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def spy_rename(self: Path, target: Path) -> Path:
        needed = {self, *self.rglob("*")}
        assert {path.stat().st_ino for path in needed} <= synced
        return rename(self, target)

    def make(partial: Path) -> None:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep/weights").write_bytes(b"1")

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "rename", spy_rename)
    run.once("checkpoint", make)
    assert run.root.stat().st_ino in synced


CHILD = """
import sys, time
from pathlib import Path
from selfevo.config import RunConfig
from selfevo.run import Run

def make(partial):
    partial.mkdir()
    (partial / "weights").write_text("half")
    print("writing", flush=True)
    time.sleep(60)

Run(Path(sys.argv[1]), RunConfig(name="toy")).once("checkpoint", make)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_only_a_partial(
    tmp_path: Path,
) -> None:
    root = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "writing\n"
            with pytest.raises(RunError, match="another process is working on this run"):
                Run(root, CONFIG)
        finally:
            child.send_signal(signal.SIGKILL)
    assert not (root / "checkpoint").exists()
    assert (root / "checkpoint.partial/weights").read_text() == "half"

    def go_on(partial: Path) -> None:
        assert (partial / "weights").read_text() == "half"
        (partial / "weights").write_text("whole")

    path = Run(root, CONFIG).once("checkpoint", go_on)
    assert (path / "weights").read_text() == "whole"
    assert not (root / "checkpoint.partial").exists()


def test_a_closed_run_can_be_continued(run: Run) -> None:
    with pytest.raises(RunError, match="another process"):
        Run(run.root, CONFIG)
    run.close()
    Run(run.root, CONFIG)


CHANGED = RunConfig.model_validate({"name": "toy", "seed": 8, "dpo": {"beta": 0.5}})


@pytest.mark.parametrize("computed", ["m0/checkpoint.partial/state.json", "others/a/record.json"])
def test_another_recipe_is_refused_with_what_changed(run: Run, computed: str) -> None:
    run.once(computed, Path.touch)
    run.close()
    with pytest.raises(RunError, match=r"\(dpo.beta: 0.1 -> 0.5; seed: 7 -> 8\)"):
        Run(run.root, CHANGED)
    Run(run.root, CONFIG)  # the refusal let go of the lock


def test_a_recipe_may_be_corrected_until_something_is_computed(run: Run) -> None:
    """What was drawn for the old one is not taken for the new one's; nothing else is touched."""
    for name in ("run.json", "data/train.jsonl", "data/report.json", "round-1/contexts.jsonl"):
        run.once(name, lambda partial: partial.write_text("old"))
    (run.root / "m0/checkpoint.partial").mkdir(parents=True)  # refused before its first step
    (run.root / "data/mine.jsonl").write_text("kept")
    run.close()
    Run(run.root, CHANGED).close()
    files = {str(p.relative_to(run.root)) for p in run.root.rglob("*") if p.is_file()}
    assert files == {".lock", "recipe.yaml", "data/mine.jsonl"}
    Run(run.root, CHANGED)


def test_a_folder_with_data_of_its_own_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("mine")
    with pytest.raises(RunError, match=r"data/train.jsonl: is of no run"):
        Run(tmp_path, CONFIG)
    assert (tmp_path / "data/train.jsonl").read_text() == "mine"


def test_a_recipe_that_a_hand_wrote_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: toy\n")
    with pytest.raises(RunError, match="was started with another recipe"):
        Run(tmp_path, CHANGED)
    assert (tmp_path / "recipe.yaml").read_text() == "name: toy\n"


def test_a_damaged_recipe_of_a_run_is_named_and_lets_go_of_the_lock(run: Run) -> None:
    run.close()
    stored = run.root / "recipe.yaml"
    whole = stored.read_text()
    stored.write_text(whole + "surprise: 1\n")
    with pytest.raises(Exception, match="unknown key 'surprise'") as caught:
        Run(run.root, CONFIG)
    stored.write_text(whole)
    Run(run.root, CONFIG)
    assert str(stored) in str(caught.value)


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match=r"run: not a run folder: File exists"):
        Run(tmp_path / "run", CONFIG)


def test_a_record_is_made_once_and_read_back(run: Run) -> None:
    note = Note(text="你好", number=1)
    assert run.record("note.json", Note, lambda: note) == note
    assert run.record("note.json", Note, never) == note
    assert "你好" in (run.root / "note.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ('{"text": "a", "number": "many"}', r"field 'number': Input should be a valid integer"),
        ('{"text": "a"}', r"field 'number': Field required"),
        ('{"text": "a", "number": 1, "more": 2}', r"field 'more': Extra inputs"),
        ('{"text": "a", "num', r"Invalid JSON: EOF"),
        ("", r"Invalid JSON: EOF"),
    ],
)
def test_a_damaged_record_is_named_with_its_field(run: Run, stored: str, told: str) -> None:
    path = run.root / "note.json"
    path.write_text(stored)
    with pytest.raises(RunError, match=rf"{re.escape(str(path))}: {told}.*; delete the file"):
        run.record("note.json", Note, never)


def test_a_record_that_is_no_text_is_named(run: Run) -> None:
    path = run.root / "note.json"
    path.write_bytes(b'{"text": "\xff", "number": 1}')
    with pytest.raises(RunError, match=re.escape(str(path))):
        run.record("note.json", Note, never)


def test_a_pointer_is_replaced_whole(run: Run) -> None:
    for number in (1, 2):
        run.replace("champion.json", Note(text="m", number=number))
        expected = Note(text="m", number=number)
        assert Note.model_validate_json((run.root / "champion.json").read_text()) == expected
    assert not (run.root / "champion.json.partial").exists()


def test_titled_steps_are_timed(run: Run) -> None:
    run.once("a", lambda partial: partial.touch(), title="first step")
    run.once("a", never, title="first step")
    run.once("b", lambda partial: partial.touch())
    run.once("c", lambda partial: partial.touch(), title="second step")
    times = run.times()
    assert [time.step for time in times] == ["first step", "second step"]
    assert all(0 <= time.seconds < 60 for time in times)


def test_a_damaged_time_is_named_with_its_line(run: Run) -> None:
    run.once("a", lambda partial: partial.touch(), title="step")
    with (run.root / "times.jsonl").open("a") as file:
        file.write('{"step": "cut')
    with pytest.raises(RunError, match=r"times.jsonl:2: Invalid JSON"):
        run.times()


def test_a_run_describes_its_machine(tmp_path: Path) -> None:
    info = describe_run(base_model="abc", principles="def")
    assert set(info.packages) == set(PACKAGES)
    assert re.fullmatch(r"\d+\.\d+.*", info.packages["inspect-ai"])
    assert info.commit is None or re.fullmatch(r"[0-9a-f]{12}\+?", info.commit)
    assert RunInfo.model_validate_json(to_json(info)) == info
