import json
from pathlib import Path

import pytest

from benchmarks.dialogues import load_dialogues
from benchmarks.errors import DataError

ROW: dict[str, object] = {
    "language": "zh",
    "emotion": "anxiety",
    "problem": "academic pressure",
    "situation": "考研前一个月。",
    "turns": [
        {"speaker": "seeker", "text": "我复习不完了。"},
        {"speaker": "supporter", "text": "听起来你很着急。", "strategy": "reflection"},
        {"speaker": "supporter", "text": "最担心哪一科？", "strategy": "question"},
    ],
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "starter.jsonl"
    row = {key: value for key, value in {**ROW, **changes}.items() if value is not None}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def test_a_row_is_read(tmp_path: Path) -> None:
    (dialogue,) = load_dialogues("starter", path=write(tmp_path)).dialogues
    assert (dialogue.source, dialogue.language) == ("starter", "zh")
    assert dialogue.situation == "考研前一个月。"
    assert dialogue.turns[1].text == "听起来你很着急。最担心哪一科？"
    assert dialogue.turns[1].strategies == ("reflection", "question")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"language": None}, "field 'language': is missing; add 'en' or 'zh'"),
        ({"language": "de"}, "field 'language': is 'de'; use en or zh"),
        ({"situation": None}, "field 'situation': is missing"),
        ({"turns": []}, "field 'turns': is empty"),
        (
            {"turns": [{"speaker": "user", "text": "x"}]},
            "field 'turns[0].speaker': is 'user'; use seeker or supporter",
        ),
        ({"turns": [{"speaker": "seeker", "text": "x"}]}, "field 'turns': has no supporter"),
    ],
)
def test_a_malformed_row_is_an_error(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        load_dialogues("starter", path=path)
    assert str(caught.value).startswith(f"{path}:1: {problem}")


def test_the_files_of_the_package_are_read_by_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data).rename(data / "starter.zh.jsonl")
    write(data, language="en", situation="Finals").rename(data / "starter.en.jsonl")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    both = load_dialogues("starter")
    assert [dialogue.language for dialogue in both.dialogues] == ["en", "zh"]
    only = load_dialogues("starter", language="zh")
    assert [dialogue.language for dialogue in only.dialogues] == ["zh"]
    assert only.report.n_read == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_dialogues_load_with_nothing_dropped(language: str) -> None:
    loaded = load_dialogues("starter", language=language)  # type: ignore[arg-type]
    assert loaded.report.dropped == ()
    assert {dialogue.language for dialogue in loaded.dialogues} == {language}
    assert all(dialogue.emotion and dialogue.problem for dialogue in loaded.dialogues)
