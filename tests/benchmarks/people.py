"""People to test with, written for these tests: rows of our persona format, and files of them."""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ENGLISH: dict[str, Any] = {
    "id": "en-901",
    "language": "en",
    "name": "Maud",
    "age": 47,
    "gender": "woman",
    "occupation": "night porter in a seaside hotel",
    "interest": "mending clocks",
    "big_five": {
        "openness": "high",
        "conscientiousness": "high",
        "extraversion": "low",
        "agreeableness": "low",
        "neuroticism": "high",
    },
    "style": "polite",
    "emotion": "shame",
    "intensity": 4,
    "problem": "money worries",
    "situation": (
        "I lent my brother Otto the deposit for my flat, he lost it on a boat that never sailed, "
        "and I have told the landlord it is still in my account."
    ),
    "need": "validate",
    "helps": [
        {"act": "reflection", "text": "saying how heavy it is to keep up a lie for family"},
        {"act": "restatement", "text": "putting her muddle into two plain sentences"},
    ],
    "hurts": [
        {"act": "suggestion", "text": "budgets and repayment plans before she has finished"},
        {"act": "self_disclosure", "text": "how somebody else got their savings back"},
    ],
    "crisis": 0,
    "opening": "Good evening. I have done something foolish with money and cannot say it aloud.",
    "disclosure": [
        {"topic": "event", "text": "In March I gave Otto nine thousand. It was for my own flat."},
        {"topic": "people", "text": "Otto is my little brother, he always has a scheme."},
        {
            "topic": "feeling",
            "text": "My face burns whenever the landlord greets me on the stairs.",
        },
        {"topic": "history", "text": "Our father gambled, so I promised myself never to lend."},
        {"topic": "meaning", "text": "I thought I was the sensible one of the two of us."},
        {
            "topic": "wish",
            "text": "I would like one person to say that helping him was not stupid.",
        },
    ],
    "lines": {
        "helped": ["Yes, that is it exactly.", "Thank you, nobody has put it so kindly."],
        "unmoved": ["I see.", "Perhaps that is true for most people."],
        "pushback": ["Forgive me, I was not asking for that.", "Could we stay with what happened?"],
        "hurt": ["That was unkind.", "I had hoped for a gentler word."],
        "more": ["He still sends me pictures of the harbour.", "I count the envelopes at night."],
        "hints": ["Everybody I know would call me a fool.", "I keep asking whether I was wrong."],
        "satisfied": ["I feel a little lighter, good night.", "That was what I needed, thank you."],
        "gave_up": ["I had better go back to the desk.", "Let us leave it there."],
        "bad_news": ["The landlord has just asked for the bank statement."],
    },
}

CHINESE: dict[str, Any] = {
    "id": "zh-901",
    "language": "zh",
    "name": "贺秋白",
    "age": 52,
    "gender": "man",
    "occupation": "县城修钢琴的师傅",
    "interest": "傍晚沿着河堤放风筝",
    "big_five": {
        "openness": "low",
        "conscientiousness": "high",
        "extraversion": "low",
        "agreeableness": "high",
        "neuroticism": "low",
    },
    "style": "terse",
    "emotion": "guilt",
    "intensity": 3,
    "problem": "conflict with parents",
    "situation": "我把老母亲送进了养老院，说好每个星期去接她回来住，可已经连着三个星期没有去。",
    "need": "listen",
    "helps": [{"act": "question", "text": "问问老人家那边住得怎么样"}],
    "hurts": [{"act": "reassurance", "text": "上来就讲已经够孝顺"}],
    "crisis": 0,
    "opening": "晚上好，有件家里的事憋了好久。",
    "disclosure": [
        {"topic": "event", "text": "上个月送我妈进去的，行李就一只箱子。"},
        {"topic": "feeling", "text": "电话一响我就心虚，怕是护工打来的。"},
        {"topic": "people", "text": "妹妹在外地，逢年过节才回得来。"},
        {"topic": "history", "text": "小时候她背着我走山路去看病。"},
        {"topic": "meaning", "text": "我这当儿子的，说话不算数。"},
        {"topic": "wish", "text": "就想有谁听我从头到尾讲一遍。"},
    ],
    "lines": {
        "helped": ["对，是这么回事。", "嗯，讲到点子上了。"],
        "unmoved": ["哦。", "这话放谁身上都行。"],
        "pushback": ["先不急着说那个。", "我还没讲到要紧的地方。"],
        "hurt": ["这话听着扎心。"],
        "more": ["她床头摆着我修坏的节拍器。", "护工讲她每天坐在窗口。"],
        "hints": ["家里没人肯坐下来。", "一开口就被人打断。"],
        "satisfied": ["讲完松快了，明早去接她。"],
        "gave_up": ["算了，收工。"],
        "bad_news": ["养老院来电话，她发烧了。"],
    },
}

RISK: Mapping[int, str] = {
    1: "Some nights I look at the sea and think how quiet it would be.",
    2: "Last night I thought about killing myself, and I cannot stop thinking it.",
}


def make_row(id: str = "en-901", **changes: Any) -> dict[str, Any]:
    """Give a full English row with some fields changed; rows that differ in the id only tell the
    same story, so they share a split.
    """
    return {**copy.deepcopy(ENGLISH), "id": id, **changes}


def make_zh_row(id: str = "zh-901", **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CHINESE), "id": id, **changes}


def make_crisis_row(id: str = "en-951", level: int = 2, **changes: Any) -> dict[str, Any]:
    row = make_row(id, crisis=level)
    row["disclosure"][4] = {"topic": "meaning", "text": RISK[level], "is_risk": True}
    row["lines"]["relieved"] = ["Thank you for asking straight. I will ring my sister."]
    return {**row, **changes}


def make_strangers(n: int, start: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Give English rows whose stories share no three words in a row; splits fall by their ids."""
    return [_stranger(f"en-s{number}", changes) for number in range(start, start + n)]


def write_people(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def _stranger(id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    row = make_row(id)
    words = iter(_words(id, 6 * (2 + len(row["disclosure"]))))
    row["situation"] = " ".join(next(words) for _ in range(6)) + "."
    row["opening"] = " ".join(next(words) for _ in range(6)) + "."
    for fact in row["disclosure"]:
        fact["text"] = " ".join(next(words) for _ in range(6)) + "."
    return {**row, **changes}


def _words(seed: str, n: int) -> list[str]:
    """Words that nobody else has: letters of a digest."""
    digests = (hashlib.sha256(f"{seed}/{i}".encode()).hexdigest()[:10] for i in range(n))
    return [digest.translate(str.maketrans("0123456789", "ghijklmnop")) for digest in digests]
