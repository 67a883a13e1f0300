import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.dialogues import Language, Loaded, load_dialogues
from benchmarks.errors import DataError


def message(role: object, content: object, **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


TALK = [message("user", "I failed."), message("assistant", "Oh.")]


def load(path: Path, rows: Sequence[object], language: Language | None = None) -> Loaded:
    file = path / "own.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return load_dialogues("messages", path=file, language=language)


def test_a_full_row_is_read(tmp_path: Path) -> None:
    row = {
        "id": "talk-1",
        "language": "en",
        "emotion": "Sadness",
        "problem": "exam",
        "situation": "Failed an exam",
        "messages": [
            message("system", "Be kind."),
            *TALK,
            message("user", "Twice."),
            message(
                "assistant", "Two things:\n1. rest\n2. ask", strategies=["question", "suggestion"]
            ),
        ],
        "note": "not read",
    }
    loaded = load(tmp_path, [row])
    (dialogue,) = loaded.dialogues
    assert dialogue.id == "messages-talk-1"
    assert (dialogue.language, dialogue.emotion, dialogue.problem) == ("en", "sadness", "exam")
    assert [turn.text for turn in dialogue.turns] == [
        "I failed.",
        "Oh.",
        "Twice.",
        "Two things:\n1. rest\n2. ask",
    ]
    assert dialogue.turns[3].strategies == ("question", "suggestion")
    assert loaded.report.counts() == {"system_message": 1}


def test_only_messages_are_needed(tmp_path: Path) -> None:
    (dialogue,) = load(tmp_path, [{"messages": TALK}]).dialogues
    assert (dialogue.emotion, dialogue.problem, dialogue.situation) == (None, None, None)
    assert dialogue.id.startswith("messages-")


def test_the_language_is_told_by_the_script_and_can_be_chosen(tmp_path: Path) -> None:
    chinese = [message("user", "我考试没过。"), message("assistant", "听起来很难受。")]
    rows = [{"messages": TALK}, {"messages": chinese}]
    assert [dialogue.language for dialogue in load(tmp_path, rows).dialogues] == ["en", "zh"]
    loaded = load(tmp_path, rows, language="zh")
    assert [dialogue.language for dialogue in loaded.dialogues] == ["zh"]
    assert loaded.report.counts() == {"other_language": 1}


def test_a_crowd_task_is_not_assumed(tmp_path: Path) -> None:
    talk = [message("user", "I do MTurk. Shall we end the chat?"), message("assistant", "Sure.")]
    assert load(tmp_path, [{"messages": talk}]).report.counts() == {}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"dialog": TALK}, "field 'messages': is missing (the row has dialog); add it"),
        ({"messages": []}, "field 'messages': is empty"),
        ({"messages": {}}, "field 'messages': is an object; make it a list of objects"),
        ({"messages": ["hi"]}, "field 'messages[0]': is text; make it an object"),
        (
            {"messages": [message("tool", "42"), *TALK]},
            "field 'messages[0].role': is 'tool'; use one of user, assistant, system",
        ),
        ({"messages": [message(None, "x")]}, "field 'messages[0].role': is null; make it text"),
        ({"messages": [{"role": "user"}]}, "field 'messages[0].content': is missing"),
        (
            {"messages": [message("user", [{"type": "text"}])]},
            "field 'messages[0].content': is a list; make it text",
        ),
        ({"messages": TALK[:1]}, "field 'messages': has no supporter utterance"),
        ({"messages": TALK, "language": "fr"}, "field 'language': is 'fr'; use en or zh"),
        ({"messages": TALK, "id": 7}, "field 'id': is a number; make it text"),
        (
            {"messages": [*TALK, message("assistant", "x", strategies=["hug"])]},
            "field 'messages[2].strategies': 'hug' is no known strategy",
        ),
        ([], "is a list, not a JSON object; write one object {...} a line"),
    ],
)
def test_a_malformed_row_is_an_error(tmp_path: Path, row: object, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, [{"messages": TALK}, row])
    assert str(caught.value).startswith(f"{tmp_path / 'own.jsonl'}:2: {problem}")


def test_a_path_is_needed() -> None:
    with pytest.raises(DataError, match="messages: this source has no data of its own; give the"):
        load_dialogues("messages")
