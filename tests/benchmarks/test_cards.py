import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cards import Minor, as_card
from benchmarks.errors import DataError
from benchmarks.jsonl import Row, read_rows
from benchmarks.persona import Persona, build_personas, load_personas
from tests.benchmarks.people import make_crisis_row, make_row, make_zh_row, write_people

JUDGE_TRAITS = """- Big Five Personality Traits
Introverted: You wait to be asked.

Emotionally Reactive: You are easily shaken.

Disciplined: You keep lists.

Detached: You give little away.

Curious: You like to try things.

- Cognitive Biases, Thinking Patterns, and Emotional Baseline
Impulsive: You guess at what others think.
"""

JUDGE: dict[str, Any] = {
    "role": "**persona:** - whatever",
    "pid": "p-1",
    "life_events": "\n3. won a rowing cup at school.\n- lost the lease of her first shop.\n\n",
    "challenge": "Closing of a family business",
    "behavioral_traits": JUDGE_TRAITS,
    "final_persona": (
        "**\nmeet ines, a 41-year-old cheese maker who has a 9-year-old son. she is tired, and her "
        "husband wants to sell."
    ),
}

SCENE = """### 背景故事

**事件起因：**
罗禾的风筝店要搬走。房东说他已经把铺子租给别人。罗禾决定和NPC聊聊。

**事件经过：**

- **第一周：**
  罗禾找房东谈了两次，没有结果。
1. **第二周**：他把样品一件件装箱。

**主要冲突：**
- **冲突角色：** 罗禾与房东。
- **冲突内在原因：** 房东急着用钱。

#### 玩家遇到的困难
他算了三遍账，钱还是不够。

### 玩家不同状态下可能的反应
- **emotion高时：** 罗禾会开玩笑。
####隐藏主题:
***你希望对方用心倾听你的烦恼"""

SAGE: dict[str, Any] = {
    "id": "s-1",
    "player": (
        "## 人物画像\n\n* 姓名：罗禾  \n* 年龄：33岁\n* 性别：男性\n\n* 职业：风筝匠\n\n"
        "* 个人爱好：\n1. 钓鱼。"
    ),
    "scene": SCENE,
    "main_cha": "外向型",
    "cha_group": ["耐心"],
    "task": "你希望对方用心倾听你的烦恼",
    "first_talk": "唉，铺子的事真烦。",
}

EVAL_BASE = (
    "Age: 44\nGender: Female\nOccupation: Ferry pilot\n"
    "Problem: The seeker owes 3.5 thousand to her aunt. She hides it! Who could help?"
)
EVAL: dict[str, Any] = {
    "base": EVAL_BASE,
    "res": "家庭生活",
    "source": "own",
    "base_biaozhu": "年龄：44",
    "language": "english",
    "id": 7,
}
EVAL_ZH = (
    "年龄：未提及\n性别：男\n职业：未提及具体职业，但在夜里上班\n"
    "问题：夜班表总在变。睡不着，也不敢讲。"
)


def fields(row: Mapping[str, object]) -> dict[str, Any]:
    return dict(as_card(Row(row, "f:1")).fields)


def person(row: Mapping[str, object]) -> Persona:
    (persona,) = build_personas([as_card(Row(row, "f:1"))])
    return persona


def facts(persona: Persona) -> list[str]:
    return [fact.text for fact in persona.disclosure]


def test_a_role_of_esc_judge() -> None:
    assert fields(JUDGE) == {
        "id": "esc-judge-p-1",
        "language": "en",
        "name": "Ines",
        "age": 41,
        "gender": "woman",
        "occupation": "cheese maker",
        "big_five": {
            "extraversion": "low",
            "neuroticism": "high",
            "conscientiousness": "high",
            "agreeableness": "low",
            "openness": "high",
        },
        "emotion": None,
        "intensity": None,
        "problem": None,
        "need": None,
        "situation": "Closing of a family business",
        "disclosure": [
            {"topic": "event", "text": "Closing of a family business"},
            {"topic": "history", "text": "won a rowing cup at school."},
            {"topic": "history", "text": "lost the lease of her first shop."},
        ],
    }
    assert person(JUDGE).lines is None


@pytest.mark.parametrize(
    ("about", "stated"),
    [
        (
            "name: ana ruiz  \nage: 30  \noccupation: tram driver (part-time)  \n\nshe likes it.",
            ("Ana Ruiz", 30, "woman", "tram driver (part-time)"),
        ),
        (
            "**name:** bo  \n**age:** 52  \n**occupation:** baker  \n**challenge:** he naps.",
            ("Bo", 52, "man", "baker"),
        ),
        (
            "- age: 28\n- occupation: diver\n- identities: non-binary\n\nthey live alone.",
            (None, 28, "nonbinary", "diver"),
        ),
        (
            "this persona is a 60-year-old male who works as a lock keeper. he is widowed.",
            (None, 60, "man", "lock keeper"),
        ),
        (
            "this 39-year-old female is a roof thatcher who lost her tools.",
            (None, 39, "woman", "roof thatcher"),
        ),
        (
            "meet kim, a 24-year-old who identifies as non-binary. as a music teacher, kim copes.",
            ("Kim", 24, "nonbinary", "music teacher"),
        ),
        ("pat is a 31-year-old potter in a village.", ("Pat", 31, None, "potter")),
        ("with her 5-year-old girl, lu, a 33-year-old woman, sails.", (None, 33, "woman", None)),
        ("somebody who grieves.", (None, None, None, None)),
    ],
)
def test_what_esc_judge_states_in_prose(about: str, stated: tuple[object, ...]) -> None:
    persona = person({**JUDGE, "final_persona": about})
    assert (persona.name, persona.age, persona.gender, persona.occupation) == stated


def test_traits_that_esc_judge_does_not_state_are_unknown() -> None:
    some = person({**JUDGE, "behavioral_traits": "Extraverted: x\nTraditional: x\nBrave: x"})
    assert some.big_five is not None
    assert some.big_five.model_dump() == {
        "openness": "low",
        "conscientiousness": None,
        "extraversion": "high",
        "agreeableness": None,
        "neuroticism": None,
    }
    assert "big_five" not in fields({**JUDGE, "behavioral_traits": "none"})


def test_a_profile_of_sage() -> None:
    persona = person(SAGE)
    assert (persona.id, persona.language, persona.name) == ("sage-s-1", "zh", "罗禾")
    assert (persona.age, persona.gender, persona.occupation) == (33, "man", "风筝匠")
    assert (persona.need, persona.opening) == ("listen", "唉，铺子的事真烦。")
    assert facts(persona) == [
        "罗禾的风筝店要搬走。房东说他已经把铺子租给别人。",
        "第一周：罗禾找房东谈了两次，没有结果。",
        "第二周：他把样品一件件装箱。",
        "他算了三遍账，钱还是不够。",
    ]
    assert "房东急着用钱" in persona.situation
    for word in ("NPC", "玩家", "emotion", "开玩笑", "隐藏", "倾听", "#", "*"):
        assert word not in persona.situation


@pytest.mark.parametrize(
    ("task", "need"),
    [
        ("你没有任何责任，对方也该这么看", "validate"),
        ("你希望对方用心倾听", "listen"),
        ("你想要真实帮助你的建议", "advise"),
        ("你想知道其他人物这么做为了什么", "understand"),
        ("你希望对方深刻共情", "validate"),
        ("你希望对方真诚地夸奖你", "encourage"),
        ("你希望对方辩证地分析这件事", "understand"),
        ("你希望对方引导你自我反思", "understand"),
        ("你想借一把伞", None),
        ("你希望对方用心倾听，再真诚地夸奖你", None),
    ],
)
def test_the_hidden_intents_of_sage_are_needs(task: str, need: str | None) -> None:
    assert person({**SAGE, "task": task}).need == need


def test_a_profile_of_sage_may_state_little() -> None:
    bare = {**SAGE, "player": "一个人", "scene": "罗禾的店要搬走。", "first_talk": ""}
    persona = person(bare)
    assert (persona.name, persona.age, persona.gender, persona.opening) == (None, None, None, None)
    with pytest.raises(DataError, match=r"card 'sage-s-1': field 'situation': string should have"):
        person({**SAGE, "scene": "emotion高时，罗禾会开玩笑。"})


def test_a_card_of_esc_eval_in_lines() -> None:
    persona = person(EVAL)
    assert persona.id == person({**EVAL, "id": 8}).id
    assert persona.id.startswith("esc-eval-") and len(persona.id) == len("esc-eval-") + 12
    assert persona.id != person({**EVAL, "base": EVAL_BASE + " Soon."}).id
    assert (persona.language, persona.age, persona.gender) == ("en", 44, "woman")
    assert (persona.occupation, persona.need) == ("Ferry pilot", None)
    assert persona.situation == EVAL_BASE.partition("Problem: ")[2]
    assert facts(persona) == [
        "The seeker owes 3.5 thousand to her aunt.",
        "She hides it!",
        "Who could help?",
    ]


def test_a_chinese_card_of_esc_eval() -> None:
    persona = person({**EVAL, "base": EVAL_ZH})
    assert (persona.language, persona.gender) == ("zh", "man")
    assert (persona.age, persona.occupation) == (None, None)
    assert facts(persona) == ["夜班表总在变。", "睡不着，也不敢讲。"]


def test_a_card_of_esc_eval_in_fields() -> None:
    persona = person({"age": "about 50", "job": "Umpire", "gender": "male", "problem": "Rain."})
    assert (persona.age, persona.occupation, persona.gender) == (50, "Umpire", "man")
    other = person({"age": 29, "occupation": None, "description": "Rain.", "situation": "At sea."})
    assert (other.age, other.occupation, other.situation) == (29, None, "Rain.\nAt sea.")


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("29岁", 29),
        ("64 years old", 64),
        ("early 30s", None),
        ("30多岁", None),
        ("25-30", None),
        ("青年", None),
        ("middle-aged", None),
        ("Not mentioned", None),
        ("未提及", None),
    ],
)
def test_an_age_is_a_number_or_unknown(text: str, age: int | None) -> None:
    assert person({"age": text, "gender": "x", "problem": "Rain."}).age == age


@pytest.mark.parametrize(
    ("gender", "known"),
    [
        ("女性", "woman"),
        ("Non-binary", "nonbinary"),
        ("male/female", None),
        ("非二元性别", "nonbinary"),
    ],
)
def test_genders(gender: str, known: str | None) -> None:
    assert person({"gender": gender, "problem": "Rain."}).gender == known


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {**SAGE, "player": "* 姓名：罗小禾\n* 年龄：16岁"},
            "f:1: card 'sage-s-1': field 'player': the age is '16岁', and only adults are "
            "simulated; remove this card from the file",
        ),
        (
            {**JUDGE, "final_persona": "meet ines, a 17-year-old waitress."},
            "f:1: card 'esc-judge-p-1': field 'final_persona': the age is '17'",
        ),
        ({**JUDGE, "final_persona": "ines is a 15-year-old girl."}, "the age is '15'"),
        ({**EVAL, "base": "Age: 15\nProblem: Rain."}, "field 'base': the age is '15'"),
        ({"age": 12, "problem": "Rain."}, "field 'age': the age is '12'"),
        ({"age": "15-17", "problem": "Rain."}, "field 'age': the age is '15-17'"),
        ({"age": "under 18", "problem": "Rain."}, "field 'age': the age is 'under 18'"),
        ({"age": "teenager", "problem": "Rain."}, "field 'age': the age is 'teenager'"),
        ({"age": "青少年", "problem": "下雨。"}, "field 'age': the age is '青少年'"),
        (
            {"age": "young", "job": "High school student", "problem": "Rain."},
            "field 'job': the age is not stated, of somebody who goes to school",
        ),
        ({"职业": "高中生", "问题": "下雨。"}, "field '职业': the age is not stated"),
    ],
)
def test_minors_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(Minor) as caught:
        as_card(Row(row, "f:1"))
    assert message in str(caught.value)
    assert str(caught.value).endswith("remove this card from the file")


@pytest.mark.parametrize(
    ("job", "age"),
    [
        ("高三学生", "18岁"),
        ("High school teacher", "young"),
        ("高中生物老师", "青年"),
        ("研究生", "青年"),
    ],
)
def test_who_only_works_at_a_school_is_no_minor(job: str, age: str) -> None:
    assert person({"age": age, "job": job, "problem": "Rain."}).occupation == job


@pytest.mark.parametrize(
    "row",
    [
        make_row(),
        make_zh_row(),
        make_crisis_row(),
        {key: value for key, value in make_row().items() if key != "disclosure"},
        {"language": "en", "age": 40, "situation": "Rain."},
        {"situation": "Rain.", "dialog": [], "emotion_type": "Anxiety"},
        {"messages": []},
        {},
    ],
)
def test_everything_else_is_left_as_it_is(row: dict[str, Any]) -> None:
    given = Row(row, "f:1")
    assert as_card(given) is given


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**JUDGE, "challenge": None}, "'esc-judge-p-1': field 'challenge': is null; make it text"),
        ({**JUDGE, "pid": 4}, "f:1: field 'pid': is a number; make it text"),
        ({**SAGE, "scene": ["x"]}, "card 'sage-s-1': field 'scene': is a list; make it text"),
        ({"age": [30], "problem": "Rain."}, "field 'age': is a list; make it text"),
        (
            {**SAGE, "player": "x" * 20_001},
            "field 'player': has 20,001 characters; shorten it to 20,000 or remove this card",
        ),
        ({**EVAL, "base": "Age: 44\nProblem: not mentioned"}, "field 'situation': is missing"),
    ],
)
def test_a_malformed_card_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        person(row)
    assert message in str(caught.value)


@pytest.mark.parametrize("filling", ["x", "\n", "* ", "年龄：", "1. ", "**a**：", "a. "])
def test_the_longest_fields_are_read_quickly(filling: str) -> None:
    text = (filling * 20_000)[:20_000]
    started = time.perf_counter()
    for row in (
        {**JUDGE, "final_persona": text, "life_events": text, "behavioral_traits": text},
        {**SAGE, "player": text, "scene": text},
        {**EVAL, "base": text},
    ):
        as_card(Row(row, "f:1"))
    assert time.perf_counter() - started < 2


def test_formats_may_be_mixed_in_a_file(tmp_path: Path) -> None:
    path = write_people(tmp_path / "p.jsonl", [JUDGE, make_row(), SAGE, EVAL])
    assert [p.id[:8] for p in load_personas(path)] == ["esc-judg", "en-901", "sage-s-1", "esc-eval"]
    path.write_text(json.dumps([EVAL, {**EVAL, "base": EVAL_ZH}]))
    assert [p.language for p in load_personas(path)] == ["en", "zh"]


# --- The published files, which are not part of the project ---------------------------------------


def real_rows(folder: str, name: str) -> list[Row]:
    data = os.environ.get("SELFEVO_DATA")
    if data is None or not (Path(data) / folder).is_dir():
        pytest.skip(f"set SELFEVO_DATA to a folder that holds {folder}/ to test on its cards")
    return read_rows(Path(data) / folder / name)


def test_the_real_roles_of_esc_judge() -> None:
    personas = build_personas(
        [as_card(r) for r in real_rows("esc-judge", "roles-v1-first60.jsonl")]
    )
    assert len(personas) == 60
    for persona in personas:
        assert persona.age and persona.gender and persona.occupation and persona.big_five
        assert None not in persona.big_five.model_dump().values()
    assert sum(persona.name is not None for persona in personas) == 50


def test_the_real_profiles_of_sage() -> None:
    """Eight of the fifty are minors, and left out."""
    cards = []
    for row in real_rows("sage", "profiles-first50.jsonl"):
        with contextlib.suppress(Minor):
            cards.append(as_card(row))
    personas = build_personas(cards)
    assert len(personas) == 42
    for persona in personas:
        assert persona.name and persona.age and persona.gender and persona.occupation
        assert persona.need and persona.opening and len(persona.disclosure) >= 6
        for text in persona.told_texts():
            assert not [word for word in ("NPC", "玩家", "emotion", "隐藏主题") if word in text]


def test_a_file_leaves_minors_out_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "cards.jsonl"
    rows = [{"age": 40, "problem": "Rain on Sunday."}, {"age": 12, "problem": "No rain at all."}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    [persona] = load_personas(file)
    assert persona.age == 40
    assert "1 cards of minors left out" in caplog.text
