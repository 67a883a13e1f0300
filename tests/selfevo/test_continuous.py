import threading
import time

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo import continuous
from selfevo.continuous import ContinuousBatcher

from .test_batching import asking, gathered, with_a_victim


class Countdowns:
    """Requests are numbers: each is done after so many steps, 0 when it joins; the result is -n."""

    def __init__(self, *, room=100, seconds=0.0):
        self.left = {}
        self.asked = {}
        self.joined = []
        """What joined together, in order."""
        self.companies = []
        """Who was there at each step."""
        self.room = room
        self.seconds = seconds
        self.fails = {}
        """"join" or "step": the error to raise there, once."""
        self._busy = threading.Lock()

    def n_joining(self, requests):
        return min(len(requests), self.room - len(self.left))

    def join(self, requests):
        self.joined.append(list(requests.values()))
        self._fail("join")
        self.left |= requests
        self.asked |= requests
        return self._done()

    def step(self):
        assert self._busy.acquire(blocking=False), "two steps at once"
        try:
            self.companies.append(sorted(self.asked[key] for key in self.left))
            time.sleep(self.seconds)
            self._fail("step")
            self.left = {key: n - 1 for key, n in self.left.items()}
            return self._done()
        finally:
            self._busy.release()

    def leave(self, keys):
        self.left = {key: n for key, n in self.left.items() if key not in keys}

    def _done(self):
        done = {key: -self.asked[key] for key, n in self.left.items() if n <= 0}
        self.leave(set(done))
        return done

    def _fail(self, where):
        error = self.fails.pop(where, None)
        if error is not None:
            raise error


def batcher_of(steps, max_joined=32):
    return ContinuousBatcher(steps, compute=lambda work: work(), max_joined=max_joined)


# rows come and go


def test_each_is_done_after_its_own_steps_and_wakes_at_once():
    steps = Countdowns()
    batcher = batcher_of(steps)
    order = []

    async def ask(n):
        assert await batcher.submit_all([n]) == [-n]
        order.append((n, len(steps.companies)))

    async def main():
        await gathered(*[lambda n=n: ask(n) for n in (5, 1, 12, 3)])

    anyio.run(main)
    assert order == [(1, 1), (3, 3), (5, 5), (12, 12)]
    assert steps.companies == [[1, 3, 5, 12]] + 2 * [[3, 5, 12]] + 2 * [[5, 12]] + 7 * [[12]]
    assert steps.joined == [[5, 1, 12, 3]]


def test_who_comes_later_joins_between_two_steps():
    steps = Countdowns(seconds=0.005)
    batcher = batcher_of(steps)

    async def later():
        while len(steps.companies) < 3:
            await anyio.sleep(0.001)
        return await batcher.submit_all([4])

    async def main():
        return await gathered(asking(batcher, 30), later)

    assert anyio.run(main) == [[-30], [-4]]
    assert steps.joined == [[30], [4]]
    assert steps.companies.count([4, 30]) == 4
    assert len(steps.companies) == 30


def test_conversations_in_step_share_all_their_calls():
    steps = Countdowns()
    batcher = batcher_of(steps)

    async def conversation():
        for _ in range(5):
            await batcher.submit_all([10])
            for _ in range(3):  # what lies between two calls of a conversation
                await anyio.sleep(0)

    async def main():
        await gathered(*[conversation] * 20)

    anyio.run(main)
    assert steps.joined == [[10] * 20] * 5
    assert len(steps.companies) == 50


def test_who_is_done_is_replaced_by_who_waits_for_room():
    steps = Countdowns()
    batcher = batcher_of(steps, max_joined=2)
    outcomes = anyio.run(gathered, *[asking(batcher, n) for n in (3, 1, 2, 4)])
    assert outcomes == [[-3], [-1], [-2], [-4]]
    assert steps.companies == [[1, 3], [2, 3], [2, 3], [4], [4], [4], [4]]


def test_the_computation_says_how_many_have_room():
    steps = Countdowns(room=3)
    assert anyio.run(asking(batcher_of(steps), *[2] * 7)) == [-2] * 7
    assert [len(company) for company in steps.companies] == [3, 3, 3, 3, 1, 1]


def test_many_requests_of_one_caller_come_back_in_order():
    assert anyio.run(asking(batcher_of(Countdowns()), 3, 0, 7, 1)) == [-3, 0, -7, -1]


def test_nothing_asked_is_nothing_computed():
    steps = Countdowns()
    assert anyio.run(asking(batcher_of(steps))) == []
    assert steps.joined == steps.companies == []


def test_gathering_uses_no_timer(monkeypatch):
    slept = []
    sleep = anyio.sleep

    async def recorded(seconds):
        slept.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(continuous.anyio, "sleep", recorded)
    assert anyio.run(asking(batcher_of(Countdowns()), 20)) == [-20]
    assert set(slept) == {0}


@settings(max_examples=40, deadline=None)
@given(
    callers=st.lists(
        st.tuples(st.integers(0, 12), st.lists(st.integers(0, 20), min_size=1, max_size=3)),
        min_size=1,
        max_size=10,
    ),
    room=st.integers(1, 5),
    max_joined=st.integers(1, 5),
)
def test_everyone_gets_their_own_results_once(callers, room, max_joined):
    steps = Countdowns(room=room)
    batcher = batcher_of(steps, max_joined)

    async def caller(passes, requests):
        for _ in range(passes):
            await anyio.sleep(0)
        return await batcher.submit_all(requests)

    async def main():
        return await gathered(*[lambda p=p, r=r: caller(p, r) for p, r in callers])

    assert anyio.run(main) == [[-n for n in requests] for _, requests in callers]
    asked = sorted(n for _, requests in callers for n in requests)
    assert sorted(n for joined in steps.joined for n in joined) == asked
    assert max(map(len, steps.companies), default=0) <= min(room, max_joined)
    assert steps.left == {}


# turns


def test_others_may_compute_after_a_while(monkeypatch):
    monkeypatch.setattr(continuous, "SECONDS_AT_ONCE", 0.0)
    asked = []

    def compute(work):
        asked.append(work)
        return work()

    batcher = ContinuousBatcher(Countdowns(), compute=compute, max_joined=4)
    anyio.run(asking(batcher, 3))
    assert len(asked) == 3  # joining and a step, a step, a step


# errors


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyError("x"), SystemExit(3)])
def test_an_error_of_a_step_reaches_all_who_are_in_it(error):
    steps = Countdowns()
    batcher = batcher_of(steps, max_joined=2)
    steps.fails["step"] = error

    async def ask(n):
        try:
            return await batcher.submit_all([n])
        except BaseException as raised:  # noqa: BLE001 (the outcome is the error)
            return raised

    async def main():
        return await gathered(*[lambda n=n: ask(n) for n in (5, 6, 1, 2)])

    assert anyio.run(main) == [error, error, [-1], [-2]]
    assert steps.left == {}


def test_an_error_of_joining_reaches_only_those_who_join():
    steps = Countdowns(seconds=0.002)
    batcher = batcher_of(steps)
    error = ValueError("a prompt of a bad kind")

    async def later():
        while len(steps.companies) < 2:
            await anyio.sleep(0.001)
        steps.fails["join"] = error
        return await batcher.submit_all([4, 4])

    async def main():
        return await gathered(asking(batcher, 30), later)

    assert anyio.run(main) == [[-30], error]
    assert steps.left == {}


# cancellation


@pytest.mark.parametrize("position", [0, 2])
@pytest.mark.parametrize("passes", [0, 1, 4])
def test_a_caller_cancelled_while_gathering_takes_nobody_along(position, passes):
    steps = Countdowns()
    batcher = batcher_of(steps)

    async def cancel(scope):
        for _ in range(passes):
            await anyio.sleep(0)
        scope.cancel()

    async def main():
        others = [asking(batcher, n) for n in (3, 9, 11, 20)]
        return await with_a_victim(batcher, others, at=position, cancel=cancel)

    outcomes = anyio.run(main)
    assert outcomes.pop(position) is None
    assert outcomes == [[-3], [-9], [-11], [-20]]
    assert steps.joined == [[3, 9, 11, 20]]


@pytest.mark.parametrize("position", [0, 2])
def test_a_caller_cancelled_while_computing_leaves_soon_and_takes_nobody_along(
    position, monkeypatch
):
    monkeypatch.setattr(continuous, "SECONDS_AT_ONCE", 0.02)
    steps = Countdowns(seconds=0.005)
    batcher = batcher_of(steps)

    async def cancel(scope):
        while not steps.companies:
            await anyio.sleep(0.001)
        scope.cancel()

    async def main():
        others = [asking(batcher, n) for n in (25, 30, 35)]
        return await with_a_victim(batcher, others, at=position, cancel=cancel)

    outcomes = anyio.run(main)
    assert outcomes.pop(position) is None
    assert outcomes == [[-25], [-30], [-35]]
    with_victim = [company for company in steps.companies if 100 in company]
    assert len(with_victim) <= 0.02 / 0.005 + 1
    assert steps.left == {}


def test_a_leader_cancelled_before_its_thread_begins_leaves_the_others_whole(monkeypatch):
    steps = Countdowns()
    batcher = batcher_of(steps)
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
        others = [asking(batcher, n) for n in (1, 2, 3)]
        return await with_a_victim(batcher, others, at=0, cancel=cancel)

    assert anyio.run(main) == [None, [-1], [-2], [-3]]
    assert steps.joined == [[1, 2, 3]]


# several evals in one process


@pytest.mark.parametrize("made_inside", [False, True])
def test_works_in_one_event_loop_after_another(made_inside):
    steps = Countdowns()

    async def make():
        return batcher_of(steps)

    batcher = anyio.run(make) if made_inside else batcher_of(steps)
    for _ in range(2):
        assert anyio.run(gathered, *[asking(batcher, n) for n in (1, 2)]) == [[-1], [-2]]
    assert steps.joined == [[1, 2]] * 2


def test_works_after_an_event_loop_that_broke_off():
    steps = Countdowns(seconds=0.01)
    batcher = batcher_of(steps, max_joined=2)

    async def broken_off():
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(batcher.submit_all, [50])
            await anyio.sleep(0.03)
            raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup):
        anyio.run(broken_off)
    assert anyio.run(asking(batcher, 7)) == [-7]
    assert steps.companies[-7:] == [[7]] * 7
    assert steps.left == {}
