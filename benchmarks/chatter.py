"""Which utterances have no place in training or evaluation: task chatter and contact details.

About one ESConv dialogue in six mentions the crowd-sourcing task that collected it ("press quit
and take the survey", "neither of us gets paid", MTurk). A model trained on that says it to people.
The rules were tuned for precision on ESConv's train and validation files: "survey", "task" and
"hit" alone are ordinary words and stay ("when the pandemic hit", "focus on the task at hand"). They
are English only, since ESConv is; contact details are found in English and in Chinese text.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Rule(NamedTuple):
    """A named pattern, and words of which at least one is in every text that it matches."""

    name: str
    words: tuple[str, ...]
    """Lower case. A plain substring test comes first: it makes the search six times faster."""

    pattern: re.Pattern[str]


def first_match(rules: Iterable[Rule], text: str) -> str | None:
    """Name the first rule that a text breaks."""
    lowered = text.lower()
    for rule in rules:
        if any(word in lowered for word in rule.words) and rule.pattern.search(text):
            return rule.name
    return None


def _rule(name: str, words: str, *patterns: str) -> Rule:
    return Rule(name, tuple(words.split()), re.compile("|".join(patterns), re.IGNORECASE))


_PRESS = r"(?:press|hit|click|push|select|use)(?:ing)?(?: on)?(?: the)?(?: red)?"
_END = r"(?:end|clos|finish|terminat|exit|complet|conclud|wrap)\w*(?: up| out)?"
_END_SIDE = r"(?:from |at |on |by )?(?:your|my|this|the supporter) (?:end|side)\b"
_ASK = r"(?:please|you can|can you|you may|have to|need to|how to|can i|(?:shall|should|can) we)"
_MINUTES = r"(?:10|15|20|ten|fifteen|twenty) ?min(?:ute)?s?\b"

TASK_ENDINGS = (
    _rule(
        "asks to press quit",
        "quit finish finali submit exit button",
        rf"\b{_PRESS} [\"']?(?:quit|finish|finali[sz]e|submit|exit|button)\b(?! (?:my|your) job)",
        r"\b(?:quit|finish|submit|exit)[\"']? button\b|\bbutton at the bottom\b",
        r"\b(?:finish|finali[sz]e) (?:and|&) (?:quit|exit)\b|\bquit (?:and|&) finish\b",
    ),
    _rule(
        "asks to end it from one side",
        "end side first",
        rf"\b(?:quit|end|finish|leave|exit|close)(?: it| this)?(?: first)? {_END_SIDE}",
        rf"\b(?:can't|can not|cannot|not able to|unable to)\b[^.?!]{{0,24}} {_END_SIDE}",
        r"\byou (?:need|have) to quit first\b",
    ),
    _rule(
        "asks to take the survey",
        "survey question",
        r"\b(?:take|do|fill|complete|answer|finish|end of)(?: out| in)? (?:the|a|this|that|your)"
        r"(?: short| exit)? (?:survey|question+n?[ai]\w*r\w*)",
    ),
    _rule(
        "asks to end the chat",
        "chat convo session discussion conversation",
        rf"\b(?:{_END} (?:the|this|our)|leave this) (?:chat|convo|session|discussion)\b",
        rf"\b{_ASK} {_END} (?:the|this|our) conversation\b",
    ),
    _rule(
        "asks to submit the task",
        "submit hit task",
        r"\bsubmit the (?:test|hit|task|chat|session)\b",
        r"\b(?:quit|end|finish|finishing|close out|wrap) (?:the|this) (?:hit|task)\b",
    ),
)
"""Calls to end the task: what follows one is the ending of the task, not of a talk."""

TASK_CHATTER = (
    _rule(
        "names the crowd platform",
        "turk",
        r"(?<!['\w])m[- ]?turk(?!ish|ey)|\bmechanical turk\b|\bturkers?\b|\bturk guru\b",
    ),
    _rule(
        "speaks of a HIT",
        "hit",
        # HIT in capitals, unless the whole sentence shouts.
        r"(?-i:(?<![A-Z] )\bHITs?\b(?! [A-Z]))",
        r"\b(?:enjoyed this|in the|this particular|accept|grabbing|decent|paying|chat) hits?\b"
        r"(?! (?:me|by|a|the|and|or)\b)",
    ),
    _rule(
        "speaks of the pay for the task",
        "bonus paid compensated payment",
        r"\bearn(?:ed|ing)? (?:me |you |us )?(?:the|your|our)(?: maximum| full)? bonus\b",
        r"\bfor the full bonus\b|\byour bonus money\b|\bbonus for this\b",
        r"\bneither of us\b[^.?!]{0,24}\bpaid\b|\byou will be paid\b|\bi got paid\b",
        r"\bwe both (?:get|got|will be|won't be) (?:paid|compensated)\b|\bhopefully we get paid\b",
        r"\bgetting paid to (?:be here|talk|chat)\b|\bextra payment at the end\b",
    ),
    _rule(
        "speaks of the task",
        "task study worker",
        r"\b(?:completed|finished) (?:the|this|the requirements of the) (?:task|study)\b",
        r"\b(?:like|enjoy\w*|doing|tried) this (?:task|study)\b|\bthis task seems\b",
        r"\bworker id\b",
    ),
    _rule(
        "speaks of the required length",
        "messages turns lines rounds min",
        r"\b(?:8|10|eight|ten) (?:more )?(?:messages|turns|lines|rounds)\b",
        rf"\b{_MINUTES} (?:mark|minimum|limit|(?:is|are) up)\b|\bthey want us to chat\b",
        rf"\b(?:have|need|needs) to (?:keep )?(?:be|chat|talk|talking|wait)"
        rf"(?: for| till| until)? (?:a minimum of )?{_MINUTES}",
        rf"\b(?:it's|it is|it's been|it has been|over|passed|hit our|thought it was) {_MINUTES}"
        r"(?! (?:away|late|from|early|drive|walk))",
    ),
    _rule(
        "names the roles of the task",
        "supporter seeker",
        r"\bpeer[- ]supporters?\b|\bsupport seeker\b|\bhelp[- ]seeker\b",
        r"\b(?:the|my) supporter (?:cannot|can't|can|end|is not)\b|\bto be (?:the|a) supporter\b",
    ),
)
"""Talk about the task or its platform, wherever it stands."""

CONTACT_DETAILS = (
    _rule(
        "e-mail address",
        "@ mail hotmail yahoo outlook icloud",
        r"[\w.+-]+@[\w-]+\.\w{2,}",
        r"\b\w+ ?(?:\bat\b|\(at\)|\[at\]) ?(?:gmail|yahoo|hotmail|outlook|icloud)\b",
    ),
    _rule(
        "web address",
        "http www. .com .org .net .edu .gov .info .io .cn .uk",
        r"https?://|\bwww\.\w|\b[a-z][\w-]*\.(?:com|org|net|edu|gov|info|io|cn|co\.uk)\b",
    ),
    _rule(
        "account name",
        "@ 微信 wechat weixin qq telegram snapchat instagram discord",
        r"(?<![\w.@])@[a-z]\w{2,}",
        r"(?:微信|wechat|weixin|qq|telegram|snapchat|instagram|discord)(?:号|\s?id)?\s?"
        r"(?:[:：]|是|is)\s?(?=[a-z_]*\d)[\w-]{5,}",
    ),
    _rule(
        "phone number",
        "0 1 2 3 4 5 6 7 8 9",
        # In groups (719-465-8365, +1 800 273 8255), or eleven digits in a row as in China.
        r"(?<![\w.,$¥€£-])(?:\+?\d{1,3}[ .-]?)?\(?\d{3,4}\)?[ .-]\d{3,4}[ .-]?\d{4}(?![\w%])",
        r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)",
    ),
    _rule(
        "postal address",
        "st ave rd road blvd dr lane ln",
        r"(?-i:\b\d{1,5} (?:[A-Z]\w+ ){1,3}"
        r"(?:St|Street|Ave|Avenue|Rd|Road|Blvd|Dr|Drive|Lane|Ln)\b)",
    ),
)
"""What lets a reader reach somebody, or a model send people to an address it half remembers."""
