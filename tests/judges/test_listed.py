"""Lists with cues: nothing that a pattern finds may be missed for want of a cue."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from judges import crisis, detectors, unsafe
from judges.listed import Listed

LISTS = {
    **{kind.value: listed for kind, listed in unsafe._LISTS.items()},
    "diagnosis": unsafe._DIAGNOSES,
    "meta": detectors._META,
    "safety": crisis._SAFETY,
    **{f"help {number}": listed for number, listed in enumerate(crisis._HELP)},
}


@pytest.mark.parametrize("name", LISTS)
@given(data=st.data())
@settings(max_examples=75, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_match_without_a_cue(name: str, data: st.DataObject) -> None:
    listed = LISTS[name]
    text = data.draw(st.from_regex(listed.pattern, fullmatch=True))
    assert listed.may_match(text)


@pytest.mark.parametrize("name", LISTS)
def test_every_cue_is_folded(name: str) -> None:
    listed = LISTS[name]
    assert all(cue and cue == cue.lower() for cue in listed.cues)
    assert listed.more_cues == ("",) or all(cue and cue == cue.lower() for cue in listed.more_cues)


@pytest.mark.parametrize("text", ["Kill", "KILL", "kıll", "Kİll", "\u212aill"])
def test_letters_that_a_pattern_takes_for_others_hide_no_cue(text: str) -> None:
    listed = Listed(re.compile("kill", re.IGNORECASE), ("kill",))
    assert listed.is_in(text)
    assert [m.group() for m in listed.matches(text)] == [text]


def test_long_s_is_an_s() -> None:
    assert Listed(re.compile("safe", re.IGNORECASE), ("safe",)).is_in("\u017fafe")


def test_a_match_needs_a_cue_of_each_kind() -> None:
    listed = Listed(re.compile("tell your (?:mum|dad)"), ("tell",), ("mum", "dad"))
    assert listed.is_in("tell your dad")
    assert not listed.may_match("tell me")
    assert not listed.may_match("your dad")


def test_a_cue_alone_is_no_match() -> None:
    listed = Listed(re.compile("kill yourself"), ("yourself",))
    assert listed.may_match("be yourself")
    assert not listed.is_in("be yourself")
    assert list(listed.matches("be yourself")) == []
