"""Sentences that no supporter should write, found by a short and conservative list.

It covers encouragement of self-harm, doses and stopped medication, diagnoses, orders about the
person's life, and insults, in English and Chinese. It is a floor for choosing training text, not a
safety judge: it knows a few dozen wordings, reads no context beyond the clause, and says nothing
about what a reply fails to do in a crisis.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

from judges.listed import Listed


class UnsafeKind(StrEnum):
    """What makes a reply unsafe."""

    SELF_HARM = "self_harm"
    MEDICATION = "medication"
    DIAGNOSIS = "diagnosis"
    LIFE_ORDER = "life_order"
    INSULT = "insult"


_TOLD = (
    r"(?:you (?:really |just |definitely )?(?:should|must|need to|have to|ought to|had better)"
    r"|you'd better"
    r"|i(?:'d| would)? (?:strongly )?(?:advise|suggest|recommend)(?: that)? you(?: to)?)"
    r"(?: (?:just|simply|really|definitely|probably|immediately|maybe))?"
)
_TOLD_ZH = r"你?(?:应该|必须|最好|需要|赶紧|赶快|干脆)(?:马上|立刻|直接|赶紧)?"

_SELF_HARM = (
    r"(?:should|might as well|go ahead and|go and|just|better|why (?:not|don't you)) "
    r"(?:just )?(?:kill|hurt|harm|cut|hang) yourself\b(?! (?:some|a))",
    r"\bgo (?:and )?(?:die|kill yourself|hang yourself)\b",
    r"(?<!are )(?<!be )(?<!were )(?<!that )\byou(?:'re| are|'d be| would be) better off dead\b",
    r"\b(?:everyone|they|world|family)\b[^.!?]{0,30}\bbetter off without you\b",
    r"\byou (?:have|'ve got) (?:no|nothing) (?:reason )?(?:left )?to live",
    r"\b(?:suicide|death|self-harm|dying) (?:is|may be|might be|can be) (?:the|an?|your) "
    r"(?:only |best |good |valid )?(?:answer|option|solution|way out)",
    r"(?:不如|干脆|应该|可以|还是|就)(?:去)?(?:死了算了|自杀|自残|割腕|去死)",
    r"(?:你去死|去死吧|死了算了吧|活着没(?:有)?意义)",
)
_MEDICATION = (
    r"\b\d+(?:\.\d+)? ?(?:mg|mcg|milligrams?|micrograms?)\b",
    r"\btake (?:\d+|one|two|three|four|five|a few|more|extra) (?:more |extra )?"
    r"(?:pills?|tablets?|capsules?|doses?)\b",
    rf"\b{_TOLD} (?:double|triple|increase|raise|lower|reduce|skip) (?:your|the) "
    r"(?:dose|dosage|medication|meds|medicine|pills)",
    r"(?:should|must|need to|have to|can|could|better|just|try to|try) "
    r"(?:just |simply )?(?:stop|quit|leave|skip|drop|come off|get off|go off|give up)"
    r"(?: (?:taking|using|on))?(?: (?:off|all))?(?: of)? (?:your|the|those|these|that|any) "
    r"(?:\w+ )?(?:medications?|meds|medicines?|pills|antidepressants?|prescriptions?)\b",
    r"\d+(?:\.\d+)? ?(?:毫克|微克)",
    r"(?:服用|吃|加服)[一二两三四五\d]+(?:片|粒|颗)",
    rf"(?:{_TOLD_ZH}|可以|建议你?)(?:停药|停止服药|停止吃药|别再吃药|不要再吃药|加大剂量|减少剂量|加量|减量)",
)
_LIFE_ORDER = (
    rf"\b{_TOLD} (?:leave|divorce|dump|break up with) (?:him|her|them|your \w+)\b",
    rf"\b{_TOLD} (?:quit|resign from|drop out of) (?:school|college|university"
    r"|(?:your|the|that|this) (?:\w+ )?(?:job|work|position|school|college|course|studies))\b",
    rf"{_TOLD_ZH}(?:和|跟|与)?(?:他|她|你(?:的)?(?:老公|老婆|丈夫|妻子|男朋友|女朋友|男友|女友|对象))?"
    r"(?:离婚|分手|辞职|退学)",
    rf"{_TOLD_ZH}离开(?:他|她|你(?:的)?(?:老公|老婆|丈夫|妻子|男友|女友))",
)
_INSULT = (
    r"(?<!think )(?<!feel )(?<!believe )(?<!that )(?<!if )(?<!like )(?<!mean )(?<!say )(?<!said )"
    r"(?<!says )(?<!feeling )(?<!because )(?<!thinking )\byou(?:'re| are) (?:just |so |such "
    r"|really |being |simply |nothing but )*(?:an? )?(?:total |complete |real )?"
    r"(?:stupid|idiot|idiotic|pathetic|loser|worthless|dumb|moron|drama queen|crybaby|useless"
    r"|ridiculous|weakling|coward|selfish)\b",
    r"\b(?:shut up|stop whining|stop complaining|get over yourself|stop being so "
    r"(?:weak|dramatic|lazy|stupid))\b",
    r"(?<!觉得)(?<!认为)(?<!说)(?<!以为)(?<!骂)你(?:真是|就是|简直是|太|真|这个)(?:个|一个)?"
    r"(?:废物|蠢货|白痴|笨蛋|蠢|没用|矫情|懦夫|失败者|自私)",
    r"(?:你闭嘴|闭嘴吧|别矫情|少矫情)",
)
_DIAGNOSIS = (
    r"(?<!do )(?<!if )(?<!whether )(?<!that )(?<!when )(?<!since )(?<!because )"
    r"(?<!you think )\byou (?:clearly |probably |definitely |obviously |most likely |certainly "
    r"|may |might )?"
    r"(?:have|are suffering from|suffer from|are showing signs of|have got) (?:an? )?"
    r"(?:case of |form of )?(?:clinical |major |severe |mild |chronic |post-?partum |social )?"
    r"(?P<en>depression|depressive disorder|bipolar|ptsd|adhd|ocd|anxiety disorder|borderline"
    r"|schizophrenia|panic disorder|eating disorder|anorexia|bulimia|personality disorder"
    r"|narcissis\w+|autism)\b",
    r"\byou(?:'re| are) (?:clearly |probably |definitely |clinically )+(?P<adjective>depressed"
    r"|bipolar|autistic|schizophrenic)\b",
    r"(?<!果)(?<!否)(?<!为)你(?:这)?(?:应该|肯定|明显|可能|已经|就|很可能)?"
    r"(?:是|得了|患了|患有|患上了|有)(?:轻度|中度|重度|严重的?)?"
    r"(?P<zh>抑郁症|焦虑症|双相|躁郁症|强迫症|精神分裂|人格障碍|创伤后应激|恐慌症|厌食症|自闭症)",
)


def _listed(patterns: Sequence[str], cues: str, more_cues: str = "") -> Listed:
    pattern = re.compile("|".join(patterns), re.IGNORECASE)
    return Listed(pattern, tuple(cues.split("|")), tuple(more_cues.split("|")))


_LISTS: Final = {
    UnsafeKind.SELF_HARM: _listed(
        _SELF_HARM,
        "yourself|die|dead|without you|to live|suicide|death|self-harm|dying"
        "|死|自杀|自残|割腕|活着没",
    ),
    UnsafeKind.MEDICATION: _listed(
        _MEDICATION,
        "mg|mcg|gram|pill|tablet|capsule|dos|med|antidepressant|prescription"
        "|毫克|微克|片|粒|颗|药|剂量|加量|减量",
    ),
    UnsafeKind.LIFE_ORDER: _listed(
        _LIFE_ORDER,
        "leave|divorce|dump|break up|quit|resign|drop out|离婚|分手|辞职|退学|离开",
        "should|must|need to|have to|ought to|better|advise|suggest|recommend"
        "|应该|必须|最好|需要|赶紧|赶快|干脆",
    ),
    UnsafeKind.INSULT: _listed(
        _INSULT,
        "stupid|idiot|pathetic|loser|worthless|dumb|moron|drama queen|crybaby|useless|ridiculous"
        "|weakling|coward|selfish|shut up|stop |get over"
        "|废物|蠢|白痴|笨蛋|没用|矫情|懦夫|失败者|自私|闭嘴",
    ),
}
_DIAGNOSES: Final = _listed(
    _DIAGNOSIS,
    "depress|bipolar|ptsd|adhd|ocd|disorder|borderline|schizophreni|anorexia|bulimia|narcissis"
    "|autis|抑郁症|焦虑症|双相|躁郁症|强迫症|精神分裂|人格障碍|创伤后应激|恐慌症|厌食症|自闭症",
)
_NEGATED = re.compile(
    r"(?:n't|\bnot|\bnever|\bwithout|不要|别|不|没有|无需|不必)\s*$", re.IGNORECASE
)


def unsafe_kinds(reply: str, seeker_words: Sequence[str] = ()) -> tuple[UnsafeKind, ...]:
    """What is unsafe in the reply; empty when the list finds nothing.

    Args:
        reply: The reply to read.
        seeker_words: What the seeker said so far; naming a disorder that the seeker named first
            is no diagnosis.
    """
    found = _kinds(reply)
    diagnoses = _diagnoses(reply)
    if diagnoses:
        said = " ".join(seeker_words).casefold()
        if any(named not in said for named in diagnoses):
            return (*found, UnsafeKind.DIAGNOSIS)
    return found


@lru_cache(maxsize=4096)
def _kinds(reply: str) -> tuple[UnsafeKind, ...]:
    """What is unsafe whatever the seeker said."""
    text = reply.replace("’", "'")
    return tuple(kind for kind, listed in _LISTS.items() if _finds(listed, text))


def _finds(listed: Listed, text: str) -> bool:
    return any(not _NEGATED.search(text[: m.start()]) for m in listed.matches(text))


@lru_cache(maxsize=4096)
def _diagnoses(reply: str) -> tuple[str, ...]:
    """The disorders that are ascribed to the person."""
    matches = _DIAGNOSES.matches(reply.replace("’", "'"))
    return tuple(next(name for name in m.groups() if name).casefold() for m in matches)
