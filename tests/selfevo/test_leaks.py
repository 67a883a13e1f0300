import pytest

from selfevo.leaks import has_template_marker, quotes, states_profile


@pytest.mark.parametrize(
    "text",
    [
        "That was unfair.<|im_end|>",
        "<|im_start|>assistant\nThat was unfair.",
        "That was unfair.</s>",
        "[INST] That was unfair.",
        "### Response: That was unfair.",
        "That was unfair, {name}.",
        "That was unfair, [Name].",
        "这不公平。<|endoftext|>",
    ],
)
def test_template_markers(text: str) -> None:
    assert has_template_marker(text)


@pytest.mark.parametrize(
    "text",
    [
        "I <3 that idea, and 2 < 3.",
        "My response: take [some] time.",
        "Use this #1 trick.",
        "我<3你",
    ],
)
def test_no_template_markers(text: str) -> None:
    assert not has_template_marker(text)


@pytest.mark.parametrize(
    "text",
    [
        "As an introvert, you need time alone.",
        "As someone who’s introverted, you need time alone.",
        "Because you're a perfectionist, this hurts.",
        "Your personality makes this hard.",
        "Given your profile, this must hurt.",
        "The user feels sad.",
        "作为一个内向的人，你需要时间。",
        "你的性格让这件事更难。",
        "这位求助者很难过。",
    ],
)
def test_profile_as_fact(text: str) -> None:
    assert states_profile(text, ["I failed my exam.", "我考试没过。"])


@pytest.mark.parametrize(
    "text",
    [
        "As a student, you need time.",
        "Your person is lucky to have you.",
        "It sounds as if big groups tire you.",
        "你的心情我明白。",
    ],
)
def test_near_misses(text: str) -> None:
    assert not states_profile(text, [])


def test_what_the_seeker_said_of_themselves_may_be_taken_up() -> None:
    assert not states_profile("As an introvert, you need rest.", ["I'm an INTROVERT, you know"])
    assert not states_profile("你的性格不是缺点。", ["我性格太闷了，大家都这么说我的性格"])


SOURCE = "The seeker wants to be heard before any advice is given at all."


def test_quotes_needs_the_whole_run() -> None:
    eight = "You wants to be heard before any advice is"
    assert quotes(eight, [SOURCE], [], run=8)
    assert not quotes("to be heard before any advice is fine", [SOURCE], [], run=8)


def test_words_of_the_dialogue_are_no_quote() -> None:
    text = "I hear you: my sister has not called me since we moved"
    said = "My sister has not called me since we moved away."
    evidence = "Evidence: 'my sister has not called me since we moved'"
    assert quotes(text, [evidence], [], run=8)
    assert not quotes(text, [evidence], [said], run=8)


def test_quotes_chinese() -> None:
    source = "先倾听对方的感受，再谈任何建议。"
    assert quotes("我会先倾听对方的感受，再谈任何建议", [source], [], run=12)
    assert not quotes("我会先倾听对方的感受，再说", [source], [], run=12)
