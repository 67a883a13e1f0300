import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from judges.rubric import (
    MAX_BYTES,
    PREFERENCE,
    Criterion,
    Kind,
    Level,
    Rubric,
    RubricError,
    dump_rubric,
    load_rubric,
    parse_rubric,
    rubric_names,
)
from judges.words import Language

HAN: Final = re.compile(r"[\u4e00-\u9fff]")
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
TEXT: Final = """
name: support
version: "1"
language: en
kind: ordinal
higher_is: better
about: conversation
needs_persona: false
instructions: Judge the replies.
criteria:
  - name: warmth
    question: How warm?
    weight: 1.0
    levels:
      - {value: 1, name: cold, anchor: None of it.}
      - {value: 2, name: warm, anchor: Much of it.}
  - name: sense
    question: Does it make sense?
    weight: 2
    levels:
      - {value: 1, name: little, anchor: It does not.}
      - {value: 2, name: much, anchor: It does.}
"""
ITEMS: Final = TEXT.replace("ordinal", "items")
TEMPLATE: Final = """
name: wishes
version: "1"
language: en
kind: preferences
higher_is: better
about: conversation
needs_persona: true
instructions: Judge the replies.
criteria:
  - name: wish
    question: "Wish: {preference}. Was it met?"
    weight: 1
    levels:
      - {value: -1, name: violated, anchor: Against it.}
      - {value: 0, name: ignored, anchor: Neither.}
      - {value: 1, name: met, anchor: For it.}
    not_applicable: No occasion.
"""
SHIPPED: Final = [(name, language) for name in rubric_names() for language in LANGUAGES]


def complaint(text: str, old: str = "", new: str = "") -> str:
    """The error of a text in which `old` was replaced, without the file that it begins with."""
    assert not old or old in text
    with pytest.raises(RubricError) as caught:
        parse_rubric(text.replace(old, new, 1) if old else text, "mine.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("mine.yaml: ")
    return message.removeprefix("mine.yaml: ")


def texts(rubric: Rubric) -> Iterator[str]:
    """Every text that a judge reads."""
    yield rubric.instructions
    for criterion in rubric.criteria:
        yield criterion.question
        if criterion.not_applicable is not None:
            yield criterion.not_applicable
        for level in criterion.levels:
            yield from (level.name, level.anchor)


def shape(rubric: Rubric) -> dict[str, Any]:
    """What a translation may not change."""
    record = rubric.model_dump(exclude={"language", "instructions"})
    for criterion in record["criteria"]:
        del criterion["question"]
        criterion["not_applicable"] = criterion["not_applicable"] is not None
        criterion["levels"] = [level["value"] for level in criterion["levels"]]
    return record


# ---- what is shipped


def test_the_shipped_rubrics_are_these() -> None:
    assert rubric_names() == (
        "empathic_communication",
        "fluency",
        "personalization",
        "preference_discrepancy",
        "support_quality",
        "unhelpfulness",
    )


@pytest.mark.parametrize(("name", "language"), SHIPPED)
def test_every_shipped_rubric_loads_under_its_name(name: str, language: Language) -> None:
    rubric = load_rubric(name, language)
    assert (rubric.name, rubric.language, rubric.about) == (name, language, "conversation")


@pytest.mark.parametrize(
    ("name", "kind", "higher_is", "needs_persona", "criteria"),
    [
        (
            "personalization",
            "ordinal",
            "better",
            True,
            ["profile_fit", "emotion_fit", "situation_fit", "need_fit", "tailoring"],
        ),
        ("preference_discrepancy", "preferences", "better", True, ["preference"]),
        (
            "unhelpfulness",
            "items",
            "worse",
            False,
            [
                "stock_reply",
                "ignores_what_was_said",
                "misreads_emotion",
                "premature_advice",
                "unwanted_advice",
                "over_referral",
                "refusal",
                "invalidation",
                "repetition",
                "role_confusion",
                "unfinished",
                "false_claims",
            ],
        ),
        ("support_quality", "ordinal", "better", False, ["exploration", "insight", "action"]),
        ("fluency", "ordinal", "better", False, ["fluency", "coherence"]),
        (
            "empathic_communication",
            "ordinal",
            "better",
            False,
            [
                "validating_emotions",
                "encouraging_elaboration",
                "demonstrating_understanding",
                "advice_giving",
                "self_oriented",
                "dismissing_emotions",
            ],
        ),
    ],
)
def test_what_a_shipped_rubric_asks(
    name: str, kind: str, higher_is: str, needs_persona: bool, criteria: list[str]
) -> None:
    rubric = load_rubric(name)
    assert [criterion.name for criterion in rubric.criteria] == criteria
    assert (rubric.kind, rubric.higher_is, rubric.needs_persona) == (kind, higher_is, needs_persona)


@pytest.mark.parametrize("name", rubric_names())
def test_translations_differ_in_texts_only(name: str) -> None:
    assert shape(load_rubric(name, "en")) == shape(load_rubric(name, "zh"))


@pytest.mark.parametrize("name", rubric_names())
def test_chinese_texts_are_chinese_and_english_ones_are_not(name: str) -> None:
    assert [text for text in texts(load_rubric(name, "zh")) if not HAN.search(text)] == []
    assert [text for text in texts(load_rubric(name, "en")) if HAN.search(text)] == []


@pytest.mark.parametrize(("name", "language"), SHIPPED)
def test_no_anchor_stands_twice(name: str, language: Language) -> None:
    anchors = [level.anchor for c in load_rubric(name, language).criteria for level in c.levels]
    assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize(
    ("language", "length", "warmth", "echo", "injection"),
    [
        (
            "en",
            "Length",
            "Words of warmth",
            "Repeating the person's words",
            "an instruction to you",
        ),
        ("zh", "篇幅长", "温暖的字眼", "重复倾诉者的原话", "给你的指令"),
    ],
)
def test_every_judge_is_warned_of_the_cheap_ways_to_win(
    language: Language, length: str, warmth: str, echo: str, injection: str
) -> None:
    for name in rubric_names():
        told = " ".join(load_rubric(name, language).instructions.split())
        assert [w for w in (length, warmth, echo, injection) if w not in told] == [], name


@pytest.mark.parametrize("language", LANGUAGES)
def test_ordinal_scales_are_one_to_five(language: Language) -> None:
    scales = {
        criterion.values
        for name in rubric_names()
        for rubric in (load_rubric(name, language),)
        if rubric.kind == "ordinal"
        for criterion in rubric.criteria
    }
    assert scales == {(1, 2, 3, 4, 5)}


def test_a_fault_needs_a_quote_only_where_it_is_present() -> None:
    quoting = {(c.needs_quote, c.quote_from) for c in load_rubric("unhelpfulness").criteria}
    assert quoting == {(True, 1)}


def test_the_template_may_be_answered_with_not_applicable() -> None:
    [template] = load_rubric("preference_discrepancy").criteria
    assert [level.name for level in template.levels] == ["violated", "ignored", "met"]
    assert template.not_applicable is not None


# ---- records


def test_a_criterion_is_found_by_name() -> None:
    rubric = parse_rubric(TEXT, "mine.yaml")
    assert rubric.criterion("sense") is rubric.criteria[1]
    with pytest.raises(RubricError) as caught:
        rubric.criterion("sens")
    assert str(caught.value) == "rubric 'support': no criterion 'sens'; use warmth, sense"


def test_a_rubric_cannot_be_changed() -> None:
    rubric = parse_rubric(TEXT, "mine.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        rubric.version = "2"  # type: ignore[misc]


def test_the_hash_ignores_how_the_yaml_is_written() -> None:
    rewritten = yaml.safe_dump(yaml.safe_load(TEXT), sort_keys=True, default_flow_style=True)
    commented = "# a comment\n" + TEXT.replace("Judge the replies.", "|\n  Judge the replies.\n\n")
    with_defaults = "schema_version: 1\n" + TEXT.replace("weight: 2", "weight: 2.0")
    hashes = {
        parse_rubric(text, "mine.yaml").hash
        for text in (TEXT, rewritten, commented, with_defaults, "\ufeff" + TEXT)
    }
    assert len(hashes) == 1
    assert re.fullmatch("[0-9a-f]{64}", hashes.pop())


def _changed_by_one(node: Any, key: str | int = "") -> Iterator[Any]:
    """The record again and again, each time with another of its fields changed."""
    if isinstance(node, dict | list):
        for inner in node if isinstance(node, dict) else range(len(node)):
            for changed in _changed_by_one(node[inner], inner):
                copy = node.copy()
                copy[inner] = changed
                yield copy
    elif key in CHANGES:
        yield CHANGES[key]
    elif isinstance(node, bool | float):
        yield not node if isinstance(node, bool) else node + 0.5
    elif isinstance(node, str):
        yield f"{node}x"


CHANGES: Final[dict[str | int, object]] = {
    "language": "zh",
    "higher_is": "worse",
    "about": "reply",
    "quote_from": 1,
    "not_applicable": "Never.",
}


@pytest.mark.parametrize(("text", "n_fields"), [(TEXT, 27), (TEMPLATE, 19)])
def test_the_hash_changes_with_every_field(text: str, n_fields: int) -> None:
    rubric = parse_rubric(text, "mine.yaml")
    fixed = {"kind": rubric.kind, "needs_persona": rubric.needs_persona}
    record = rubric.model_dump(mode="json", exclude=set(fixed))
    hashes = [Rubric.model_validate({**r, **fixed}).hash for r in _changed_by_one(record)]
    assert len(hashes) == n_fields
    assert len({rubric.hash, *hashes}) == n_fields + 1


def test_the_hash_changes_with_kind_and_need_of_a_persona() -> None:
    items = TEXT.replace("value: 1", "value: 0").replace("value: 2", "value: 1")
    as_faults = items.replace("kind: ordinal", "kind: items")
    with_persona = items.replace("needs_persona: false", "needs_persona: true")
    assert len({parse_rubric(t, "x").hash for t in (items, as_faults, with_persona)}) == 3


def test_the_hash_changes_with_a_value_and_with_the_order() -> None:
    rubric = parse_rubric(TEXT, "mine.yaml")
    valued = parse_rubric(TEXT.replace("{value: 2,", "{value: 3,", 1), "mine.yaml")
    turned = rubric.model_copy(update={"criteria": rubric.criteria[::-1]})
    assert len({rubric.hash, valued.hash, turned.hash}) == 3


def test_two_hashes_by_name() -> None:
    assert load_rubric("fluency").hash == load_rubric("fluency", "en").hash
    assert load_rubric("fluency").hash != load_rubric("fluency", "zh").hash


# ---- any rubric survives the file


_text = st.text(min_size=1).filter(lambda text: text.strip())
_label = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
_label = _label.filter(lambda text: 0 < len(text.strip()) <= 40)
_identifier = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)


@st.composite
def _levels(draw: st.DrawFn, values: list[int]) -> list[Level]:
    unique = st.lists(
        _label,
        min_size=len(values),
        max_size=len(values),
        unique_by=lambda name: name.strip().casefold(),
    )
    names = draw(unique)
    return [Level(value=v, name=n, anchor=draw(_text)) for v, n in zip(values, names, strict=True)]


@st.composite
def rubrics(draw: st.DrawFn) -> Rubric:
    kind: Kind = draw(st.sampled_from(get_args(Kind)))
    fixed = {"items": [0, 1], "preferences": [-1, 0, 1]}
    many = st.lists(st.integers(-99, 99), min_size=2, max_size=5, unique=True).map(sorted)
    names = draw(st.lists(_identifier, min_size=1, max_size=3, unique=True))
    criteria = []
    for name in names[:1] if kind == "preferences" else names:
        values = fixed.get(kind) or draw(many)
        question = draw(_text).replace(PREFERENCE, "")
        criteria.append(
            Criterion(
                name=name,
                question=f"?{question}{PREFERENCE if kind == 'preferences' else ''}",
                weight=draw(st.floats(min_value=1e-6, max_value=1e6)),
                levels=tuple(draw(_levels(values))),
                quote_from=draw(st.none() | st.sampled_from(values)),
                not_applicable=draw(st.none() | _text),
            )
        )
    return Rubric(
        name=draw(_identifier),
        version=draw(st.from_regex(r"[0-9a-z.]{1,9}", fullmatch=True)),
        language=draw(st.sampled_from(LANGUAGES)),
        kind=kind,
        higher_is=draw(st.sampled_from(["better", "worse"])),
        about=draw(st.sampled_from(["conversation", "reply"])),
        needs_persona=kind == "preferences" or draw(st.booleans()),
        instructions=draw(_text),
        criteria=tuple(criteria),
    )


@given(rubric=rubrics())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_dumped_loads_as_the_same_rubric(tmp_path: Path, rubric: Rubric) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(dump_rubric(rubric).encode())
    loaded = load_rubric(path, rubric.language)
    assert loaded == rubric
    assert loaded.hash == rubric.hash


@pytest.mark.parametrize(("name", "language"), SHIPPED)
def test_a_shipped_rubric_survives_a_dump(name: str, language: Language) -> None:
    rubric = load_rubric(name, language)
    assert parse_rubric(dump_rubric(rubric), "mine.yaml") == rubric


# ---- errors of content


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "weight: 1.0",
            "weight: -1.0",
            "criterion 'warmth': weight is -1.0; weights must be positive",
        ),
        ("weight: 2", "weight: 0", "criterion 'sense': weight is 0; weights must be positive"),
        ("weight: 2", "weight: .nan", "criterion 'sense': weight is nan; weights must be"),
        ("weight: 2", "weight: .inf", "criterion 'sense': weight is inf; weights must be finite"),
        ("weight: 2", "weight: heavy", "criterion 'sense': weight is 'heavy'; write a number"),
        ("weight: 2", "weight: true", "criterion 'sense': weight is True; write a number"),
        ("    weight: 2\n", "", "criterion 'sense': weight is missing; add it"),
        (
            "weight: 2",
            "wieght: 2",
            "criterion 'sense': unknown key 'wieght' (did you mean 'weight'?); use name, question,",
        ),
        ("higher_is:", "higheris:", "unknown key 'higheris' (did you mean 'higher_is'?); use "),
        (
            "{value: 2, name: warm,",
            "{value: 2, name: warm, ancor: x,",
            "criterion 'warmth': level 'warm': unknown key 'ancor' (did you mean 'anchor'?); use ",
        ),
        ("name: sense", "name: warmth", "two criteria are named 'warmth'; give each its own name"),
        (
            "name: sense",
            "name: Sense of it",
            "criterion 'Sense of it': name is 'Sense of it'; use lower-case letters",
        ),
        ("name: sense", "name: 7", "criterion 2: name is 7; write a text"),
        ("name: support", "name: my support", "name is 'my support'; use lower-case letters"),
        (
            "{value: 2, name: warm,",
            "{value: 1, name: warm,",
            "criterion 'warmth': two levels have the value 1; give each its own value",
        ),
        (
            "{value: 2, name: warm,",
            "{value: 0, name: warm,",
            "criterion 'warmth': level values are 1, 0; list them in ascending order",
        ),
        (
            "{value: 2, name: warm,",
            "{value: 1.5, name: warm,",
            "criterion 'warmth': level 'warm': value is 1.5; write a whole number",
        ),
        (
            "{value: 2, name: warm,",
            "{value: true, name: warm,",
            "criterion 'warmth': level 'warm': value is True; write a whole number",
        ),
        (
            "name: warm,",
            "name: Cold,",
            "criterion 'warmth': two levels are named 'cold'; give each its own name",
        ),
        (
            "      - {value: 2, name: warm, anchor: Much of it.}\n",
            "",
            "criterion 'warmth': levels has 1 of at least 2; add what is missing",
        ),
        (
            "anchor: None of it.",
            "anchor: ' '",
            "criterion 'warmth': level 'cold': anchor is empty; write a text",
        ),
        ("anchor: None of it.", "anchor:", "criterion 'warmth': level 'cold': anchor is empty; "),
        ("name: cold", "name: ''", "criterion 'warmth': level 1: name is empty; write a text"),
        (
            "name: cold",
            r'name: "co\nld"',
            r"criterion 'warmth': level 'co\nld': name is 'co\nld'; write a label on one line",
        ),
        ("name: cold", "name: no", "criterion 'warmth': level 1: name is False; write a text, and"),
        ("question: How warm?", "question: ''", "criterion 'warmth': question is empty; write a"),
        ("instructions: Judge the replies.", "instructions: ''", "instructions is empty; write a"),
        ('version: "1"', "version: 1", "version is 1; write a text, and a number in quotes"),
        ('version: "1"', "version: a b", "version is 'a b'; write a label such as '1'"),
        ("language: en", "language: fr", "language is 'fr'; use 'en' or 'zh'"),
        (
            "kind: ordinal",
            "kind: scale",
            "kind is 'scale'; use 'ordinal', 'items' or 'preferences'",
        ),
        ("needs_persona: false", "needs_persona: 0", "needs_persona is 0; write true or false"),
        ("name: support", "schema_version: 2\nname: support", "schema_version is 2; use 1"),
        ("question: How warm?", "question: [How]", "criterion 'warmth': question is a list; write"),
        (
            "question: How warm?",
            "question: Is {preference} met?",
            "criterion 'warmth': question holds {preference}, which kind 'ordinal' never fills; ",
        ),
        (
            "weight: 2",
            "weight: 2\n    quote_from: 3",
            "criterion 'sense': quote_from is 3, above every level; use one of 1, 2",
        ),
        (
            "weight: 2",
            "weight: 2\n    needs_quote: false\n    quote_from: 2",
            "criterion 'sense': quote_from is 2 but needs_quote is false; remove one of them",
        ),
        (
            "weight: 2",
            "weight: 2\n    not_applicable: ''",
            "criterion 'sense': not_applicable is e",
        ),
        ("name: support", "7: support", "7 is 7; write every key as text"),
    ],
)
def test_a_wrong_field_is_named(old: str, new: str, told: str) -> None:
    assert complaint(TEXT, old, new).startswith(told)


@pytest.mark.parametrize(
    ("criteria", "told"),
    [
        ("[]", "criteria has 0 of at least 1; add what is missing"),
        ("warmth", "criteria is 'warmth'; write a list"),
        ("{warmth: 1}", "criteria is a mapping; write a list"),
        ("[warmth]", "criterion 1: it is 'warmth'; write a mapping of keys to values"),
        ("!!set {warmth}", "criterion 1: it is 'warmth'; write a mapping of keys to values"),
    ],
)
def test_criteria_that_are_none_are_refused(criteria: str, told: str) -> None:
    assert complaint(TEXT[: TEXT.index("criteria:")] + f"criteria: {criteria}") == told


def test_items_are_zero_or_one() -> None:
    told = "criterion 'warmth': level values are 1, 2; kind 'items' has 0, 1"
    assert complaint(ITEMS) == told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "{preference}",
            "{ preference }",
            "criterion 'wish': question has no {preference}; put it",
        ),
        (
            "value: -1",
            "value: -2",
            "criterion 'wish': level values are -2, 0, 1; kind 'preferences'",
        ),
        ("needs_persona: true", "needs_persona: false", "needs_persona is false, but preferences"),
        (
            "criteria:\n",
            "criteria:\n  - &a {name: a, question: b, weight: 1, levels:"
            " [{value: 0, name: c, anchor: d}, {value: 1, name: e, anchor: f}]}\n",
            "kind 'preferences' has 2 criteria; write one template that is asked for each",
        ),
    ],
)
def test_a_template_that_is_none_is_refused(old: str, new: str, told: str) -> None:
    parse_rubric(TEMPLATE, "mine.yaml")
    assert complaint(TEMPLATE, old, new).startswith(told)


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.none(), inner),
    max_leaves=5,
)


def _with_one(node: Any, data: st.DataObject) -> Any:
    """The record with another value somewhere, on any depth."""
    if not isinstance(node, dict | list) or not node or data.draw(st.integers(0, 5)) == 0:
        return data.draw(_value)
    keys = list(node) if isinstance(node, dict) else range(len(node))
    inner = data.draw(st.sampled_from(keys))
    copy = node.copy()
    copy[inner] = _with_one(node[inner], data)
    return copy


@given(data=st.data(), text=st.sampled_from([TEXT, ITEMS, TEMPLATE]))
@settings(deadline=None)
def test_any_value_anywhere_gives_a_rubric_or_one_line(data: st.DataObject, text: str) -> None:
    record = _with_one(yaml.safe_load(text), data)
    try:
        parse_rubric(yaml.safe_dump(record), "mine.yaml")
    except RubricError as error:
        assert str(error).startswith("mine.yaml: ")
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 400


@given(text=st.text())
@settings(deadline=None)
def test_any_text_gives_one_line(text: str) -> None:
    with pytest.raises(RubricError) as caught:
        parse_rubric(text, "mine.yaml")
    assert len(str(caught.value).splitlines()) == 1


# ---- errors of files


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"name: other\n{TEXT}", "line 3: key 'name' is given twice; mend the YAML"),
        (
            TEXT.replace("weight: 2", "weight: 2\n    weight: 3"),
            "line 20: key 'weight' is given twice; mend the YAML",
        ),
        ("name: [1", "line 1: expected ',' or ']'"),
        ("name: x\n\tversion: 3", "line 2: found character '\\t'"),
        ("a: 1\n---\nb: 2", "line 2: "),
        ("a: *b", "line 1: found undefined alias"),
        ("a: !!python/object:os.system {}", "line 1: could not determine a constructor"),
        ("a: 2024-13-45", "not usable YAML (month must be in 1..12"),
        ("a: \x00", "not usable YAML ("),
        ("[" * 2000, "not usable YAML ("),
        ("", "is empty; write a mapping"),
        ("- name", "is a list; write a mapping"),
        ("name", "is 'name'; write a mapping"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(text: str, told: str) -> None:
    assert complaint(text).startswith(told)


def test_a_file_is_loaded_by_path_or_by_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT, encoding="utf-8")
    assert load_rubric(path) == load_rubric(str(path)) == parse_rubric(TEXT, "x")


def test_a_path_without_a_suffix_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fluency").write_text(TEXT, encoding="utf-8")
    assert load_rubric(Path("fluency")).name == "support"
    assert load_rubric("fluency").name == "fluency"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "personalisation",
            "no shipped rubric 'personalisation' (did you mean 'personalization'?); use empathic_",
        ),
        ("", "no shipped rubric empty"),
        ("absent.yaml", "absent.yaml: no such file; shipped rubrics are empathic_communication, "),
        ("./absent", "absent: no such file; "),
    ],
)
def test_an_unknown_rubric_is_told_the_known_ones(name: str, told: str) -> None:
    with pytest.raises(RubricError) as caught:
        load_rubric(name)
    assert str(caught.value).startswith(told)


def test_a_folder_is_no_rubric(tmp_path: Path) -> None:
    with pytest.raises(RubricError, match="cannot be read: Is a directory; name a YAML file"):
        load_rubric(tmp_path)


def test_an_unknown_language_is_refused() -> None:
    unknown: Any = "fr"
    with pytest.raises(RubricError, match="language 'fr' is not known; use en, zh"):
        load_rubric("fluency", unknown)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    comment = "#" * (MAX_BYTES - len(TEXT))
    path.write_text(TEXT + comment, encoding="utf-8")
    assert load_rubric(path).name == "support"
    path.write_text(TEXT + comment + "#", encoding="utf-8")
    with pytest.raises(RubricError, match=r"mine\.yaml: is larger than 1,000,000 bytes; "):
        load_rubric(path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(TEXT.encode() + "# é".encode("latin-1"))
    with pytest.raises(RubricError, match=r"is not UTF-8 \(byte 0xe9 at \d+\); save the file as"):
        load_rubric(path)


@pytest.mark.parametrize(
    ("file_name", "written", "asked", "told"),
    [
        ("a.zh.yaml", "en", "en", "language is 'en', but its file name says 'zh'; make them"),
        ("a.en.yaml", "zh", "zh", "language is 'zh', but its file name says 'en'; make them"),
        ("a.yaml", "zh", "en", "language is 'zh', but asked for is 'en'; make them the same"),
        ("a.zh.yaml", "zh", "en", "language is 'zh', but asked for is 'en'; make them the same"),
    ],
)
def test_languages_must_agree(
    tmp_path: Path, file_name: str, written: str, asked: Language, told: str
) -> None:
    path = tmp_path / file_name
    path.write_text(TEXT.replace("language: en", f"language: {written}"), encoding="utf-8")
    with pytest.raises(RubricError) as caught:
        load_rubric(path, asked)
    assert str(caught.value).startswith(f"{path}: {told}")


def test_an_agreeing_file_name_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "v2.zh.yaml"
    path.write_text(TEXT.replace("language: en", "language: zh"), encoding="utf-8")
    assert load_rubric(path, "zh").language == "zh"
