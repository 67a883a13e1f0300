"""Where models compute: one thread for each device, first come, first served.

Two models that compute at once on the same cores slow each other down many times over (OpenMP
spins), so they take turns. And they take them in one thread: OpenMP keeps a team of workers for
every thread that ever computed, and once all teams have more workers than there are cores, it lets
them sleep at the end of each operator, where they would have spun until the next. For small
operators waking up takes longer than the work (`docs/performance.md`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Result = TypeVar("Result")


class ComputeThread:
    """The thread of one device. What runs in it must not ask it for more."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"compute-{device}")

    def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, or its error. Whoever asks waits; interrupted, it waits no more."""
        asked = self._thread.submit(self._on_device, work)
        try:
            return asked.result()
        finally:
            asked.cancel()  # in vain unless it has not begun

    def _on_device(self, work: Callable[[], Result]) -> Result:
        if self._device.startswith("cuda"):
            with torch.cuda.device(self._device):
                return work()
        return work()


@lru_cache
def compute_thread(device: str) -> ComputeThread:
    """The one of a device, such as `cpu` or `cuda:1`."""
    return ComputeThread(device)
