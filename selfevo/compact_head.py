"""The language-model head on trained positions only, on a CPU too.

TRL scores only the positions that have a label when its Triton kernel runs (a GPU), and every
position otherwise. The plain path takes the compact rows just as well: same loss, less time and
memory. Reaches into TRL under a test of its own (`tests/selfevo/test_compact_head.py`); with a TRL
that has changed there it does nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trl.trainer.utils as trl_utils


@contextmanager
def trained_positions_only() -> Iterator[None]:
    """Training inside computes the head where there is a label."""
    original = getattr(trl_utils, "_use_triton", None)
    if original is None:
        yield
        return
    trl_utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl_utils._use_triton = original
