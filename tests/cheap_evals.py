"""What every Inspect eval or training costs or leaves behind, and tests need not.

Nothing else changes.

Imported first: by `conftest.py`, and by the server that forks the processes to be killed.
"""

import asyncio
import functools
import importlib.metadata
from typing import Any

import jinja2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from rich.console import Console

# An eval looks up the package of its task among all installed files (0.15 s); none comes or goes.
importlib.metadata.packages_distributions = functools.cache(
    importlib.metadata.packages_distributions
)

# TRL and PEFT put a card beside each checkpoint, and compile its template again (0.1 s).
jinja2.Environment.compile = functools.cache(jinja2.Environment.compile)  # type: ignore[method-assign]

_print = Console.print


def _print_if_heard(self: Console, *objects: Any, **options: Any) -> None:
    """Rich lays out an eval's table of results, and only then asks whether the console is quiet."""
    if not self.quiet:
        _print(self, *objects, **options)


Console.print = _print_if_heard  # type: ignore[method-assign]

# Inspect leaves its streams to the garbage collector, which may come by while another test counts
# every warning as an error (hypothesis does for a while, whatever pyproject.toml says).
del MemoryObjectReceiveStream.__del__
del MemoryObjectSendStream.__del__

# What Inspect does outside of an event loop makes one on the way, and leaves that as well; once a
# thread has been told that it has none, none is made.
asyncio.set_event_loop(None)
