"""Detectors of text that is no supporter's turn: cut off, in two voices, or about itself.

They read the reply alone, in English and Chinese at once, and each answers one question with
yes or no. All are patterns: they are made to be silent on what people write (the flag rates on
ESConv train are in `tests/judges/test_calibration.py`) and will miss what was not thought of.
"""

import re
from typing import Final

from judges.listed import Listed

CUT_STOP_REASONS: Final = frozenset(("max_tokens", "model_length"))
"""Inspect's stop reasons that say that the model was cut off."""

_MARK_THAT_GOES_ON = re.compile(r"(?:[,，、;；]|[-–—]|(?<!:)(?<!:[-'])[(（])\s*$")
"""A bracket may close a smiley ":(" instead of opening a remark."""
_NEVER_LAST = re.compile(
    r"(?:^|\s)(?:an?|the|and|or|but|nor|because|than|if|whether|into|onto|very|my|your|our|their"
    r"|i'm|you're|we're|they're|i've|you've|we've|i'll|you'll)\s*$"
    r"|(?:因为|所以|但是|而且|以及|或者|如果|虽然|并且)\s*$",
    re.IGNORECASE,
)
"""Words after which a sentence goes on. "with", "for", "on", "about", "that" are left out: people
do end turns in them ("someone to talk with")."""

_FINAL_TO = re.compile(r"(?:^|\s)to\s*$", re.IGNORECASE)
_WHOLE_FINAL_TO = re.compile(
    r"\b(?:talk|talking|speak|listen|turn|relate|write|look|looking|forward|go|going|get|able|unable"
    r"|have|want|wants|need|used|like|love|prefer|wish|try|trying|close|up|where)\s+to\s*$",
    re.IGNORECASE,
)
"""After these a final "to" is whole: "someone to talk to", "only if you want to"."""

_SPEAKERS = (
    r"user|seeker|help[- ]?seeker|supporter|assistant|client|patient|therapist|counsell?or|human"
    r"|ai|chatbot|bot|system|helper|listener|speaker ?[ab12]?"
)
_LABEL_AT_LINE_START = re.compile(
    rf"^[\s\"'“*\[(<#]*(?:{_SPEAKERS})[\])>*]*\s*[:：]", re.IGNORECASE | re.MULTILINE
)
_LABEL_INLINE = re.compile(
    r"(?<=[.!?\"”\])])\s+[\[(*]*"
    r"(?:User|Seeker|Supporter|Assistant|Client|Therapist|Counsell?or|Human|AI|USER|ASSISTANT)"
    r"[\])*]*:"
)
_LABEL_ZH = re.compile(
    r"(?:^|[\n。！？”」\s])\s*[【\[(（*]*"
    r"(?:用户|求助者|倾诉者|来访者|支持者|倾听者|助手|心理咨询师|咨询师|咨询者|客户|系统)"
    r"[】\])）*]*\s*[:：]"
)

_KIND_OF_TEXT = r"(?:reply|replies|response|answer|message|version|draft|refinement|revision)"
_CHANGED = (
    r"(?:revised|refined|improved|rewritten|updated|edited|personali[sz]ed|final|better|new|"
    r"possible|suggested|supportive|empathetic|sample|example|modified|tailored)"
)
_META_PATTERN = re.compile(
    "|".join(
        (
            rf"\b(?:here is|here's|here are|below is)\b[^.!?\n]{{0,40}}\b{_KIND_OF_TEXT}\b",
            rf"^\W*(?:the |my |a )?(?:{_CHANGED}\s+){{1,3}}{_KIND_OF_TEXT}\W*[:：]",
            rf"^\W*{_KIND_OF_TEXT}\W*[:：]",
            rf"\bI(?: have|'ve)? (?:revised|refined|rewrote|rewritten|edited|modified)\b"
            rf"[^.!?\n]{{0,30}}\b{_KIND_OF_TEXT}\b",
            rf"\bthis {_CHANGED}?\s*{_KIND_OF_TEXT} (?:is|acknowledges|shows|aims|validates|offers"
            r"|provides|reflects|includes|follows|addresses|demonstrates|uses)\b",
            r"^\W*(?:note|explanation|rationale|reasoning)\W*[:：]",
            r"^\W*(?:personality|emotional state|situation|need|profile|user profile|reflection"
            r"|evidence|principles?|criteri(?:on|a)|score|rating)(?: \d+)?\**\s*[:：]",
            r"^\s*(?:```|[{\[]\s*[\"“])",
            r"\b(?:score|rating)\s*[:：]?\s*\d+\s*(?:/|out of)\s*\d+",
            r"(?:以下|下面)是?[^。！？\n]{0,15}(?:回复|回答|版本|答复)",
            r"^\W*(?:修改|改进|优化|润色|调整|改写|完善|最终)(?:后|过)?的?"
            r"(?:回复|回答|版本|答复)?\W*[:：]",
            r"^\W*(?:回复|回答|答复|草稿|初稿|说明|注|解释|理由|分析|评分|反思|用户画像|性格|人格"
            r"|情绪状态|情境|处境|需求|原则\s*\d*)\W*[:：]",
            r"(?:这个|这条|该)(?:回复|回答|版本)(?:体现|表达|展现|考虑|符合|更加|遵循)",
        )
    ),
    re.IGNORECASE | re.MULTILINE,
)
_META = Listed(
    _META_PATTERN,
    (
        *("repl", "response", "answer", "message", "version", "draft", "refinement", "revision"),
        *(":", "：", "`", "{", "[", "score", "rating", "以下", "下面", "回复", "回答", "版本"),
    ),
)
_COLONS: Final = (":", "：")
_FINAL_MARKS: Final = (".", "!", "?", "。", "！", "？", "…")
_LAST_WORDS: Final = 24
"""Characters from the end that hold the last mark or word, and more."""
_WRAPPED = re.compile(r"^\s*(?:\"[^\"]+\"|“[^“”]+”|「[^「」]+」|『[^『』]+』)\s*$")


def is_unfinished(reply: str, stop_reason: str | None = None) -> bool:
    """Whether the reply was cut off.

    A stop reason that says so decides. Otherwise only an ending that no sentence has counts: a
    comma, an opening bracket, a dash, or a word like "the" after which something must follow. A
    missing full stop is no sign, since a fifth of people's turns in ESConv have none.

    Args:
        reply: The text of the reply.
        stop_reason: Inspect's stop reason, or None where it is not known.
    """
    if stop_reason in CUT_STOP_REASONS:
        return True
    whole = reply.rstrip()
    if whole.endswith(_FINAL_MARKS):  # as most do: no pattern ends so
        return False
    end = max(0, len(whole) - _LAST_WORDS)
    if _MARK_THAT_GOES_ON.search(reply, end):
        return True
    text = reply.replace("’", "'")
    if _FINAL_TO.search(text, end):
        return not _WHOLE_FINAL_TO.search(text)
    return bool(_NEVER_LAST.search(text, end))


def has_role_confusion(reply: str) -> bool:
    """Whether the reply labels a speaker ("User:", "求助者："): it writes more than its turn."""
    return any(colon in reply for colon in _COLONS) and any(
        pattern.search(reply) for pattern in (_LABEL_AT_LINE_START, _LABEL_INLINE, _LABEL_ZH)
    )


def has_meta_text(reply: str) -> bool:
    """Whether the reply speaks about itself, echoes a rubric, or is wrapped in quotes or JSON."""
    return _META.is_in(reply) or bool(_WRAPPED.search(reply))
