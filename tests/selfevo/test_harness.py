import gc
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from selfevo.errors import RunError
from selfevo.harness import GC_THRESHOLD, finished_log, lean

from .counting import MAX_SAMPLES, N_SAMPLES, run_counted

ROOT = Path(__file__).parents[2]
ALL = {f"p{i}" for i in range(N_SAMPLES)}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calls"
    monkeypatch.setenv("CALLS", str(path))
    return path


def test_an_eval_is_run_once(calls: Path, tmp_path: Path) -> None:
    first = run_counted(tmp_path / "logs")
    again = run_counted(tmp_path / "logs")
    assert sorted(calls.read_text().split()) == sorted(ALL)  # each once
    assert first.eval.eval_id == again.eval.eval_id
    assert {sample.id for sample in again.samples or []} == ALL
    assert finished_log(tmp_path / "logs").eval.eval_id == first.eval.eval_id


@pytest.mark.parametrize(
    ("stop_with", "code"),
    [pytest.param("SIGKILL", -9, marks=pytest.mark.slow), ("SIGINT", 130)],  # -9: test_resume.py
)
def test_a_stopped_eval_is_finished_without_repeating_what_was_done(
    stop_with: str, code: int, calls: Path, tmp_path: Path
) -> None:
    stopped = subprocess.run(
        [sys.executable, "-m", "tests.selfevo.counting", str(tmp_path / "logs")],
        env={**os.environ, "STOP_AT": "7", "STOP_WITH": stop_with},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert stopped.returncode == code, stopped.stderr.decode()
    before = calls.read_text().split()
    assert len(before) < N_SAMPLES
    with pytest.raises(RunError, match="no successful Inspect log"):
        finished_log(tmp_path / "logs")

    log = run_counted(tmp_path / "logs")

    assert log.status == "success"
    assert {sample.id for sample in log.samples or []} == ALL
    counts = Counter(calls.read_text().split())
    assert set(counts) == ALL
    repeated = {sample for sample, n in counts.items() if n > 1}
    assert repeated <= set(before[-MAX_SAMPLES:])  # those at work when it was stopped


def test_a_failing_sample_stops_the_step_by_name_and_only_it_is_tried_again(
    calls: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAIL", "p3")
    with pytest.raises(RunError) as caught:
        run_counted(tmp_path / "logs")
    assert "Traceback" not in capfd.readouterr().err
    message = str(caught.value)
    assert message.startswith("counted: sample p3: ValueError")
    assert "hiccuped" in message
    assert f"inspect view --log-dir {tmp_path}/logs" in message
    assert Counter(calls.read_text().split())["p3"] == 2  # one retry
    with pytest.raises(RunError, match="no successful Inspect log"):
        finished_log(tmp_path / "logs")

    monkeypatch.delenv("FAIL")
    done = len(calls.read_text().split())
    log = run_counted(tmp_path / "logs")
    assert calls.read_text().split()[done:] == ["p3"]
    assert {sample.id for sample in log.samples or []} == ALL


def test_inspects_own_view_is_kept_off_the_console_but_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with lean(4) as options:
        logging.error("what Inspect's display says")
        logging.getLogger("inspect_ai.model").warning("a warning")
    logging.error("after it")
    assert options["max_samples"] == 4
    assert caplog.messages == ["a warning", "after it"]


@pytest.mark.parametrize("frozen_before", [True, False])
def test_the_collector_is_left_as_it_was(frozen_before: bool) -> None:
    frozen, threshold = gc.get_freeze_count() > 0, gc.get_threshold()
    (gc.freeze if frozen_before else gc.unfreeze)()
    try:
        with pytest.raises(KeyError), lean(4):
            assert gc.get_freeze_count() > 0
            assert gc.get_threshold()[0] >= GC_THRESHOLD
            raise KeyError
        assert (gc.get_freeze_count() > 0) is frozen_before
        assert gc.get_threshold() == threshold
    finally:
        (gc.freeze if frozen else gc.unfreeze)()
