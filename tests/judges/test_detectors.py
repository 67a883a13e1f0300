import pytest

from judges.detectors import has_meta_text, has_role_confusion, is_unfinished


@pytest.mark.parametrize("stop_reason", ["max_tokens", "model_length"])
def test_a_cut_reply_is_unfinished_whatever_it_looks_like(stop_reason: str) -> None:
    assert is_unfinished("That was brave of you.", stop_reason)


@pytest.mark.parametrize("stop_reason", ["stop", "unknown", None])
@pytest.mark.parametrize(
    "reply",
    [
        "I think you could talk to your sister,",
        "I think you could -",
        "I think you could talk to the",
        "You could call her and",
        "It seems that you’re",
        "I would like you to know that it is up to you to",
        "你可以给妹妹打电话，",
        "你可以先休息，因为",
        "You could try (",
    ],
)
def test_endings_that_no_sentence_has(reply: str, stop_reason: str | None) -> None:
    assert is_unfinished(reply, stop_reason)


@pytest.mark.parametrize("stop_reason", ["stop", "unknown", None])
@pytest.mark.parametrize(
    "reply",
    [
        "That was brave of you.",
        "that was brave of you",
        "Is there someone you can talk to",
        "you can do that only if you want to",
        "that is a hard place to be in",
        "I hope it goes well :(",
        "I hope it goes well :-(",
        "We are all in this together ❤️",
        "你可以先休息一下",
        "你可以换个方向",
        "他对你很温和",
        "",
    ],
)
def test_whole_endings(reply: str, stop_reason: str | None) -> None:
    assert not is_unfinished(reply, stop_reason)


@pytest.mark.parametrize(
    "reply",
    [
        "Supporter: That sounds unfair.",
        "**Assistant:** That sounds unfair.",
        "That sounds unfair.\nuser: yes",
        "That sounds unfair. Seeker: yes",
        "支持者：这不公平。",
        "这不公平。求助者：是的",
        "【咨询师】：这不公平。",
    ],
)
def test_role_confusion(reply: str) -> None:
    assert has_role_confusion(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Have you told your therapist: that might help.",
        "One idea: write to the user support of your bank.",
        "My friend is a client of theirs: she likes it.",
        "你可以告诉你的咨询师：你需要时间。",
        "我想到一点：先休息。",
    ],
)
def test_no_role_confusion(reply: str) -> None:
    assert not has_role_confusion(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Here is the revised reply: That was unfair.",
        "Sure! Here's a more supportive response:\nThat was unfair.",
        "Revised response: That was unfair.",
        "**Refined reply:** That was unfair.",
        "Reply: That was unfair.",
        "That was unfair.\n\nNote: I kept it short.",
        "I have revised the reply to be warmer. That was unfair.",
        "That was unfair. This reply acknowledges the anger.",
        "Emotional state: angry",
        "Principle 2: be warm",
        '{"response": "That was unfair."}',
        '"That was unfair of your boss."',
        "“这不公平。”",
        "以下是修改后的回复：这不公平。",
        "修改后的回复：这不公平。",
        "回复：这不公平。",
        "这不公平。这条回复体现了共情。",
        "性格：内向",
    ],
)
def test_meta_text(reply: str) -> None:
    assert has_meta_text(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "That was unfair of your boss.",
        "Here is an idea: write her a letter.",
        "Did you get a reply from your sister?",
        "I noted that you sleep badly.",
        'She said "I am fine" and left.',
        '"Fine" was all she said? "Fine"',
        "You need time: that is all.",
        "你收到她的回复了吗？",
        "她说“没事”，然后就走了。",
        "你的需求很重要。",
    ],
)
def test_no_meta_text(reply: str) -> None:
    assert not has_meta_text(reply)
