"""Requests join a running computation and leave it one by one; nobody waits for a whole batch.

There is no timer, and no thread that runs all the time: whoever waits first leads. The leader lets
the event loop run until no further request arrives (everything that could ask now has asked), lets
those join, and has steps computed until somebody is done or somebody new waits. Whoever is done
wakes up at once. A leader that is done itself, or cancelled, hands over to another.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from selfevo.batching import QUIET_PASSES

Request = TypeVar("Request")
Result = TypeVar("Result")
RequestIn = TypeVar("RequestIn", contravariant=True)
Done = TypeVar("Done")
ResultOut = TypeVar("ResultOut", covariant=True)

SECONDS_AT_ONCE = 0.5
"""After so long others compute, and those who were cancelled leave; a step is not cut short."""


class Run(Protocol):
    """Has some work done where the computing is done, and waits for it."""

    def __call__(self, work: Callable[[], Done], /) -> Done:
        """The result of `work`, or its error."""


class Steps(Protocol[RequestIn, ResultOut]):
    """A computation that goes on step by step, for those that have joined."""

    def n_joining(self, requests: Sequence[RequestIn]) -> int:
        """How many of the first `requests` may join; at least one when nobody has."""

    def join(self, requests: Mapping[int, RequestIn]) -> Mapping[int, ResultOut]:
        """Take these in; results of those that are done already."""

    def step(self) -> Mapping[int, ResultOut]:
        """Go on; results of those that are done now."""

    def leave(self, keys: set[int]) -> None:
        """Drop those of `keys` that have joined, also after an error of a step."""


class _Caller:
    """A coroutine that waits."""

    def __init__(self) -> None:
        self.is_there = True
        self.news = anyio.Event()


class _Slot(Generic[Request, Result]):
    """One request and, later, its result or the error of its computation."""

    def __init__(self, request: Request, caller: _Caller) -> None:
        self.request = request
        self.caller = caller
        self.results: list[Result] = []
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.results[0]


class ContinuousBatcher(Generic[Request, Result]):
    """Runs one computation for the requests of many coroutines."""

    def __init__(
        self,
        steps: Steps[Request, Result],
        *,
        compute: Run,
        max_joined: int,
    ) -> None:
        """`compute` runs some steps; others may compute before the next ones."""
        self._steps = steps
        self._run = compute
        self._max_joined = max_joined
        self._waiting: list[_Slot[Request, Result]] = []
        self._joined: dict[int, _Slot[Request, Result]] = {}
        self._keys = count()
        self._is_led = False

    async def submit_all(self, requests: Sequence[Request]) -> list[Result]:
        """Results of `requests`, in order.

        An error while some join reaches these; one in a step, all that have joined.
        """
        caller = _Caller()
        slots: list[_Slot[Request, Result]] = [_Slot(request, caller) for request in requests]
        self._waiting += slots
        try:
            while not all(slot.is_done for slot in slots):
                await self._lead_or_wait(caller, slots)
        finally:
            caller.is_there = False  # if cancelled, what has joined leaves before the next step
            self._waiting = [slot for slot in self._waiting if slot.caller.is_there]
            self._find_a_leader()
        return [slot.outcome() for slot in slots]

    async def _lead_or_wait(self, caller: _Caller, slots: Sequence[_Slot[Request, Result]]) -> None:
        if self._is_led:
            await caller.news.wait()
            caller.news = anyio.Event()
            return
        self._is_led = True
        try:
            while not all(slot.is_done for slot in slots):
                await self._gather()
                await self._advance()
        finally:
            self._is_led = False

    def _find_a_leader(self) -> None:
        others = [s for s in (*self._joined.values(), *self._waiting) if s.caller.is_there]
        if others and not self._is_led:
            others[0].caller.news.set()

    async def _gather(self) -> None:
        quiet, seen = 0, len(self._waiting)
        while quiet < QUIET_PASSES and len(self._waiting) < self._n_free:
            await anyio.sleep(0)
            is_quiet = len(self._waiting) == seen
            quiet, seen = (quiet + 1 if is_quiet else 0), len(self._waiting)

    @property
    def _n_free(self) -> int:
        return self._max_joined - len(self._joined)

    async def _advance(self) -> None:
        """Let those that wait join, and compute until there are news."""
        first = self._waiting[: self._n_free]
        n_joining = self._steps.n_joining([slot.request for slot in first]) if first else 0
        joining = {next(self._keys): slot for slot in first[:n_joining]}
        self._waiting = self._waiting[n_joining:]
        is_full = bool(self._waiting) or n_joining == self._n_free
        before = {**self._joined, **joining}
        try:
            work = partial(self._compute, joining, is_full)
            await anyio.to_thread.run_sync(self._run, work)
        finally:  # cancelled before the thread began: they go back to the head
            left = [s for key, s in joining.items() if key not in self._joined and not s.is_done]
            self._waiting = [s for s in left if s.caller.is_there] + self._waiting
            for slot in before.values():
                if slot.is_done:
                    slot.caller.news.set()

    def _compute(self, joining: dict[int, _Slot[Request, Result]], is_full: bool) -> None:
        """Ends when somebody is done or, unless full, somebody new waits, or after a while."""
        gone = {key for key, slot in self._joined.items() if not slot.caller.is_there}
        self._steps.leave(gone)
        self._joined = {key: s for key, s in self._joined.items() if key not in gone} | joining
        if joining:
            requests = {key: slot.request for key, slot in joining.items()}
            if self._settle(lambda: self._steps.join(requests), joining):
                return
        start = time.monotonic()
        while self._joined:
            news = self._settle(self._steps.step, self._joined)
            is_late = time.monotonic() >= start + SECONDS_AT_ONCE
            if news or is_late or (self._waiting and not is_full):
                return

    def _settle(
        self,
        compute: Callable[[], Mapping[int, Result]],
        concerned: Mapping[int, _Slot[Request, Result]],
    ) -> bool:
        """Compute, and take out who is done by it; whether anybody is."""
        try:
            done = compute()
            for key, result in done.items():
                self._joined[key].results.append(result)
            ended = set(done)
        except BaseException as error:  # noqa: BLE001 (the outcome of all concerned is the error)
            for slot in concerned.values():
                slot.error = error
            ended = set(concerned)
            self._steps.leave(ended)
        self._joined = {key: slot for key, slot in self._joined.items() if key not in ended}
        return bool(ended)
