"""Run concurrent requests together, with no timer: while one batch computes, the next one gathers.

Requests wait in line for their turn. Whoever comes first lets the event loop run until no further
request arrives (everything that could ask now has asked), takes what waits, and computes it in a
worker thread for all of them.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

Request = TypeVar("Request")
Result = TypeVar("Result")

QUIET_PASSES = 8
"""Event-loop passes without a new request after which the gathering ends.

A conversation needs a few passes between the end of one call and its next; measured at 3 under
Inspect, with room."""


class _Slot(Generic[Request, Result]):
    """One request and, later, its result or the error of its batch."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self.is_wanted = True

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.results[0]


class Batcher(Generic[Request, Result]):
    """Collects the requests of many coroutines into batches for one blocking function."""

    def __init__(
        self, run: Callable[[Sequence[Request]], Sequence[Result]], *, max_batch: int
    ) -> None:
        """`run` maps requests to as many results, in order; at most `max_batch` at a time."""
        self._run = run
        self._max_batch = max_batch
        self._waiting: list[_Slot[Request, Result]] = []
        self._turn = anyio.Lock()

    async def submit_all(self, requests: Sequence[Request]) -> list[Result]:
        """Results of `requests`, in order, computed together with what else is asked meanwhile.

        Whatever the function raises for a batch reaches every caller with a request in it.
        """
        slots: list[_Slot[Request, Result]] = [_Slot(request) for request in requests]
        self._waiting += slots
        try:
            for slot in slots:
                while not slot.is_done:
                    await self._take_turn(slot)
        finally:
            for slot in slots:  # a cancelled caller leaves the line
                slot.is_wanted = False
            self._waiting = [slot for slot in self._waiting if slot.is_wanted]
        return [slot.outcome() for slot in slots]

    async def _take_turn(self, slot: _Slot[Request, Result]) -> None:
        async with self._turn:
            if slot.is_done:
                return
            await self._gather()
            batch = self._take(slot)
            try:
                await anyio.to_thread.run_sync(self._compute, batch)
            finally:  # cancelled before the thread began: the others go back to the head
                left = [other for other in batch if other.is_wanted and not other.is_done]
                self._waiting = left + self._waiting

    async def _gather(self) -> None:
        quiet, seen = 0, len(self._waiting)
        while quiet < QUIET_PASSES and len(self._waiting) < self._max_batch:
            await anyio.sleep(0)
            quiet, seen = (
                (quiet + 1, seen) if len(self._waiting) == seen else (0, len(self._waiting))
            )

    def _take(self, leader: _Slot[Request, Result]) -> list[_Slot[Request, Result]]:
        others = [slot for slot in self._waiting if slot is not leader]
        self._waiting = others[self._max_batch - 1 :]
        return [leader, *others[: self._max_batch - 1]]

    def _compute(self, batch: list[_Slot[Request, Result]]) -> None:
        try:
            results = self._run([slot.request for slot in batch])
            for slot, result in zip(batch, results, strict=True):
                slot.results.append(result)
        except BaseException as error:
            # the batch failed as a whole: each of its requests reports that, in its own coroutine
            for slot in batch:
                slot.error = error
            raise
