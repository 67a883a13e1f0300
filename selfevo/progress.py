"""Progress of long steps: one bar with the time left, on a terminal; nothing elsewhere.

Inspect and the trainers bring bars of their own that do not agree; theirs are off, and both report
here.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inspect_ai.hooks import Hooks, SampleEnd, hooks
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]
"""Tell the bar that so many more units are done."""

console = Console(stderr=True, highlight=False, markup=False)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """A bar for `total` units of work; silent when standard error is not a terminal."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n: bar.advance(task, n)


@contextmanager
def step(title: str) -> Iterator[Callable[[], float]]:
    """Announce a step, then say how long it took; yields a clock of the seconds so far."""
    start = time.monotonic()

    def elapsed() -> float:
        return time.monotonic() - start

    console.print(f"{title} ...")
    yield elapsed
    console.print(f"{title}: {duration(elapsed())}")


def duration(seconds: float) -> str:
    """`75` -> `1 min 15 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


_listeners: list[Advance] = []


@contextmanager
def sample_progress(title: str, total: int) -> Iterator[None]:
    """A bar that advances with every finished sample of the Inspect evals run inside."""
    _register_hook()
    with progress(title, total) as advance:
        _listeners.append(advance)
        try:
            yield
        finally:
            _listeners.remove(advance)


@functools.cache
def _register_hook() -> None:
    """Hear of finished samples; when first needed, for Inspect announces hooks at its start."""

    @hooks("selfevo_progress", "Advances the progress bar of selfevo's own runs.")
    class SampleProgress(Hooks):
        """Passes the end of each sample on to the open bars."""

        def enabled(self) -> bool:
            return bool(_listeners)

        async def on_sample_end(self, data: SampleEnd) -> None:
            for advance in _listeners:
                advance(1)
