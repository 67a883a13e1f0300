from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.dialogues import (
    Dialogue,
    Drop,
    DropReason,
    LoadReport,
    Turn,
    load_dialogues,
)
from benchmarks.errors import DataError

SEEKER = Turn(speaker="seeker", text="I failed.")
SUPPORTER = Turn(speaker="supporter", text="That hurts.", strategies=("reflection",))


def dialogue(*turns: Turn) -> Dialogue:
    return Dialogue(
        id="own-1",
        source="own",
        language="en",
        emotion=None,
        problem=None,
        situation=None,
        published_split=None,
        turns=turns,
    )


def test_a_dialogue_begins_with_the_seeker_and_alternates() -> None:
    assert dialogue(SEEKER, SUPPORTER, SEEKER).turns[1].strategies == ("reflection",)
    with pytest.raises(ValidationError, match="turn 0 is the supporter's"):
        dialogue(SUPPORTER, SEEKER)
    with pytest.raises(ValidationError, match="turn 1 is the seeker's"):
        dialogue(SEEKER, SEEKER)
    with pytest.raises(ValidationError, match="at least a seeker turn and a supporter turn"):
        dialogue(SEEKER)


def test_the_report_counts_utterances_and_dialogues_by_reason() -> None:
    def drop(reason: DropReason, n_utterances: int) -> Drop:
        return Drop(where="f:1", reason=reason, detail="", n_utterances=n_utterances)

    report = LoadReport(
        source="own",
        n_read=3,
        n_kept=2,
        n_utterances_read=20,
        n_utterances_kept=11,
        dropped=(
            drop(DropReason.NO_REPLY, 7),
            drop(DropReason.TASK_CHATTER, 1),
            drop(DropReason.TASK_CHATTER, 1),
        ),
    )
    assert report.counts() == {"task_chatter": 2, "no_reply": 1}
    assert report.rows() == [
        ("read", 3, 20),
        ("task_chatter", 0, 2),
        ("no_reply", 1, 7),
        ("kept", 2, 11),
    ]


def test_an_unknown_source_names_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"tweets: no such source.*starter, esconv, messages"):
        load_dialogues("tweets", path=Path("x"))


def test_sources_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(
        '{"messages": [{"role": "user", "content": "Hi."}, '
        '{"role": "assistant", "content": "Hello, what is on your mind?"}]}\n'
    )
    assert load_dialogues("messages", path=path).report.n_kept == 1
