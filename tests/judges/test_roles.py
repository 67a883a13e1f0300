import pytest

from judges.roles import has_role_flip, role_break

SEEKERS = [
    "My manager moved me to nights again and I have nobody to swap with.",
    "I'm sorry, I know I keep going on about it.",
    "Sorry to bother you. I feel so stupid.",
    "Can you help me? I don't know what to do.",
    "What should I do?",
    "I can't continue like this.",
    "I cannot do this any more, I won't even try.",
    "I can't play the piano since the accident.",
    "I tried to help her and she slammed the door.",
    "Everyone says I should try yoga. I hate yoga.",
    "He told me I need to let go.",
    "No. That is not what I said.",
    "Am I supposed to feel better now?",
    "I work in an office and I assist with the invoices.",
    "It feels like I’m talking to a wall, honestly.",
    "She is an assistant at the town hall and earns more than me.",
    "It sounds stupid when I type it.",
    "They said I'm not alone but I am.",
    "My phone says 3:14 and I am awake.",
    "我真的不知道怎么办了。",
    "对不起，我说得有点乱。",
    "我理解不了他为什么这样。",
    "他们都说我应该想开点。",
    "能帮帮我吗？",
    "我不能继续待在这个家了。",
    "我是一个助理，天天被骂。",
    "抱歉，我今天状态不好。",
    "听起来是不是很可笑？",
    "朋友劝我别想太多。",
]


@pytest.mark.parametrize("text", SEEKERS)
def test_what_seekers_write_is_neither_break_nor_flip(text: str) -> None:
    assert role_break(text) is None
    assert not has_role_flip(text)


@pytest.mark.parametrize(
    "text",
    [
        "I work as an assistant in a law firm and my boss hates me.",
        "I started as an assistant manager in May.",
        "I won't pretend that I'm fine.",
        "I can't pretend any longer.",
        "Is there anything else I can do to feel less alone?",
        "Is there anything else you would try in my place?",
        "I can't continue with this. The job is killing me.",
        "I can't fulfil what my father expects of me.",
        "I can't comply with her rules for ever.",
        "I can't engage in small talk with my husband any more.",
        "I won't assist with the invoices for free again.",
        "My therapist says feel free to share anything, but I freeze.",
        "对不起，我不能继续这样下去了。",
        "抱歉，我无法满足他们的期望。",
        "我是人工智能专业的学生，压力很大。",
        "请问可以帮我分析一下吗？",
        "有什么办法能帮我吗？",
        "请问能帮我看看吗？",
        "",
    ],
)
def test_words_that_assistants_use_too_are_no_break(text: str) -> None:
    assert role_break(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("As an AI language model, I do not have feelings.", "speaks as an assistant"),
        ("Honestly, I’m just a chatbot.", "speaks as an assistant"),
        ("How can I help you today?", "speaks as an assistant"),
        ("I'm here to listen to you.", "speaks as an assistant"),
        ("Is there anything else I can do?", "speaks as an assistant"),
        ("Feel free to share more.", "speaks as an assistant"),
        ("作为一个人工智能，我没有感受。", "speaks as an assistant"),
        ("请问有什么可以帮您？", "speaks as an assistant"),
        ("有什么我可以帮助你的吗？", "speaks as an assistant"),
        ("很高兴为您服务。", "speaks as an assistant"),
        ("I'm sorry, but I can't continue with this role-play.", "refuses to play"),
        ("I cannot roleplay a person in crisis.", "refuses to play"),
        ("I'm unable to... I can’t assist with that.", "refuses to play"),
        ("I cannot create this content.", "refuses to play"),
        ("抱歉，我无法扮演这个角色。", "refuses to play"),
        ("对不起，但我不能继续这个对话。", "refuses to play"),
        ("Seeker: I feel bad.", "labels a speaker"),
        ("I feel bad.\nSupporter: Tell me more.", "labels a speaker"),
        ("求助者：我很难过。", "labels a speaker"),
        ("Here is my reply: I feel bad.", "speaks about its own text"),
        ('{"reason": "it was kind"}', "speaks about its own text"),
        ("以下是回复：我很难过。", "speaks about its own text"),
    ],
)
def test_breaks(text: str, why: str) -> None:
    assert role_break(text) == why


@pytest.mark.parametrize(
    "text",
    [
        "You should try to rest.",
        "Have you considered talking to a therapist?",
        "Why don't you take a day off?",
        "I’m so sorry to hear that you lost her.",
        "It sounds like you're exhausted.",
        "How does that make you feel?",
        "Your feelings are valid.",
        "You are not alone.",
        "Be kind to yourself.",
        "你应该早点休息。",
        "听起来你很累。",
        "我理解你的心情。",
        "你并不孤单。",
    ],
)
def test_flips_are_counted_and_break_nothing(text: str) -> None:
    assert has_role_flip(text)
    assert role_break(text) is None
