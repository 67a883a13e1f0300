"""The embedded judge: numbers and evidence for a conversation without a language model.

It gives three things. The six dimensions of Lend-an-Ear on 1..5 are step functions of what the
supporter does (`acts.py`, `grounding`); the unhelpfulness items of `unhelpful.py` are 0 or 1, with
the sentence; and `personalization`, 0..1, is a proxy: how far the replies take up, in words of
their own, what this person said. It reads words, not meaning: a good reply that shares no word with
the person earns nothing (four of ten human replies of ESConv do), and a reply that drops the right
words earns something. Recital and flattery are known by their wording and, for a recital, by the
card: flattery in other words is scored as high as people's replies, and without a card a recital
higher. What it cannot measure is unscored with a reason, never 0.

The steps are quantiles over the dialogues of ESConv's training split (`CUTS`), so a 3 is what most
people's dialogues there get; they were not fitted to any rating.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from importlib import resources
from statistics import fmean
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from judges.act_cues import PHRASE_FILES, cue_words
from judges.acts import Act, content_words, grounding
from judges.automatic import copied_spans, copy_rate, repetition_rate
from judges.detectors import has_meta_text
from judges.stock import stock_phrases, stock_share
from judges.unhelpful import Finding, Item, Reply, Turns, findings
from judges.words import Language

VERSION: Final = 1
"""Raise it when the code changes a number; thresholds and phrases are hashed themselves."""

CUT_LEVELS: Final = (0.1, 0.3, 0.7, 0.9)
"""Quantiles at which a dimension steps up: 3 is the middle 40% of dialogues."""

RARE: Final = "dismissing_emotions"
RARE_LEVELS: Final = (0.7, 0.9, 0.95, 0.98)
"""The levels of a dimension that 88% of dialogues show nothing of: 1 is none at all."""

CUTS: Final[dict[str, tuple[float, float, float, float]]] = {
    "validating_emotions": (0.1, 0.222, 0.417, 0.571),
    "encouraging_elaboration": (0.1, 0.2, 0.375, 0.556),
    "demonstrating_understanding": (0.096, 0.152, 0.246, 0.33),
    "advice_giving": (0.083, 0.182, 0.333, 0.465),
    "self_oriented": (0.0, 0.097, 0.222, 0.364),
    RARE: (0.0, 0.067, 0.108, 0.141),
}
"""Shares that must be exceeded for 2, 3, 4 and 5: the levels over 910 dialogues (ESConv train)."""

TAKEN_HALF: Final = 2.0
"""So many words taken up earn half: a list of everything the person said earns little more."""

GENERIC_WEIGHT: Final = 0.25
"""What a word counts that supporters say to everybody; people and constant replies hit it alike."""

FOCUS: Final = 0.4
"""Share of the reply's content words taken up that is enough; a summary needs no more."""

COPY_CAP: Final = 0.3
"""Copy rate at which nothing is left, `judges.automatic.PARROT_RATE`."""

CARD_CAP: Final = 0.25
"""Share of content words that stand on the card, and that the person never said, at which nothing
is left. One word in eight costs half: the words of a card also come up by chance."""

MISREADS: Final = "misreads_emotion"

_VALIDATING: Final = (Act.REFLECTION, Act.REASSURANCE)
_UNDERSTANDING: Final = (Act.RESTATEMENT, Act.REFLECTION)


class EmbeddedScores(BaseModel):
    """What the embedded judge says of one conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: dict[str, float]
    """Dimensions 1..5, items 0 or 1, `personalization` 0..1."""

    evidence: dict[str, tuple[str, ...]]
    """Sentences of the supporter, for the items and dimensions that have any."""

    unscored: dict[str, str]
    """Name and reason of what was not measured."""


class Personalization(NamedTuple):
    """The parts of a reply's `personalization`, each from 0 to 1, and their product."""

    taken: float
    """n / (n + TAKEN_HALF); n = distinct content words of the person in the reply's own words, one
    that supporters say to everybody counted as GENERIC_WEIGHT."""

    focus: float
    """min(1, n / content words of the reply / FOCUS)."""

    own: float
    """max(0, 1 - copy rate from the person's words / COPY_CAP)."""

    fresh: float
    """1 - share of n-grams said before by the supporter, or twice in the reply."""

    plain: float
    """1 - share of words in stock phrases."""

    honest: float
    """max(0, 1 - share of content words from the card that the person never said / CARD_CAP);
    0 where the reply speaks about itself or to a grader."""

    @property
    def score(self) -> float:
        """The product."""
        return self.taken * self.focus * self.own * self.fresh * self.plain * self.honest


class EmbeddedJudge:
    """The judge; it holds no state, and is deterministic."""

    name: Final = "embedded"

    @cached_property
    def hash(self) -> str:
        """Hash of what decides its numbers: thresholds and phrase files."""
        digest = hashlib.sha256(json.dumps(_constants(), sort_keys=True).encode("utf-8"))
        folder = resources.files("judges").joinpath("phrases")
        for kind in (*PHRASE_FILES, "stock"):
            for language in ("en", "zh"):
                digest.update(folder.joinpath(f"{kind}.{language}.txt").read_bytes())
        return digest.hexdigest()

    def score(
        self,
        turns: Turns,
        *,
        language: Language,
        dislikes: Collection[Act] | None = None,
        card: str | None = None,
    ) -> EmbeddedScores:
        """Judge a conversation.

        Args:
            turns: The conversation, turns of one speaker merged.
            language: Its language.
            dislikes: Acts that hurt this person, from a card; None where there is none.
            card: What is known of the person, in words; None where nothing is.
        """
        all_replies = [Reply(turns, t, language) for t, (r, _) in enumerate(turns) if r != "user"]
        found = findings(turns, language=language, dislikes=dislikes)
        replies = [reply for reply in all_replies if reply.has_topic]
        value: dict[str, float] = {}
        unscored = {MISREADS: "needs a model that reads emotions"}
        if dislikes is None:
            unscored[Item.UNWANTED_ADVICE] = "no card says what the person dislikes"
        if not all_replies:
            unscored |= dict.fromkeys(Item, "no reply of the supporter")
        value |= {i: float(any(f.item is i for f in found)) for i in Item if i not in unscored}
        if replies:
            raw = dimension_shares(replies, found)
            value |= {name: float(step(share, CUTS[name])) for name, share in raw.items()}
            parts = [personalization(reply, card=card) for reply in replies]
            value["personalization"] = fmean(part.score for part in parts)
        else:
            names = (*CUTS, "personalization")
            unscored |= dict.fromkeys(names, "no reply after the person said what it is about")
        return EmbeddedScores(value=value, evidence=_evidence(replies, found), unscored=unscored)


def dimension_shares(replies: Sequence[Reply], found: Sequence[Finding]) -> dict[str, float]:
    """What the six dimensions step on, each from 0 to 1."""
    harmful = {f.turn for f in found if f.item in (Item.INVALIDATION, Item.IGNORES_WHAT_WAS_SAID)}
    shares = {name: fmean(_does(r, acts) for r in replies) for name, acts in _ACTS.items()}
    taken = fmean(grounding(r.text, r.said, language=r.language) for r in replies)
    shares["demonstrating_understanding"] = (shares["demonstrating_understanding"] + taken) / 2
    shares[RARE] = fmean(r.turn in harmful for r in replies)
    return shares


def step(share: float, cuts: Sequence[float]) -> int:
    """1 plus the number of cuts that the share exceeds."""
    return 1 + bisect_left(cuts, share)


def personalization(reply: Reply, *, card: str | None = None) -> Personalization:
    """How far one reply takes up, in words of its own, what this person said."""
    text, language = reply.text, reply.language
    content = content_words(text, language=language)
    if not content:
        return Personalization(0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
    taken = content_words(_own_text(reply), language=language) & reply.content
    generic = len(taken & _generic_words(language))
    n_taken = len(taken) - (1 - GENERIC_WEIGHT) * generic
    foreign = content_words(card or "", language=language) - reply.content
    copied = copy_rate(text, reply.said, language=language) or 0.0
    said_before = copy_rate(text, reply.earlier, language=language) or 0.0
    twice = repetition_rate(text, language=language) or 0.0
    is_about_itself = has_meta_text(text) or any(s.means("rubric") for s in reply.sentences)
    return Personalization(
        taken=n_taken / (n_taken + TAKEN_HALF),
        focus=min(1.0, n_taken / len(content) / FOCUS),
        own=max(0.0, 1 - copied / COPY_CAP),
        fresh=1 - max(said_before, twice),
        plain=1 - (stock_share(text, language=language) or 0.0),
        honest=0.0
        if is_about_itself
        else max(0.0, 1 - len(foreign & content) / len(content) / CARD_CAP),
    )


@lru_cache
def _generic_words(language: Language) -> frozenset[str]:
    """What supporters say to everybody: the words of stock phrases, comfort and courtesy."""
    cued = cue_words(_GENERIC_SECTIONS, language)
    return content_words("\n".join((*stock_phrases(language), *cued)), language=language)


def _own_text(reply: Reply) -> str:
    """The reply without what was copied from the dialogue, and without talk about the profile."""
    kept = list(reply.text)
    history = (*reply.said, *reply.earlier)
    for span in copied_spans(reply.text, history, language=reply.language):
        kept[span.start : span.end] = " " * (span.end - span.start)
    for sentence in reply.sentences:
        if sentence.means("profile_talk"):
            end = sentence.start + len(sentence.text)
            kept[sentence.start : end] = " " * len(sentence.text)
    return "".join(kept)


_GENERIC_SECTIONS: Final = frozenset(("reassurance", "courtesy", "profile_talk"))

_ACTS: Final[dict[str, Collection[Act]]] = {
    "validating_emotions": _VALIDATING,
    "encouraging_elaboration": (Act.QUESTION,),
    "demonstrating_understanding": _UNDERSTANDING,
    "advice_giving": (Act.SUGGESTION,),
    "self_oriented": (Act.SELF_DISCLOSURE,),
}


def _does(reply: Reply, acts: Collection[Act]) -> bool:
    return any(act in acts for sentence in reply.sentences for act in sentence.acts)


def _evidence(replies: Sequence[Reply], found: Sequence[Finding]) -> dict[str, tuple[str, ...]]:
    evidence: dict[str, list[str]] = {}
    for finding in found:
        evidence.setdefault(finding.item, []).append(finding.quote)
        if finding.item in (Item.INVALIDATION, Item.IGNORES_WHAT_WAS_SAID):
            evidence.setdefault(RARE, []).append(finding.quote)
    for name, acts in _ACTS.items():
        for sentence in (s for reply in replies for s in reply.sentences):
            if any(act in acts for act in sentence.acts):
                evidence.setdefault(name, []).append(sentence.text)
    return {name: tuple(quotes) for name, quotes in evidence.items()}


def _constants() -> dict[str, object]:
    return {
        "version": VERSION,
        "cuts": CUTS,
        "taken_half": TAKEN_HALF,
        "generic_weight": GENERIC_WEIGHT,
        "focus": FOCUS,
        "copy_cap": COPY_CAP,
        "card_cap": CARD_CAP,
    }
