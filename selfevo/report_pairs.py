"""The pairs of a round as its report shows them: the way through the filters, and examples.

Kept pairs come from `pairs.jsonl`. A dropped one is in no file but the log of its making, from
which single samples are read. What differs between two texts is marked word by word; a single word
in common between two changes is chance and marked too.
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from inspect_ai.log import EvalSample, read_eval_log_sample

from benchmarks.contexts import Message
from judges.words import words
from selfevo.pairs import PreferencePair
from selfevo.refine import Refinement
from selfevo.report_run import RoundFiles, log_files

MIN_COMMON: Final = 2
"""Words in a row that two texts must share to be left unmarked."""
MIN_SHARE: Final = 0.2
"""Of the words of the longer text: texts that share less are two texts, and nothing is marked."""


class Segment(NamedTuple):
    """A piece of a text."""

    text: str
    is_changed: bool


class Marked(NamedTuple):
    """Two texts with what differs between them."""

    old: tuple[Segment, ...]
    new: tuple[Segment, ...]
    is_close: bool
    """Whether they share enough for marks to say something."""


class Stage(NamedTuple):
    """What is left of the candidates at one point."""

    name: str
    left: int
    lost: int
    examples: tuple[str, ...] = ()
    """Sample ids of the first few that were lost here."""


class Funnel(NamedTuple):
    """From contexts to pairs."""

    name: str
    stages: tuple[Stage, ...]
    n_kept: int


class Example(NamedTuple):
    """One candidate pair."""

    model: str
    tag: str
    is_kept: bool
    id: str
    before: tuple[Message, ...]
    reflection: str
    texts: Marked
    old_label: str
    new_label: str
    gain_bits: float | None


def funnel(files: RoundFiles) -> Funnel | None:
    """How many candidates are left after each check that dropped one; None before the filters."""
    report = files.pairs_report
    if report is None:
        return None
    stages = []
    if files.n_contexts is not None:
        stages.append(Stage("contexts", files.n_contexts, 0))
        failed = files.n_contexts - report.n_candidates
        stages.append(Stage("refined", report.n_candidates, failed))
    else:
        stages.append(Stage("refined", report.n_candidates, 0))
    left = report.n_candidates
    for count in report.dropped:
        if count.n_dropped:
            left -= count.n_dropped
            name = count.reason.replace("_", " ")
            stages.append(Stage(name, left, count.n_dropped, count.examples))
    return Funnel(files.name, tuple(stages), report.n_kept)


def kept_examples(files: RoundFiles) -> Iterator[Example]:
    """The pair with the largest gain, the middle one and the one with the smallest."""
    ranked = sorted(files.pairs, key=lambda pair: (-(pair.gain_bits or 0.0), pair.id))
    if len(ranked) <= 3:
        chosen = [("kept", pair) for pair in ranked]
    else:
        chosen = [
            ("kept: largest gain", ranked[0]),
            ("kept: middle", ranked[len(ranked) // 2]),
            ("kept: smallest gain", ranked[-1]),
        ]
    for tag, pair in chosen:
        yield Example(
            model=files.name,
            tag=tag,
            is_kept=True,
            id=pair.context_id,
            before=pair.messages,
            reflection=pair.reflection,
            texts=marked(pair.rejected, pair.chosen),
            old_label="Draft of M0 (rejected)" if _is_m0s(pair) else "Draft (rejected)",
            new_label="A person's reply (chosen)" if _is_human(pair) else "Refinement (chosen)",
            gain_bits=pair.gain_bits,
        )


def dropped_examples(rounds: Sequence[RoundFiles]) -> Iterator[Example]:
    """One candidate for each reason that fired, where the log of its making is still there."""
    seen = set()
    for files in rounds:
        for count in files.pairs_report.dropped if files.pairs_report else ():
            for log in log_files(files.folder / "synthesis")[:1]:
                if count.reason in seen or not count.examples:
                    continue
                sample = read_eval_log_sample(log, id=count.examples[0], exclude_fields={"events"})
                example = _dropped(files.name, count.reason.replace("_", " "), sample)
                if example:
                    seen.add(count.reason)
                    yield example


def _dropped(model: str, reason: str, sample: EvalSample) -> Example | None:
    stored = sample.store.get("refinement")
    if not stored:
        return None
    made = Refinement.model_validate(stored)
    return Example(
        model=model,
        tag=f"dropped: {reason}",
        is_kept=False,
        id=str(sample.id),
        before=said_before(sample),
        reflection=made.reflection.text() if made.reflection else "",
        texts=marked(made.draft.text, made.refined.text),
        old_label="Draft",
        new_label="Refinement",
        gain_bits=made.gain_bits,
    )


def said_before(sample: EvalSample) -> tuple[Message, ...]:
    """The dialogue that a sample was asked to answer."""
    if isinstance(sample.input, str):
        return (Message(role="user", content=sample.input),)
    return tuple(
        Message(role="user" if m.role == "user" else "assistant", content=m.text)
        for m in sample.input
        if m.role in ("user", "assistant")
    )


def marked(old: str, new: str) -> Marked:
    """Two texts in pieces, each the same on both sides or changed."""
    olds, news = words(old), words(new)
    matcher = SequenceMatcher(a=[w.text for w in olds], b=[w.text for w in news], autojunk=False)
    same = [block for block in matcher.get_matching_blocks() if block.size >= MIN_COMMON]
    n_same = sum(block.size for block in same)
    if n_same < MIN_SHARE * max(len(olds), len(news)):
        return Marked((Segment(old, False),), (Segment(new, False),), is_close=False)
    return Marked(
        _segments(old, [(olds[m.a].start, olds[m.a + m.size - 1].end) for m in same]),
        _segments(new, [(news[m.b].start, news[m.b + m.size - 1].end) for m in same]),
        is_close=True,
    )


def _segments(text: str, same: Sequence[tuple[int, int]]) -> tuple[Segment, ...]:
    pieces: list[Segment] = []
    at = 0
    for start, end in [*same, (len(text), len(text))]:
        pieces += [*_changed(text[at:start]), Segment(text[start:end], False)]
        at = end
    return tuple(piece for piece in pieces if piece.text)


def _changed(text: str) -> Iterator[Segment]:
    """From its first word to its last; a comma or a space beside them is no change to mark."""
    found = words(text)
    start, end = (found[0].start, found[-1].end) if found else (0, 0)
    yield Segment(text[:start], False)
    yield Segment(text[start:end], True)
    yield Segment(text[end:], False)


def _is_human(pair: PreferencePair) -> bool:
    return pair.provenance.chosen_source == "human"


def _is_m0s(pair: PreferencePair) -> bool:
    return pair.provenance.rejected_source == "m0_draft"
