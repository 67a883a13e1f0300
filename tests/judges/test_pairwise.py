import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.pairwise import Call, Preference, prefer, read_call
from judges.verdict import FailureKind, JudgeFailed

from .bench import CARD, FakeJudge, judge_by, judge_saying, rubric, talk

OURS, THEIRS = talk("Your boat was a promise."), talk("Cheer up, it is only a boat.")
WARMTH = rubric()


def call(winner: str = "A", margin: int = 2, a: str = "promise", b: str = "only a boat") -> str:
    return json.dumps(
        {"evidence_a": a, "evidence_b": b, "reason": "r", "winner": winner, "margin": margin}
    )


def compare(fake: FakeJudge) -> Preference:
    return asyncio.run(prefer(fake.model, WARMTH, OURS, THEIRS))


def ours_is_first(request: str) -> bool:
    return request.index("promise") < request.index("only a boat")


def judged(ours_first: tuple[str, int], theirs_first: tuple[str, int]) -> Preference:
    def say(request: str) -> str:
        if ours_is_first(request):
            return call(*ours_first)
        return call(*theirs_first, a="only a boat", b="promise")

    return compare(judge_by(say))


def test_both_orders_agree():
    preference = judged(("A", 3), ("B", 2))
    assert (preference.winner, preference.margin) == ("A", 2.5)
    assert preference.is_consistent
    assert not preference.is_slot_driven
    assert (preference.forward.margin, preference.backward.margin) == (3, 2)


def test_theirs_wins():
    preference = judged(("B", 1), ("A", 1))
    assert (preference.winner, preference.margin) == ("B", -1)


@pytest.mark.parametrize("slot", ["A", "B"])
def test_a_judge_that_prefers_a_slot_gives_a_tie(slot):
    preference = judged((slot, 3), (slot, 3))
    assert (preference.winner, preference.margin) == ("tie", 0)
    assert preference.is_slot_driven
    assert not preference.is_consistent


def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie():
    preference = judged(("A", 1), ("tie", 0))
    assert (preference.winner, preference.margin) == ("tie", 0)
    assert not preference.is_consistent
    assert not preference.is_slot_driven


@given(
    st.sampled_from([("A", 1), ("A", 3), ("B", 2), ("tie", 0)]),
    st.sampled_from([("A", 2), ("B", 1), ("B", 3), ("tie", 0)]),
)
def test_exchanging_the_sides_reverses_the_preference(forward, backward):
    def made(winner: str, margin: int) -> Call:
        return Call(winner=winner, margin=margin, evidence_a="a", evidence_b="b", reason="")

    one = Preference(judge="j", forward=made(*forward), backward=made(*backward))
    other = Preference(judge="j", forward=made(*backward), backward=made(*forward))
    assert other.margin == -one.margin
    assert other.winner == {"A": "B", "B": "A", "tie": "tie"}[one.winner]


def test_a_bad_answer_is_repaired_once():
    answers = ["A is nicer.", call(), call("B", a="only a boat", b="promise")]
    fake = judge_saying(*answers)
    assert compare(fake).winner == "A"
    assert len(fake.asked) == 3


def test_one_order_without_an_answer_is_no_preference():
    fake = judge_saying(call(), "no", "no")
    with pytest.raises(JudgeFailed) as failed:
        compare(fake)
    assert failed.value.kind is FailureKind.NOT_JSON


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (call("C"), "off_scale"),
        (call("A", 0), "off_scale"),
        (call("tie", 1), "off_scale"),
        (call("A", 4), "off_scale"),
        (call("A", True), "wrong_type"),  # type: ignore[arg-type]
        (call("A", "2"), "wrong_type"),  # type: ignore[arg-type]
        (call(a="only a boat", b="promise"), "false_evidence"),
        (call(b=""), "false_evidence"),
        (call(a=4), "wrong_type"),  # type: ignore[arg-type]
        (call()[:-1], "not_json"),
        (json.dumps({"winner": "A"}), "missing"),
        (call()[:-1] + ', "winner": "B"}', "two_verdicts"),
        (call()[:-1] + ', "score": 5}', "unknown"),
        ("", "empty"),
    ],
)
def test_anything_else_is_no_call(text, kind):
    with pytest.raises(JudgeFailed) as failed:
        read_call(text, ["Your boat was a promise."], ["Cheer up, it is only a boat."])
    assert failed.value.kind == kind


def test_the_card_is_shown_and_names_of_models_are_not():
    fake = judge_by(lambda request: call("tie", 0) if ours_is_first(request) else "no")
    ours = OURS.model_copy(update={"card": CARD})
    with pytest.raises(JudgeFailed):
        asyncio.run(prefer(fake.model, WARMTH, ours, THEIRS))
    [request] = fake.asked[0][0]
    assert "night porter" in request.text
    assert "mockllm" not in request.text


def test_silence_is_not_compared():
    fake = judge_saying(call())
    with pytest.raises(JudgeFailed) as failed:
        asyncio.run(prefer(fake.model, WARMTH, OURS, talk(" ")))
    assert failed.value.kind is FailureKind.EMPTY
    assert fake.asked == []
