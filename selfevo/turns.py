"""Whose turn it is to compute: first come, first served.

Two models that compute at once on the same cores slow each other down many times over (OpenMP
spins), so they take turns. A plain `threading.Lock` goes to whoever asks first after its release,
which is nearly always the one that released it; two engines that decode side by side (a supporter
and the person it talks with) need to alternate.
"""

import threading
from collections import deque
from types import TracebackType


class Turns:
    """A lock that is handed on in the order of asking; a context manager, not reentrant."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._line: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        mine = threading.Lock()
        mine.acquire()
        with self._guard:
            self._line.append(mine)
            if self._line[0] is mine:
                return
        try:
            mine.acquire()  # released by the one before
        except BaseException:  # interrupted (Ctrl-C) while waiting
            self._leave(mine)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(self._line[0])

    def _leave(self, mine: threading.Lock) -> None:
        with self._guard:
            had_the_turn = self._line[0] is mine
            self._line.remove(mine)
            if had_the_turn and self._line:
                self._line[0].release()
