"""What `selfevo gate` answers: it reads two sides, decides, and prints the verdict first.

Also `--plan`: what a next comparison can show, without a look at who is better.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.errors import DataError
from judges.card import CardError, JudgeCard, read_card
from results.ledger import alpha_at, look
from results.paired import Incomparable, refuse_unlike
from results.prediction_powered import Estimate
from results.records import RecordError, RunRecord
from selfevo.decision import Comparison, Decision
from selfevo.errors import CannotDecide, UsageError
from selfevo.gate import decide, decide_among
from selfevo.gate_command import LEDGER
from selfevo.gate_config import DEFAULT_GATES, JUDGE_PREFIX, GateConfig
from selfevo.labelled import labelled_difference
from selfevo.plan import Plan, plan, told
from selfevo.recipe_file import read_section
from selfevo.recording import load_record
from selfevo.run import to_json

MARKS: Final = {"passed": "passed", "open": "open", "failed": "FAILED"}


def answer(options: argparse.Namespace) -> int:
    """Decide, or plan, as the arguments of `selfevo gate` say; the exit code.

    Raises:
        CannotDecide: something cannot be read or compared.
        UsageError: an argument is wrong.
    """
    try:
        champion = load_record(options.champion)
        candidates = [load_record(paths) for paths in options.candidate]
        config = read_section(GateConfig, options.config) if options.config else None
        config = config or default_gate(champion)
        cards = read_cards(options.card)
        if options.plan:
            return _show_plan(candidates[-1], champion, config, options)
        decisions = _decisions(candidates, champion, config, cards, options)
    except (RecordError, DataError, CardError) as problem:
        raise CannotDecide(str(problem)) from problem
    for candidate, decision in zip(candidates, decisions, strict=True):
        show(decision, candidate.method, champion.method)
    if options.json:
        options.json.write_text(
            "\n".join(to_json(decision) for decision in decisions), encoding="utf-8"
        )
    return min(decision.verdict.exit_code for decision in decisions)


def _decisions(
    candidates: Sequence[RunRecord],
    champion: RunRecord,
    config: GateConfig,
    cards: dict[str, JudgeCard],
    options: argparse.Namespace,
) -> list[Decision]:
    """One look at the pool, whatever the number of candidates; what does not compare costs none."""
    try:
        for candidate in candidates:
            refuse_unlike(candidate, champion)
    except Incomparable:
        return [decide(candidate, champion, config, cards) for candidate in candidates]
    price = look(options.ledger or config.ledger or LEDGER, candidates[0], champion, config.alpha)
    for candidate in candidates[1:]:
        price = max(
            price,
            look(options.ledger or config.ledger or LEDGER, candidate, champion, config.alpha),
        )
    if options.labels:
        [candidate] = _one(candidates, "--labels")
        anchor = anchored(options, price.alpha)
        return [
            decide(
                candidate,
                champion,
                config,
                cards,
                alpha=price.alpha,
                look=price.number,
                anchor=anchor,
            )
        ]
    return decide_among(candidates, champion, config, cards, alpha=price.alpha, look=price.number)


def anchored(options: argparse.Namespace, alpha: float) -> Estimate:
    """The difference by people's labels and the judge, at the error of this look."""
    [log_of_candidate] = options.candidate[0]
    [log_of_champion] = options.champion
    return labelled_difference(
        log_of_candidate, log_of_champion, options.labels, options.users, alpha=2 * alpha
    ).a_minus_b


def default_gate(record: RunRecord) -> GateConfig:
    """The gate of a record without a recipe.

    Raises:
        UsageError: nothing is known of its benchmark.
    """
    if record.benchmark not in DEFAULT_GATES:
        raise UsageError(
            f"--config: there is no gate for '{record.benchmark}'; write one "
            f"(there are gates for {', '.join(DEFAULT_GATES)})"
        )
    return DEFAULT_GATES[record.benchmark]


def read_cards(given: Sequence[str]) -> dict[str, JudgeCard]:
    """The cards of `METRIC=FILE` arguments.

    Raises:
        UsageError: not of this form, or not a metric of a judge.
        CardError: a card cannot be read.
    """
    cards = {}
    for argument in given:
        metric, separator, path = argument.partition("=")
        if not separator or not metric.startswith(JUDGE_PREFIX):
            raise UsageError(f"--card {argument}: write --card {JUDGE_PREFIX}RUBRIC=FILE")
        cards[metric] = read_card(Path(path))
    return cards


def show(decision: Decision, candidate: str, champion: str) -> None:
    """Print a decision: the verdict first, then why, then every comparison."""
    console = Console(highlight=False, markup=False)
    console.print(f"{decision.verdict}: {candidate} against {champion}")
    for reason in (*decision.reasons, *(f"overridden: {o}" for o in decision.overrides)):
        console.print(f"  {reason}")
    if decision.comparisons:
        console.print(_table(decision, candidate, champion))
    if decision.look is not None and decision.alpha is not None:
        console.print(
            f"look {decision.look} at these people, decided at alpha {decision.alpha:.4f}"
        )
    if decision.detectable is not None:
        console.print(
            f"a gain in {decision.comparisons[0].metric} of {decision.detectable:.2g} would have "
            "been found in 80% of the cases"
        )


def _table(decision: Decision, candidate: str, champion: str) -> Table:
    table = Table(caption="difference: with one-sided bounds each way; even: at equal length")
    for name in ("metric", champion, candidate, "difference", "needed", "", "people"):
        table.add_column(name, justify="left" if name in ("metric", "") else "right")
    for found in decision.comparisons:
        table.add_row(
            found.metric,
            "-" if found.champion is None else f"{found.champion:.3g}",
            f"{found.candidate:.3g}",
            _difference(found),
            _needed(found),
            MARKS[found.outcome],
            str(found.n),
        )
        if found.even is not None:
            mean, lower, upper = found.even
            table.add_row(
                "  even", "", "", f"{mean:+.3g} ({lower:+.3g} to {upper:+.3g})", "", "", ""
            )
    return table


def _difference(found: Comparison) -> str:
    if found.difference is None:
        return f"up to {found.upper:.1%}"
    return f"{found.difference:+.3g} ({found.lower:+.3g} to {found.upper:+.3g})"


def _needed(found: Comparison) -> str:
    if found.threshold is None:
        return ""
    if found.rule == "primary":
        return f"above 0, mean {found.threshold:g}"
    if found.rule == "cap":
        return f"below {found.threshold:.0%}"
    sign = "below +" if found.worse == "up" else "above -"
    return f"{sign}{found.threshold:g}"


def _show_plan(
    candidate: RunRecord, champion: RunRecord, config: GateConfig, options: argparse.Namespace
) -> int:
    try:
        refuse_unlike(candidate, champion)
        found = plan(
            candidate,
            champion,
            config,
            alpha=alpha_at(config.alpha, 1),
            people=options.people,
            repeats=options.epochs,
        )
    except Incomparable as problem:
        raise CannotDecide(str(problem)) from problem
    _print_plan(found)
    return 2 if found.is_underpowered and not options.allow_underpowered else 0


def _print_plan(found: Plan) -> None:
    console = Console(highlight=False, markup=False)
    console.print(told(found))
    if found.needed is not None:
        console.print(f"a gain of {2 * found.delta_min:g} needs {found.needed} people")
    table = Table(title="guards: how often an unchanged model passes")
    for name in ("metric", "margin", "passes"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for guard in found.guards:
        table.add_row(guard.metric, f"{guard.margin:g}", f"{guard.chance:.0%}")
    console.print(table)
    if found.is_underpowered:
        console.print("UNDERPOWERED: more people or epochs, or --allow-underpowered")


def _one(candidates: Sequence[RunRecord], option: str) -> Sequence[RunRecord]:
    if len(candidates) != 1:
        raise UsageError(f"{option}: goes with one candidate, not {len(candidates)}")
    return candidates
