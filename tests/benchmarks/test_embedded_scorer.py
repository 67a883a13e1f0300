import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import Score

from benchmarks.embedded_scorer import embedded, embedded_hash, known_of
from benchmarks.persona import load_personas
from benchmarks.support import support
from judges.embedded import EmbeddedJudge

from .fakes import answering, output, run
from .people import make_row, make_strangers, write_people

STOCK = "I'm sorry to hear that. I'm here for you."
ADVICE = "You should make a list of the money and talk with the landlord."


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "people.jsonl", make_strangers(2))


def judged(people: Path, log_dir: Path, reply: str, **arguments: Any) -> EvalLog:
    log = run(
        support(users=str(people), split=None, turns=2, min_turns=2, embedded=True, **arguments),
        answering(lambda messages: output(reply, "stop")),
        log_dir,
    )
    assert log.status == "success", log.error
    return log


def scores(log: EvalLog) -> list[Score]:
    return [(sample.scores or {})["embedded"] for sample in log.samples or []]


def test_it_judges_as_the_embedded_judge_does(people: Path, tmp_path: Path) -> None:
    log = judged(people, tmp_path, ADVICE)
    cards = {persona.id: persona for persona in load_personas(people)}
    for sample, given in zip(log.samples or [], scores(log), strict=True):
        card = cards[str(sample.id)]
        turns = [(m.role, m.text) for m in sample.messages if m.role in ("user", "assistant")]
        found = EmbeddedJudge().score(
            turns,  # type: ignore[arg-type]
            language="en",
            dislikes=[wish.act for wish in card.hurts],
            card=known_of(card),
        )
        assert isinstance(given.value, dict)
        assert given.value["personalization"] == round(found.value["personalization"], 4)
        assert given.metadata is not None
        assert given.metadata["judge_hashes"] == [embedded_hash()]


def test_what_everybody_is_told_is_unhelpful_and_for_nobody(people: Path, tmp_path: Path) -> None:
    for given in scores(judged(people, tmp_path, STOCK)):
        assert given.value == {"personalization": 0.0, "unhelpful": 1.0}
        assert given.explanation is not None and "stock_reply: «" in given.explanation


def test_a_broken_conversation_is_unscored_with_its_reason(people: Path, tmp_path: Path) -> None:
    for given in scores(judged(people, tmp_path, " ")):
        assert isinstance(given.value, float) and math.isnan(given.value)
        assert given.reason is not None and given.reason.startswith("model_error: an empty reply")


def test_what_cannot_be_measured_is_unscored(tmp_path: Path) -> None:
    """Nobody said what it is about before the only reply."""
    row = make_row() | {"opening": "Hi."}
    people = write_people(tmp_path / "people.jsonl", [row])
    log = run(
        support(users=str(people), split=None, turns=1, min_turns=1, embedded=True),
        answering(lambda messages: output("Hello, what is on your mind?", "stop")),
        tmp_path,
    )
    [given] = scores(log)
    assert isinstance(given.value, float) and math.isnan(given.value)
    assert given.reason == "no reply after the person said what it is about"


def test_a_stored_log_can_be_judged(people: Path, tmp_path: Path) -> None:
    log = run(
        support(users=str(people), split=None, turns=2, min_turns=2),
        answering(lambda messages: output(STOCK, "stop")),
        tmp_path,
    )
    stored = read_eval_log(log.location)  # read in the midst of scoring, it would nest event loops
    again = score(stored, embedded(str(people)), action="append", display="none")
    assert [given.value for given in scores(again)] == [
        {"personalization": 0.0, "unhelpful": 1.0}
    ] * 2


def test_a_card_in_words_holds_the_story(people: Path) -> None:
    card = load_personas(people)[0]
    known = known_of(card)
    assert card.situation in known
    assert all(fact.text in known for fact in card.disclosure)
