"""Model servers on loopback, for tests."""

import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from selfevo.errors import UsageError
from selfevo.generation import GenerationConfig, vllm_python

READY_S = 300


class Server(NamedTuple):
    """Where it listens, and the name of its model."""

    url: str
    model: str


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it answers; fails with the end of its log when it ends before."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def vllm_python_or_skip() -> Path:
    """The Python of the environment with vLLM; skips where there is none."""
    try:
        return vllm_python(GenerationConfig(provider="vllm"))
    except UsageError as error:
        pytest.skip(str(error))
