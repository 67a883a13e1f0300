"""Preferences of the embedded judge: which of two conversations takes up more of what was said.

It needs no model and has no order to be biased by: each conversation is scored by itself and the
higher `personalization` wins, so both orders agree by construction. Its card says how little it
may be believed (`results/judges/`); on a board it stands under its own name.
"""

from pathlib import Path
from statistics import fmean
from typing import Final

from inspect_ai.log import EvalSample

from benchmarks.embedded_scorer import embedded_hash, known_of
from benchmarks.errors import DataError
from benchmarks.logs import method_name, portable
from benchmarks.pairwise import paired, read_support_log, refuse_other_settings
from benchmarks.persona import Persona, load_personas
from benchmarks.suite import KEY as SUITE
from judges.automatic import n_words
from judges.embedded import EmbeddedJudge
from results.paired import MIN_PEOPLE
from results.records import PreferenceRecord, PreferenceRow, Winner
from selfevo.recording import provenance_of, suite_of_log

NAME: Final = "embedded"
RUBRIC: Final = "personalization"
MIRRORED: Final[dict[Winner, Winner]] = {"A": "B", "B": "A", "tie": "tie"}


def embedded_preferences(
    a: Path, b: Path, users: Path | None = None, names: tuple[str | None, str | None] = (None, None)
) -> PreferenceRecord:
    """Compare the conversations of two logs with the same people.

    Args:
        a: Log of `benchmarks/support.py`.
        b: The other one.
        users: File of the people, where it is not the one that the logs name.
        names: Of the two methods on the board; None: those of the models.

    Raises:
        DataError: the logs cannot be compared.
    """
    ours, theirs = read_support_log(a), read_support_log(b)
    refuse_other_settings(ours, theirs)
    named = users or (ours.eval.task_args or {}).get("users")
    cards = {persona.id: persona for persona in load_personas(named)}
    if any(SUITE not in (log.eval.metadata or {}) for log in (ours, theirs)) or (
        suite_of_log(ours) != suite_of_log(theirs)
    ):
        raise DataError(f"{a.name} and {b.name}", "were asked other things", "run them again alike")
    rows, n_unscored = [], 0
    for pair in paired(ours, theirs):
        persona = cards.get(str(pair.a.metadata["persona"]))
        if persona is None:
            raise DataError(
                f"card '{pair.a.metadata['persona']}'",
                "is not in the file of people",
                "name it: --users",
            )
        one, other = (_personalization(sample, persona) for sample in pair)
        if one is None or other is None:
            n_unscored += 1
            continue
        forward: Winner = "tie" if one == other else "A" if one > other else "B"
        rows.append(
            PreferenceRow(
                person=persona.id,
                forward=forward,
                backward=MIRRORED[forward],
                words_a=_words(pair.a),
                words_b=_words(pair.b),
            )
        )
    if len({row.person for row in rows}) < MIN_PEOPLE:
        raise DataError(
            f"{a.name} and {b.name}",
            f"have {len(rows)} pairs that the embedded judge can score ({n_unscored} unscored)",
            "run both with more of the same people",
        )
    return PreferenceRecord(
        a=names[0] or method_name(ours),
        b=names[1] or method_name(theirs),
        suite=suite_of_log(ours),
        judge=NAME,
        judge_hash=embedded_hash(),
        rubric=RUBRIC,
        rows=tuple(rows),
        n_unscored=n_unscored,
        logs=(portable(a), portable(b)),
        provenance=provenance_of([ours], ()),
    )


def _personalization(sample: EvalSample, persona: Persona) -> float | None:
    found = EmbeddedJudge().score(
        [(m.role, m.text) for m in sample.messages if m.role in ("user", "assistant")],
        language=persona.language,
        dislikes=[wish.act for wish in persona.hurts],
        card=known_of(persona),
    )
    return found.value.get(RUBRIC)


def _words(sample: EvalSample) -> float:
    return fmean(n_words(m.text) for m in sample.messages if m.role == "assistant")
