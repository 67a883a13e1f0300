from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import Model

from benchmarks import budget as budget_module
from benchmarks.budget import Budget, budget_of
from benchmarks.errors import DataError
from benchmarks.support import support
from selfevo.recording import load_record

from .fakes import answering, output, run
from .people import make_strangers, write_people

CALLS_EACH = 2
"""Replies of a conversation of `ask`; each uses two tokens."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "people.jsonl", make_strangers(5))


def quiet() -> Model:
    return answering(lambda messages: output("I see.", "stop"))


def ask(people: Path, log_dir: Path, **roles_and_budget: Any) -> EvalLog:
    """Five conversations of two replies, one after the other."""
    roles = {k: v for k, v in roles_and_budget.items() if isinstance(v, Model)}
    arguments = {k: v for k, v in roles_and_budget.items() if k not in roles}
    task = support(users=str(people), split=None, turns=2, min_turns=2, **arguments)
    task.config.max_connections = 1
    return run(task, quiet(), log_dir, **roles)


def early(log: EvalLog) -> dict[str, Any]:
    assert log.status == "success", log.error
    assert log.results is not None and log.results.early_stopping is not None
    assert log.results.early_stopping.manager == "budget"
    return log.results.early_stopping.metadata


@pytest.mark.parametrize(
    ("limit", "shown", "finished"),
    [
        ({"budget_calls": 3}, "3 calls", 2),
        ({"budget_calls": 4}, "4 calls", 2),
        ({"budget_tokens": 9}, "9 tokens", 3),
        ({"budget_calls": 100, "budget_tokens": 1}, "1 tokens", 1),
    ],
)
def test_nobody_new_is_asked_once_a_limit_is_reached(
    people: Path, tmp_path: Path, limit: dict[str, int], shown: str, finished: int
) -> None:
    log = ask(people, tmp_path, **limit)
    assert early(log)["exhausted"] == shown
    assert len(log.samples or []) == finished
    spent = early(log)["spent"]
    assert spent["calls"] == CALLS_EACH * finished
    assert spent["tokens"] == 2 * CALLS_EACH * finished
    assert log.results is not None and log.results.early_stopping is not None
    stops = log.results.early_stopping.early_stops
    assert [stop.reason for stop in stops] == [f"budget spent: {shown}"] * (5 - finished)


def test_minutes_are_those_of_the_clock(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is a minute later: the start, then one a sample."""
    now = iter(range(0, 100_000, 60))
    monkeypatch.setattr(budget_module, "monotonic", lambda: float(next(now)))
    log = ask(people, tmp_path, budget_minutes=2.5)
    assert early(log)["exhausted"] == "2.5 minutes"
    assert len(log.samples or []) == 2


def test_what_was_more_than_enough_did_not_end_the_evaluation(people: Path, tmp_path: Path) -> None:
    log = ask(people, tmp_path, budget_calls=11)
    assert early(log)["exhausted"] is None
    assert early(log)["spent"]["calls"] == 10
    assert len(log.samples or []) == 5


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        ({"budget_calls": 1}, "1 calls"),
        ({"budget_calls": 10}, "10 calls"),
        ({"budget_tokens": 20}, "20 tokens"),
        ({"budget_minutes": 1e-6}, "1e-06 minutes"),
    ],
)
def test_a_limit_that_was_reached_when_nobody_was_left_to_stop(
    people: Path, tmp_path: Path, limit: dict[str, Any], shown: str
) -> None:
    """All five are under way before the first reply."""
    task = support(users=str(people), split=None, turns=2, min_turns=2, **limit)
    log = run(task, quiet(), tmp_path)
    if "budget_minutes" not in limit:
        assert len(log.samples or []) == 5
    assert early(log)["exhausted"] == shown
    assert load_record([Path(log.location)]).exhausted == shown


def test_judges_cost_too(people: Path, tmp_path: Path) -> None:
    judge = answering(lambda messages: output("no verdict", "stop"))
    log = ask(people, tmp_path, budget_calls=100, rubrics="fluency", judge=judge)
    assert early(log)["spent"]["calls"] > 5 * CALLS_EACH
    usage = log.stats.model_usage["mockllm/model"]
    assert early(log)["spent"]["tokens"] == usage.total_tokens


def test_without_a_limit_there_is_no_budget(people: Path, tmp_path: Path) -> None:
    assert budget_of(None, None, None) is None
    log = ask(people, tmp_path)
    assert log.results is not None and log.results.early_stopping is None


def test_a_second_evaluation_starts_anew(people: Path, tmp_path: Path) -> None:
    for part in ("one", "two"):
        assert len(ask(people, tmp_path / part, budget_calls=3).samples or []) == 2


def test_the_record_knows_that_it_is_not_whole(people: Path, tmp_path: Path) -> None:
    cut = ask(people, tmp_path / "cut", budget_calls=3)
    whole = ask(people, tmp_path / "whole", budget_calls=100)
    assert load_record([Path(cut.location)]).exhausted == "3 calls"
    assert load_record([Path(whole.location)]).exhausted is None


@pytest.mark.parametrize("limit", [{"calls": 0}, {"tokens": -1}, {"minutes": 0.0}])
def test_a_budget_of_nothing_is_refused(limit: dict[str, Any]) -> None:
    [(name, value)] = limit.items()
    with pytest.raises(DataError) as error:
        Budget(**limit)
    assert str(error.value) == f"budget_{name}={value}: buys nothing; choose more than 0"
