import pytest

from benchmarks.chatter import (
    CONTACT_DETAILS,
    TASK_CHATTER,
    TASK_ENDINGS,
    Rule,
    first_match,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Could you press quit now, I cannot", "asks to press quit"),
        ("There should be a red FINISH button", "asks to press quit"),
        ("just click the button below", "asks to press quit"),
        ("you need to end it from your end", "asks to end it from one side"),
        ("(I can't do that from this side)", "asks to end it from one side"),
        ("Then fill out the short questionnaire", "asks to take the survey"),
        ("remember, take the survey!", "asks to take the survey"),
        ("Feel free to end the chat", "asks to end the chat"),
        ("Shall we finish the conversation?", "asks to end the chat"),
        ("now submit the hit", "asks to submit the task"),
    ],
)
def test_calls_to_end_the_task_are_found(text: str, name: str) -> None:
    assert first_match(TASK_ENDINGS, text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I do some MTurk in the evenings", "names the crowd platform"),
        ("are you a fellow turker", "names the crowd platform"),
        ("This HIT takes a while", "speaks of a HIT"),
        ("I hope we earn the full bonus", "speaks of the pay for the task"),
        ("Neither of us will be paid otherwise", "speaks of the pay for the task"),
        ("We finished the task, I think", "speaks of the task"),
        ("I need your worker ID", "speaks of the task"),
        ("we need ten more turns", "speaks of the required length"),
        ("We have to talk for fifteen minutes", "speaks of the required length"),
        ("I am your peer supporter today", "names the roles of the task"),
    ],
)
def test_talk_about_the_task_is_found(text: str, name: str) -> None:
    assert first_match(TASK_CHATTER, text) == name


@pytest.mark.parametrize(
    "text",
    [
        "Then the pandemic hit and I lost everything",
        "HE HIT ME AND I LEFT",
        "you hit the nail on the head",
        "Try to focus on the task at hand",
        "I had to quit my job",
        "I want to finish my degree and submit the paper",
        "I filled in three surveys about my church",
        "How do they react when you ask to end the conversation?",
        "You are doing everything you can on your end",
        "I'm Turkish and the turkey was dry",
        "I went to bed 15 minutes earlier and talked for 10 minutes with mom",
        "My mother lives ten minutes away",
        "my boss got a large bonus and we do not get paid enough",
        "She knows how to push my buttons",
        "Will I pass this test?",
        "Thank you, you were a great support, bye!",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert first_match(TASK_ENDINGS + TASK_CHATTER, text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("write to ann.b+c@mail.example.org please", "e-mail address"),
        ("it is annb at gmail", "e-mail address"),
        ("see https://example.org/x", "web address"),
        ("look at www.example.de", "web address"),
        ("on findsomething.org there is a list", "web address"),
        ("I am @ann_b over there", "account name"),
        ("加我微信：ann_12345", "account name"),
        ("call 555-010-4477 tonight", "phone number"),
        ("call +1 (555) 010-4477", "phone number"),
        ("打我电话13800138000吧", "phone number"),
        ("I live at 12 Elm Tree Road", "postal address"),
    ],
)
def test_contact_details_are_found(text: str, name: str) -> None:
    assert first_match(CONTACT_DETAILS, text) == name


@pytest.mark.parametrize(
    "text",
    [
        "I owe them $30000 and 10000 more since 2019-2020",
        "between 1995 and 2005, 3 times out of 10",
        "I am tired...So tired",
        "We met @ the park at 10:30",
        "What a great tool@",
        "我微信里有很多朋友",
        "我已经二十三岁了，压力很大",
        "I was up at 3 am. Come on, me too.",
        "It cost 1,234,567.89 in total",
    ],
)
def test_numbers_and_signs_are_not_contact_details(text: str) -> None:
    assert first_match(CONTACT_DETAILS, text) is None


@pytest.mark.parametrize(
    "rule", TASK_ENDINGS + TASK_CHATTER + CONTACT_DETAILS, ids=lambda r: r.name
)
def test_the_words_of_a_rule_are_lower_case(rule: Rule) -> None:
    assert rule.words
    assert all(word == word.lower() for word in rule.words)
