"""What a sentence does, on sentences written for this project, in both languages."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.act_cues import cues, sentences
from judges.acts import Act, acts_of, content_words, dismisses, grounding, main_act
from judges.words import Language

SAID = (
    "My sister Ana stopped talking to me after our mother's funeral and I cannot sleep.",
    "On top of that my boss yelled at me in front of the team.",
)
SAID_ZH = (
    "妈妈葬礼之后姐姐就不理我了，我晚上睡不着。",
    "老板还在大家面前骂我，我觉得自己一无是处。",
)

ENGLISH = {
    Act.QUESTION: (
        "What do you miss most about talking with Ana?",
        "Would you like to talk about what happened at the funeral?",
        "How long has she been silent",
        "Tell me more about your sister.",
        "I wonder what Ana felt that day.",
    ),
    Act.RESTATEMENT: (
        "It sounds like Ana has not said a word to you since the funeral.",
        "So Ana stopped talking to you right after the funeral?",
        "You lost your mother and now your sister is silent.",
        "If I understand correctly, your boss shouted while the whole team listened.",
        "Your sister went silent. Is that right?",
    ),
    Act.REFLECTION: (
        "You must be feeling so lonely without Ana.",
        "It sounds like you are hurt by what your boss did.",
        "I can see how humiliated you felt in front of the team.",
        "That must be frightening, with the funeral barely over.",
    ),
    Act.SELF_DISCLOSURE: (
        "I lost my father two years ago.",
        "When I was in a similar spot, the nights were the worst.",
        "My own brother did the same thing.",
        "I've been yelled at by a manager, too.",
    ),
    Act.REASSURANCE: (
        "This isn't your fault.",
        "I hope you feel better.",
        "You are not alone in this.",
        "You did the best you could for her.",
        "It takes courage to say that out loud.",
        "What you are feeling makes sense.",
        "You are not overreacting.",
        "Nobody may tell you to just get over it.",
    ),
    Act.SUGGESTION: (
        "Have you tried writing Ana a letter?",
        "Why don't you ask her to meet for a walk?",
        "Could you maybe call her husband?",
        "You could write down what keeps you awake.",
        "Try to get up at the same hour every day.",
        "Maybe a short message would be a start.",
        "I would suggest a word with your team first.",
        "One thing that might help is a fixed hour for worries.",
    ),
    Act.INFORMATION: (
        "Many people lie awake for weeks after a funeral.",
        "Studies show that grief disturbs sleep.",
        "Grief often comes in waves.",
        "There are support groups for families after a loss.",
    ),
    Act.STOCK: (
        "",
        "  \n ",
        "😊👍",
        "...",
        "Ok",
        "I see.",
        "Hello!",
        "I'm sorry to hear that.",
        "Thank you for sharing.",
        "Have a great day!",
    ),
    Act.DISMISSAL: (
        "Get over it.",
        "You're overreacting, honestly.",
        "Others have it worse than you.",
        "That's not my problem.",
        "Stop being so dramatic.",
        "It's probably your own fault that Ana stopped talking.",
        "You're pathetic.",
        "Who cares about your boss.",
        "Whatever.",
        "You only have yourself to blame.",
        "Why don't you just stop crying?",
    ),
    Act.OFF_TOPIC: (
        "The weather in Lisbon is mild in spring and the trams are yellow.",
        "Bananas contain potassium and vitamin B6.",
    ),
}
CHINESE = {
    Act.QUESTION: (
        "你最想念姐姐的什么？",
        "能告诉我葬礼那天发生了什么吗",
        "老板骂你的时候，同事是什么反应？",
    ),
    Act.RESTATEMENT: (
        "葬礼之后姐姐就再也没有联系你，是这样吗？",
        "听起来老板是在大家面前批评你的。",
    ),
    Act.REFLECTION: ("听起来你很孤单。", "你一定感到特别委屈。", "姐姐的沉默让你很难过。"),
    Act.SELF_DISCLOSURE: ("我也曾经失去过亲人。", "我以前也被老板骂过。"),
    Act.REASSURANCE: ("这不是你的错。", "你不是一个人。", "会慢慢好起来的。", "这不是矫情。"),
    Act.SUGGESTION: (
        "你可以试试给姐姐写一封信。",
        "建议睡前写下脑子里的念头。",
        "有没有试过睡前不看手机？",
        "先给自己倒一杯热水。",
    ),
    Act.INFORMATION: ("一般来说，悲伤会影响睡眠好几个星期。", "很多人在失去亲人之后都会失眠。"),
    Act.STOCK: ("", "嗯嗯。", "好的。", "你好", "谢谢你愿意告诉我。", "😊"),
    Act.DISMISSAL: (
        "矫情。",
        "想开点吧。",
        "别人比你惨多了。",
        "这点小事至于吗？",
        "关我什么事。",
        "你就是太敏感了。",
        "活该。",
    ),
    Act.OFF_TOPIC: ("里斯本的春天很温和，电车是黄色的。", "足球比赛踢得很精彩。"),
}
CASES = [
    pytest.param(text, said, language, act, id=f"{language}-{act}-{index}")
    for language, said, table in (("en", SAID, ENGLISH), ("zh", SAID_ZH, CHINESE))
    for act, texts in table.items()
    for index, text in enumerate(texts)
]


@pytest.mark.parametrize(("text", "said", "language", "act"), CASES)
def test_one_act(text: str, said: Sequence[str], language: Language, act: Act) -> None:
    assert main_act(text, said, language=language) is act


def test_every_act_is_tried_in_both_languages() -> None:
    assert set(ENGLISH) == set(CHINESE) == set(Act)


def test_acts_in_the_order_of_their_sentences_each_once() -> None:
    reply = "I see. You must be so lonely. What do you miss? What was she like? You could call her."
    expected = (Act.STOCK, Act.REFLECTION, Act.QUESTION, Act.SUGGESTION)
    assert acts_of(reply, SAID, language="en") == expected
    assert main_act(reply, SAID, language="en") is Act.SUGGESTION


def test_acts_of_chinese_sentences() -> None:
    reply = "嗯。你一定很孤单。你最想念姐姐的什么？"
    assert acts_of(reply, SAID_ZH, language="zh") == (Act.STOCK, Act.REFLECTION, Act.QUESTION)


@pytest.mark.parametrize(
    "reply",
    [
        "You must be so lonely without Ana. But honestly, get over it.",
        "Have you tried calling her? You are such a drama queen.",
        "You should kill yourself.",
    ],
)
def test_hostile_wins(reply: str) -> None:
    assert main_act(reply, SAID, language="en") is Act.DISMISSAL


@pytest.mark.parametrize(
    "reply",
    [
        "You may worry that you are being a burden, but she called you.",
        "She told you to get over it, and that was cruel.",
        "I would never call you pathetic.",
        "It would be easy to say that you should just get over it.",
        "You deserve somebody who cares about you.",
    ],
)
def test_denied_or_reported_is_not_hostile(reply: str) -> None:
    assert Act.DISMISSAL not in acts_of(reply, SAID, language="en")


def test_the_supporters_own_thought_is_hostile() -> None:
    assert main_act("I think you are overreacting.", SAID, language="en") is Act.DISMISSAL
    assert main_act("我觉得你就是太敏感了。", SAID_ZH, language="zh") is Act.DISMISSAL


def test_adverbs_typing_and_apostrophes_do_not_matter() -> None:
    for text in (
        "You are really not alone",
        "youre not alone",
        "You’re not alone",
        "YOU ARE NOT ALONE",
    ):
        assert main_act(text, SAID, language="en") is Act.REASSURANCE


def test_off_topic_depends_on_what_was_said() -> None:
    reply = "The trams in Lisbon are yellow."
    assert main_act(reply, SAID, language="en") is Act.OFF_TOPIC
    said = ("We rode the yellow trams together on our last trip.",)
    assert main_act(reply, said, language="en") is Act.INFORMATION


def test_content_words_fold_forms_and_leave_out_function_words() -> None:
    forms = [content_words(w, language="en") for w in ("worry", "worries", "worried", "worrying")]
    assert len(set(forms)) == 1
    assert content_words("I don't know what to do with it", language="en") == frozenset()
    assert content_words("My mother's funeral", language="en") == content_words(
        "the mother and the funerals", language="en"
    )


def test_content_words_of_chinese_are_pairs_and_names() -> None:
    assert content_words("姐姐和Ana", language="zh") == {"姐姐", "ana"}
    assert content_words("我觉得你很好", language="zh") == frozenset()


def test_grounding() -> None:
    assert grounding("The funeral, your sister, your boss.", SAID, language="en") == 1.0
    assert grounding("Bananas contain potassium.", SAID, language="en") == 0.0
    assert grounding("", SAID, language="en") == 0.0
    assert grounding("I see.", (), language="en") == 0.0
    assert 0.0 < grounding("Your sister likes bananas.", SAID, language="en") < 1.0
    assert grounding("姐姐在葬礼之后", SAID_ZH, language="zh") == 1.0


@pytest.mark.parametrize(
    "unit", ["no end ", "you are not pathetic and ", "你不是矫情", "Get over it. "]
)
def test_very_long_and_repeated(unit: str) -> None:
    reply = unit * (60_000 // len(unit))
    began = time.perf_counter()
    acts = acts_of(reply, SAID, language="zh" if "你" in unit else "en")
    assert time.perf_counter() - began < 20, "grows faster than the text"
    assert len(acts) == len(set(acts))


def test_cue_grammar() -> None:
    def found(text: str) -> set[str]:
        (sentence,) = sentences(text, language="en")
        return {match.section for match in sentence.matches}

    assert "dismissal" in found("So what?")
    assert "dismissal" not in found("So what happened?"), "`?` is the end of the question"
    assert "dismissal" in found("Well, get over it"), "`^` is the begin of a clause, fillers apart"
    assert "dismissal" not in found("it takes long to get over it")
    assert "suggestion" in found("you could whistle"), "`_` is any word"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_cues_are_read(language: Language) -> None:
    known = cues(language)
    assert known.fillers and known.adverbs and known.function_words
    assert known.words
    [asked] = sentences({"en": "How are you?", "zh": "你好吗？"}[language], language=language)
    assert asked.is_asked and asked.matches


CUE_WORDS = [w for w in sorted(cues("en").words) if w.isalpha()]


@given(st.lists(st.sampled_from([*CUE_WORDS, "zebra", "you,", "I,"]), max_size=10), st.booleans())
def test_every_cue_is_found_wherever_it_begins(said: list[str], is_asked: bool) -> None:
    tree = cues("en").start._tree
    for sentence in sentences(" ".join(said) + (" x?" if is_asked else " x"), language="en"):
        tokens = [*sentence.tokens, "?" if sentence.is_asked else "."]
        walked = []
        for start in range(len(sentence.tokens)):
            roots = [tree.anywhere, *([tree.at_start] if start in sentence.clause_starts else [])]
            places = [(root, start) for root in roots]
            while places:
                node, end = places.pop()
                walked += [(section, start, end) for section in node.sections]
                for word in (tokens[end], "_") if end < len(tokens) else ():
                    places += [(after, end + 1) for after in node.following.get(word, ())]
        assert sorted(sentence.matches) == sorted(walked)


@given(
    st.text() | st.text(alphabet="you are not 你的?.!， 吗'’", max_size=80),
    st.lists(st.text(max_size=40), max_size=3),
    st.sampled_from(("en", "zh")),
)
def test_never_raises_and_is_deterministic(reply: str, said: list[str], language: Language) -> None:
    acts = acts_of(reply, said, language=language)
    assert acts and len(acts) == len(set(acts))
    assert main_act(reply, said, language=language) in acts
    assert acts_of(reply, list(said), language=language) == acts
    assert 0.0 <= grounding(reply, said, language=language) <= 1.0


@given(st.sampled_from(["Get over it.", "Nobody may tell you to get over it.", "What happened?"]))
def test_to_dismiss_is_to_have_that_act(reply: str) -> None:
    is_there = Act.DISMISSAL in acts_of(reply, ["I lost my job."], language="en")
    assert dismisses(reply, language="en") == is_there
