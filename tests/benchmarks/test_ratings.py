import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import rated_sets
from benchmarks.errors import DataError
from benchmarks.ratings import RatedItem, RatedSet, load_rated, load_ratings_csv

RATINGS = """\
id,rater,text,warmth,clarity
r1,ann,"That sounds heavy, and long.",4,2
r1,ben,,5,
r2,ann,"Seeker: I failed.
Supporter: Of what?
the exam?
Seeker:
Supporter:
Seeker: Yes.
Supporter: I am sorry.",1.5,3
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_of_ones_own(tmp_path: Path) -> None:
    rated = load_rated(str(write(tmp_path / "mine.csv", RATINGS)))
    assert (rated.name, rated.about, rated.levels) == ("mine", "reply", (1, 2, 3, 4, 5))
    assert rated.dimensions == ("warmth", "clarity")
    assert rated.raters == ("ann", "ben")
    assert rated.by_rater("warmth") == {"ann": {"r1": 4, "r2": 1.5}, "ben": {"r1": 5}}
    assert rated.by_rater("clarity") == {"ann": {"r1": 2, "r2": 3}, "ben": {}}
    first, second = rated.items
    assert [(m.role, m.content) for m in first.messages] == [
        ("assistant", "That sounds heavy, and long.")
    ]
    assert [(m.role, m.content) for m in second.messages] == [
        ("user", "I failed."),
        ("assistant", "Of what?\nthe exam?"),
        ("user", "Yes."),
        ("assistant", "I am sorry."),
    ]
    assert rated.lengths() == {"r1": 5, "r2": 3}


def test_columns_that_are_no_dimension(tmp_path: Path) -> None:
    text = (
        ",id,conversation_id,full_conversation,language,response_length,warmth\n"
        "0,20241031145103738386,c,Supporter: 你好,zh,2,4\n"
        "1,20241031145103738387,c,Supporter: 再见,,2,5\n"
    )
    rated = load_ratings_csv(write(tmp_path / "x.csv", text))
    assert rated.dimensions == ("warmth",)
    assert rated.raters == ("human",)
    assert rated.about == "conversation"
    assert rated.clusters() == {"20241031145103738386": "c", "20241031145103738387": "c"}
    assert [item.language for item in rated.items] == ["zh", "zh"]


def test_ratings_without_text_and_some_of_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "conversation_id,warmth,remark\na,0,good\nb,2,\n")
    rated = load_ratings_csv(path, levels=(0, 1, 2), dimensions=["warmth"])
    assert rated.by_rater("warmth") == {"human": {"a": 0, "b": 2}}
    assert rated.items[0].messages == ()
    assert rated.lengths() == {}
    assert rated.clusters() == {"a": "a", "b": "b"}


def test_the_persona_is_no_dimension_and_may_be_missing(tmp_path: Path) -> None:
    text = "id,rater,persona,warmth\na,x,en-1,4\na,y,,5\nb,x,,3\n"
    rated = load_rated(str(write(tmp_path / "x.csv", text)))
    assert rated.dimensions == ("warmth",)
    assert {item.id: item.persona for item in rated.items} == {"a": "en-1", "b": None}
    assert rated.by_rater("warmth") == {"x": {"a": 4, "b": 3}, "y": {"a": 5}}
    without = load_rated(str(write(tmp_path / "y.csv", "id,warmth\na,4\n")))
    assert without.items[0].persona is None


def test_the_scale_of_a_csv_can_be_given(tmp_path: Path) -> None:
    path = str(write(tmp_path / "x.csv", "id,warmth\na,0\nb,2\n"))
    assert load_rated(path, levels=(0, 1, 2)).levels == (0, 1, 2)
    with pytest.raises(DataError, match="is 0, outside the scale; use 1 to 5"):
        load_rated(path)
    with pytest.raises(DataError, match="is 2, outside the scale; use 0 to 1"):
        load_rated(path, levels=(0, 1))


def test_a_published_set_keeps_its_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = load_ratings_csv(write(tmp_path / "x.csv", "id,warmth\na,4\n"))
    monkeypatch.setattr(rated_sets, "load_failed_esconv", lambda path: published)
    assert load_rated("failed-esconv:x", levels=(0, 1)) is published
    assert published.levels == (1, 2, 3, 4, 5)


def test_a_text_without_a_word_has_no_length(tmp_path: Path) -> None:
    text = "id,text,warmth\na,...,1\nb,Go on.,2\nc,,3\nd,你好,4\n"
    rated = load_rated(str(write(tmp_path / "x.csv", text)))
    assert rated.items[0].messages[0].content == "..."
    assert rated.lengths() == {"b": 2, "d": 2}
    assert set(rated.by_rater("warmth")["human"]) == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,warmth\na,4\nb,6\n", ":3: field 'warmth': is 6, outside the scale; use 1 to 5"),
        ("id,warmth\na,nan\n", ":2: field 'warmth': is nan, outside the scale; use 1 to 5"),
        ('id,text,warmth\na,"x\ny",4\nb,z,so\n', ":4: field 'warmth': is 'so'; write a number"),
        ("id,warmth\n,4\n", ":2: field 'id': is missing or empty; give every row an id"),
        ("name,warmth\na,4\n", ":2: field 'id': is missing or empty"),
        ("id,rater,warmth\na,x,4\na,x,5\n", ":3: field 'rater': 'x' rated 'a' before; keep one"),
        ("id,rater,text,warmth\na,x,p,4\na,y,q,5\n", ":3: field 'text': differs from that of an"),
        (
            "id,rater,persona,warmth\na,x,p,4\na,y,q,5\n",
            ":3: field 'persona': differs from that of an earlier row of 'a'; give every item",
        ),
        ("id,warmth\na,4,5\n", ":2: has 3 cells, the header has 2; give every row"),
        ("id,warmth,warmth\na,4,5\n", ":1: field 'warmth': is there twice; name every column"),
        ("id,text\na,b\n", ":1: has no column with ratings (it has id, text); add a column"),
        ("id,warmth\n", ": the file has no rows; write a header"),
        ("", ": the file has no rows"),
        ('id,warmth\na,"4', ":2: is not CSV (unexpected end of data)"),
        ("id,language,warmth\na,de,4\n", ":2: field 'language': is 'de'; use en or zh"),
        (
            "id,full_conversation,warmth\na,hello,4\n",
            ":2: field 'full_conversation': begins with 'hello'; begin every turn with 'Seeker: '",
        ),
        (
            "id,full_conversation,warmth\na,Seeker: hello,4\n",
            ":2: field 'full_conversation': has no supporter turn; remove the row",
        ),
    ],
)
def test_a_wrong_csv_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(DataError) as error:
        load_ratings_csv(path)
    assert str(error.value).startswith(f"{path}{told}")
    assert "\n" not in str(error.value)


def test_a_csv_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: no such file or directory; check the path"):
        load_rated(str(tmp_path / "none.csv"))
    (tmp_path / "x.csv").write_bytes(b"id,warmth\n\xff,4\n")
    with pytest.raises(DataError, match="is not UTF-8 \\(byte 0xff at 10\\)"):
        load_rated(str(tmp_path / "x.csv"))
    with pytest.raises(DataError, match=r"y\.csv:2: field 'tone': is missing"):
        load_ratings_csv(write(tmp_path / "y.csv", "id,warmth\na,4\n"), dimensions=["tone"])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("esconv:", "esconv:: names no path; write esconv:PATH"),
        ("other:x", "other:x: is no set of ratings; use lend-an-ear:PATH, esconv:PATH, failed-"),
        ("x.jsonl", "x.jsonl: is no set of ratings"),
    ],
)
def test_an_unknown_set(spec: str, told: str) -> None:
    with pytest.raises(DataError) as error:
        load_rated(spec)
    assert str(error.value).startswith(told)


def test_the_hash_is_of_the_contents(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "id,warmth\na,4\n")
    first = load_ratings_csv(path).hash
    assert load_ratings_csv(path).hash == first
    assert len(first) == 64
    write(path, "id,warmth\na,5\n")
    assert load_ratings_csv(path).hash != first


def test_a_dimension_that_is_not_there(tmp_path: Path) -> None:
    rated = load_ratings_csv(write(tmp_path / "x.csv", "id,warmth\na,4\n"))
    with pytest.raises(ValueError, match="x has no dimension 'tone'; use one of warmth"):
        rated.by_rater("tone")


def test_ids_are_unique() -> None:
    item = RatedItem(id="a", conversation="a", language="en", messages=(), ratings={})
    with pytest.raises(ValueError, match="two items have the same id"):
        RatedSet(
            name="x",
            about="reply",
            items=(item, item),
            dimensions=("warmth",),
            levels=(1, 2),
            raters=(),
            stored={},
            group_means={},
            skipped={},
            hash="",
        )


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("SELFEVO_DATA")
    if folder is None:
        pytest.skip("set SELFEVO_DATA to a folder that holds lend-an-ear/ and esconv/")
    return Path(folder)


def test_one_of_the_real_files_as_ones_own(real_data: Path) -> None:
    rated = load_rated(str(real_data / "lend-an-ear" / "ratings" / "gemini_ratings.csv"))
    assert len(rated.items) == 50
    assert set(rated.by_rater("advice_giving")["human"].values()) <= {1, 2, 3, 4, 5}
    assert Counter(item.messages[0].role for item in rated.items) == {"user": 50}
