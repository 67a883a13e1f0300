import json
import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from benchmarks.errors import DataError
from benchmarks.rated_sets import (
    LEND_AN_EAR_DIMENSIONS,
    load_esconv_feedback,
    load_failed_esconv,
    load_lend_an_ear,
)
from benchmarks.ratings import RatedSet, load_rated
from judges.automatic import n_words
from judges.stability import icc_oneway

NAMES = ("expert1", "expert2", "expert3", "gpt", "claude", "gemini", "crowd")

DIALOGUE: list[tuple[str, str]] = [
    ("sys", "Hello"),
    ("usr", "Hi, I failed."),
    ("sys", "What did you fail?"),
    ("usr", "The exam"),
    ("usr", "of June"),
    ("sys", "That hurts."),
    ("sys", "How are you now?"),
    ("usr", "Better."),
]


def lend_an_ear(folder: Path) -> Path:
    """Two conversations; the n-th rater gives n mod 5 + 1 to the first and 2 to the second."""
    (folder / "ratings").mkdir()
    (folder / "sample_lend_an_ear_conversations.csv").write_text(
        "conversation_id,full_conversation,response_length\n"
        '20241031124050492385,"Seeker: I was passed over.\nSupporter: \nSeeker: Again.\n'
        'Supporter: That stings.\nSupporter: What now?",5\n'
        '20241031124050492386,"Seeker: Hello\nSupporter: Hi",1\n',
        encoding="utf-8",
    )
    for number, name in enumerate(NAMES):
        rating = 2.5 if name == "crowd" else number % 5 + 1
        lines = [
            ",".join(("conversation_id", *LEND_AN_EAR_DIMENSIONS)),
            ",".join(("20241031124050492385", *[str(rating)] * 6)),
            ",".join(("20241031124050492386", *["2"] * 6)),
        ]
        # without a newline at the end, as one of the published files is
        (folder / "ratings" / f"{name}_ratings.csv").write_text("\n".join(lines))
    return folder


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def esconv(folder: Path, feedback: Sequence[object], dialogue: object = None) -> Path:
    items = [{"speaker": s, "text": t} for s, t in DIALOGUE] if dialogue is None else dialogue
    write_lines(folder / "valid.jsonl", [{"dialog": items}])
    write_lines(folder / "seeker_feedback_valid.jsonl", feedback)
    return folder


def feedback(rating: object, *spans: list[int], index: object = 0) -> dict[str, Any]:
    return {
        "split": "valid",
        "dialog_index": index,
        "seeker_utterances": [3, 4],
        "preceding_supporter_utterances": list(spans),
        "feedback": rating,
    }


def shown(rated: RatedSet, index: int) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in rated.items[index].messages]


def test_lend_an_ear_is_read(tmp_path: Path) -> None:
    rated = load_rated(f"lend-an-ear:{lend_an_ear(tmp_path)}")
    assert (rated.about, rated.levels, len(rated.dimensions)) == (
        "conversation",
        (1, 2, 3, 4, 5),
        6,
    )
    assert shown(rated, 0) == [
        ("user", "I was passed over. Again."),
        ("assistant", "That stings. What now?"),
    ]
    first, second = "20241031124050492385", "20241031124050492386"
    assert rated.clusters() == {first: first, second: second}
    assert rated.lengths() == {first: 4, second: 1}
    assert rated.raters == ("expert1", "expert2", "expert3")
    assert rated.by_rater("advice_giving") == {
        "expert1": {first: 1, second: 2},
        "expert2": {first: 2, second: 2},
        "expert3": {first: 3, second: 2},
    }
    assert rated.stored_of("advice_giving") == {
        "gpt": {first: 4, second: 2},
        "claude": {first: 5, second: 2},
        "gemini": {first: 1, second: 2},
    }
    assert rated.group_means["crowd"]["advice_giving"] == {first: 2.5, second: 2}


def test_lend_an_ear_with_files_of_two_releases(tmp_path: Path) -> None:
    file = lend_an_ear(tmp_path) / "ratings" / "gpt_ratings.csv"
    good = file.read_text()
    file.write_text(good.replace("20241031124050492386", "7"))
    with pytest.raises(
        DataError, match=r"gpt_ratings\.csv:3: field 'conversation_id': '7' is none"
    ):
        load_lend_an_ear(tmp_path)
    file.write_text(good + "\n20241031124050492386,1,1,1,1,1,1\n")
    with pytest.raises(DataError, match=r"gpt_ratings\.csv:4: .*'20241031124050492386' again"):
        load_lend_an_ear(tmp_path)
    file.write_text(good.replace("advice_giving", "advice"))
    with pytest.raises(DataError, match=r"gpt_ratings\.csv:2: field 'advice_giving': is missing"):
        load_lend_an_ear(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match=r"gpt_ratings\.csv: no such file"):
        load_lend_an_ear(tmp_path)


def test_an_unrated_cell_is_no_rating(tmp_path: Path) -> None:
    file = lend_an_ear(tmp_path) / "ratings" / "expert1_ratings.csv"
    file.write_text(file.read_text().replace("20241031124050492386,2", "20241031124050492386,"))
    given = load_lend_an_ear(tmp_path).by_rater("validating_emotions")
    assert list(given["expert1"]) == ["20241031124050492385"]
    assert len(given["expert2"]) == 2


def test_feedback_becomes_replies(tmp_path: Path) -> None:
    ratings = [feedback(4, [0, 0], [2, 2]), feedback(5, [5, 6]), feedback(3)]
    rated = load_esconv_feedback(esconv(tmp_path, ratings))
    assert (rated.about, rated.dimensions, rated.raters) == ("reply", ("helpful",), ("seeker",))
    assert shown(rated, 0) == [
        ("assistant", "Hello"),
        ("user", "Hi, I failed."),
        ("assistant", "What did you fail?"),
    ]
    assert shown(rated, 1) == [
        *shown(rated, 0),
        ("user", "The exam of June"),
        ("assistant", "That hurts. How are you now?"),
    ]
    first, second = "esconv-valid-0-2", "esconv-valid-0-6"
    assert rated.by_rater("helpful") == {"seeker": {first: 4, second: 5}}
    assert rated.clusters() == {first: "esconv-valid-0", second: "esconv-valid-0"}
    assert rated.lengths() == {first: 4, second: 6}
    assert rated.skipped == {"no_supporter_before": 1}


def test_contact_details_are_left_out(tmp_path: Path) -> None:
    dialogue = [{"speaker": s, "text": t} for s, t in DIALOGUE]
    dialogue[2]["text"] = "Write to me at someone@example.com"
    ratings = [feedback(4, [0, 0], [2, 2]), feedback(5, [5, 6])]
    rated = load_esconv_feedback(esconv(tmp_path, ratings, dialogue))
    assert rated.skipped == {"contact_details": 1}
    assert shown(rated, 0) == [
        ("assistant", "Hello"),
        ("user", "Hi, I failed. The exam of June"),
        ("assistant", "That hurts. How are you now?"),
    ]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (feedback(6, [2, 2]), "field 'feedback': is 6; use 1 to 5"),
        (feedback(None, [2, 2]), "field 'feedback': is None; use 1 to 5"),
        (
            feedback(4, [2, 2], index=1),
            "field 'dialog_index': is 1; give the index of one of the 1",
        ),
        (
            feedback(4, [2, 9]),
            "ends with [2, 9]; give [first, last] indices into the dialogue of 8",
        ),
        (feedback(4, [2, 3]), "ends at utterance 3, which is not the supporter's; take both"),
        (feedback(4) | {"preceding_supporter_utterances": 2}, "is no list; give [[first, last]"),
    ],
)
def test_wrong_feedback_is_one_line(tmp_path: Path, wrong: object, told: str) -> None:
    with pytest.raises(DataError) as error:
        load_esconv_feedback(esconv(tmp_path, [wrong]))
    assert str(error.value).startswith(f"{tmp_path / 'seeker_feedback_valid.jsonl'}:1: field '")
    assert told in str(error.value)


def failed(*ratings: tuple[int, object]) -> dict[str, object]:
    names = {"usr": "speaker", "sys": "listener"}
    items: list[dict[str, object]] = [
        {"speaker": names[s], "annotation": {}, "content": t} for s, t in DIALOGUE
    ]
    for index, rating in ratings:
        items[index]["annotation"] = {"feedback": rating}
    return {"dialog": items}


def test_failed_dialogues(tmp_path: Path) -> None:
    path = tmp_path / "FailedESConv_half.json"
    path.write_text(json.dumps([failed((1, "2"), (3, "1"), (4, "3"), (7, "5")), failed()]))
    rated = load_failed_esconv(tmp_path)
    assert rated.by_rater("helpful")["seeker"] == {
        "failed-esconv-0-0": 2,
        "failed-esconv-0-2": 1,
        "failed-esconv-0-6": 5,
    }
    assert rated.skipped == {"reply_rated_before": 1}
    assert shown(rated, 0) == [("assistant", "Hello")]
    assert load_rated(f"failed-esconv:{path}") == rated


def test_a_wrong_rating_in_a_failed_dialogue(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([failed((3, "good"))]))
    with pytest.raises(DataError) as error:
        load_failed_esconv(path)
    assert str(error.value) == (
        f"{path}[0]: field 'dialog[3].annotation.feedback': is 'good'; use 1 to 5"
    )


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("SELFEVO_DATA")
    if folder is None:
        pytest.skip("set SELFEVO_DATA to a folder that holds lend-an-ear/ and esconv/")
    return Path(folder)


def test_the_real_lend_an_ear(real_data: Path) -> None:
    rated = load_lend_an_ear(real_data / "lend-an-ear")
    assert len(rated.items) == 50
    assert all(item.id.isdigit() and len(item.id) == 20 for item in rated.items)
    for dimension in rated.dimensions:
        everyone = [*rated.by_rater(dimension).values(), *rated.stored_of(dimension).values()]
        assert [len(ratings) for ratings in everyone] == [50] * 6
    for item in rated.items:
        roles = [message.role for message in item.messages]
        assert roles[0] == "user"
        assert all(one != other for one, other in pairwise(roles))
        assert all(message.content for message in item.messages)


def test_the_real_seeker_feedback(real_data: Path) -> None:
    rated = load_esconv_feedback(real_data / "esconv")
    ratings = rated.by_rater("helpful")["seeker"]
    assert rated.skipped == {"no_supporter_before": 2, "contact_details": 2}
    assert Counter(ratings.values()) == {1: 9, 2: 30, 3: 191, 4: 321, 5: 567}
    by_dialogue: dict[str, list[float]] = {}
    for item, conversation in rated.clusters().items():
        by_dialogue.setdefault(conversation, []).append(ratings[item])
    assert len(by_dialogue) == 195
    assert icc_oneway([*by_dialogue.values()]) == pytest.approx(0.44, abs=0.01)
    assert all(item.messages[-1].role == "assistant" for item in rated.items)


def test_longer_supporters_are_rated_higher(real_data: Path) -> None:
    # .17 for all that the supporter said since the rating before, .14 for the last turn alone
    rated = load_esconv_feedback(real_data / "esconv")
    ratings, lengths = rated.by_rater("helpful")["seeker"], rated.lengths()
    last = stats.spearmanr([ratings[i] for i in lengths], [*lengths.values()]).statistic
    assert last == pytest.approx(0.14, abs=0.015)
    two = [
        sum(n_words(m.content) for m in item.messages[-3:] if m.role == "assistant")
        for item in rated.items
    ]
    both = stats.spearmanr([ratings[item.id] for item in rated.items], two).statistic
    assert both == pytest.approx(0.17, abs=0.015)


def test_the_real_failed_dialogues(real_data: Path) -> None:
    rated = load_failed_esconv(real_data / "esconv")
    ratings = rated.by_rater("helpful")["seeker"].values()
    assert rated.skipped == {"reply_rated_before": 2, "contact_details": 3}
    assert Counter(ratings) == {1: 90, 2: 66, 3: 129, 4: 100, 5: 93}
    assert len(set(rated.clusters().values())) == 94
