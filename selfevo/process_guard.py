"""Runs a command and ends it, with all that it started, when this script's standard input closes.

The input is a pipe from the process that wants the command. It closes when that process closes it,
and when it dies, however it dies: no server outlives its run.

    python process_guard.py COMMAND ARGUMENT ...

Needs the standard library only. Exits with the command's code, or 128 + n after signal n.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE_S = 15.0
"""Seconds that the command has to end by itself."""


def main(command: list[str]) -> int:
    """Run `command` until it or the input ends; nothing of its process group is left then."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    threading.Thread(target=_end_with_the_input, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)  # what the command left behind
    return code if code >= 0 else 128 - code


def _end_with_the_input(group: int) -> None:
    while os.read(0, 4096):
        pass
    _signal(group, signal.SIGTERM)
    time.sleep(GRACE_S)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all are gone
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
