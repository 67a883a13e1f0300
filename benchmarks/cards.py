"""Cards that others published, turned into rows of our own persona format.

Three formats are told apart by their keys: the roles of ESC-Judge (English), the profiles of SAGE
(Chinese) and the cards of ESC-Eval (both; a text of labelled lines, or the same as fields).
Anything else is left as it is, and our own validation says what it lacks.

A loader fills what a card states. Left out: feelings, intensity and kind of problem, which these
formats do not label, everything that would need a guess, and SAGE's instructions to its simulator.
Facts keep the card's words, so most stand in the third person. A card of a minor raises `Minor`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from benchmarks.dialogues import LANGUAGES, Language
from benchmarks.errors import DataError
from benchmarks.jsonl import Row
from judges.words import word_texts

MAX_TEXT: Final = 20_000
"""Characters of one field of a card; the longest that was published has about 4,000."""
ADULT: Final = 18

JUDGE_TRAITS: Final[Mapping[str, tuple[str, str]]] = {
    "introverted": ("extraversion", "low"),
    "extroverted": ("extraversion", "high"),
    "extraverted": ("extraversion", "high"),
    "emotionally stable": ("neuroticism", "low"),
    "emotionally reactive": ("neuroticism", "high"),
    "impulsive": ("conscientiousness", "low"),
    "disciplined": ("conscientiousness", "high"),
    "detached": ("agreeableness", "low"),
    "empathetic": ("agreeableness", "high"),
    "traditional": ("openness", "low"),
    "curious": ("openness", "high"),
}
"""How ESC-Judge words the poles of the Big Five: a closed list, one line a trait."""

SAGE_NEEDS: Final[Mapping[str, str]] = {
    "没有任何责任": "validate",
    "用心倾听": "listen",
    "真实帮助你": "advise",
    "其他人物这么做": "understand",
    "深刻共情": "validate",
    "真诚地夸奖": "encourage",
    "辩证地分析": "understand",
    "自我反思": "understand",
}
"""What marks each of SAGE's eight hidden intents. Our needs are coarser: three are `understand`."""

GENDERS: Final[Mapping[str, str]] = {
    "female": "woman",
    "woman": "woman",
    "女": "woman",
    "male": "man",
    "man": "man",
    "男": "man",
    "nonbinary": "nonbinary",
    "非二元": "nonbinary",
    "非二元性别": "nonbinary",
}

EVAL_FIELDS: Final[Mapping[str, str]] = {
    "age": "age",
    "年龄": "age",
    "gender": "gender",
    "性别": "gender",
    "occupation": "occupation",
    "job": "occupation",
    "职业": "occupation",
    "problem": "problem",
    "description": "problem",
    "situation": "problem",
    "问题": "problem",
}
"""What ESC-Eval's cards name, and what it is."""

OURS: Final = frozenset(("disclosure", "need", "emotion", "intensity", "big_five", "lines"))
"""Keys that a card of labelled fields has not: with one of them it is ours, and incomplete."""

_NOT_STATED: Final = re.compile(
    r"\s*(?:not (?:mentioned|stated|specified|provided)|unknown|none\b|n/?a\b|unspecified"
    r"|未提及|未提到|未知|不详|无$)",
    re.IGNORECASE,
)
_AGE_WORDS_OF_MINORS: Final = re.compile(
    r"under ?(?:age|1[0-8]\b)|\bminor\b|\bteen|\badolescen|未成年|未满|少年|儿童|1[0-8]岁以下",
    re.IGNORECASE,
)
_PUPIL: Final = re.compile(
    r"\b(?:high|middle|elementary|primary|secondary)[- ]school(?:er|[- ]?(?:student|pupil))"
    r"|\bpupil\b|[小中]学生(?![物活])|[高初]中学?生(?![物活])|[高初][一二三](?:年级|学?生|$)",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(
    r"(?<=[.!?])\s+(?=[A-Z\"“])|(?<=[。！？])(?=[^。！？”’」』）])|\n+"
)


class Minor(DataError):
    """A published card is of somebody under 18, or of a pupil whose age is not stated."""


def as_card(row: Row) -> Row:
    """Turn a published card into a row of our format; any other row is returned unchanged.

    Raises:
        DataError: the card is that of a minor, or a field is too long or no text.
    """
    keys = row.fields.keys()
    load: Callable[[Row], dict[str, object]]
    if keys >= {"pid", "challenge", "behavioral_traits"}:
        card_id, load = f"esc-judge-{row.text('pid')}", _judge_card
    elif keys >= {"id", "player", "scene", "task"}:
        card_id, load = f"sage-{row.text('id')}", _sage_card
    elif _is_eval_card(row):
        card_id, load = f"esc-eval-{_digest(row)}", _eval_card
    else:
        return row
    named = replace(row, where=f"{row.where}: card '{card_id[:60]}'")
    unknown = dict.fromkeys(("emotion", "intensity", "problem", "need"))
    fields = {"id": card_id, **unknown, **load(named)}
    return Row({k: v for k, v in fields.items() if v is not None or k in unknown}, row.where)


# --- ESC-Judge -----------------------------------------------------------------------------------

_JUDGE_AGES: Final = (
    re.compile(r"\bage\W+(\d+)"),
    re.compile(
        r"(?<!\bher )(?<!\bhis )(?<!\btheir )\b(\d+)[- ]years?[- ]old\b"
        r"(?! (?:son|daughter|child)\b)"
    ),
)
_JUDGE_NAMES: Final = (
    re.compile(r"\bname\W+([a-z]+(?: [a-z]+)?) *$", re.MULTILINE),
    re.compile(r"\bmeet ([a-z]+),"),
    re.compile(r"^[^\w\n]*(?!this\b)([a-z]+) is an? \d+[- ]year", re.MULTILINE),
)
_ARTICLE: Final = r"(?:an?|the) "
_NO_WORK: Final = (
    r"(?!(?:who|is|at|in|with|and|while|for|pursuing|male|female|m[ae]n|wom[ae]n|boy|girl|son"
    r"|daughter|child)\b)"
)
_WORK: Final = rf"({_NO_WORK}[a-z][a-z/-]*(?: {_NO_WORK}[a-z/-]+){{0,3}})"
_JUDGE_WORK: Final = (
    re.compile(r"\boccupation\W+([a-z][^\n]*)"),
    re.compile(rf"\b(?:works?|working) as {_ARTICLE}{_WORK}"),
    re.compile(rf"\bposition as {_ARTICLE}{_WORK}"),
    re.compile(rf"\b\d+-year-old (?:(?:fe)?male )?(?:is {_ARTICLE})?{_WORK}"),
    re.compile(rf"\bis (?:currently )?an? {_WORK}"),
    re.compile(r"\bas a ((?:[a-z]+ )?[a-z]+ teacher)\b"),
)
_NONBINARY: Final = re.compile(r"\bidentit(?:y|ies)\W[^\n]*non-binary|\bas (?:a )?non-binary")
_JUDGE_GENDERS: Final = {
    "woman": re.compile(r"\b(?:she|her|hers|female|woman|mother)\b"),
    "man": re.compile(r"\b(?:he|his|him|male|man|father)\b"),
}


def _judge_card(card: Row) -> dict[str, object]:
    about = _text(card, "final_persona")
    challenge = _text(card, "challenge").strip()
    age = _first(_JUDGE_AGES, about)
    work = _first(_JUDGE_WORK, about)
    events = [_without_number(line) for line in _text(card, "life_events").splitlines()]
    return {
        "language": "en",
        "name": (_first(_JUDGE_NAMES, about) or "").title() or None,
        "age": _age(card, "final_persona", age),
        "gender": _judge_gender(about),
        "occupation": _occupation(card, "final_persona", work, age),
        "big_five": _judge_big_five(_text(card, "behavioral_traits")),
        "situation": challenge,
        "disclosure": [
            {"topic": "event", "text": challenge},
            *({"topic": "history", "text": event} for event in events if event),
        ],
    }


def _judge_gender(about: str) -> str | None:
    """The stated one, or that of nearly all pronouns."""
    if _NONBINARY.search(about):
        return "nonbinary"
    counts = {name: len(pattern.findall(about)) for name, pattern in _JUDGE_GENDERS.items()}
    less, more = sorted(counts, key=lambda name: counts[name])
    return more if counts[more] >= 2 * counts[less] and counts[more] else None


def _judge_big_five(traits: str) -> dict[str, str | None] | None:
    poles: dict[str, str | None] = {trait: None for trait, _ in JUDGE_TRAITS.values()}
    for line in traits.splitlines():
        label = line.partition(":")[0].strip(" *-").lower()
        if label in JUDGE_TRAITS:
            trait, pole = JUDGE_TRAITS[label]
            poles[trait] = poles[trait] or pole
    return poles if any(poles.values()) else None


def _without_number(line: str) -> str:
    return re.sub(r"^\s*(?:\d+[.)]|[-*])\s*", "", line).strip()


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> str | None:
    """The first group of the first pattern that matches; earlier patterns are surer."""
    found = (pattern.search(text) for pattern in patterns)
    return next((match[1].strip(" *") for match in found if match), None)


# --- SAGE ----------------------------------------------------------------------------------------

_MARKUP: Final = re.compile(r"^[\s#>*-]*(?:\d+[.、]\s*)?[\s*]*")
_DIRECTIONS: Final = re.compile(
    r"emotion|隐藏主题|反应[：:\s]*$|(?:情绪|状态)[^。]{0,8}反应|面对NPC", re.IGNORECASE
)
"""Where a scene turns from the story to how the simulator is to react."""
_META: Final = re.compile(
    r"事件|背景|玩家|冲突|困难|时间线|故事|起因|经过|感受|想法|方案|问题|状态|原因|剧本|画像|主题|倾诉|时间节点$"
)
"""Headings that name a part of the scene and tell nothing."""
_ASIDE: Final = re.compile(r"内在原因|冲突角色|冲突事件与角色")
"""Parts that the author explains and the person does not know."""
_SCRIPT_WORDS: Final = re.compile(r"NPC|玩家")
_LABEL: Final = re.compile(r"^([^：:。，！？]{1,25})[：:]\s*")


def _sage_card(card: Row) -> dict[str, object]:
    player = _text(card, "player")
    age = _sage_line(player, "年龄")
    paragraphs = list(_sage_story(_text(card, "scene")))
    facts = [text for text, is_aside in paragraphs if not is_aside]
    return {
        "language": "zh",
        "name": _sage_line(player, "姓名"),
        "age": _age(card, "player", age),
        "gender": _gender(_sage_line(player, "性别")),
        "occupation": _occupation(card, "player", _sage_line(player, "职业"), age),
        "situation": "\n".join(text for text, _ in paragraphs),
        "need": _sage_need(_text(card, "task")),
        "opening": card.optional_text("first_talk"),
        "disclosure": [{"topic": None, "text": fact} for fact in facts],
    }


def _sage_line(player: str, label: str) -> str | None:
    found = re.search(rf"^[ \t*-]*{label}\**[：:]\**\s*(.+?)\s*$", player, re.MULTILINE)
    return found[1] if found else None


def _sage_need(task: str) -> str | None:
    needs = [need for mark, need in SAGE_NEEDS.items() if mark in task]
    return needs[0] if len(needs) == 1 else None


def _sage_story(scene: str) -> Iterator[tuple[str, bool]]:
    """The story's paragraphs, and whether each is an aside of the author's."""
    heading, is_aside = "", False
    for line in scene.splitlines():
        if _DIRECTIONS.search(line):
            return
        text = _MARKUP.sub("", line).replace("*", "").strip()
        if not text:
            continue
        if not re.search(r"[。！？][”’」』）]?$", text):
            is_aside = bool(_ASIDE.search(text))
            heading = "" if _META.search(text) else text.rstrip("：: ")
            continue
        label = _LABEL.match(text)
        aside_here = is_aside
        if label and _META.search(label[1]):
            aside_here = bool(_ASIDE.search(label[1]))
            text = text[label.end() :]
        told = [s for s in _sentences(text) if not _SCRIPT_WORDS.search(s)]
        if told:
            yield f"{heading}：{''.join(told)}" if heading else "".join(told), aside_here
            heading = ""


# --- ESC-Eval ------------------------------------------------------------------------------------

_EVAL_LINE: Final = re.compile(rf"^\W*({'|'.join(EVAL_FIELDS)})\W*[:：]\s*(.*)$", re.IGNORECASE)


def _is_eval_card(row: Row) -> bool:
    """Whether it has the labelled lines, or fields for the person and for the problem."""
    keys = row.fields.keys()
    if "base" in keys:
        return True
    if keys & OURS or row.fields.get("language") in LANGUAGES:
        return False
    kinds = {kind for field, kind in EVAL_FIELDS.items() if field in keys}
    return "problem" in kinds and len(kinds) > 1


def _eval_card(card: Row) -> dict[str, object]:
    labelled = list(_eval_base(card) if "base" in card.fields else _eval_fields(card))
    said: dict[str, tuple[str, str]] = {}
    problems = []
    for field, what, text in labelled:
        if what == "problem":
            problems.append(text)
        else:
            said.setdefault(what, (field, text))
    problem = "\n".join(dict.fromkeys(problems)) or None
    age_field, age = said.get("age", ("age", None))
    work_field, work = said.get("occupation", ("occupation", None))
    return {
        "language": _language_of(problem or work or ""),
        "age": _age(card, age_field, age),
        "gender": _gender(said.get("gender", ("", None))[1]),
        "occupation": _occupation(card, work_field, work, age),
        "situation": problem,
        "disclosure": [{"topic": None, "text": s} for s in _sentences(problem or "")] or None,
    }


def _eval_base(card: Row) -> Iterator[tuple[str, str, str]]:
    """The labelled lines of `base`; a line without a label goes on with the one before."""
    what, lines = "", list[str]()
    for line in [*_text(card, "base").splitlines(), None]:
        found = _EVAL_LINE.match(line) if line is not None else None
        if line is None or found:
            text = "\n".join(lines).strip()
            if what and text and not _NOT_STATED.match(text):
                yield "base", what, text
        if found:
            what, lines = EVAL_FIELDS[found[1].lower()], [found[2]]
        elif line is not None:
            lines.append(line)


def _eval_fields(card: Row) -> Iterator[tuple[str, str, str]]:
    for field, what in EVAL_FIELDS.items():
        value = card.fields.get(field)
        if what == "age" and type(value) is int:
            yield field, what, str(value)
        elif value is not None:
            text = _text(card, field).strip()
            if text and not _NOT_STATED.match(text):
                yield field, what, text


def _digest(row: Row) -> str:
    """Twelve digits of what the card says, so that its id survives another order of the file."""
    content = row.fields.get("base") or {k: row.fields.get(k) for k in EVAL_FIELDS}
    text = json.dumps(content, ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _language_of(text: str) -> Language:
    words = word_texts(text)
    n_han = sum("\u3400" <= word[0] <= "\u9fff" for word in words)
    return "zh" if 2 * n_han > len(words) else "en"


# --- Fields that several formats have ------------------------------------------------------------


def _text(card: Row, field: str) -> str:
    text = card.text(field)
    if len(text) > MAX_TEXT:
        what = f"has {len(text):,} characters"
        raise card.error(field, what, f"shorten it to {MAX_TEXT:,} or remove this card")
    return text


def _sentences(text: str) -> list[str]:
    return [stripped for s in _SENTENCE_END.split(text) if (stripped := s.strip())]


def _age(card: Row, field: str, text: str | None) -> int | None:
    """The one number in the text; decades, ranges and words are unknown, a minor's an error."""
    if text is None:
        return None
    numbers = [int(number) for number in re.findall(r"\d{1,9}", text)]
    if (numbers and numbers[0] < ADULT) or _AGE_WORDS_OF_MINORS.search(text):
        raise _minor(card, field, f"'{text[:20]}'")
    is_vague = len(numbers) != 1 or re.search(r"\ds\b|\d\s*[多几来余+]", text)
    return None if is_vague else numbers[0]


def _occupation(card: Row, field: str, work: str | None, age: str | None) -> str | None:
    """The stated work; somebody at school whose age is not stated in digits is a minor."""
    if work and _PUPIL.search(work) and not re.search(r"\d", age or ""):
        raise _minor(card, field, "not stated, of somebody who goes to school")
    return work


def _minor(card: Row, field: str, age: str) -> Minor:
    what = f"the age is {' '.join(age.split())}, and only adults are simulated"
    return Minor(card.where, what, "remove this card from the file", field=card.prefix + field)


def _gender(text: str | None) -> str | None:
    if not text:
        return None
    letters = re.sub(r"[\W_]", " ", text.lower().replace("-", "")).split()
    spelled = [word if word in GENDERS else word.removesuffix("性") for word in letters]
    known = {GENDERS[word] for word in spelled if word in GENDERS}
    return known.pop() if len(known) == 1 else None
