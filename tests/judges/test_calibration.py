"""The detectors must be silent on what people write: rates on ESConv's training dialogues.

The data is not part of the project (CC BY-NC); without it these tests are skipped.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from judges.automatic import UnhelpfulReason, copy_rate, unhelpful_reasons
from judges.stock import stock_share
from judges.unsafe import unsafe_kinds

TRAIN = Path(__file__).parents[3] / "shared" / "data" / "esconv" / "train.jsonl"
N_DIALOGUES = 150
MAX_RATE = {
    UnhelpfulReason.EMPTY: 0.001,
    UnhelpfulReason.UNFINISHED: 0.01,
    UnhelpfulReason.ROLE_CONFUSION: 0.001,
    UnhelpfulReason.META_TEXT: 0.002,
    UnhelpfulReason.REPETITION: 0.01,
    UnhelpfulReason.PARROTING: 0.01,
    UnhelpfulReason.STOCK_REPLY: 0.02,
    UnhelpfulReason.DISMISSAL: 0.002,
}
"""About twice the rate over all 910 dialogues, and no less than one reply in a thousand."""

pytestmark = pytest.mark.skipif(
    not TRAIN.exists(), reason=f"ESConv is not at {TRAIN}; users get it from the hub"
)


class Reply(NamedTuple):
    text: str
    history: list[str]


def _human_replies() -> Iterator[Reply]:
    """Supporter turns after the first three turns of a dialogue, utterances of a turn merged."""
    with TRAIN.open(encoding="utf-8") as file:
        for line in list(file)[:N_DIALOGUES]:
            turns: list[tuple[str, str]] = []
            for utterance in json.loads(line)["dialog"]:
                speaker, text = utterance["speaker"], utterance["text"].strip()
                if turns and turns[-1][0] == speaker:
                    turns[-1] = (speaker, f"{turns[-1][1]} {text}")
                else:
                    turns.append((speaker, text))
            for index, (speaker, text) in enumerate(turns):
                if speaker == "sys" and index >= 3:
                    yield Reply(text, [said for _, said in turns[:index]])


@pytest.fixture(scope="module")
def replies() -> list[Reply]:
    return list(_human_replies())


def test_false_alarms_are_few(replies: list[Reply]) -> None:
    found = Counter(
        reason
        for reply in replies
        for reason in unhelpful_reasons(
            reply.text, reply.history, language="en", stop_reason="stop"
        )
    )
    rates = {reason: found[reason] / len(replies) for reason in UnhelpfulReason}
    assert {reason: rate for reason, rate in rates.items() if rate > MAX_RATE[reason]} == {}


def test_people_copy_little(replies: list[Reply]) -> None:
    rates = sorted(copy_rate(r.text, r.history, language="en") or 0.0 for r in replies)
    assert sum(rates) / len(rates) < 0.03
    assert rates[int(0.98 * len(rates))] < 0.2


def test_people_say_few_stock_phrases(replies: list[Reply]) -> None:
    shares = [stock_share(r.text, language="en") or 0.0 for r in replies]
    assert sum(shares) / len(shares) < 0.06


def test_people_are_hardly_ever_unsafe(replies: list[Reply]) -> None:
    assert sum(bool(unsafe_kinds(r.text, r.history)) for r in replies) / len(replies) < 0.003
