from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cleaning import (
    RawDialogue,
    Utterance,
    assemble,
    clean,
    detect_language,
    merge,
    normalise_label,
    normalise_text,
    strategies_of,
)
from benchmarks.dialogues import DropReason, Language, Speaker, Turn
from benchmarks.errors import DataError
from benchmarks.jsonl import Row

SHORT = {"u": "seeker", "a": "supporter", "s": "system"}


def raw(*lines: str, **fields: object) -> RawDialogue:
    """Build a dialogue from lines such as "u I failed." (u seeker, a supporter, s system)."""
    utterances = tuple(Utterance(SHORT[line[0]], line[2:]) for line in lines)  # type: ignore[arg-type]
    default = {"where": "data/f.jsonl:7", "language": "en"}
    blank = {"emotion": None, "problem": None, "situation": None}
    return RawDialogue(utterances=utterances, **{**default, **blank, **fields})  # type: ignore[arg-type]


def cleaned(*lines: str, drop_task_chatter: bool = True) -> list[str]:
    turns = clean(raw(*lines), drop_task_chatter=drop_task_chatter).turns
    return [f"{'u' if turn.speaker == 'seeker' else 'a'} {turn.text}" for turn in turns]


def drops(*lines: str) -> list[tuple[str, str]]:
    dropped = clean(raw(*lines), drop_task_chatter=True).dropped
    return [(drop.where, drop.reason.value) for drop in dropped]


def test_consecutive_utterances_merge_and_strategies_keep_their_order() -> None:
    turns = [
        Turn(speaker="seeker", text="Hi."),
        Turn(speaker="supporter", text="Hello.", strategies=("other",)),
        Turn(speaker="supporter", text="What is it?", strategies=("question", "other")),
        Turn(speaker="seeker", text="Work"),
    ]
    assert merge(turns, "en") == (
        turns[0],
        Turn(speaker="supporter", text="Hello. What is it?", strategies=("other", "question")),
        turns[3],
    )


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [("我很累。", "睡不着", "我很累。睡不着"), ("我很累", "睡不着", "我很累 睡不着")],
)
def test_chinese_needs_no_space_after_a_full_stop(first: str, second: str, joined: str) -> None:
    turns = [Turn(speaker="seeker", text=first), Turn(speaker="seeker", text=second)]
    assert merge(turns, "zh")[0].text == joined


turn_lists = st.lists(
    st.builds(
        Turn,
        speaker=st.sampled_from(["seeker", "supporter"]),
        text=st.text("ab .?我。", min_size=1).map(lambda text: text.strip() or "x"),
        strategies=st.lists(st.sampled_from(["question", "other"]), unique=True).map(tuple),
    )
)


@given(turn_lists, st.sampled_from(["en", "zh"]))
def test_merging_alternates_keeps_every_character_and_is_idempotent(
    turns: list[Turn], language: Language
) -> None:
    merged = merge(turns, language)
    assert merge(merged, language) == merged
    assert all(a.speaker != b.speaker for a, b in pairwise(merged))
    for speaker in ("seeker", "supporter"):
        before = "".join(turn.text for turn in turns if turn.speaker == speaker)
        after = "".join(turn.text for turn in merged if turn.speaker == speaker)
        assert after.replace(" ", "") == before.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("  I \t can’t\u00a0say \u200bit ", "en", "I can't say it"),
        ("“so”", "zh", "“so”"),
        ("cafe\u0301", "en", "caf\u00e9"),
        ("one\r\n\n\n\n  two  ", "en", "one\n\ntwo"),
        ("a\x00b\u2028c", "en", "a b c"),
        ("x\ud83d", "en", "x"),
        ("👩\u200d👧", "en", "👩\u200d👧"),
        ("\ufeff\u200d", "en", ""),
        ("好的，谢谢！", "zh", "好的，谢谢！"),
    ],
)
def test_text_is_normalised(text: str, language: Language, expected: str) -> None:
    assert normalise_text(text, language) == expected


@given(st.text(), st.sampled_from(["en", "zh"]))
def test_normalising_text_twice_changes_nothing(text: str, language: Language) -> None:
    once = normalise_text(text, language)
    assert normalise_text(once, language) == once
    once.encode()


def test_labels_have_one_spelling() -> None:
    spellings = ["Sleep Problems", " sleep  problems\n", "sleep_problems", "SLEEP PROBLEMS"]
    assert {normalise_label(spelling) for spelling in spellings} == {"sleep problems"}
    assert normalise_label("焦虑 ") == "焦虑"
    assert normalise_label(None) is None
    assert normalise_label(" ") is None


@pytest.mark.parametrize(
    ("label", "strategy"),
    [
        ("Question", "question"),
        ("Questions", "question"),
        ("Restatement or Paraphrasing", "restatement"),
        ("Reflection of feelings", "reflection"),
        ("Self-disclosure", "self_disclosure"),
        ("self_disclosure", "self_disclosure"),
        ("Approval and Reassurance", "reassurance"),
        ("Providing Suggestions", "suggestion"),
        ("Direct Guidance", "suggestion"),
        ("[Information]", "information"),
        ("Others", "other"),
    ],
)
def test_strategies_of_all_dialects_are_known(label: str, strategy: str) -> None:
    assert strategies_of(Row({"s": label}, "f:1"), "s", "supporter") == (strategy,)


def test_unknown_or_misplaced_strategies_are_errors() -> None:
    row = Row({"s": ["Question", "Hypnosis"]}, "f:1", "turns[2].")
    with pytest.raises(DataError) as caught:
        strategies_of(row, "s", "supporter")
    assert "f:1: field 'turns[2].s': 'Hypnosis' is no known strategy; use one of" in str(
        caught.value
    )
    with pytest.raises(DataError, match="'Question' on an utterance of the seeker"):
        strategies_of(row, "s", "seeker")


def test_chinese_is_told_by_its_characters() -> None:
    assert detect_language(["我最近 OK，但是很累"]) == "zh"
    assert detect_language(["I like 茶 and books"]) == "en"
    assert detect_language(["123"]) == "en"


def test_task_chatter_goes_and_its_neighbours_merge() -> None:
    lines = ["u I failed.", "a Oh.", "u Do you like MTurk?", "a Tell me more."] + [
        "u Hm.",
        "a Yes.",
    ] * 5
    assert cleaned(*lines)[:3] == ["u I failed.", "a Oh. Tell me more.", "u Hm."]
    assert drops(*lines) == [("f.jsonl:7 utterance 3", "task_chatter")]
    assert "u Do you like MTurk?" in cleaned(*lines, drop_task_chatter=False)


def test_what_follows_the_last_call_to_end_the_task_goes_too() -> None:
    lines = [
        "u I failed.",
        "a Oh.",
        "u Thanks.",
        "a Please press quit.",
        "u How?",
        "a Bye, see https://x.org",
    ]
    assert cleaned(*lines) == ["u I failed.", "a Oh.", "u Thanks."]
    assert drops(*lines) == [
        ("f.jsonl:7 utterance 4", "task_chatter"),
        ("f.jsonl:7 utterance 5", "task_ending"),
        ("f.jsonl:7 utterance 6", "contact_details"),
    ]


def test_a_call_to_end_in_the_middle_ends_nothing() -> None:
    talk = ["u I failed.", "a Oh."] * 4
    assert cleaned("u Hi.", "a Press quit to leave.", *talk) == [
        "u Hi. I failed.",
        "a Oh.",
        *talk[2:],
    ]
    assert cleaned(*talk, "u Shall we end the chat?", "a Please do.") == talk


def test_the_ending_is_at_most_eight_utterances_long() -> None:
    talk = ["u I failed.", "a Oh.", "u Yes."]
    rest = ["u Ok.", "a Bye."] * 3
    assert cleaned(*talk, "a Press quit.", *rest, "u So.") == talk
    assert len(cleaned(*talk, "a Press quit.", *rest, "u So.", "a Then?")) == 10


def test_an_utterance_with_contact_details_goes_alone_and_is_not_repeated_in_the_report() -> None:
    dropped = clean(
        raw("u I failed.", "a Call 555-010-4477.", "a I listen."), drop_task_chatter=False
    ).dropped
    assert [(drop.reason, drop.detail) for drop in dropped] == [
        (DropReason.CONTACT_DETAILS, "phone number")
    ]


def test_what_precedes_the_seeker_goes() -> None:
    lines = ["s Be kind.", "a Hello!", "u  ", "a Anyone?", "u I failed.", "a Oh."]
    assert cleaned(*lines) == ["u I failed.", "a Oh."]
    assert [reason for _, reason in drops(*lines)] == [
        "system_message",
        "opening_supporter",
        "empty_text",
        "opening_supporter",
    ]


def test_a_dialogue_without_a_reply_goes() -> None:
    assert cleaned("a Hello!", "u I failed.", "u Badly.") == []
    assert drops("a Hello!", "u I failed.", "u Badly.") == [
        ("f.jsonl:7 utterance 1", "opening_supporter"),
        ("f.jsonl:7", "no_reply"),
    ]


def test_ids_are_hashes_of_the_content_alone() -> None:
    def id_of(*lines: str, **fields: object) -> str:
        loaded = assemble("own", [raw(*lines, **fields)], language=None, drop_task_chatter=False)
        return loaded.dialogues[0].id

    first = id_of("u I failed.", "a Oh.", where="x:1", published_split="gate")
    assert first == id_of("u I  failed. ", "a Oh.", where="y:2")
    assert first != id_of("u I failed.", "a Ah.")
    assert first != id_of("u I failed.", "a Oh.", situation="exam")
    assert first.startswith("own-")
    assert len(first) == len("own-") + 12


def test_duplicates_and_other_languages_are_counted() -> None:
    dialogues = [
        raw("u I failed.", "a Oh.", where="f:1"),
        raw("u I failed.", "a Oh.", where="f:2"),
        raw("u 我失败了。", "a 我在。", where="f:3", language="zh"),
    ]
    loaded = assemble("own", dialogues, language="en", drop_task_chatter=False)
    assert len(loaded.dialogues) == 1
    assert [(drop.where, drop.reason.value) for drop in loaded.report.dropped] == [
        ("f:2", "duplicate"),
        ("f:3", "other_language"),
    ]


def test_one_id_for_two_dialogues_is_an_error() -> None:
    dialogues = [raw("u I failed.", "a Oh.", id="7"), raw("u I won.", "a Oh.", where="f:2", id="7")]
    with pytest.raises(DataError, match="f:2: field 'id': 'own-7' names two different dialogues"):
        assemble("own", dialogues, language=None, drop_task_chatter=False)


def test_keeping_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match=r"own: none of the 1 dialogues .*\(other_language 1\)"):
        assemble("own", [raw("u I failed.", "a Oh.")], language="zh", drop_task_chatter=False)


texts = st.sampled_from(
    ["", "I failed.", "Press quit.", "a@b.org", "Why?", "ten more turns", "Yes."]
)
speakers: st.SearchStrategy[Speaker] = st.sampled_from(["seeker", "supporter"])


@given(
    st.lists(st.lists(st.builds(Utterance, speakers, texts), min_size=1, max_size=14), max_size=5)
)
def test_every_utterance_is_kept_or_dropped_for_a_reason(dialogues: list[list[Utterance]]) -> None:
    always_kept = raw("u Hi.", "a Hello.")
    given_dialogues = [
        always_kept._replace(utterances=tuple(item), where=f"f:{index}")
        for index, item in enumerate(dialogues)
    ]
    report = assemble(
        "own", [always_kept, *given_dialogues], language=None, drop_task_chatter=True
    ).report
    assert report.n_utterances_read == 2 + sum(len(item) for item in dialogues)
    assert report.n_utterances_read == report.n_utterances_kept + sum(
        drop.n_utterances for drop in report.dropped
    )
    assert report.n_read == sum(row.dialogues for row in report.rows()[1:])
