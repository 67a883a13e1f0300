import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import esconv
from benchmarks.dialogues import Dialogue, Loaded, load_dialogues
from benchmarks.errors import DataError
from benchmarks.splits import check_leakage, split_dialogues

HUB_ROW: dict[str, object] = {
    "experience_type": "Current Experience",
    "emotion_type": "Anxiety",
    "problem_type": "Sleep Problems",
    "situation": "I lie awake before every shift.\n",
    "survey_score": {"seeker": {"initial_emotion_intensity": "4"}},
    "dialog": [
        {"text": "Hello there\n", "speaker": "sys", "strategy": "Others"},
        {"text": "I can’t sleep \\", "speaker": "usr"},
        {"text": "since Monday", "speaker": "usr"},
        {"text": "That sounds exhausting.", "speaker": "sys", "strategy": "Reflection of feelings"},
        {"text": "What is different?", "speaker": "sys", "strategy": "Question"},
        {"text": "New shifts.", "speaker": "usr"},
    ],
}

FAILED_NAMES = {"Others": "Other", "Question": "Questions"}


def original(
    row: dict[str, object], seeker: str = "seeker", supporter: str = "supporter"
) -> dict[str, object]:
    """Write a hub row in the dialect of GitHub."""
    dialog = []
    for item in row["dialog"]:  # type: ignore[attr-defined]
        strategy = item.get("strategy")
        if seeker == "speaker":
            strategy = FAILED_NAMES.get(strategy, strategy)
        annotation = {"strategy": strategy} if strategy else {"feedback": "5"}
        speaker = seeker if item["speaker"] == "usr" else supporter
        dialog.append({"speaker": speaker, "annotation": annotation, "content": item["text"]})
    return {**row, "dialog": dialog}


def hub_row(number: int) -> dict[str, object]:
    return {**HUB_ROW, "situation": f"Situation {number}."}


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load(path: Path) -> Loaded:
    return load_dialogues("esconv", path=path)


def test_a_hub_row_is_read(tmp_path: Path) -> None:
    loaded = load(write_lines(tmp_path / "x.jsonl", [HUB_ROW]))
    (dialogue,) = loaded.dialogues
    assert dialogue.model_dump(exclude={"id"}) == {
        "source": "esconv",
        "language": "en",
        "emotion": "anxiety",
        "problem": "sleep problems",
        "situation": "I lie awake before every shift.",
        "published_split": None,
        "turns": (
            {"speaker": "seeker", "text": "I can't sleep since Monday", "strategies": ()},
            {
                "speaker": "supporter",
                "text": "That sounds exhausting. What is different?",
                "strategies": ("reflection", "question"),
            },
            {"speaker": "seeker", "text": "New shifts.", "strategies": ()},
        ),
    }
    assert loaded.report.counts() == {"opening_supporter": 1}


def test_the_three_dialects_and_both_containers_give_the_same_dialogue(tmp_path: Path) -> None:
    github = tmp_path / "github.json"
    github.write_text(json.dumps([original(HUB_ROW)], indent=1))
    failed = tmp_path / "failed.json"
    failed.write_text(json.dumps([original(HUB_ROW, "speaker", "listener")]))
    paths = [
        write_lines(tmp_path / "hub.jsonl", [HUB_ROW]),
        write_lines(tmp_path / "text.jsonl", [{"text": json.dumps(HUB_ROW)}]),
        github,
        failed,
    ]
    first, *others = [load(path).dialogues for path in paths]
    assert others == [first, first, first]


def test_a_folder_gives_its_published_splits_and_nothing_else(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [hub_row(1), hub_row(2)])
    write_lines(tmp_path / "validation.jsonl", [hub_row(3)])
    write_lines(tmp_path / "test.jsonl", [hub_row(4)])
    (tmp_path / "notes.json").write_text("not data")
    splits = [dialogue.published_split for dialogue in load(tmp_path).dialogues]
    assert splits == ["train", "train", "gate", "final"]


def test_a_folder_without_splits_gives_all_its_files(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", [hub_row(1)])
    write_lines(tmp_path / "a.jsonl", [hub_row(2)])
    dialogues = load(tmp_path).dialogues
    assert [dialogue.situation for dialogue in dialogues] == ["Situation 2.", "Situation 1."]
    assert {dialogue.published_split for dialogue in dialogues} == {None}


def test_ids_do_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [hub_row(number) for number in range(5)]
    forward = load(write_lines(tmp_path / "a.jsonl", rows)).dialogues
    backward = load(write_lines(tmp_path / "b.jsonl", rows[::-1])).dialogues
    assert forward == backward[::-1]
    assert len({dialogue.id for dialogue in forward}) == 5


def broken(**changes: object) -> dict[str, object]:
    row = {**HUB_ROW, **changes}
    return {key: value for key, value in row.items() if value != "absent"}


def with_utterance(**item: object) -> dict[str, object]:
    first: dict[str, object] = {"speaker": "usr", "text": "Hi."}
    reply: dict[str, object] = {"speaker": "sys", "text": "Hello.", "strategy": "Others"}
    return broken(dialog=[first, reply, item])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (broken(dialog="absent"), "field 'dialog': is missing (the row has emotion_type, "),
        (broken(dialog=[]), "field 'dialog': is empty; remove this row or fill the list"),
        (broken(dialog="hi"), "field 'dialog': is text; make it a list of objects"),
        (broken(emotion_type=3), "field 'emotion_type': is a number; make it text"),
        (with_utterance(text="Hi."), "field 'dialog[2].speaker': is missing"),
        (with_utterance(speaker="usr"), "field 'dialog[2].text': is missing"),
        (
            with_utterance(speaker="bot", text="Hi."),
            "field 'dialog[2].speaker': is 'bot' in a dialogue of the hub dialect; use usr or sys",
        ),
        (
            broken(dialog=[{"speaker": "bot", "text": "Hi."}]),
            "field 'dialog[0].speaker': is 'bot'; use usr/sys, or seeker/supporter, or "
            "speaker/listener",
        ),
        (
            with_utterance(speaker="sys", text="Hi.", strategy="Hypnosis"),
            "field 'dialog[2].strategy': 'Hypnosis' is no known strategy; use one of question, ",
        ),
        (
            with_utterance(speaker="usr", text="Hi.", strategy="Question"),
            "field 'dialog[2].strategy': is 'Question' on an utterance of the seeker",
        ),
        (
            broken(dialog=[{"speaker": "usr", "text": "Hi."}]),
            "field 'dialog': has no supporter utterance; remove the row, or check how it names",
        ),
        (
            broken(dialog=[{"speaker": "sys", "text": "Hi."}]),
            "field 'dialog': has no seeker utterance",
        ),
        ({"text": "no json"}, "field 'text': is not JSON"),
        ({"text": "[1]"}, "field 'text': is a list, not a JSON object"),
        (
            original(with_utterance(speaker="sys", text=None, strategy="Others")),
            "field 'dialog[2].content': is null; make it text",
        ),
    ],
)
def test_a_malformed_row_is_an_error(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write_lines(tmp_path / "x.jsonl", [HUB_ROW, row])
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_an_array_is_blamed_by_index(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([HUB_ROW, broken(dialog=[])]))
    with pytest.raises(DataError, match=r"x\.json\[1\]: field 'dialog': is empty"):
        load(path)


def test_folders_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \.jsonl, \.json or \.txt file"):
        load(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "nowhere")
    write_lines(tmp_path / "valid.jsonl", [hub_row(1)])
    write_lines(tmp_path / "validation.jsonl", [hub_row(2)])
    with pytest.raises(DataError, match=r"valid\.jsonl and validation\.jsonl are its split 'gate'"):
        load(tmp_path)


def test_esconv_has_no_chinese(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", [HUB_ROW])
    with pytest.raises(DataError, match="none of the 1 dialogues read was kept"):
        load_dialogues("esconv", path=path, language="zh")


@pytest.mark.parametrize("as_text", [False, True])
def test_without_a_path_the_hub_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_text: bool
) -> None:
    datasets = pytest.importorskip("datasets", reason="the hub needs the package datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "hub"
    folder.mkdir()
    suffix = "txt" if as_text else "jsonl"
    write_lines(folder / f"train.{suffix}", [hub_row(1), hub_row(2)])
    write_lines(folder / f"validation.{suffix}", [hub_row(3)])
    monkeypatch.setattr(esconv, "HUB_ID", str(folder))
    from_hub = load_dialogues("esconv").dialogues
    assert [dialogue.published_split for dialogue in from_hub] == ["train", "train", "gate"]
    assert sorted_by_id(from_hub) == sorted_by_id(load(folder).dialogues)


def test_a_hub_that_cannot_be_reached_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets", reason="the hub needs the package datasets")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(esconv, "HUB_ID", str(empty))
    with pytest.raises(DataError, match=r"empty: cannot be loaded from the hub \(.*or give a path"):
        load_dialogues("esconv")


def sorted_by_id(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    return sorted(dialogues, key=lambda dialogue: dialogue.id)


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("SELFEVO_DATA")
    if folder is None:
        pytest.skip("set SELFEVO_DATA to a folder that holds esconv/ to test on ESConv itself")
    return Path(folder) / "esconv"


def test_the_real_esconv(real_data: Path) -> None:
    loaded = load(real_data)
    report = loaded.report
    assert Counter(dialogue.published_split for dialogue in loaded.dialogues) == {
        "train": 910,
        "gate": 195,
    }
    assert (report.n_read, report.n_utterances_read) == (1105, 32326)
    assert report.counts() == {
        "task_chatter": 282,
        "task_ending": 151,
        "contact_details": 21,
        "opening_supporter": 631,
    }
    splits = split_dialogues(loaded.dialogues, seed=0)
    assert splits.is_published
    assert (len(splits.train), len(splits.gate), len(splits.final)) == (910, 195, 0)
    assert check_leakage(splits) == []


def test_the_other_dialects_of_the_real_esconv(real_data: Path) -> None:
    hub_ids = {dialogue.id for dialogue in load(real_data / "train.jsonl").dialogues}
    github = load(real_data / "original_format_train41.json")
    assert len(github.dialogues) == 41
    assert len({dialogue.id for dialogue in github.dialogues} & hub_ids) == 41
    failed = load(real_data / "FailedESConv_half.json")
    assert failed.report.n_kept == failed.report.n_read == 96
