"""What a model says of a person, matched with the labels of that person's card.

Free text is read by keywords, English and Chinese alike, whatever language the person speaks: the
first label that is named and not denied counts ("to be heard, without advice" is `listen`), so a
text that lists every label is one guess. A text that names none has no label; it is not a wrong
one. A situation is compared by its content words.

Left out: irony, hedges, paraphrases without a keyword, and a denial further away than its clause.
How well the keywords read a model's free text was not measured on text that people labelled.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

from benchmarks.card_text import EMOTIONS_ZH
from benchmarks.dialogues import Language
from benchmarks.persona import Emotion, Need, Pole
from judges.acts import content_words
from judges.words import word_texts

Trait = Literal["openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism"]


class TraitPole(NamedTuple):
    """One end of one of the Big Five."""

    trait: Trait
    pole: Pole


_Label = TypeVar("_Label")

NEED_LABELS: Final[Mapping[str, Need]] = {
    "to be listened to": "listen",
    "comfort": "validate",
    "understanding": "understand",
    "advice": "advise",
    "encouragement": "encourage",
    "distraction": "distract",
}
"""`reflect.NEEDS` in the words of a card."""

PERSONALITY_LABELS: Final[Mapping[str, TraitPole]] = {
    "reserved": TraitPole("extraversion", "low"),
    "outgoing": TraitPole("extraversion", "high"),
    "worried": TraitPole("neuroticism", "high"),
    "calm": TraitPole("neuroticism", "low"),
    "practical": TraitPole("openness", "low"),
    "emotional": TraitPole("neuroticism", "high"),
    "guarded": TraitPole("agreeableness", "low"),
    "open": TraitPole("agreeableness", "high"),
}
"""`reflect.PERSONALITIES` as poles of the Big Five. `guarded` and `open` are the poles of trust,
and trust is a facet of agreeableness (NEO-PI-R, A1); this `open` is the opposite of guarded, not a
liking for new ideas. `practical` and `emotional` are styles of thinking, which the Big Five have
not: practical is down-to-earth, the low pole of openness; emotional marks low emotional stability
in Goldberg's (1992) adjectives."""

FIRST_HAN: Final = "\u3400"
"""Letters that the two languages are written with stand before it, Chinese characters after."""

_NEED_WORDS: Final[Mapping[Need, tuple[str, str]]] = {
    "listen": (
        r"listen\w*|heard|hear (?:me|him|her|them)|vent(?:ing)?|off (?:my|his|her|their) chest"
        r"|(?:someone|somebody|space) to talk|let (?:it|this) (?:all )?out|understanding ear",
        "倾听|聆听|倾诉|诉说|听[我他她完]|听一听|人听|说完|说出来|讲出来|宣泄",
    ),
    # to be understood is to be told that the feeling is legitimate; `understand` is to understand
    # why somebody acted so
    "validate": (
        r"comfort(?:s|ed|ing)?|consol\w+|sooth\w+|validat\w+|reassur\w+|legitima\w+|acceptance"
        r"|accepted|empath\w+|sympathy|compassion|acknowledg\w+|understood"
        r"|understands? (?:me|him|her|them)|(?:someone|somebody) who understands",
        "安慰|慰藉|抚慰|认可|认同|接纳|共情|体谅|被理解|得到理解|获得理解|有人理解|理解[我他她]"
        "|被肯定|得到肯定",
    ),
    "understand": (
        r"understanding|understand (?:why|what|how)|mak(?:e|ing) sense|clarity|insight|perspective"
        r"|explanations?",
        "理解|[弄想搞]明白|[弄搞理想看]清|想通|解释|为什么|原因",
    ),
    "advise": (
        r"advice|advise[sd]?|guidance|plan|solutions?|suggestions?"
        r"|practical (?:help|steps?|support)|next steps?|way forward|what to do|direction"
        r"|strateg(?:y|ies)|tips",
        "建议|主意|指导|指点|办法|方案|怎么办|怎么做|对策|计划|解决",
    ),
    "encourage": (
        r"encourag\w+|courage|confidence|motivat\w+|believ\w+ in|strength|pep talk|empower\w*",
        "鼓励|勇气|打气|信心|动力|力量|相信[我他她]",
    ),
    "distract": (
        r"distract\w*|diversion|mind off|out of (?:my|his|her|their) (?:own )?head|escape"
        r"|(?:a|small|short) break|something else|change of subject|small talk",
        "分心|转移注意|分散注意|散心|透口气|透透气|换换脑子|聊点别的|放松|暂时忘",
    ),
}
"""In English whole words, in Chinese runs of characters."""

_EMOTION_WORDS: Final[Mapping[Emotion, tuple[str, str]]] = {
    "anger": (r"anger|angry|angered|furious|fury|rage", "生气|气愤|恼火"),
    "anxiety": (r"anxiety|anxious\w*|worr(?:y|ies|ied)", "担忧|担心"),
    "depression": (r"depress\w+", "沮丧"),
    "disgust": (r"disgust\w*|revulsion|repuls\w+", "恶心|反感"),
    "fear": (r"fear(?:s|ful)?|afraid|scared|terrified|terror|frightened", "害怕|惧怕"),
    "guilt": (r"guilt\w*|remorse\w*", "愧疚|自责|负罪"),
    "jealousy": (r"jealous\w*|envy|envious", "妒忌|吃醋"),
    "nervousness": (r"nervous\w*|on edge|jitter\w*", "忐忑"),
    "sadness": (r"sad|sadness|sorrow\w*|grief|grieving|heartbroken", "难过|伤心|哀伤|悲痛"),
    "shame": (r"a?shame[d]?|shameful|embarrass\w+|humiliat\w+", "羞耻|惭愧|丢脸|难堪"),
}
"""Other forms of the label and its closest synonyms; the Chinese labels themselves are added."""

_TRAIT_WORDS: Final[Mapping[TraitPole, tuple[str, str]]] = {
    TraitPole("extraversion", "low"): (
        r"reserved|introver\w+|quiet|shy|withdrawn|private|keeps? to (?:my|him|her|them)sel\w+",
        "内向|寡言|话少|话不多|沉默|腼腆",
    ),
    TraitPole("extraversion", "high"): (
        r"outgoing|extr[ao]ver\w+|sociable|talkative|chatty",
        "外向|健谈|开朗|话多",
    ),
    TraitPole("neuroticism", "high"): (
        r"worried|worrier|worries|anxious|nervous|sensitive|insecure|overthink\w*|emotional|moody",
        "焦虑|担心|敏感|多虑|不安|情绪化|易激动",
    ),
    TraitPole("neuroticism", "low"): (
        r"calm|composed|relaxed|even-tempered|level-headed|unflappable",
        "冷静|平静|沉稳|稳重|镇定|淡定",
    ),
    TraitPole("openness", "low"): (
        r"practical|pragmatic|down-to-earth|conventional|traditional",
        "务实|实际|传统|保守",
    ),
    TraitPole("openness", "high"): (
        r"curious|imaginative|creative|inventive|intellectual",
        "好奇|想象力|有创意|想法多",
    ),
    TraitPole("agreeableness", "low"): (
        r"guarded|distrustful|mistrustful|suspicious|wary|cynical|stubborn",
        "防备|戒备|戒心|警惕|多疑|不信任|不轻易信",
    ),
    TraitPole("agreeableness", "high"): (
        r"open|trusting|warm|warm-hearted|kind|gentle|caring|compassionate|empathetic|forgiving",
        "坦诚|信任|热心|心软|善良|温和|体贴|随和",
    ),
    TraitPole("conscientiousness", "low"): (
        r"disorgani[sz]ed|careless|impulsive|procrastinat\w+",
        "拖延|散漫|粗心|冲动",
    ),
    TraitPole("conscientiousness", "high"): (
        r"conscientious|responsible|hard-?working|diligent|organi[sz]ed|disciplined|dutiful|reliable",
        "认真|负责|责任心|勤奋|自律|可靠|有计划",
    ),
}

_CLAUSE: Final = re.compile(
    r"[.,;:!?\n()—–，。；：！？、（）]|\b(?:but|and|just|only)\b|而是|但是?|只是|只想|就想"
)
"""Where the reach of a denial ends: "not advice but comfort", "not just advice"."""
_DENIAL: Final = re.compile(
    r"(?:\b(?:not|no|never|without|rather than|instead of|avoids?|cannot)|n't)\b"
    r"(?:\s+[\w'-]+){0,4}\s+$"
    r"|(?:不(?:要|想|需要|是|用|必|希望|急着)|而非|无需|(?<![特分区告])别(?!人))[^\s]{0,4}$"
    r"|不(?:太|够|很|算|怎么|那么)?$"
)
"""A denial up to four words (characters in Chinese) before what it denies."""


def need_of(text: str) -> Need | None:
    """The need that a text names first, or None."""
    return NEED_LABELS.get(_plain(text)) or _first_named(text, _NEEDS)


def emotion_of(text: str) -> Emotion | None:
    """The emotion that a text names first, or None."""
    return _first_named(text, _EMOTIONS)


def trait_of(text: str) -> TraitPole | None:
    """The pole of the Big Five that a text names first, or None."""
    return PERSONALITY_LABELS.get(_plain(text)) or _first_named(text, _TRAITS)


def overlap(text: str, other: str, *, language: Language) -> float:
    """F1 of the content words of two texts, from 0 to 1; 0 where either has none."""
    a, b = (content_words(t, language=language) for t in (text, other))
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


def situation_gain(
    text: str, situation: str, others: Sequence[str], *, language: Language
) -> float | None:
    """By how much a text is closer to the person's situation than to other people's, -1 to 1.

    Text that fits anybody gains about nothing. None where the situation has no content word.
    """
    if not content_words(situation, language=language):
        return None
    chance = sum(overlap(text, other, language=language) for other in others) / len(others)
    return overlap(text, situation, language=language) - chance


def is_in_language(text: str, *, language: Language) -> bool:
    """Whether most words are of this language's script; a text without words is of either."""
    tokens = word_texts(text)
    n_han = sum(token[0] >= FIRST_HAN for token in tokens)
    return not tokens or (2 * n_han > len(tokens)) == (language == "zh")


def _first_named(text: str, patterns: Mapping[_Label, re.Pattern[str]]) -> _Label | None:
    """The label whose keyword stands first (of several there, the longest) and is not denied."""
    plain = _plain(text)
    found = [
        (match.start(), -match.end(), label)
        for label, pattern in patterns.items()
        for match in pattern.finditer(plain)
        if not _is_denied(plain[: match.start()])
    ]
    return min(found, key=lambda place: place[:2])[2] if found else None


def _is_denied(before: str) -> bool:
    return _DENIAL.search(_CLAUSE.split(before)[-1]) is not None


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())


def _compiled(words: Mapping[_Label, tuple[str, str]]) -> dict[_Label, re.Pattern[str]]:
    """One pattern a label. Letters mark the ends of English words; Chinese has no such ends."""
    return {
        label: re.compile(rf"(?<![a-z])(?:{english})(?![a-z])|{chinese}")
        for label, (english, chinese) in words.items()
    }


_NEEDS: Final = _compiled(_NEED_WORDS)
_EMOTIONS: Final = _compiled(
    {label: (en, f"{EMOTIONS_ZH[label]}|{zh}") for label, (en, zh) in _EMOTION_WORDS.items()}
)
_TRAITS: Final = _compiled(_TRAIT_WORDS)
