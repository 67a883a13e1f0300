"""A budget of an evaluation: calls, tokens and minutes, after which nobody new is asked.

`inspect eval benchmarks/support.py ... -T budget_tokens=200000 -T budget_minutes=10`

Every model counts: the one under test, the user's, the judges'. The log says which limit ended the
evaluation (`results.early_stopping.metadata["exhausted"]`) and what was spent. One that was cut
short says nothing about those who were not asked: it is never a pass.

A conversation under way is finished, so the budget is overrun by as many conversations as run at
once (`--max-samples`). If all of them do, nothing is left to stop, and yet it counts as exhausted:
a limit that was reached was too low for this evaluation. A retry starts the budget anew.
A call counts when its provider says what it used, and not when it comes from the cache.
"""

from collections.abc import Sequence
from functools import cache
from time import monotonic
from typing import Final

from inspect_ai.dataset import Sample
from inspect_ai.hooks import Hooks, ModelUsageData, hooks
from inspect_ai.log import EvalSpec
from inspect_ai.scorer import SampleScore
from inspect_ai.util import EarlyStop, EarlyStopping
from pydantic import JsonValue

from benchmarks.errors import DataError

NAME: Final = "budget"
"""Of the manager in the log."""
SECONDS_A_MINUTE: Final = 60.0
DECIMALS: Final = 3
"""Of the minutes."""

_RUNNING: Final[dict[str, "Budget"]] = {}
"""Budgets of this process, by the id of their eval: Inspect tells usage to the process only."""


class Budget(EarlyStopping):
    """Counts what the models took, and schedules no sample once a limit is reached."""

    def __init__(
        self, calls: int | None = None, tokens: int | None = None, minutes: float | None = None
    ) -> None:
        """Limits; None: none of this kind.

        Raises:
            DataError: a limit is not above 0.
        """
        self._limits = {"calls": calls, "tokens": tokens, "minutes": minutes}
        for name, limit in self._limits.items():
            if limit is not None and not limit > 0:
                raise DataError(f"budget_{name}={limit}", "buys nothing", "choose more than 0")
        self._eval_id = ""
        self._exhausted: str | None = None
        self._start(0.0)

    async def start_task(self, task: EvalSpec, samples: Sequence[Sample], epochs: int) -> str:
        """Start the clock and listen to the models."""
        self._start(monotonic())
        self._eval_id = task.eval_id
        _RUNNING[task.eval_id] = self
        _listen()
        return NAME

    async def schedule_sample(self, id: str | int, epoch: int) -> EarlyStop | None:
        """Skip a sample once a limit is reached."""
        self._exhausted = self._exhausted or self._reached()
        if self._exhausted is None:
            return None
        return EarlyStop(id=id, epoch=epoch, reason=f"budget spent: {self._exhausted}")

    async def complete_sample(
        self, id: str | int, epoch: int, scores: dict[str, SampleScore]
    ) -> None:
        """What it took was counted call by call."""

    async def complete_task(self) -> dict[str, JsonValue]:
        """The limit that was reached, or None; and what was spent."""
        _RUNNING.pop(self._eval_id, None)
        self._exhausted = self._exhausted or self._reached()
        return {"exhausted": self._exhausted, "spent": dict(self._spent())}

    def count(self, tokens: int) -> None:
        """One call."""
        self._calls += 1
        self._tokens += tokens

    def _start(self, now: float) -> None:
        self._started = now
        self._calls = 0
        self._tokens = 0
        self._exhausted = None

    def _reached(self) -> str | None:
        spent = self._spent()
        for name, limit in self._limits.items():
            if limit is not None and spent[name] >= limit:
                return f"{limit} {name}"
        return None

    def _spent(self) -> dict[str, float]:
        minutes = (monotonic() - self._started) / SECONDS_A_MINUTE
        return {"calls": self._calls, "tokens": self._tokens, "minutes": round(minutes, DECIMALS)}


def budget_of(calls: int | None, tokens: int | None, minutes: float | None) -> Budget | None:
    """The budget with these limits; None where there is none.

    Raises:
        DataError: a limit is not above 0.
    """
    return None if calls is tokens is minutes is None else Budget(calls, tokens, minutes)


@cache
def _listen() -> None:
    """Ask Inspect to tell what each call used.

    Not when this module is imported: Inspect announces the hooks it finds then, in every eval.
    """

    @hooks(name=NAME, description="counts calls and tokens of a budget")
    class _Counting(Hooks):
        def enabled(self) -> bool:
            return bool(_RUNNING)

        async def on_model_usage(self, data: ModelUsageData) -> None:
            budget = _RUNNING.get(data.eval_id or "")
            if budget is not None:
                budget.count(data.usage.total_tokens)
