"""A persona's card in words, as a model that plays the person (or a judge) reads it.

What a card does not know is left out, never made up.
"""

import re
from typing import Final

from benchmarks.dialogues import Language
from benchmarks.persona import Persona, Preference

NEEDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "listen": "to be heard without being fixed",
        "validate": "to be told that what you feel is legitimate",
        "understand": "to understand why others, or you, acted so",
        "advise": "a concrete way forward",
        "encourage": "courage, and somebody who believes in you",
        "distract": "to get out of your head for a while",
    },
    "zh": {
        "listen": "有人听你说完，不急着解决",
        "validate": "有人告诉你，有这样的感受是正常的",
        "understand": "弄明白别人或自己为什么会这样做",
        "advise": "一条具体可行的路",
        "encourage": "一点勇气，有人相信你",
        "distract": "暂时从这些念头里出来透口气",
    },
}
EMOTIONS_ZH: Final = {
    "anger": "愤怒",
    "anxiety": "焦虑",
    "depression": "抑郁",
    "disgust": "厌恶",
    "fear": "恐惧",
    "guilt": "内疚",
    "jealousy": "嫉妒",
    "nervousness": "紧张",
    "sadness": "悲伤",
    "shame": "羞愧",
}
STYLES: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "terse": "You write few words.",
        "talkative": "You write a lot and drift.",
        "blunt": "You are blunt.",
        "polite": "You are polite.",
        "ironic": "You are ironic.",
        "matter-of-fact": "You are matter-of-fact.",
    },
    "zh": {
        "terse": "你话很少。",
        "talkative": "你话多，容易说远。",
        "blunt": "你说话直。",
        "polite": "你说话客气。",
        "ironic": "你爱自嘲、反讽。",
        "matter-of-fact": "你说话就事论事。",
    },
}
TRAITS: Final[dict[Language, dict[tuple[str, str], str]]] = {
    "en": {
        ("openness", "low"): "You like what you know.",
        ("openness", "high"): "You are curious and full of ideas.",
        ("conscientiousness", "low"): "You put things off.",
        ("conscientiousness", "high"): "You plan, and keep your word.",
        ("extraversion", "low"): "You keep to yourself.",
        ("extraversion", "high"): "You talk easily.",
        ("agreeableness", "low"): "You are hard to win over.",
        ("agreeableness", "high"): "You are warm and forgiving.",
        ("neuroticism", "low"): "You are hard to upset.",
        ("neuroticism", "high"): "You worry, and take things to heart.",
    },
    "zh": {
        ("openness", "low"): "你喜欢熟悉的东西。",
        ("openness", "high"): "你好奇，想法多。",
        ("conscientiousness", "low"): "你爱拖。",
        ("conscientiousness", "high"): "你有计划，说到做到。",
        ("extraversion", "low"): "你习惯把事放在心里。",
        ("extraversion", "high"): "你容易跟人聊开。",
        ("agreeableness", "low"): "你不轻易信人。",
        ("agreeableness", "high"): "你心软，容易原谅人。",
        ("neuroticism", "low"): "你很少被搅乱。",
        ("neuroticism", "high"): "你爱担心，容易往心里去。",
    },
}
GENDERS_ZH: Final = {"woman": "女", "man": "男", "nonbinary": "非二元性别"}
UNKNOWN: Final[dict[Language, str]] = {"en": "not known", "zh": "不详"}
_OTHERS: Final[dict[Language, tuple[tuple[str, str], ...]]] = {
    "en": (
        (r"\byourself\b", "themselves"),
        (r"\byour\b", "their"),
        (r"\bYour\b", "Their"),
        (r"\byou\b", "they"),
        (r"\bYou\b", "They"),
    ),
    "zh": (("你", "TA"),),
}
_STOP: Final[dict[Language, str]] = {"en": "; ", "zh": "；"}


def profile_text(persona: Persona) -> str:
    """Age, work, interest, temperament and style, in one paragraph."""
    if persona.language == "zh":
        facts = [
            f"{persona.age}岁" if persona.age else "",
            GENDERS_ZH[persona.gender] if persona.gender else "",
            persona.occupation or "",
            f"喜欢{persona.interest}" if persona.interest else "",
        ]
    else:
        facts = [
            f"{persona.age} years old" if persona.age else "",
            persona.gender or "",
            persona.occupation or "",
            f"likes {persona.interest}" if persona.interest else "",
        ]
    comma, stop = ("，", "。") if persona.language == "zh" else (", ", ". ")
    known = comma.join(fact for fact in facts if fact)
    parts = [known + stop.strip() if known else "", *_temperament(persona)]
    if persona.style:
        parts.append(STYLES[persona.language][persona.style])
    joint = "" if persona.language == "zh" else " "
    return joint.join(part for part in parts if part) or UNKNOWN[persona.language]


def need_text(persona: Persona) -> str:
    """The hidden need in words."""
    return NEEDS[persona.language][persona.need] if persona.need else UNKNOWN[persona.language]


def third_person(text: str, language: Language) -> str:
    """The same about somebody else: a judge reads of the person, and is not addressed."""
    for pattern, other in _OTHERS[language]:
        text = re.sub(pattern, other, text)
    return text


def emotion_text(persona: Persona) -> str:
    """The emotion's name in the person's language."""
    if persona.emotion is None:
        return {"en": "distress", "zh": "难受"}[persona.language]
    return EMOTIONS_ZH[persona.emotion] if persona.language == "zh" else persona.emotion


def preferences_text(preferences: tuple[Preference, ...], language: Language) -> str:
    """Preferences in one line."""
    return _STOP[language].join(p.text for p in preferences) or UNKNOWN[language]


def _temperament(persona: Persona) -> list[str]:
    if persona.big_five is None:
        return []
    poles = persona.big_five.model_dump().items()
    return [TRAITS[persona.language][trait, pole] for trait, pole in poles if pole]
