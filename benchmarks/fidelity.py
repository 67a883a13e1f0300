"""Do simulated users behave like people? Figures about their words, moods and endings.

Every figure has a bar in `data/fidelity.yaml`, set beforehand, and passes, fails, or is *not
measured*, with the reason (no human reference, nothing inside the log, too few people). None needs
a model; whether a user contradicts their card over a long talk does, and is not measured here.

The words are compared with seekers of ESConv (en) where its files are given; then the same figures
are computed on these people too, half of them against the other half: a bar that people miss is a
wrong bar. Failure modes and checks follow what the field reports of simulators (tau-bench,
PersonaGym, MindEval, SAGE).
"""

import itertools
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
import yaml
from annotated_types import Ge
from pydantic import BaseModel, ConfigDict

from benchmarks.dialogues import Language
from benchmarks.persona import Persona
from benchmarks.talks import Talk
from benchmarks.user import Ending
from judges.automatic import copy_rate
from judges.roles import has_role_flip, role_break
from judges.words import ngrams, word_texts

Item = TypeVar("Item")
Outcome = Literal["PASS", "FAIL", "not measured"]

LEAK_WORDS: Final[dict[Language, int]] = {"en": 5, "zh": 8}
EARLY_REPLIES: Final = 3
SAID_BEFORE: Final = 0.5
VOCABULARY_WORDS: Final = 3000
CANDIDATES: Final = 10
"""Cards among which a person is looked for."""
FOLDS: Final = 5
MIN_TALKS: Final = 10
"""People without whom a classifier or a variance says nothing."""
DECIMALS: Final = 3

_AGREES = re.compile(
    r"^\W*(?:yes|yeah|yep|exactly|right|true|agreed|ok(?:ay)?|sure|thanks?|thank you|good point"
    r"|you(?:'re| are) right|that makes sense|i will|sounds good)\b"
    r"|^\W*(?:是的|对(?![\u4e00-\u9fff])|对[啊呀的]|没错|嗯嗯|好的|谢谢|有道理|你说得对|我会的)",
    re.IGNORECASE,
)
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[a-zA-Z]")


class Figure(BaseModel):
    """One line of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None
    bar: str
    outcome: Outcome
    note: str
    """What it is, or why it was not measured."""
    people: float | None = None
    """The same of people, where their dialogues were given and it can be told of them."""


class Fidelity(BaseModel):
    """The report on the users of one log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    supporter: str
    user: str
    n_talks: Annotated[int, Ge(0)]
    n_people: Annotated[int, Ge(0)]
    figures: tuple[Figure, ...]
    endings: dict[str, int]

    @property
    def n_failed(self) -> int:
        """How many figures fail."""
        return sum(figure.outcome == "FAIL" for figure in self.figures)


DRIFT: Final = Figure(
    name="drift",
    value=None,
    bar="-",
    outcome="not measured",
    note="contradicts the card over time: needs a judge model",
)


class NotMeasured(Exception):
    """A figure that this log, or these data, cannot give; the message says why."""


def fidelity(
    talks: Sequence[Talk], people: Sequence[Talk], *, supporter: str, user: str
) -> Fidelity:
    """Measure the users of some conversations against their bars.

    Args:
        talks: Conversations with simulated users.
        people: Dialogues between people to compare with; empty where there are none.
        supporter: Name of the model that they talked with.
        user: Who played the users.
    """
    languages = {talk.language for talk in talks}
    people = [talk for talk in people if {talk.language} == languages]
    rates = base_rates(people)
    figures = [_figure(name, of, rates.get(name)) for name, of in _measures(talks, people).items()]
    endings = Counter(talk.inner.ending.value for talk in talks if talk.inner is not None)
    return Fidelity(
        supporter=supporter,
        user=user,
        n_talks=len(talks),
        n_people=len({talk.persona.id for talk in talks if talk.persona}),
        figures=(*figures, DRIFT),
        endings=dict(sorted(endings.items())),
    )


def base_rates(people: Sequence[Talk]) -> dict[str, float]:
    """What people reach in the figures that need only words; half of them are the reference."""
    shuffled = sorted(people, key=lambda talk: talk.id)
    random.Random(0).shuffle(shuffled)
    half = len(shuffled) // 2
    rates = {}
    for name, measure in _measures(shuffled[:half], shuffled[half:]).items():
        with suppress(NotMeasured):
            rates[name] = round(measure(), DECIMALS)
    return rates


def _measures(talks: Sequence[Talk], people: Sequence[Talk]) -> dict[str, Callable[[], float]]:
    """Every figure, in the order of the report."""
    return {
        "card_leak": lambda: card_leak(talks),
        "role_break": lambda: _share(_turns(talks), lambda t: role_break(t) is not None),
        "role_flip": lambda: _share(_turns(talks), has_role_flip),
        "agreement": lambda: agreement(talks),
        "user_error": lambda: _endings_share(talks, Ending.USER_ERROR),
        "early_ending": lambda: early_ending(talks),
        "no_ending": lambda: _endings_share(talks, Ending.TURN_LIMIT),
        "repetition": lambda: repetition(talks),
        "length": lambda: length_ratio(talks),
        "length_spread": lambda: spread_ratio(talks),
        "vocabulary": lambda: vocabulary_ratio(talks, people),
        "turn_relief": lambda: max(_reliefs_by_turn(talks)),
        "relief": lambda: statistics.fmean(_inner(talks, lambda inner: inner.relief)),
        "identity": lambda: identity(talks),
        "style_variance": lambda: style_variance(talks),
        "discriminator": lambda: discriminator_auc(talks, people),
        "wrong_language": lambda: wrong_language(talks),
    }


def card_leak(talks: Sequence[Talk]) -> float:
    """Share of conversations in which the user says a run of words of the card's private part."""
    known = [talk for talk in talks if talk.persona is not None]
    if not known:
        raise NotMeasured("the cards of these people are not known; give --users")
    return _share(known, lambda talk: bool(_private_grams(talk.persona) & _said_grams(talk)))


def agreement(talks: Sequence[Talk]) -> float:
    """Share of answers that open with agreement or thanks; the last turn may."""
    answers = [text for talk in talks for text in talk.user[1:-1]]
    return _share(answers, lambda text: bool(_AGREES.search(text.replace("’", "'"))))


def early_ending(talks: Sequence[Talk]) -> float:
    """Share of conversations that end content within the first replies."""
    early = _inner(
        talks,
        lambda inner: float(
            inner.ending is Ending.SATISFIED and len(inner.turns) - 1 <= EARLY_REPLIES
        ),
    )
    return statistics.fmean(early)


def repetition(talks: Sequence[Talk]) -> float:
    """Share of turns most of which the user has said before in the conversation."""
    later = [(talk, i) for talk in talks for i in range(1, len(talk.user))]
    return _share(
        later,
        lambda place: (
            (
                copy_rate(
                    place[0].user[place[1]], place[0].user[: place[1]], language=place[0].language
                )
                or 0.0
            )
            >= SAID_BEFORE
        ),
    )


def length_ratio(talks: Sequence[Talk]) -> float:
    """Mean words a turn over those of a message in ESConv."""
    return statistics.fmean(_lengths(talks)) / float(_english_reference(talks)["words"]["mean"])


def spread_ratio(talks: Sequence[Talk]) -> float:
    """Distance of the 10th and 90th percentile of words a turn, over that of ESConv's messages."""
    low, high = np.percentile(_lengths(talks), [10, 90])
    words = _english_reference(talks)["words"]
    return float(high - low) / float(words["p90"] - words["p10"])


def vocabulary_ratio(talks: Sequence[Talk], people: Sequence[Talk]) -> float:
    """Distinct words among the first so many, over people's; dialogues in a seeded order."""
    _require_people(people)
    ours, theirs = _first_words(talks), _first_words(people)
    n = min(len(ours), len(theirs), VOCABULARY_WORDS)
    if n < VOCABULARY_WORDS // 3:
        raise NotMeasured(f"only {n} words")
    return len(set(ours[:n])) / len(set(theirs[:n]))


def identity(talks: Sequence[Talk]) -> float:
    """Share of conversations whose own card is the most alike of ten, by TF-IDF of the words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = [talk for talk in talks if talk.persona is not None and talk.user]
    cards = {talk.persona.id: talk.persona for talk in known if talk.persona}
    if len(cards) < CANDIDATES:
        raise NotMeasured(f"{len(cards)} people; {CANDIDATES} are needed")
    ids = sorted(cards)
    texts = [" ".join(word_texts(_card_text(cards[i]))) for i in ids]
    vectorizer = TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True).fit(texts)
    of_cards = vectorizer.transform(texts)
    said = vectorizer.transform([" ".join(word_texts(" ".join(talk.user))) for talk in known])
    alike = np.asarray((said @ of_cards.T).todense())
    hits = []
    for row, talk in enumerate(known):
        assert talk.persona is not None
        own = ids.index(talk.persona.id)
        others = [i for i in range(len(ids)) if i != own]
        drawn = random.Random(talk.id).sample(others, CANDIDATES - 1)
        hits.append(alike[row, own] > max(alike[row, i] for i in drawn))
    return float(np.mean(hits))


def style_variance(talks: Sequence[Talk]) -> float:
    """Share of the variance of style that lies between people: mean over features without story."""
    groups: dict[str, list[list[float]]] = {}
    for talk in talks:
        who = talk.persona.id if talk.persona else talk.id
        groups.setdefault(who, []).extend(_style(text) for text in talk.user)
    several = [np.array(rows) for rows in groups.values() if len(rows) >= 2]
    if len(several) < MIN_TALKS:
        raise NotMeasured(f"{len(several)} people with two turns; {MIN_TALKS} are needed")
    iccs = [intraclass([rows[:, k] for rows in several]) for k in range(several[0].shape[1])]
    known = [icc for icc in iccs if icc is not None]
    if not known:
        raise NotMeasured("all turns have the same style")
    return float(np.mean(known))


def intraclass(groups: Sequence["np.ndarray[Any, Any]"]) -> float | None:
    """ICC(1) of a one-way random effects model (Shrout and Fleiss, 1979); None without variance.

    Groups may be unequal: n0 as in Donner, 1986. Below 0 counts as 0.
    """
    sizes = np.array([len(group) for group in groups])
    everything = np.concatenate(groups)
    if np.ptp(everything) == 0:
        return None  # nobody has this feature, or everybody
    between = sum(len(g) * (g.mean() - everything.mean()) ** 2 for g in groups) / (len(groups) - 1)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (len(everything) - len(groups))
    n0 = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(groups) - 1)
    variance = (between - within) / n0
    total = variance + within
    return float(max(0.0, variance / total)) if total > 0 else None


def discriminator_auc(talks: Sequence[Talk], people: Sequence[Talk]) -> float:
    """Cross-validated AUC of telling simulated from human turns by style, not by topic.

    Folds keep a person's turns together, for one who was seen is easily known again.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _require_people(people)
    rows = [
        (text, 1, talk.persona.id if talk.persona else talk.id)
        for talk in talks
        for text in talk.user
    ]
    human = [(text, 0, talk.id) for talk in people for text in talk.user]
    random.Random(0).shuffle(human)
    human = human[: len(rows)]
    for what, side in (("simulated", rows), ("human", human)):
        n = len({who for _, _, who in side})
        if n < MIN_TALKS:
            raise NotMeasured(f"{n} {what} people; {MIN_TALKS} are needed")
    rows += human
    features = np.array([_style(text) + _function_words(text) for text, _, _ in rows])
    labels = np.array([label for _, label, _ in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    chances = cross_val_predict(
        model,
        features,
        labels,
        groups=[group for _, _, group in rows],
        cv=GroupKFold(FOLDS),
        method="predict_proba",
    )
    return float(roc_auc_score(labels, chances[:, 1]))


def wrong_language(talks: Sequence[Talk]) -> float:
    """Share of turns written in another script than the card's language."""

    def is_wrong(place: tuple[str, Language]) -> bool:
        text, language = place
        n_han, n_latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
        return n_han > 0 if language == "en" else n_latin > 3 * max(1, n_han)

    return _share([(text, talk.language) for talk in talks for text in talk.user], is_wrong)


def _figure(name: str, measure: Callable[[], float], people: float | None) -> Figure:
    bar = _bars()["bars"][name]
    low, high = bar.get("min"), bar.get("max")
    shown = " to ".join(f"{x:g}" for x in (low, high) if x is not None)
    if low is None:
        shown = f"at most {shown}"
    elif high is None:
        shown = f"at least {shown}"
    try:
        value = round(measure(), DECIMALS)  # before it is compared: 4.1 - 3.6 is above 0.5
    except NotMeasured as reason:
        return Figure(
            name=name,
            value=None,
            bar=shown,
            outcome="not measured",
            note=str(reason),
            people=people,
        )
    is_met = (low is None or value >= low) and (high is None or value <= high)
    return Figure(
        name=name,
        value=value,
        bar=shown,
        outcome="PASS" if is_met else "FAIL",
        note=bar["why"],
        people=people,
    )


def _share(items: Sequence[Item], is_hit: Callable[[Item], bool]) -> float:
    if not items:
        raise NotMeasured("nothing to count")
    return sum(is_hit(item) for item in items) / len(items)


def _turns(talks: Sequence[Talk]) -> list[str]:
    return [text for talk in talks for text in talk.user]


def _lengths(talks: Sequence[Talk]) -> list[int]:
    lengths = [len(word_texts(text)) for text in _turns(talks)]
    if not lengths:
        raise NotMeasured("nobody said anything")
    return lengths


def _inner(talks: Sequence[Talk], of: Callable[[Any], float]) -> list[float]:
    known = [talk.inner for talk in talks if talk.inner is not None]
    if not known:
        raise NotMeasured("the log does not say what went on inside the user")
    values = [of(inner) for inner in known if inner.ending.is_scored]
    if not values:
        raise NotMeasured("every conversation was broken off by an error")
    return values


def _reliefs_by_turn(talks: Sequence[Talk]) -> list[float]:
    emotions = [talk.inner.emotion for talk in talks if talk.inner is not None]
    falls = [a - b for path in emotions for a, b in itertools.pairwise(path)]
    if not falls:
        raise NotMeasured("the log does not say what went on inside the user")
    return falls


def _endings_share(talks: Sequence[Talk], ending: Ending) -> float:
    known = [talk for talk in talks if talk.inner is not None]
    if not known:
        raise NotMeasured("the log does not say how the conversations ended")
    return _share(known, lambda talk: talk.inner is not None and talk.inner.ending is ending)


def _private_grams(persona: Persona | None) -> set[tuple[str, ...]]:
    assert persona is not None  # only talks with a card are asked
    private = [persona.situation, *(p.text for p in (*persona.helps, *persona.hurts))]
    return _grams(private, persona.language)


def _said_grams(talk: Talk) -> set[tuple[str, ...]]:
    return _grams(talk.user, talk.language)


def _grams(texts: Sequence[str], language: Language) -> set[tuple[str, ...]]:
    return {gram for text in texts for gram in ngrams(word_texts(text), LEAK_WORDS[language])}


def _card_text(persona: Persona) -> str:
    told = [
        persona.situation,
        persona.occupation or "",
        persona.interest or "",
        persona.problem or "",
    ]
    return " ".join([*told, *(p.text for p in (*persona.helps, *persona.hurts))])


def _first_words(talks: Sequence[Talk]) -> list[str]:
    shuffled = sorted(talks, key=lambda talk: talk.id)
    random.Random(0).shuffle(shuffled)
    return [word for text in _turns(shuffled) for word in word_texts(text)]


def _style(text: str) -> list[float]:
    """Features of how somebody types, whatever they type about."""
    n = max(1, len(text))
    tokens = word_texts(text)
    return [
        float(np.log1p(len(tokens))),
        float(text[:1].islower()),
        float(bool(re.search(r"[.!?。！？]\s*$", text))),
        text.count(",") / n,
        text.count(".") / n,
        float("..." in text or "…" in text),
        float("?" in text or "？" in text),
        float("!" in text or "！" in text),
        float("'" in text or "’" in text),
        sum(token in ("i", "my", "me", "我") for token in tokens) / max(1, len(tokens)),
        statistics.fmean([len(token) for token in tokens]) if tokens else 0.0,
        sum(char.isupper() for char in text) / n,
        sum(char.isdigit() for char in text) / n,
    ]


def _function_words(text: str) -> list[float]:
    tokens = word_texts(text)
    n = max(1, len(tokens))
    return [tokens.count(word) / n for word in _listed_words()]


def _require_people(people: Sequence[Talk]) -> None:
    if not people:
        raise NotMeasured("needs human dialogues in this language; ESConv (en): --esconv PATH")


def _english_reference(talks: Sequence[Talk]) -> dict[str, Any]:
    if any(talk.language != "en" for talk in talks):
        raise NotMeasured("no reference of Chinese seekers is known to us")
    return reference()


def reference() -> dict[str, Any]:
    """What is known of the seekers of ESConv: words of a message, relief."""
    known: dict[str, Any] = _bars()["reference"]
    return known


@cache
def _listed_words() -> tuple[str, ...]:
    file = resources.files("benchmarks").joinpath("data", "function_words.txt")
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


@cache
def _bars() -> dict[str, Any]:
    file = resources.files("benchmarks").joinpath("data", "fidelity.yaml")
    bars: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return bars
