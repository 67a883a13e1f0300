import threading
import time
from itertools import chain

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo import batching
from selfevo.batching import Batcher


class Doubler:
    """A blocking function that remembers its batches."""

    def __init__(self, *, seconds=0.0, fails_with=None):
        self.batches = []
        self.seconds = seconds
        self.fails_with = fails_with
        self._busy = threading.Lock()

    def __call__(self, requests):
        assert self._busy.acquire(blocking=False), "two batches at once"
        try:
            self.batches.append(list(requests))
            time.sleep(self.seconds)
            if self.fails_with is not None:
                error, self.fails_with = self.fails_with, None
                raise error
            return [2 * request for request in requests]
        finally:
            self._busy.release()


async def gathered(*coroutine_functions):
    """Outcomes (results or exceptions) of coroutine functions run at the same time."""
    outcomes = [None] * len(coroutine_functions)

    async def one(index, function):
        try:
            outcomes[index] = await function()
        except Exception as error:  # noqa: BLE001 (the outcome is the error)
            outcomes[index] = error

    async with anyio.create_task_group() as tasks:
        for index, function in enumerate(coroutine_functions):
            tasks.start_soon(one, index, function)
    return outcomes


def asking(batcher, *requests):
    async def ask():
        return await batcher.submit_all(requests)

    return ask


# batches


def test_conversations_share_their_calls():
    run = Doubler()
    batcher = Batcher(run, max_batch=32)

    async def conversation(start):
        value = start
        for _ in range(5):
            [value] = await batcher.submit_all([value])
            for _ in range(3):  # what lies between two calls of a conversation
                await anyio.sleep(0)
        return value

    async def main():
        return await gathered(*[lambda n=n: conversation(n) for n in range(20)])

    assert anyio.run(main) == [32 * n for n in range(20)]
    assert [len(batch) for batch in run.batches] == [20] * 5


def test_gathering_uses_no_timer(monkeypatch):
    slept = []
    sleep = anyio.sleep

    async def recorded(seconds):
        slept.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(batching.anyio, "sleep", recorded)
    batcher = Batcher(Doubler(), max_batch=8)
    assert anyio.run(asking(batcher, 1)) == [2]
    assert slept
    assert set(slept) == {0}


def test_no_batch_is_larger_than_allowed():
    run = Doubler()
    batcher = Batcher(run, max_batch=8)
    outcomes = anyio.run(gathered, *[asking(batcher, n) for n in range(20)])
    assert outcomes == [[2 * n] for n in range(20)]
    assert run.batches == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]


def test_many_requests_of_one_caller_come_back_in_order():
    run = Doubler()
    assert anyio.run(asking(Batcher(run, max_batch=3), *range(7))) == [2 * n for n in range(7)]
    assert [len(batch) for batch in run.batches] == [3, 3, 1]


def test_nothing_asked_is_nothing_computed():
    run = Doubler()
    assert anyio.run(asking(Batcher(run, max_batch=3))) == []
    assert run.batches == []


def test_requests_gather_while_a_batch_computes():
    run = Doubler(seconds=0.05)
    batcher = Batcher(run, max_batch=32)

    async def later(n):
        await anyio.sleep(0.01)
        return await batcher.submit_all([n])

    async def main():
        await gathered(asking(batcher, 0), *[lambda n=n: later(n) for n in range(1, 9)])

    anyio.run(main)
    assert [sorted(batch) for batch in run.batches] == [[0], [*range(1, 9)]]


@settings(max_examples=40, deadline=None)
@given(
    callers=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), min_size=1, max_size=12),
    max_batch=st.integers(1, 5),
)
def test_everyone_gets_their_own_results_once(callers, max_batch):
    run = Doubler()
    batcher = Batcher(run, max_batch=max_batch)

    async def caller(number, passes, n_requests):
        for _ in range(passes):
            await anyio.sleep(0)
        return await batcher.submit_all([100 * number + k for k in range(n_requests)])

    async def main():
        return await gathered(
            *[lambda i=i, p=p, n=n: caller(i, p, n) for i, (p, n) in enumerate(callers)]
        )

    asked = [[100 * i + k for k in range(n)] for i, (_, n) in enumerate(callers)]
    assert anyio.run(main) == [[2 * x for x in requests] for requests in asked]
    assert sorted(chain.from_iterable(run.batches)) == sorted(chain.from_iterable(asked))
    assert all(1 <= len(batch) <= max_batch for batch in run.batches)


# errors


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyError("x"), OSError("disk")])
def test_an_error_reaches_every_request_of_its_batch(error):
    run = Doubler(fails_with=error)
    batcher = Batcher(run, max_batch=4)

    async def main():
        first = await gathered(*[asking(batcher, n) for n in range(6)])
        return first, await gathered(*[asking(batcher, n) for n in range(2)])

    first, later = anyio.run(main)
    assert first == [error] * 4 + [[8], [10]]
    assert later == [[0], [2]]
    assert [len(batch) for batch in run.batches] == [4, 2, 2]


def test_too_few_results_are_an_error_not_a_wrong_answer():
    batcher = Batcher(lambda requests: [2 * r for r in requests[1:]], max_batch=4)
    outcomes = anyio.run(gathered, *[asking(batcher, n) for n in range(3)])
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3


# cancellation


async def with_a_victim(batcher, others, *, at, cancel):
    """Outcomes of `others` and, at position `at`, of a caller whose scope `cancel` gets."""
    scope = anyio.CancelScope()

    async def victim():
        with scope:
            return await batcher.submit_all([100])

    callers = list(others)
    callers.insert(at, victim)
    return (await gathered(*callers, lambda: cancel(scope)))[:-1]


@pytest.mark.parametrize("position", [0, 2])
@pytest.mark.parametrize("passes", [0, 1, 4])
def test_a_caller_cancelled_while_gathering_takes_nobody_along(position, passes):
    run = Doubler()
    batcher = Batcher(run, max_batch=32)

    async def cancel(scope):
        for _ in range(passes):
            await anyio.sleep(0)
        scope.cancel()

    async def main():
        others = [asking(batcher, n) for n in range(4)]
        return await with_a_victim(batcher, others, at=position, cancel=cancel)

    outcomes = anyio.run(main)
    assert outcomes.pop(position) is None
    assert outcomes == [[0], [2], [4], [6]]
    assert [sorted(batch) for batch in run.batches] == [[0, 1, 2, 3]]


@pytest.mark.parametrize("position", [0, 2])
def test_a_caller_cancelled_while_computing_takes_nobody_along(position):
    run = Doubler(seconds=0.05)
    batcher = Batcher(run, max_batch=32)

    async def cancel(scope):
        while not run.batches:
            await anyio.sleep(0.001)
        scope.cancel()

    async def main():
        others = [asking(batcher, n) for n in range(3)]
        return await with_a_victim(batcher, others, at=position, cancel=cancel)

    outcomes = anyio.run(main)
    outcomes.pop(position)
    assert outcomes == [[0], [2], [4]]
    assert len(run.batches) == 1


def test_a_leader_cancelled_before_its_thread_begins_leaves_the_batch_whole(monkeypatch):
    run = Doubler()
    batcher = Batcher(run, max_batch=32)
    scopes = []
    run_sync = anyio.to_thread.run_sync

    async def too_late(*args):
        if scopes:
            scopes.pop().cancel()
            await anyio.sleep(0)  # cancelled here, as in the wait for a free thread
        return await run_sync(*args)

    monkeypatch.setattr(anyio.to_thread, "run_sync", too_late)

    async def cancel(scope):
        scopes.append(scope)

    async def main():
        others = [asking(batcher, n) for n in range(4)]
        return await with_a_victim(batcher, others, at=0, cancel=cancel)

    assert anyio.run(main) == [None, [0], [2], [4], [6]]
    assert run.batches == [[0, 1, 2, 3]]


# several evals in one process


@pytest.mark.parametrize("made_inside", [False, True])
def test_works_in_one_event_loop_after_another(made_inside):
    run = Doubler()

    async def make():
        return Batcher(run, max_batch=4)

    batcher = anyio.run(make) if made_inside else Batcher(run, max_batch=4)
    for _ in range(2):
        assert anyio.run(gathered, *[asking(batcher, n) for n in range(3)]) == [[0], [2], [4]]
    assert len(run.batches) == 2


def test_works_after_an_event_loop_that_broke_off():
    run = Doubler(seconds=0.05)
    batcher = Batcher(run, max_batch=1)

    async def broken_off():
        async with anyio.create_task_group() as tasks:
            for n in range(3):
                tasks.start_soon(batcher.submit_all, [n])
            await anyio.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup):
        anyio.run(broken_off)
    assert anyio.run(asking(batcher, 7)) == [14]
    assert run.batches == [[0], [7]]
