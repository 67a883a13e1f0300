from pathlib import Path
from typing import Any

import pytest

from results.records import Measure, RunRecord
from selfevo.config import RunConfig
from selfevo.decision import Decision, Verdict, hold
from selfevo.evolve import Checkpoint, Outcome, Round
from selfevo.run import Run
from selfevo.summary import print_outcome
from tests.records import make_record


def record(**means: float | None) -> RunRecord:
    measures = {
        name: Measure(values={} if mean is None else {"ann": mean}, missing={"ben": 1})
        for name, mean in means.items()
    }
    return make_record(measures=measures)


def test_a_finished_run_prints_every_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    run = Run(tmp_path / "a [run]", RunConfig(name="toy"))  # brackets are no markup
    model: Any = None
    unscored = Checkpoint("M0", model, record(specificity=6.25, emotion_accuracy=None))
    better = Decision(verdict=Verdict.PROMOTE, reasons=("specificity +2.00 [all guards hold]",))
    evaluand: Any = type("E", (), {"path": run.root / "round-1/checkpoint"})
    champion = Checkpoint("M1", evaluand, record(specificity=8.25, copy_rate=0.125))
    rounds = (
        Round("M1", champion.record, better, 21),
        Round("M2", None, hold("too few pairs (3 < 8)"), 3),
    )
    run.once("a", lambda partial: partial.touch(), title="M0: phase 1")
    print_outcome(Outcome(run, unscored, rounds, champion))
    run.close()
    lines = capsys.readouterr().out.splitlines()
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells == [
        ["M0", "", "6.2", "-", "-", "-", "-", "start"],
        ["M1", "21", "8.2", "-", "12.5%", "-", "-", "PROMOTE"],
        ["M2", "3", "-", "-", "-", "-", "-", "HOLD"],
    ]
    assert "M1 PROMOTE: specificity +2.00 [all guards hold]" in lines
    assert "M2 HOLD: too few pairs (3 < 8)" in lines
    assert f"run: {run.root}" in lines
    assert any(line.endswith("M0: phase 1") for line in lines)
