import threading

import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")

from selfevo.computing import ComputeThread, compute_thread  # noqa: E402


def started(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@pytest.fixture
def thread():
    return ComputeThread("cpu")


def test_everybody_computes_in_one_thread_one_at_a_time(thread):
    inside, most, names = [], [], set()

    def work():
        inside.append(1)
        most.append(len(inside))
        names.add(threading.current_thread().name)
        inside.pop()

    def ask():
        for _ in range(50):
            thread.run(work)

    for asking in [started(ask) for _ in range(4)]:
        asking.join()
    assert len(most) == 200
    assert set(most) == {1}
    assert len(names) == 1
    assert threading.current_thread().name not in names


def test_two_who_keep_asking_alternate(thread):
    order, both, one_is_done = [], threading.Barrier(2), threading.Event()
    waiting = thread._thread._work_queue

    def ask(name):
        both.wait()
        for _ in range(20):
            thread.run(lambda: work(name))
        one_is_done.set()

    def work(name):
        order.append(name)
        while waiting.empty() and not one_is_done.is_set():  # until the other one has asked
            threading.Event().wait(0.001)

    first, second = started(lambda: ask("a")), started(lambda: ask("b"))
    first.join()
    second.join()
    assert "".join(order) in ("ab" * 20, "ba" * 20)


def test_an_error_reaches_who_asked_and_nobody_else(thread):
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        thread.run(fail)
    assert thread.run(lambda: 7) == 7


def test_a_device_has_one_thread():
    assert compute_thread("cpu") is compute_thread("cpu")
    assert compute_thread("cpu") is not compute_thread("cuda:0")
