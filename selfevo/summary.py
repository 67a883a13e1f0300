"""What a finished run prints: its checkpoints side by side, the yield of its pairs, its times."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from results.records import RunRecord
from selfevo.evolve import Outcome
from selfevo.progress import duration

SHOWN = {
    "specificity": ("bits", "{:.1f}"),
    "unhelpful": ("unhelpful", "{:.0%}"),
    "copy_rate": ("copied", "{:.1%}"),
    "emotion_accuracy": ("emotion", "{:.0%}"),
    "relief": ("relief", "{:+.2f}"),
}


def print_outcome(outcome: Outcome) -> None:
    """Print the table of checkpoints, the step times and the path of the run."""
    console = Console(highlight=False, markup=False)  # a path may hold [brackets]
    console.print(_checkpoints(outcome))
    for round_ in outcome.rounds:
        console.print(
            f"{round_.name} {round_.decision.verdict}: {'; '.join(round_.decision.reasons)}"
        )
    console.print()
    total = 0.0
    for entry in outcome.run.times():
        total += entry.seconds
        console.print(f"{duration(entry.seconds):>14}  {entry.step}")
    console.print(f"{duration(total):>14}  in all")
    console.print(
        f"\nchampion: {outcome.champion.name}, {outcome.champion.evaluand.path}", soft_wrap=True
    )
    console.print(f"run: {outcome.run.root}", soft_wrap=True)


def _checkpoints(outcome: Outcome) -> Table:
    table = Table(
        title=f"{outcome.run.config.name}: means over held-out people",
        caption="bits: specificity; copied: share of 4-grams; emotion: labels recognised; "
        "relief: of simulated users, of 5",
    )
    for name in ("model", "pairs", *(title for title, _ in SHOWN.values()), "decision"):
        table.add_column(name, justify="left" if name in ("model", "decision") else "right")
    table.add_row("M0", "", *_cells(outcome.m0.record), "start")
    for round_ in outcome.rounds:
        cells = _cells(round_.record) if round_.record else ["-"] * len(SHOWN)
        table.add_row(round_.name, str(round_.n_pairs), *cells, str(round_.decision.verdict))
    return table


def _cells(record: RunRecord) -> Sequence[str]:
    means = {key: measure.mean for key, measure in record.measures.items()}
    return [
        "-" if (mean := means.get(key)) is None else pattern.format(mean)
        for key, (_, pattern) in SHOWN.items()
    ]
