"""What must not leak from the making of a reply into the reply.

A refinement is written with instructions, principles and a reflection in view; the pair trains the
plain dialogue prompt, which has none of them. So a chosen reply that quotes them, states the
inferred profile as a fact, or carries a marker of the chat template teaches the model to produce
text from nowhere. Patterns are for English and Chinese and apply to both.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from judges.words import ngrams, word_texts

_TEMPLATE_MARKER: Final = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<(?:unk|pad|bos|eos|endoftext)>|<｜[^｜<>\n]{1,40}｜>|</?think>"
    r"|^\s*#{2,} ?(?:instruction|response|input|output|user|assistant|system)\b"
    r"|\{\{[^{}\n]*\}\}|\{[a-z_]+\}|\[(?:insert|your|user|name)[^\]\n]{0,30}\]",
    re.IGNORECASE | re.MULTILINE,
)

_TRAIT: Final = (
    r"(?:introvert|extrovert|extravert|neurotic|conscientious|agreeable|perfectionist|empath"
    r"|highly sensitive person|people[- ]pleaser|overthinker)"
)
_PROFILE_AS_FACT: Final = re.compile(
    "|".join(
        (
            rf"\bas (?:an?|someone who(?: is|'s)(?: an?)?) (?:\w+ )?(?P<trait>{_TRAIT})(?:ed)?\b",
            rf"\b(?:since|because|given that) you(?:'re| are) (?:an? |so |very )?"
            rf"(?P<given>{_TRAIT})",
            r"\byour (?P<noun>personality|profile|persona|temperament|character traits?|big five"
            r"|neuroticism|extra?version|extroversion|introversion|conscientiousness"
            r"|agreeableness)\b",
            r"\bthe (?P<third>user|seeker|help[- ]seeker|client)(?:'s)?\b",
            r"作为(?:一[个位]|一名)?(?P<zh_trait>内向|外向|敏感|高敏感|神经质|完美主义|讨好型)",
            r"你的(?P<zh_noun>性格|人格|用户画像|画像|档案|个人资料|神经质|外向性|尽责性|宜人性)",
            r"(?:该|这位|这名)(?P<zh_third>用户|求助者|来访者|倾诉者)",
        )
    ),
    re.IGNORECASE,
)


def has_template_marker(text: str) -> bool:
    """Whether the text holds a special token, a turn marker or an unfilled placeholder."""
    return bool(_TEMPLATE_MARKER.search(text))


def states_profile(text: str, seeker_words: Sequence[str]) -> bool:
    """Whether the text tells people who they are ("as an introvert", "你的性格").

    Taking up what the seeker has said of themselves is no leak: a trait, or the word
    "personality", that stands in the seeker's own words may be used.
    """
    said = " ".join(seeker_words).casefold()
    for match in _PROFILE_AS_FACT.finditer(text.replace("’", "'")):
        named = next(name for name in match.groups() if name)
        if named.casefold() not in said:
            return True
    return False


def quotes(text: str, sources: Iterable[str], dialogue: Iterable[str], *, run: int) -> bool:
    """Whether `run` consecutive words of the text stand in a source but not in the dialogue.

    A reflection cites the seeker as evidence; saying the seeker's words back is copying, which
    has its own measure, not a leak.
    """
    secret = _grams(sources, run) - _grams(dialogue, run)
    return not secret.isdisjoint(ngrams(word_texts(text), run))


def _grams(texts: Iterable[str], n: int) -> set[tuple[str, ...]]:
    return {gram for text in texts for gram in ngrams(word_texts(text), n)}
