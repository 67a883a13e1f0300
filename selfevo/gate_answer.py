"""What `selfevo gate` answers: it reads two sides, decides, and prints the verdict first.

Also `--plan`: what a next comparison can show, without a look at who is better.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.errors import DataError
from benchmarks.judged import HARMS
from judges.card import CardError, JudgeCard, read_card
from judges.rubric import RubricError
from results.ledger import Price, next_alpha
from results.paired import Incomparable, refuse_unlike
from results.prediction_powered import Estimate
from results.records import RecordError, RunRecord
from selfevo.decision import Comparison, Decision, Verdict
from selfevo.errors import CannotDecide, UsageError
from selfevo.gate import decide, decide_among
from selfevo.gate_command import LEDGER
from selfevo.gate_config import DEFAULT_GATES, JUDGE_PREFIX, GateConfig
from selfevo.labelled import labelled_difference
from selfevo.looks import at_a_price, people_asked, unpaid
from selfevo.plan import Plan, plan, told
from selfevo.recipe_file import read_section
from selfevo.recording import load_record
from selfevo.run import to_json

BEST_FIRST: Final = (Verdict.PROMOTE, Verdict.HOLD, Verdict.REJECT, Verdict.ERROR)
"""Of several candidates the best verdict is the exit code: one that is open is not rejected."""
MARKS: Final = {"passed": "ok", "open": "open", "failed": "FAIL"}


def answer(options: argparse.Namespace) -> int:
    """Decide, or plan, as the arguments of `selfevo gate` say; the exit code.

    Raises:
        CannotDecide: something cannot be read, written or compared.
        UsageError: an argument is wrong.
    """
    try:
        champion = load_record(options.champion)
        candidates = [load_record(paths) for paths in options.candidate]
        config = gate_of(champion, options.config)
        refuse_harm(config)
        ledger = options.ledger or config.ledger or LEDGER
        if options.plan:
            return _show_plan(candidates[-1], champion, config, ledger, options)
        if options.json:
            _refuse_unwritable(options.json)
        is_new = not ledger.exists()
        decisions = _decisions(candidates, champion, config, ledger, options)
        if is_new and ledger.exists():
            print(f"selfevo: a new ledger is started at {ledger.resolve()}", file=sys.stderr)
        if options.json:
            options.json.write_text(_json(decisions), encoding="utf-8")
    except (RecordError, DataError, CardError, RubricError, OSError) as problem:
        # OSError too: the exit code of a file that cannot be opened must not be that of REJECT
        raise CannotDecide(str(problem)) from problem
    for candidate, decision in zip(candidates, decisions, strict=True):
        show(decision, candidate.method, champion.method)
    return min((d.verdict for d in decisions), key=BEST_FIRST.index).exit_code


def _refuse_unwritable(path: Path) -> None:
    """Before the look is paid: a decision that cannot be kept is none.

    Raises:
        CannotDecide: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("a", encoding="utf-8"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise CannotDecide(
            f"--json {path}: cannot be written ({error.strerror}); choose another file"
        ) from None


def _decisions(
    candidates: Sequence[RunRecord],
    champion: RunRecord,
    config: GateConfig,
    ledger: Path,
    options: argparse.Namespace,
) -> list[Decision]:
    """One look at the pool, whatever the number of candidates; one that is refused costs none.

    What does not compare, and the champion itself, has no part in the look.
    """
    if options.labels:
        _refuse_labels(options)
    cards = read_cards(options.card)
    likes = [_is_like(candidate, champion) for candidate in candidates]
    rivals = [candidate for candidate, like in zip(candidates, likes, strict=True) if like]

    def decided(price: Price) -> list[Decision]:
        found = iter(_decided(rivals, champion, config, cards, price, options))
        return [
            next(found) if like else _refused(candidate, champion, config, cards)
            for candidate, like in zip(candidates, likes, strict=True)
        ]

    if not rivals:
        return [unpaid(_refused(candidate, champion, config, cards)) for candidate in candidates]
    return at_a_price(ledger, rivals, champion, config, decided, options.labels)


def _decided(
    rivals: Sequence[RunRecord],
    champion: RunRecord,
    config: GateConfig,
    cards: dict[str, JudgeCard],
    price: Price,
    options: argparse.Namespace,
) -> list[Decision]:
    """The decisions on those that compare, at this price."""
    if not options.labels:
        return decide_among(
            rivals,
            champion,
            config,
            cards,
            alpha=price.alpha,
            look=price.number,
            later=price.later,
        )
    anchor = anchored(options, config, price.alpha)
    return [
        decide(
            rival,
            champion,
            config,
            cards,
            alpha=price.alpha,
            look=price.number,
            later=price.later,
            anchor=anchor,
        )
        for rival in rivals
    ]


def _refused(
    candidate: RunRecord, champion: RunRecord, config: GateConfig, cards: dict[str, JudgeCard]
) -> Decision:
    """Why a candidate has no part in the look."""
    if candidate.hash != champion.hash:
        return decide(candidate, champion, config, cards)
    return Decision(
        verdict=Verdict.ERROR,
        reasons=("the candidate is the champion, the same record; give another one",),
        champion=champion.checkpoint,
        candidate=candidate.checkpoint,
    )


def _is_like(candidate: RunRecord, champion: RunRecord) -> bool:
    if candidate.hash == champion.hash:
        return False
    try:
        refuse_unlike(candidate, champion)
    except Incomparable:
        return False
    return True


def _json(decisions: Sequence[Decision]) -> str:
    """One decision, or a list of several."""
    if len(decisions) == 1:
        return to_json(decisions[0])
    listed = [decision.model_dump(mode="json") for decision in decisions]
    return json.dumps(listed, indent=2, ensure_ascii=False) + "\n"


def anchored(options: argparse.Namespace, config: GateConfig, alpha: float) -> Estimate:
    """The difference by people's labels and the judge, at the error of this look.

    Raises:
        UsageError: the labels are of another metric than the primary, or the evaluation grows.
    """
    if config.planned_people is not None:
        raise UsageError(
            "--labels: give an interval for one look, and 'planned_people' asks for one at every "
            "look; leave one of them out"
        )
    [log_of_candidate] = options.candidate[0]
    [log_of_champion] = options.champion
    found = labelled_difference(
        log_of_candidate, log_of_champion, options.labels, options.users, alpha=2 * alpha
    )
    if config.primary != f"{JUDGE_PREFIX}{found.rubric}":
        raise UsageError(
            f"--labels: are of '{found.rubric}', the gate's primary is '{config.primary}'; name a "
            f"--config whose primary is '{JUDGE_PREFIX}{found.rubric}'"
        )
    return found.a_minus_b


def _refuse_labels(options: argparse.Namespace) -> None:
    """Labels go with the transcripts of two checkpoints."""
    if len(options.candidate) != 1:
        raise UsageError(f"--labels: goes with one candidate, not {len(options.candidate)}")
    for side, paths in (("--champion", options.champion), ("--candidate", options.candidate[0])):
        if len(paths) != 1 or paths[0].suffix == ".json":
            raise UsageError(f"--labels: {side} must be the one log that was labelled")


def refuse_harm(config: GateConfig) -> None:
    """More of a harm is no goal.

    Raises:
        UsageError: the primary is worse when it is higher.
    """
    if config.primary.removeprefix(JUDGE_PREFIX) in HARMS:
        raise UsageError(
            f"--config: the primary '{config.primary}' is worse when it is higher; make it a guard"
        )


def gate_of(record: RunRecord, path: Path | None) -> GateConfig:
    """The gate of a record: that of its benchmark, with what a file says instead.

    Raises:
        UsageError: nothing is known of its benchmark, and no file; or the file is wrong.
    """
    default = DEFAULT_GATES.get(record.benchmark)
    if path is not None:
        given = read_section(GateConfig, path)
        said = {name: getattr(given, name) for name in given.model_fields_set}
        return given if default is None else default.model_copy(update=said)
    if default is None:
        raise UsageError(
            f"--config: there is no gate for '{record.benchmark}'; write one "
            f"(there are gates for {', '.join(DEFAULT_GATES)})"
        )
    return default


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
        console.print(_table(decision))
    if decision.look is not None and decision.alpha is not None:
        console.print(
            f"look {decision.look} at these people, decided at alpha {decision.alpha:.4f}"
        )
    if decision.detectable is not None:
        console.print(
            f"a gain in {decision.comparisons[0].metric} of {decision.detectable:.2g} would have "
            "been found in 80% of the cases"
        )


def _table(decision: Decision) -> Table:
    counts = sorted({found.n for found in decision.comparisons})
    people = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    table = Table(
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        caption=f"{people} people; one-sided bounds each way; even: at equal length",
    )
    for name in ("metric", "champion", "candidate", "difference", "needed"):
        left = name == "metric"
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    table.add_column("", min_width=max(map(len, MARKS.values())), no_wrap=True)
    for found in decision.comparisons:
        table.add_row(
            found.metric,
            "-" if found.champion is None else f"{found.champion:.3g}",
            f"{found.candidate:.3g}",
            _difference(found),
            _needed(found),
            MARKS[found.outcome],
        )
        if found.even is not None:
            table.add_row("  even", "", "", _bounded(*found.even), "> 0", "")
    return table


def _difference(found: Comparison) -> str:
    if found.difference is None:
        return f"up to {found.upper:.1%}"
    return _bounded(found.difference, found.lower, found.upper)


def _bounded(value: float, lower: float, upper: float) -> str:
    return f"{value:+.2g} ({lower:+.2g} to {upper:+.2g})"


def _needed(found: Comparison) -> str:
    if found.threshold is None:
        return ""
    if found.rule == "primary":
        return f"≥ {found.threshold:g}" if found.threshold else "> 0"
    if found.rule == "cap":
        return f"< {100 * found.threshold:g}%"
    sign = "< +" if found.worse == "up" else "> -"
    return f"{sign}{found.threshold:g}"


def _show_plan(
    candidate: RunRecord,
    champion: RunRecord,
    config: GateConfig,
    ledger: Path,
    options: argparse.Namespace,
) -> int:
    if config.planned_people is not None:
        raise UsageError(
            "--plan is for a single look; with planned_people the evaluation grows until it shows "
            "something: leave one of them out"
        )
    try:
        refuse_unlike(candidate, champion)
        people = people_asked([candidate, champion], config.primary)
        found = plan(
            candidate,
            champion,
            config,
            alpha=next_alpha(ledger, people, config.alpha),
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
