import threading

import pytest

from selfevo.turns import Turns


def started(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def n_in_line(turns):
    return len(turns._line)


def test_one_at_a_time():
    turns, inside, most = Turns(), [], []

    def work():
        for _ in range(50):
            with turns:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [started(work) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert n_in_line(turns) == 0


def test_the_turn_goes_to_who_asked_first_not_to_who_releases_it():
    turns, order = Turns(), []

    def work(name, n):
        for _ in range(n):
            with turns:
                order.append(name)
                while n_in_line(turns) < 2 and len(order) < 6:
                    pass  # until the other one asks

    first, second = started(lambda: work("a", 4)), started(lambda: work("b", 4))
    first.join()
    second.join()
    assert "".join(order[:6]) in ("ababab", "bababa")


def test_an_error_passes_the_turn_on():
    turns = Turns()
    with pytest.raises(KeyError), turns:
        raise KeyError
    with turns:
        assert n_in_line(turns) == 1
