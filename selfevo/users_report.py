"""What `selfevo users` prints and writes: how balanced the people are, how faithful the users.

The figures are those of `benchmarks/fidelity.py`, the counts those of `benchmarks/balance.py`, the
pictures those of `users_plot.py`; nothing is measured here. A figure that fails is a finding, not
an error.
"""

import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.balance import FACTORS, Balance, Level, balance
from benchmarks.dialogues import LANGUAGES, SPLIT_NAMES, Language, SplitName, load_dialogues
from benchmarks.fidelity import Fidelity, Figure, fidelity
from benchmarks.persona import load_personas
from benchmarks.talks import TalkLog, find_log, human_talks, read_talks
from selfevo.errors import SelfevoError

WIDTH: Final = 110
SHOWN_HOLES: Final = 3
BAR_WIDTH: Final = 12
"""Of the most frequent value of a factor."""
STYLES: Final = {"PASS": "green", "FAIL": "bold red", "not measured": "dim"}


class Written(NamedTuple):
    """Where a report stands and what it says."""

    folder: Path
    report: Fidelity


def print_balance(
    users: Path | None, *, language: Language | None = None, split: SplitName | None = None
) -> None:
    """Print how many people have each value of each factor, language by language.

    Raises:
        DataError: the file of people is wrong or nobody is left.
        SelfevoError: somebody is missing.
    """
    everybody = load_personas(users, language=language)
    people = load_personas(users, language=language, split=split)
    found = {
        lang: balance([person for person in people if person.language == lang])
        for lang in LANGUAGES
        if any(person.language == lang for person in people)
    }
    console = _console()
    console.print(_levels(found))
    for lang in found:
        splits = Counter(person.split for person in everybody if person.language == lang)
        sizes = ", ".join(f"{name} {splits[name]}" for name in SPLIT_NAMES)
        console.print(f"{lang}: {found[lang].n} people counted; splits of the file: {sizes}")
    for lang in found:
        for pair in found[lang].missing_pairs:
            console.print(f"{lang} HOLE: {pair}")
    holes = [f"{lang} {hole}" for lang, table in found.items() for hole in table.holes]
    if holes:
        more = "" if len(holes) <= SHOWN_HOLES else f" and {len(holes) - SHOWN_HOLES} more"
        where = f"{users or 'shipped people'}{f' ({split})' if split else ''}"
        raise SelfevoError(
            f"{where}: {len(holes)} {'hole' if len(holes) == 1 else 'holes'}: "
            f"{'; '.join(holes[:SHOWN_HOLES])}{more}; add people who have this"
        )


def report_users(
    log: Path, *, users: Path | None = None, esconv: Path | None = None, out: Path | None = None
) -> Written:
    """Measure the users of a log, print the figures and write `report.json`, `.md` and `.png`.

    Args:
        log: An `.eval` file, or a folder: its newest log.
        users: File of the people's cards, where the log does not name it.
        esconv: File or folder of ESConv, to compare with people.
        out: Folder to write into; None: `<log name>-users` beside the log.

    Raises:
        DataError: no log, no conversation in it, or no such data.
    """
    from selfevo.users_plot import draw  # matplotlib takes a second

    found = find_log(log)
    read = read_talks(found, users)
    people = human_talks(load_dialogues("esconv", path=esconv).dialogues) if esconv else []
    report = fidelity(read.talks, people, supporter=read.model, user=read.user)
    folder = out or found.with_name(f"{found.stem}-users")
    folder.mkdir(parents=True, exist_ok=True)
    options = {"--users": users, "--esconv": esconv, "--out": out}
    command = ["selfevo", "users", "report", str(log)]
    command += [part for name, value in options.items() if value for part in (name, str(value))]
    (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(
        _markdown(report, read, found, shlex.join(command)), encoding="utf-8"
    )
    draw(folder / "report.png", report, read.talks, people)
    _print(report, read, folder)
    return Written(folder, report)


def _levels(found: dict[Language, Balance]) -> Table:
    table = Table(title="how many people have what", caption="HOLE: below half of its even share")
    table.add_column("factor")
    table.add_column("value")
    for lang in found:
        table.add_column(lang, justify="right")
        table.add_column("", min_width=BAR_WIDTH + 5)
    counts = {(lang, lv.factor, lv.value): lv for lang in found for lv in found[lang].levels}
    for name, factor in FACTORS.items():
        for place, value in enumerate(factor.values):
            cells: list[str | Text] = []
            for lang in found:
                level = counts[lang, name, value]
                most = max(counts[lang, name, v].n for v in factor.values)
                cells += [str(level.n), _bar(level, most)]
            is_last = place == len(factor.values) - 1
            table.add_row(name if place == 0 else "", value, *cells, end_section=is_last)
    return table


def _bar(level: Level, most: int) -> Text:
    bar = Text("█" * round(BAR_WIDTH * level.n / max(1, most)))
    return bar.append(" HOLE", style="bold red") if level.is_hole else bar


def _print(report: Fidelity, read: TalkLog, folder: Path) -> None:
    table = Table(title=_title(report), title_justify="left")
    has_people = _has_people(report)
    for name in ("figure", "value", *(["people"] if has_people else []), "bar", "", "what it is"):
        table.add_column(
            name,
            justify="right" if name in ("value", "people") else "left",
            no_wrap=name != "what it is",
        )
    for figure in report.figures:
        cells = [figure.name, _number(figure.value), figure.bar]
        if has_people:
            cells.insert(2, _number(figure.people))
        outcome = Text(figure.outcome, style=STYLES[figure.outcome])
        table.add_row(*cells, outcome, figure.note)
    console = _console()
    console.print(table)
    for line in _below(report, read):
        console.print(line, soft_wrap=True)
    console.print(f"written: {folder}/report.json, report.md, report.png", soft_wrap=True)


def _markdown(report: Fidelity, read: TalkLog, log: Path, command: str) -> str:
    today = datetime.now(UTC).date().isoformat()
    rows = [
        "| {} | {} | {} | {} | {} | {} |".format(
            figure.name,
            _number(figure.value),
            _number(figure.people),
            figure.bar,
            f"**{figure.outcome}**" if figure.outcome == "FAIL" else figure.outcome,
            figure.note,
        )
        for figure in report.figures
    ]
    return "\n".join(
        [
            f"# Users of {report.supporter}",
            "",
            f"- supporter: `{report.supporter}`",
            f"- users played by: `{report.user}`",
            f"- {_counted(report.n_talks, 'conversation')} with {_people(report)}",
            f"- log: `{log.name}` of {read.created[:10]} ({read.status})",
            f"- report: {today}, selfevo {version('selfevo')}",
            f"- command: `{command}`",
            "",
            "| figure | value | people | bar | outcome | what it is |",
            "|---|--:|--:|---|---|---|",
            *rows,
            "",
            "`people`: the same figure of the human dialogues given with `--esconv`.",
            "",
            *(line + "  " for line in _below(report, read)),
            "",
            "![words, emotion, endings, relief](report.png)",
            "",
        ]
    )


def _below(report: Fidelity, read: TalkLog) -> list[str]:
    """What stands under the table: endings, how many fail, and a log that is not whole."""
    endings = ", ".join(f"{name} {n}" for name, n in report.endings.items())
    failed = _names(report.figures, "FAIL")
    n_missing = len(_names(report.figures, "not measured"))
    lines = [
        f"endings: {endings or 'not known'}",
        f"{report.n_failed} of {len(report.figures) - n_missing} measured figures fail"
        + (f": {', '.join(failed)}" if failed else "")
        + (f"; {n_missing} not measured" if n_missing else ""),
    ]
    if read.status != "success":
        lines.append(f"the eval did not finish ({read.status}): its conversations so far")
    return lines


def _title(report: Fidelity) -> str:
    who = "the scripted user" if report.user == "scripted" else f"users played by {report.user}"
    talks = _counted(report.n_talks, "conversation")
    return f"{report.supporter} with {who}: {talks}, {_people(report)}"


def _people(report: Fidelity) -> str:
    if report.n_people == 0:
        return "people whose cards are not known"
    return "1 person" if report.n_people == 1 else f"{report.n_people} people"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _names(figures: Sequence[Figure], outcome: str) -> list[str]:
    return [figure.name for figure in figures if figure.outcome == outcome]


def _has_people(report: Fidelity) -> bool:
    return any(figure.people is not None for figure in report.figures)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _console() -> Console:
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    return Console(highlight=False, markup=False, width=min(columns, WIDTH))
