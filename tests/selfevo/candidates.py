"""Candidates for the tests: good ones, to be spoiled in one respect at a time."""

from typing import Any

from benchmarks.contexts import Message
from selfevo.pairs import Candidate, PreferencePair, Provenance

SEEKER = "My boss yelled at me in front of everyone today."
DRAFT = "That sounds rough. What do you think made him so angry this time?"
CHOSEN = "Being shamed like that stings. What would you have liked to answer him?"
SEEKER_ZH = "今天老板当着所有人的面骂了我。"
DRAFT_ZH = "这确实让人委屈。你觉得他为什么会发这么大的火？"
CHOSEN_ZH = "在同事面前丢了脸，换谁都咽不下。你当时最想回他一句什么？"


def make_pair(**changes: Any) -> PreferencePair:
    content: dict[str, Any] = {
        "dialogue_id": "starter-1",
        "context_id": "starter-1-3",
        "turn": 3,
        "language": "en",
        "messages": (
            Message(role="user", content="Hi."),
            Message(role="assistant", content="Hello, what is on your mind?"),
            Message(role="user", content=SEEKER),
        ),
        "chosen": CHOSEN,
        "rejected": DRAFT,
        "provenance": make_provenance(),
        "chosen_tokens": 15,
        "rejected_tokens": 14,
        "reflection": "situation: shamed at work; need: to be heard",
        "gain_bits": 5.0,
    }
    return PreferencePair(**(content | changes))


def make_provenance(**changes: Any) -> Provenance:
    content: dict[str, Any] = {
        "model_hash": "aa",
        "principles_hash": "bb",
        "log_id": "log",
        "sample_id": "starter-1-3",
        "round": 1,
        "strategy": "select",
        "chosen_source": "refinement",
        "rejected_source": "draft",
    }
    return Provenance(**(content | changes))


def make_candidate(
    *,
    instructions: tuple[str, ...] = (),
    profile: str = "",
    chosen_stop_reason: str | None = "stop",
    rejected_stop_reason: str | None = "stop",
    **changes: Any,
) -> Candidate:
    return Candidate(
        pair=make_pair(**changes),
        chosen_stop_reason=chosen_stop_reason,
        rejected_stop_reason=rejected_stop_reason,
        instructions=instructions,
        profile=profile,
    )


def make_candidate_zh(**changes: Any) -> Candidate:
    content: dict[str, Any] = {
        "language": "zh",
        "messages": (Message(role="user", content=SEEKER_ZH),),
        "chosen": CHOSEN_ZH,
        "rejected": DRAFT_ZH,
        "chosen_tokens": 24,
        "rejected_tokens": 21,
        "reflection": "处境：当众受辱；需要：被倾听",
    }
    return make_candidate(**(content | changes))
