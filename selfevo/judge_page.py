"""A judge's card as a page to read."""

from judges.card import JudgeCard, ProbeOutcome, Trust, load_bars
from judges.resampling import Interval

_MEANING = {
    Trust.TRUSTED: "follows people",
    Trust.UNTRUSTED: "does not",
    Trust.INCONCLUSIVE: "not shown either way",
}


def page_of(card: JudgeCard) -> str:
    """Markdown: what was measured, what follows, and what was not measured."""
    blocks = [
        f"# Judge card: {card.judge}",
        _head(card),
        _verdicts(card),
        _figures(card),
        _beside(card),
        _probes(card),
        _limits(card),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def shown(interval: Interval | None) -> str:
    """A value with its interval; a dash where there is none."""
    if interval is None:
        return "-"
    return f"{interval.value:.2f} ({interval.lower:.2f} to {interval.upper:.2f})"


def _head(card: JudgeCard) -> str:
    failures = ", ".join(f"{reason} {n}" for reason, n in card.failures.items()) or "none"
    return "\n".join(
        (
            f"- data: {card.data}, {card.n_items} items of {card.n_conversations} conversations "
            f"(sha256 {card.data_hash[:12]})",
            f"- judge: {card.judge_hash[:12]}" + (f", rubric {card.rubric}" if card.rubric else ""),
            f"- without a verdict: {card.failure_rate:.1%} ({failures})",
            f"- measured {card.measured} with `{card.command}`",
        )
    )


def _verdicts(card: JudgeCard) -> str:
    bars = load_bars()
    lines = [
        "## May it be trusted?",
        "",
        f"Bars: kappa with the people's median above {bars.kappa:.2f} and offset within "
        f"{bars.offset:.1f} of five levels, each by the whole 95% interval, on {bars.items} items "
        f"or more; at most {bars.failure_rate:.0%} of the items without a verdict.",
        "",
        "| dimension | verdict | why | labels that would decide |",
        "|---|---|---|--:|",
    ]
    for dimension in card.dimensions:
        needed = f"{dimension.labels_needed:,}" if dimension.labels_needed else "-"
        lines.append(
            f"| {dimension.name} | **{dimension.trust}** ({_MEANING[dimension.trust]}) | "
            f"{dimension.reason} | {needed} |"
        )
    return "\n".join(lines)


def _figures(card: JudgeCard) -> str:
    lines = [
        "## Against people",
        "",
        "Intervals: 95%, bootstrap over conversations. *People reach*: each rater against the "
        "median of the others. *Against one more person*: kappa of the judge minus that of a "
        "person left out, on the same items.",
        "",
        "| dimension | n | kappa | people reach | against one more person | Spearman | offset "
        "| exact |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for d in card.dimensions:
        found = d.agreement
        cells = [
            shown(found.kappa if found else None),
            shown(d.ceiling.kappa if d.ceiling else None),
            shown(d.judge_minus_human),
            shown(found.spearman if found else None),
            shown(found.offset if found else None),
            shown(found.exact if found else None),
        ]
        n = f"{found.n} of {min(found.n_total, card.n_items)}" if found else "0"
        lines.append(f"| {d.name} | {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _beside(card: JudgeCard) -> str:
    lines = [
        "## Length, stability, position",
        "",
        "Levels by which the rating rises with one standard deviation of log length; the bias is "
        "the judge's slope minus people's.",
        "",
        "| dimension | judge | people | bias |",
        "|---|--:|--:|--:|",
    ]
    for d in card.dimensions:
        if d.length is not None:
            length = d.length
            lines.append(
                f"| {d.name} | {shown(length.judge)} | {shown(length.human)} | "
                f"{shown(length.difference)} |"
            )
    steady = card.stability
    lines += [
        "",
        "Same input again: "
        + (
            f"{shown(steady.flip_rate)} of pairs differ, {steady.n} items."
            if steady
            else "not measured."
        ),
        "Same slot twice, of pairs in both orders: "
        + (f"{shown(card.position)}." if card.position else "not measured."),
    ]
    return "\n".join(lines)


def _probes(card: JudgeCard) -> str:
    if not card.probes:
        return "## Probes\n\nNot measured."
    lines = [
        "## Probes (`personalization`): replies that must lose against a person's",
        "",
        "| probe | n | below the person's reply | person minus probe | |",
        "|---|--:|--:|--:|---|",
    ]
    lines += [_probe_row(probe) for probe in card.probes]
    return "\n".join(lines)


def _probe_row(probe: ProbeOutcome) -> str:
    outcome = "loses" if probe.loses else "**is not shown to lose**"
    cells = (probe.name, str(probe.n), shown(probe.below), shown(probe.difference), outcome)
    return f"| {' | '.join(cells)} |"


def _limits(card: JudgeCard) -> str:
    if not card.limits:
        return ""
    return "\n".join(("## Limits", "", *(f"- {limit}" for limit in card.limits)))
