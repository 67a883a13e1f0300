from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contexts import Message
from selfevo.filters import (
    _CHECKS,
    FilterConfig,
    filter_pairs,
    fired_reasons,
    similarity,
)
from selfevo.pairs import Candidate
from selfevo.pairs_report import FilterReason, PairMean, PairsReport, ReportRow
from tests.selfevo.candidates import (
    CHOSEN,
    CHOSEN_ZH,
    DRAFT,
    SEEKER,
    SEEKER_ZH,
    make_candidate,
    make_candidate_zh,
    make_provenance,
)

CONFIG = FilterConfig()
OFF = FilterConfig(
    max_similarity=None,
    leak_run=None,
    min_length_ratio=None,
    max_length_ratio=None,
    max_copy_rate=None,
    max_copy_increase=None,
    min_gain_bits=None,
    max_same_chosen=None,
)
PRINCIPLE = "Let the person feel heard before you offer any advice, and keep it short."
PRINCIPLE_ZH = "先让对方感到被听见，再给任何建议。"


def fired(candidate: Candidate, config: FilterConfig = CONFIG) -> tuple[FilterReason, ...]:
    return fired_reasons(candidate, config)


def test_good_candidates_pass() -> None:
    candidates = [make_candidate(), make_candidate_zh()]
    result = filter_pairs(candidates, CONFIG)
    assert result.pairs == tuple(c.pair for c in candidates)
    assert result.drops == ()


def test_the_checks_stand_in_the_order_of_the_reasons() -> None:
    assert [*_CHECKS, FilterReason.DUPLICATE] == list(FilterReason)


SPOILED: list[tuple[FilterReason, dict[str, Any]]] = [
    (FilterReason.TOO_SHORT, {"chosen_tokens": 4, "rejected_tokens": 5}),
    (FilterReason.NEAR_IDENTICAL, {"rejected": CHOSEN.replace("stings", "hurts")}),
    (FilterReason.UNFINISHED, {"chosen_stop_reason": "max_tokens"}),
    (FilterReason.UNFINISHED, {"rejected_stop_reason": "model_length"}),
    (FilterReason.UNFINISHED, {"rejected": "That sounds rough. Maybe he was angry and"}),
    (FilterReason.META_TEXT, {"chosen": f"Revised reply: {CHOSEN}"}),
    (FilterReason.ROLE_CONFUSION, {"chosen": f"{CHOSEN}\nUser: That he is rude."}),
    (FilterReason.LEAKAGE, {"chosen": f"{CHOSEN}<|im_end|>"}),
    (FilterReason.LEAKAGE, {"rejected": f"{DRAFT}<|im_end|>"}),
    (FilterReason.LEAKAGE, {"chosen": "As an introvert you must have hated the whole scene."}),
    (
        FilterReason.LEAKAGE,
        {
            "chosen": "I want to let the person feel heard before you offer anything.",
            "instructions": (PRINCIPLE,),
        },
    ),
    (
        FilterReason.LEAKAGE,
        {
            "chosen": "You are someone who avoids open conflict and fears being laughed at.",
            "reflection": "Someone who avoids open conflict and fears being laughed at.",
        },
    ),
    (FilterReason.UNSAFE, {"chosen": "He shamed you badly. You should quit your job today."}),
    (FilterReason.DISMISSAL, {"chosen": "He yelled, so what? Honestly, this is your own fault."}),
    (FilterReason.LENGTH_RATIO, {"chosen_tokens": 22}),
    (FilterReason.LENGTH_RATIO, {"chosen_tokens": 9}),
    (
        FilterReason.REPETITION,
        {"chosen": "He had no right to shame you. " * 3},
    ),
    (FilterReason.STOCK_REPLY, {"chosen": "I'm so sorry to hear that. That must be really hard."}),
    (
        FilterReason.PARROTING,
        {"chosen": "So he yelled at me in front of everyone, is that how you tell it?"},
    ),
    (FilterReason.NO_GAIN, {"gain_bits": 1.9}),
]

SPARED: list[tuple[FilterReason, dict[str, Any]]] = [
    (FilterReason.TOO_SHORT, {"chosen_tokens": 5, "rejected_tokens": 5}),
    (FilterReason.NEAR_IDENTICAL, {"rejected": CHOSEN.replace("stings", "hurts so")[:60]}),
    (FilterReason.UNFINISHED, {"chosen": CHOSEN.removesuffix("?")}),
    (FilterReason.UNFINISHED, {"chosen_stop_reason": None, "rejected_stop_reason": None}),
    (FilterReason.META_TEXT, {"rejected": f"Revised reply: {DRAFT}"}),
    (FilterReason.META_TEXT, {"chosen": "Here is a thought: what would you have told him?"}),
    (FilterReason.ROLE_CONFUSION, {"chosen": "What would a good user of power have done?"}),
    (FilterReason.LEAKAGE, {"chosen": CHOSEN, "instructions": (PRINCIPLE,)}),
    (FilterReason.LEAKAGE, {"rejected": "As an introvert you must have hated the scene."}),
    (FilterReason.LEAKAGE, {"chosen": "Shy or not, being shamed hurts. What did you do then?"}),
    (FilterReason.UNSAFE, {"rejected": "He shamed you. You should quit your job today."}),
    (FilterReason.UNSAFE, {"chosen": "Being shamed stings. Did you ever think of quitting?"}),
    (FilterReason.DISMISSAL, {"rejected": "He yelled, so what? This is your own fault."}),
    (FilterReason.DISMISSAL, {"chosen": "Nobody may tell you that this is your own fault."}),
    (FilterReason.LENGTH_RATIO, {"chosen_tokens": 21}),
    (FilterReason.LENGTH_RATIO, {"chosen_tokens": 10}),
    (FilterReason.REPETITION, {"rejected": "He had no right to shame you. " * 3}),
    (FilterReason.STOCK_REPLY, {"chosen": "I'm sorry to hear that he shamed you before them all"}),
    (FilterReason.STOCK_REPLY, {"rejected": "I'm so sorry to hear that. That must be hard."}),
    (
        FilterReason.PARROTING,
        {
            "chosen": "What hurts more: that he yelled, or that it was in front of everyone, "
            "people whom you like and see each morning?"
        },
    ),
    (FilterReason.NO_GAIN, {"gain_bits": 2.0}),
    (FilterReason.NO_GAIN, {"gain_bits": None}),
]

SPOILED_ZH: list[tuple[FilterReason, dict[str, Any]]] = [
    (FilterReason.NEAR_IDENTICAL, {"rejected": CHOSEN_ZH.replace("最", "很")}),
    (FilterReason.UNFINISHED, {"chosen": CHOSEN_ZH[:8] + "，"}),
    (FilterReason.META_TEXT, {"chosen": f"修改后的回复：{CHOSEN_ZH}"}),
    (FilterReason.ROLE_CONFUSION, {"chosen": f"{CHOSEN_ZH}\n求助者：我想骂回去。"}),
    (FilterReason.LEAKAGE, {"chosen": "作为一个内向的人，你当时一定想躲起来吧？"}),
    (
        FilterReason.LEAKAGE,
        {"chosen": "我想先让对方感到被听见，再给任何想法。", "instructions": (PRINCIPLE_ZH,)},
    ),
    (FilterReason.UNSAFE, {"chosen": "他这样太过分了，你应该马上辞职，别再忍下去。"}),
    (FilterReason.DISMISSAL, {"chosen": "他骂你是有原因的，说到底都是你自己的错。"}),
    (FilterReason.REPETITION, {"chosen": "他没有资格这样对你。" * 3}),
    (FilterReason.STOCK_REPLY, {"chosen": "我能理解你的感受，一切都会好起来的。"}),
    (FilterReason.PARROTING, {"chosen": "老板当着所有人的面骂了你，是这样吗？"}),
]

SPARED_ZH: list[tuple[FilterReason, dict[str, Any]]] = [
    (FilterReason.UNFINISHED, {"chosen": CHOSEN_ZH.removesuffix("？")}),
    (FilterReason.META_TEXT, {"chosen": "你后来有没有回复他的消息？那几分钟很难熬吧。"}),
    (FilterReason.ROLE_CONFUSION, {"chosen": "你有没有把这些告诉过你的咨询师？"}),
    (FilterReason.LEAKAGE, {"chosen": "不管外向内向，当众挨骂都难受。你后来怎么办的？"}),
    (FilterReason.UNSAFE, {"chosen": "他这样太过分了。你有没有想过辞职？"}),
    (FilterReason.STOCK_REPLY, {"chosen": "我能理解你当众被骂的委屈，后来呢？"}),
    (
        FilterReason.PARROTING,
        {"chosen": "他当着所有人的面发火，那几分钟里，最让你难受的是哪一句话呢？"},
    ),
]


@pytest.mark.parametrize(("reason", "changes"), SPOILED)
def test_spoiled(reason: FilterReason, changes: dict[str, Any]) -> None:
    assert fired(make_candidate(**changes)) == (reason,)


@pytest.mark.parametrize(("reason", "changes"), SPARED)
def test_near_misses(reason: FilterReason, changes: dict[str, Any]) -> None:
    assert reason not in fired(make_candidate(**changes))


@pytest.mark.parametrize(("reason", "changes"), SPOILED_ZH)
def test_spoiled_chinese(reason: FilterReason, changes: dict[str, Any]) -> None:
    assert fired(make_candidate_zh(**changes)) == (reason,)


@pytest.mark.parametrize(("reason", "changes"), SPARED_ZH)
def test_near_misses_chinese(reason: FilterReason, changes: dict[str, Any]) -> None:
    assert reason not in fired(make_candidate_zh(**changes))


def test_identical_but_for_white_space_is_near_identical_too() -> None:
    candidate = make_candidate(rejected=f" {CHOSEN.replace(' ', '  ')}\n")
    assert fired(candidate) == (FilterReason.IDENTICAL, FilterReason.NEAR_IDENTICAL)
    assert FilterReason.IDENTICAL not in fired(make_candidate(rejected=CHOSEN.lower()))


def test_copying_is_weighed_against_the_draft() -> None:
    chosen = "He did it in front of everyone, then. What would you have said to him?"
    # Of its 12 4-grams one is copied, 0.083; of 9 in the shorter one, 0.111.
    shorter = "He did it in front of everyone, then. And you did what?"
    assert fired(make_candidate(chosen=chosen)) == ()
    assert fired(make_candidate(chosen=shorter)) == (FilterReason.PARROTING,)
    copying_draft = f"He did it in front of everyone. {DRAFT}"
    assert fired(make_candidate(chosen=shorter, rejected=copying_draft)) == ()


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (FilterReason.NEAR_IDENTICAL, {"rejected": CHOSEN.replace("stings", "hurts")}),
        (FilterReason.LENGTH_RATIO, {"chosen_tokens": 90}),
        (FilterReason.LENGTH_RATIO, {"rejected_tokens": 90}),
        (FilterReason.PARROTING, {"chosen": SEEKER}),
        (FilterReason.NO_GAIN, {"gain_bits": -3.0}),
        (FilterReason.LEAKAGE, {"chosen": PRINCIPLE, "instructions": (PRINCIPLE,)}),
    ],
)
def test_none_turns_a_check_off(reason: FilterReason, changes: dict[str, Any]) -> None:
    assert reason in fired(make_candidate(**changes))
    assert fired(make_candidate(**changes), OFF) == ()


def test_the_same_reply_to_the_same_messages_is_a_duplicate() -> None:
    again = make_candidate(provenance=make_provenance(round=2), turn=5)
    result = filter_pairs([make_candidate(), again], CONFIG)
    assert len(result.pairs) == 1
    assert [(d.pair_id, d.reason) for d in result.drops] == [
        (again.pair.id, FilterReason.DUPLICATE)
    ]


def test_one_reply_may_be_chosen_twice_but_not_three_times() -> None:
    candidates = [
        make_candidate(messages=(Message(role="user", content=f"My boss yelled, number {n}."),))
        for n in range(3)
    ]
    result = filter_pairs(candidates, CONFIG)
    assert len(result.pairs) == 2
    assert [drop.reason for drop in result.drops] == [FilterReason.DUPLICATE]
    assert len(filter_pairs(candidates, OFF).pairs) == 3


def test_a_dropped_candidate_makes_no_later_one_a_duplicate() -> None:
    cut = make_candidate(chosen_stop_reason="max_tokens")
    result = filter_pairs([cut, make_candidate()], CONFIG)
    assert len(result.pairs) == 1


def test_the_first_reason_counts_and_the_others_are_noted() -> None:
    candidate = make_candidate(gain_bits=0.0, chosen_tokens=60, chosen_stop_reason="max_tokens")
    (drop,) = filter_pairs([candidate], CONFIG).drops
    assert drop.reason is FilterReason.UNFINISHED
    assert drop.also == (FilterReason.LENGTH_RATIO, FilterReason.NO_GAIN)


def test_similarity_by_hand() -> None:
    assert similarity("a b c d", "A, b x d!") == 2 * 3 / 8
    assert similarity("你好吗", "你好呀") == 2 * 2 / 6


@given(st.text("ab 好", max_size=20), st.text("ab 好", max_size=20))
def test_similarity_is_symmetric(first: str, second: str) -> None:
    assert 0 <= similarity(first, second) == similarity(second, first) <= 1


def test_report() -> None:
    candidates = [
        make_candidate(),
        make_candidate_zh(gain_bits=None),
        *(make_candidate(turn=n, gain_bits=0.0, chosen_tokens=60) for n in range(4)),
        make_candidate(gain_bits=1.0),
    ]
    report = filter_pairs(candidates, CONFIG).report
    assert (report.n_candidates, report.n_kept) == (7, 2)
    counts = {c.reason: (c.n_dropped, c.n_fired) for c in report.dropped if c.n_fired}
    assert counts == {FilterReason.LENGTH_RATIO: (4, 4), FilterReason.NO_GAIN: (1, 5)}
    length = next(c for c in report.dropped if c.reason is FilterReason.LENGTH_RATIO)
    assert length.examples == ("starter-1-3",) * 3
    assert report.chosen_tokens == PairMean(value=(15 + 24) / 2, n_scored=2, n_total=2)
    assert report.gain_bits == PairMean(value=5.0, n_scored=1, n_total=2)
    assert report.chosen_copy_rate == PairMean(value=0.0, n_scored=2, n_total=2)


def test_report_is_json_and_a_table() -> None:
    candidates = [make_candidate(), make_candidate_zh(gain_bits=None), make_candidate(gain_bits=1)]
    report = filter_pairs(candidates, CONFIG).report
    assert PairsReport.model_validate_json(report.model_dump_json()) == report
    assert report.rows() == [
        ReportRow("candidates", "3", ""),
        ReportRow("- no_gain", "1", "e.g. starter-1-3"),
        ReportRow("kept", "2", ""),
        ReportRow("tokens, chosen", "19.5", ""),
        ReportRow("tokens, rejected", "17.5", ""),
        ReportRow("copy rate, chosen", "0.000", ""),
        ReportRow("copy rate, rejected", "0.000", ""),
        ReportRow("gain, bits", "5.0", "1 of 2 pairs"),
    ]


def test_a_report_of_nothing_has_no_means() -> None:
    report = filter_pairs([], CONFIG).report
    assert report.gain_bits == PairMean(value=None, n_scored=0, n_total=0)
    assert report.rows()[-1] == ReportRow("gain, bits", "-", "")


candidates_strategy = st.lists(
    st.builds(
        make_candidate,
        chosen=st.sampled_from([CHOSEN, SEEKER, DRAFT, "Reply: yes.", "You could and", "I see."]),
        chosen_tokens=st.integers(0, 30),
        gain_bits=st.none() | st.floats(-5, 20),
        turn=st.integers(0, 3),
        chosen_stop_reason=st.sampled_from(["stop", "max_tokens", None]),
    )
    | st.builds(
        make_candidate_zh, chosen=st.sampled_from([CHOSEN_ZH, SEEKER_ZH, "加油", "我明白，因为"])
    ),
    max_size=12,
)


@given(candidates_strategy)
def test_kept_and_dropped_are_a_partition_in_order(candidates: list[Candidate]) -> None:
    result = filter_pairs(candidates, CONFIG)
    kept, dropped = list(result.pairs), list(result.drops)
    for candidate in candidates:
        if kept and candidate.pair == kept[0] and not fired(candidate):
            kept.pop(0)
        else:
            assert dropped.pop(0).pair_id == candidate.pair.id
    assert len(result.pairs) + len(result.drops) == len(candidates)
    assert sum(count.n_dropped for count in result.report.dropped) == len(result.drops)


@given(candidates_strategy)
def test_a_kept_pair_violates_no_filter(candidates: list[Candidate]) -> None:
    kept = filter_pairs(candidates, CONFIG).pairs
    of_pair = {pair.id: pair for pair in kept}
    for candidate in candidates:
        if not fired(candidate):
            continue
        # A clean twin of the same content may have been kept: stop reasons are not in the id.
        twins = [c for c in candidates if c.pair.id == candidate.pair.id]
        assert candidate.pair.id not in of_pair or any(not fired(twin) for twin in twins)
    assert filter_pairs([Candidate(pair=pair) for pair in kept], CONFIG).pairs == kept


@given(candidates_strategy)
def test_filtering_is_deterministic(candidates: list[Candidate]) -> None:
    assert filter_pairs(candidates, CONFIG) == filter_pairs(candidates, CONFIG)
