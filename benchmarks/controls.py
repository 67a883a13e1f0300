"""Control supporters: what a harness must be able to tell apart before it judges any model.

    inspect eval benchmarks/support.py --model control/stock

`oracle` reads the card (it knows everybody by their first words) and does what helps this person;
`listener` knows nobody, and restates and asks, whoever it is; `stock` says what is said to
everybody, `stonewall` hardly anything, `hostile` what hurts anybody. A good harness ranks them in
this order; what lies between `listener` and `oracle` is what knowing the person is worth. None is a
model; none is a baseline to beat, except `listener` and `stock`.

`null` stands beside that order: one warm reply, the same whatever is said. A judge that has not
read the conversation likes it, so a leaderboard lists it and expects it below every method.
"""

import re
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from benchmarks.appraisal import MEETS
from benchmarks.card_text import emotion_text
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.persona import Persona, load_personas
from judges.acts import Act, content_words
from judges.probes import null_reply
from judges.words import clauses, words

RANKED: Final = ("oracle", "listener", "stock", "stonewall", "hostile")
"""From best to worst."""
CONTROLS: Final = (*RANKED, "null")
LISTENING: Final = (Act.RESTATEMENT, Act.QUESTION)
QUOTE_WORDS: Final = 3
"""Of the person's last message that the oracle takes up; longer would be parroting."""
QUOTE_CHARACTERS: Final = 5
_HAN = re.compile(r"[\u4e00-\u9fff]")


@modelapi(name="control")
def control() -> type[ModelAPI]:
    """`control/oracle`, `listener`, `stock`, `stonewall`, `hostile` and `null`."""
    return ControlAPI


class ControlAPI(ModelAPI):
    """A supporter that says what it is told to, turn by turn; the same to the same dialogue."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (the signature Inspect calls)
        users: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.name = model_name.removeprefix("control/")
        if self.name not in CONTROLS:
            raise DataError(
                f"control/{self.name}", "no such control", f"use one of {', '.join(CONTROLS)}"
            )
        self._cards = (
            {persona.opening: persona for persona in load_personas(users)}
            if self.name == "oracle"
            else {}
        )

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The next reply."""
        said = [m.text for m in input if m.role == "user"]
        n_replies = sum(m.role == "assistant" for m in input)
        text = self._reply(said, n_replies)
        output = ModelOutput.from_content(f"control/{self.name}", text)
        tokens = len(text.split())
        output.usage = ModelUsage(input_tokens=0, output_tokens=tokens, total_tokens=tokens)
        return output

    def max_connections(self) -> int:
        """Nothing to wait for."""
        return 1000

    def _reply(self, said: list[str], n_replies: int) -> str:
        if self.name == "oracle":
            return self._oracle(said, n_replies)
        if self.name == "listener":
            return listener_reply(said, n_replies)
        if self.name == "null":
            return null_reply(_language(said))
        bank = _bank()[_language(said)][self.name]
        return str(bank[n_replies % len(bank)])

    def _oracle(self, said: list[str], n_replies: int) -> str:
        persona = self._cards.get(said[0])
        if persona is None:
            raise DataError(
                "control/oracle",
                "does not know this person",
                "give it the same file of people: -M users=FILE",
            )
        return oracle_reply(persona, said, n_replies)


def oracle_reply(persona: Persona, said: list[str], n_replies: int) -> str:
    """What helps this person: two acts from what they like and need, about what they just said."""
    bank = _bank()[persona.language]
    if any(fact.is_risk and fact.text in text for fact in persona.disclosure for text in said):
        return str(bank["crisis"][0])
    first, second = _acts(persona, n_replies)
    values = {
        "quote": quote(said[-1], persona.language),
        "emotion": emotion_text(persona),
        "interest": persona.interest or "",
    }
    sentences = []
    for act in dict.fromkeys((first, second)):
        lines = [line for line in bank[act.value] if persona.interest or "{interest}" not in line]
        sentences.append(lines[n_replies // 2 % len(lines)].format(**values))
    return ("" if persona.language == "zh" else " ").join(sentences)


def listener_reply(said: list[str], n_replies: int) -> str:
    """What anybody would get who said this: their words taken up, and a question about them."""
    language = _language(said)
    bank = _bank()[language]
    lines = [bank[act.value][n_replies % len(bank[act.value])] for act in LISTENING]
    text = ("" if language == "zh" else " ").join(lines)
    return text.format(quote=quote(said[-1], language))


def quote(text: str, language: Language) -> str:
    """A few words of a message: the run with the most content, as early as possible."""
    size = QUOTE_CHARACTERS if language == "zh" else QUOTE_WORDS
    best, most = "", -1
    for clause in clauses(text):
        found = words(clause)
        for start in range(max(1, len(found) - size + 1)):
            run = found[start : start + size]
            piece = clause[run[0].start : run[-1].end]
            content = len(content_words(piece, language=language))
            if content > most:
                best, most = piece, content
    return best


def _acts(persona: Persona, n_replies: int) -> tuple[Act, Act]:
    """Two acts that this person likes or needs, and never one that they cannot stand."""
    hurts = {p.act for p in persona.hurts}
    helps = [p.act for p in persona.helps]
    needed = sorted(MEETS[persona.need] - hurts) if persona.need else []
    pool = list(dict.fromkeys([*(a for a in helps if a in needed), *helps, *needed]))
    pool = pool or [Act.QUESTION]
    best = pool[0]
    return best, pool[n_replies % len(pool)]


def _language(said: list[str]) -> Language:
    return "zh" if said and _HAN.search(said[-1]) else "en"


@cache
def _bank() -> dict[str, dict[str, Any]]:
    file = resources.files("benchmarks").joinpath("data", "controls.yaml")
    bank: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return bank
