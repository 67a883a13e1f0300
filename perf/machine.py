"""What the machine can do; how a bench reports: a table for people, a JSON line for scripts."""

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table


def matmul_rate(device: str = "cpu", dtype: torch.dtype = torch.float32, n: int = 2048) -> float:
    """FLOPs a second of a large matrix product on this machine: the best of five."""
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def peak_memory() -> float:
    """Most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def in_child(module: str, *arguments: str) -> dict[str, Any]:
    """Run `python -m module arguments` and read the JSON of its last line.

    A process of its own: its peak memory is its own, and nothing is warm that should not be.

    Raises:
        SystemExit: the child failed; its error is printed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def report(title: str, columns: list[str], rows: list[list[str]], ratios: dict[str, Any]) -> None:
    """The table on stderr's console, then one JSON line on stdout."""
    table = Table(title=title)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(stderr=True).print(table)
    print(json.dumps(ratios))
