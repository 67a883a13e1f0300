"""`selfevo annotate LOG`: a page on this machine where a person rates conversations, blind.

The rater sees the words of both sides, the person's card where the rubric is about the person, and
the questions that a judge gets; never which checkpoint spoke. The order is each rater's own. Every
rating is on disk before the next conversation is shown; the same command goes on where it was.

What is rated is read in `annotate_items.py`, the page is in `annotate_page.py`, what was said in
`annotate_labels.py`. Left out: accounts and several raters at once (each runs the command with a
name and a file of their own), and any way in from another machine.
"""

import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn
from rich.console import Console

from benchmarks.errors import DataError
from selfevo.annotate_items import Items, read_items, shuffled
from selfevo.annotate_labels import LabelFile, export_csv
from selfevo.annotate_page import Desk, make_app, new_token
from selfevo.errors import SelfevoError, UsageError
from selfevo.progress import progress

HOST: Final = "127.0.0.1"
SUFFIX: Final = ".jsonl"
GRACE_S: Final = 1
"""For requests under way when the program is stopped."""
_RATER: Final = re.compile(r"\w[\w .@-]{0,59}")
"""A name that means nothing else to a spreadsheet that opens the CSV."""


def annotate(
    logs: Sequence[Path],
    *,
    rubric: str = "personalization",
    rater: str,
    out: Path,
    port: int = 0,
    show_card: bool = True,
    seed: int = 7,
    users: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C, then write the CSV beside the labels.

    Args:
        logs: `.eval` files, or folders: their newest log.
        rubric: Name of a shipped rubric, or a YAML file.
        rater: Who rates; decides the order, and stands in every label.
        out: File of the labels (`.jsonl`), continued if it exists.
        port: 0: one that is free.
        show_card: Show the person's card where the rubric is about the person.
        seed: Of the order.
        users: File of the people's cards; None: the one that each log names, or the shipped people.

    Raises:
        UsageError: an argument is wrong.
        DataError: no log, nothing to rate, or `out` is of another rater or rubric.
        SelfevoError: the port or the file is in use.
    """
    _check(rater, out)
    found = read_items(logs, rubric, users)
    items = shuffled(found.items, seed, rater)
    with LabelFile(out, found.rubric, rater) as labels, _listening(port) as server:
        n_rated = sum(item.id in labels.labels for item in items)
        address = f"http://{HOST}:{server.getsockname()[1]}/{(token := new_token())}/"
        _announce(found, rater, address, out, n_rated)
        with progress("rated", len(items)) as advance:
            advance(n_rated)
            desk = Desk(
                items,
                found.rubric,
                rater,
                labels,
                show_card=show_card,
                on_new=lambda: advance(1),
            )
            _serve(desk, token, server)
        _conclude(desk, out)


def _check(rater: str, out: Path) -> None:
    if not _RATER.fullmatch(rater):
        raise UsageError(f"rater '{rater}' is no name; use letters, digits, spaces and . @ - _")
    if out.suffix != SUFFIX:
        raise UsageError(f"{out}: labels are JSON Lines; name the file {out.stem}{SUFFIX}")


def _listening(port: int) -> socket.socket:
    """A socket on loopback.

    Raises:
        UsageError: there is no such port.
        SelfevoError: it is taken, or not for everybody.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port} is none; use 0 (any that is free) to 65535")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise SelfevoError(
            f"port {port}: {reason}; use another, or leave it out for one that is free"
        ) from error


def _serve(desk: Desk, token: str, server: socket.socket) -> None:
    config = uvicorn.Config(
        make_app(desk, token),
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )
    with suppress(KeyboardInterrupt):  # how a rater stops
        uvicorn.Server(config).run(sockets=[server])


def _announce(found: Items, rater: str, address: str, out: Path, n_rated: int) -> None:
    rubric = found.rubric
    n = len(found.items)
    conversations = "1 conversation" if n == 1 else f"{n} conversations"
    _print(f"{conversations}, rubric {rubric.name} {rubric.version}, rater {rater}")
    for why, n_left in found.left_out.items():
        _print(f"left out: {n_left} that {why}")
    _print(f"open      {address}")
    _print(f"labels    {out} ({n_rated} of {n} rated)")
    _print("Ctrl-C stops. Every rating is saved at once; the same command goes on where you were.")


def _conclude(desk: Desk, out: Path) -> None:
    n_rated = sum(desk.rated)
    if not desk.labels.labels:
        _print("nothing was rated")
        return
    try:
        export_csv(out, out.with_suffix(".csv"))
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        fix = "the labels are safe; run the command again when it can be"
        raise DataError(str(out.with_suffix(".csv")), what, fix) from error
    _print(f"written: {out.with_suffix('.csv')} ({n_rated} of {len(desk.items)} rated)")


def _print(line: str) -> None:
    Console(highlight=False, markup=False).print(line, soft_wrap=True)
