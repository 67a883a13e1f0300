"""A regression check in words: for the terminal, a comment on a pull request, and as JSON.

The Markdown begins with a marker, by which a workflow finds its own comment and updates it instead
of writing another. Names come from logs and may hold anything: in Markdown they are quoted, and
nothing in them is a tag, a link, a mention, or the end of a cell.
"""

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from results.records import HASH_CHARACTERS, Cost
from selfevo.baseline import Baseline, changes, other_suite
from selfevo.check_result import CheckResult, MetricCheck, Side, Verdict

MARKER: Final = "<!-- selfevo-check -->"
MAX_COMMENT_BYTES: Final = 60_000
"""GitHub refuses a comment above 64 KB."""
MAX_SUMMARY_BYTES: Final = 1_000 * 1024
"""GitHub drops a step summary above 1,024 KiB, whole."""
MAX_LINES: Final = 20
"""Of a list in a comment."""
MAX_TEXT: Final = 400
"""Characters of one text from a record."""
ACTIVE: Final = re.compile(r"([\\`*_\[\]|~$])")
"""What Markdown reads as more than a character inside a line."""

IN_WORDS: Final = {
    Verdict.PASS: "nobody is worse off by the margins",
    Verdict.REGRESSION: "somebody is worse off",
    Verdict.INCONCLUSIVE: "it cannot be told whether anybody is worse off",
    Verdict.CANNOT_DECIDE: "there is nothing that could be compared",
}
OUTCOMES: Final = {
    "excluded": "ok",
    "shown": "HARM",
    "open": "not excluded",
    "not counted": "not counted",
}


def in_words(result: CheckResult) -> str:
    """For the terminal: the verdict first."""
    lines = [_verdict_line(result)]
    if result.verdict is Verdict.CANNOT_DECIDE:
        return _plain(f"{result.headline}: {'; '.join(result.reasons)}")
    lines += [f"  warning: {_plain(warning)}" for warning in result.warnings]
    lines += [f"  {_plain(line)}" for line in (*result.reasons, *result.sight)]
    if result.metrics:
        lines += ["", _HEADER, *(_row(found) for found in result.metrics), ""]
    lines += [f"  {_plain(line)}" for line in (*_about(result), *result.not_counted)]
    return "\n".join(lines)


def as_json(result: CheckResult) -> str:
    """The whole result."""
    return result.model_dump_json(indent=1) + "\n"


def as_markdown(result: CheckResult) -> str:
    """A comment for a pull request; table rows that are too many for one are left out and counted.

    What decides comes first, so what is left out is what decides least.
    """
    n_rows = len(result.metrics)
    while True:
        text = _markdown(result, n_rows)
        if len(text.encode()) <= MAX_COMMENT_BYTES or not n_rows:
            return text
        n_rows //= 2


def append_summary(result: CheckResult, path: Path) -> None:
    """Append the comment to a job's step summary, if it still fits.

    Raises:
        OSError: the file cannot be written.
    """
    text = as_markdown(result) + "\n"
    used = path.stat().st_size if path.exists() else 0
    if used + len(text.encode()) > MAX_SUMMARY_BYTES:
        text = f"**{_verdict_line(result)}**\n"
    if used + len(text.encode()) <= MAX_SUMMARY_BYTES:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def blessing(old: Baseline | None, new: Baseline, path: Path, unreadable: str | None) -> str:
    """What a blessing changes: each metric's mean, old and new."""
    rows = changes(old, new)
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{path}: baseline of {new.blessed}, {new.record.method}"]
    if unreadable is not None:
        lines.append(f"warning: the old one is replaced unread ({unreadable})")
    if old is not None:
        lines[0] += f" (was {old.blessed}, {old.record.method})"
        lines += [f"warning: other suite, means do not compare: {p}" for p in other_suite(old, new)]
    lines.append(f"  {'metric':{width}}  {'old':>10}  {'new':>10}")
    lines += [f"  {name:{width}}  {one:>10}  {other:>10}" for name, one, other in rows]
    return "\n".join(lines)


_HEADER: Final = (
    f"  {'metric':30} {'baseline':>9} {'candidate':>9} {'difference':>11} "
    f"{'interval':>18} {'margin':>7} {'sees':>7}  verdict"
)


def _row(found: MetricCheck) -> str:
    interval = f"[{found.lower:+.3f}, {found.upper:+.3f}]"
    sees = "-" if found.detectable is None else f"{found.detectable:.3g}"
    return (
        f"  {_plain(found.metric):30} {found.baseline:9.3f} {found.candidate:9.3f} "
        f"{found.difference:+11.3f} {interval:>18} {_margin(found):>7} {sees:>7}  "
        f"{OUTCOMES[found.outcome]}"
    )


def _margin(found: MetricCheck) -> str:
    return f"{'+' if found.worse == 'up' else '-'}{found.margin:g}"


def _verdict_line(result: CheckResult) -> str:
    is_shown = any(found.outcome == "shown" for found in result.metrics)
    words = IN_WORDS[result.verdict]
    if result.verdict is Verdict.REGRESSION and not is_shown:
        words = "it is not excluded that somebody is worse off"
    strict = ", strict" if result.strict else ""
    return f"{result.headline}: {words} (harm test{strict})"


def _about(result: CheckResult) -> list[str]:
    """Who was compared, and what it cost."""
    if result.baseline is None or result.candidate is None:
        return []
    lines = [
        f"baseline: {_plain(result.baseline.method)}, blessed {result.blessed}, "
        f"{result.age_days} days old, record {result.baseline.hash[:HASH_CHARACTERS]}",
        f"candidate: {_plain(result.candidate.method)}, record "
        f"{result.candidate.hash[:HASH_CHARACTERS]}, cost {_cost(result.candidate)}",
    ]
    lines += [
        f"judge of {_plain(metric)}: {_plain(judge)[:HASH_CHARACTERS]}"
        for metric, judge in sorted(result.judges.items())
    ]
    return lines


def _cost(side: Side) -> str:
    cost: Cost = side.cost
    parts = [
        None if cost.calls is None else f"{cost.calls:,} calls",
        None if cost.input_tokens is None else f"{cost.input_tokens:,} tokens in",
        None if cost.output_tokens is None else f"{cost.output_tokens:,} out",
        None if cost.minutes is None else f"{cost.minutes:.1f} minutes",
    ]
    return ", ".join(part for part in parts if part) or "not known"


def _markdown(result: CheckResult, n_rows: int) -> str:
    parts = [MARKER, f"### {_safe(_verdict_line(result))}"]
    parts.append(_bullets(f"warning: {warning}" for warning in result.warnings))
    parts.append(_bullets(result.reasons))
    parts.append("\n".join(f"*{_safe(line)}*  " for line in result.sight))
    shown, left = result.metrics[:n_rows], len(result.metrics) - n_rows
    if shown:
        parts.append("\n".join([*_TABLE_HEAD, *(_table_row(found) for found in shown)]))
    if left:
        parts.append(f"{left} more metrics did not fit; they are in the JSON report.")
    details = [*_about(result), *result.not_counted]
    if result.alpha is not None:
        details.append(
            f"intervals are one-sided bounds at {result.alpha:g} each; harm is tested with Holm "
            "over the metrics; sees: true harm that is found in 4 of 5 cases"
        )
    if details:
        parts.append(f"<details><summary>What was compared</summary>\n\n{_bullets(details)}\n")
        parts.append("</details>")
    return "\n\n".join(part for part in parts if part) + "\n"


_TABLE_HEAD: Final = (
    "| metric | baseline | candidate | difference [interval] | margin | sees | verdict |",
    "|---|---:|---:|---:|---:|---:|---|",
)


def _table_row(found: MetricCheck) -> str:
    sees = "-" if found.detectable is None else f"{found.detectable:.3g}"
    outcome = OUTCOMES[found.outcome]
    return (
        f"| {_safe(found.metric)} | {found.baseline:.3f} | {found.candidate:.3f} "
        f"| {found.difference:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}] "
        f"| {_margin(found)} | {sees} | {f'**{outcome}**' if outcome == 'HARM' else outcome} |"
    )


def _bullets(lines: Iterable[str]) -> str:
    listed = list(lines)
    kept = [f"- {_safe(line)}" for line in listed[:MAX_LINES]]
    if len(listed) > MAX_LINES:
        kept.append(f"- ... and {len(listed) - MAX_LINES} more")
    return "\n".join(kept)


def _safe(text: str) -> str:
    """A text of one line in which Markdown and GitHub find nothing to act on."""
    escaped = html.escape(ACTIVE.sub(r"\\\1", _plain(text)), quote=False)
    # a zero-width space: no mention of a user, no reference to an issue, no link
    return re.sub(r"([@#]|:(?=//)|www(?=\.))", "\\1\u200b", escaped)


def _plain(text: str) -> str:
    """One line without control characters, of limited length."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(line.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."
