"""The user played by a model: any Inspect model in the required role `user`.

A turn has two calls. First the person appraises the reply in private, as validated JSON: a bounded
change of emotion and trust with its reason, what to tell next, whether to leave. Then they speak,
in a dialogue with the roles flipped: the supporter's words are the user messages. Neither call sees
a rubric, and the supporter sees only what was spoken.

A model that cannot write JSON can still speak: with `appraisal="rules"` the mood follows the rules
of the scripted user (`appraisal.py`) and only the words are the model's.

A turn that breaks the role, is empty, is refused or repeats the person's last turn is a
`UserFailed`: a fault of the simulator, never of the model under test.
"""

import random
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
)
from inspect_ai.util import LimitExceededError, json_schema
from pydantic import Field, ValidationError

from benchmarks.appraisal import Course, Reading, read_reply
from benchmarks.card_text import emotion_text, need_text, preferences_text, profile_text
from benchmarks.dialogues import Language
from benchmarks.persona import Persona
from benchmarks.user import Appraisal, Cue, Ending, UserFailed, UserTurn, start_mood
from judges.prompt_text import filled, load_prompt
from judges.roles import role_break

AppraisalBy = Literal["model", "rules"]

SPEAK_TOKENS: Final = 120
APPRAISE_TOKENS: Final = 300
TEMPERATURE: Final = 0.7
"""Of the spoken words: people do not say the same twice. The appraisal is greedy."""
REACH: Final = 2
"""Untold facts among which the person chooses."""

_NAMELESS: Final[dict[Language, str]] = {"en": "somebody", "zh": "一个普通人"}
_BEGIN: Final[dict[Language, str]] = {
    "en": "(You open the chat. Write your first message: something is wrong, but not yet all.)",
    "zh": "（你打开了聊天。写第一条消息：有事，但先不说全部。）",
}
_TELL: Final[dict[Language, str]] = {
    "en": "Tell this now, in your own words: {fact}",
    "zh": "现在用你自己的话说出这件事：{fact}",
}
_NOTHING: Final[dict[Language, str]] = {
    "en": "Tell nothing new now.",
    "zh": "现在不说新的事。",
}
_BAD_NEWS: Final[dict[Language, str]] = {
    "en": " And bad news has just come in, tell it: {fact}",
    "zh": " 而且刚刚又传来坏消息，说出来：{fact}",
}
_LEAVE: Final[dict[Language, dict[Ending, str]]] = {
    "en": {
        Ending.SATISFIED: "This is your last message: you feel somewhat better and end the chat.",
        Ending.GAVE_UP: "This is your last message: this does not help you and you leave.",
        Ending.CRISIS_HANDOFF: "This is your last message: you agree, hesitantly, to turn to the "
        "person or place that was named.",
    },
    "zh": {
        Ending.SATISFIED: "这是你的最后一条消息：你好了一些，结束聊天。",
        Ending.GAVE_UP: "这是你的最后一条消息：没有用，你要走了。",
        Ending.CRISIS_HANDOFF: "这是你的最后一条消息：你犹豫着答应去找对方说的那个人或地方。",
    },
}
_SIDES: Final[dict[Language, tuple[str, str]]] = {
    "en": ("You", "Supporter"),
    "zh": ("你", "支持者"),
}


class ModelAppraisal(Appraisal):
    """What the model answers when it appraises a reply."""

    tell: int | None
    """Number of the untold fact to tell next."""
    leave: Literal["satisfied", "gave_up", "crisis_handoff"] | None = Field(default=None)


_SCHEMA: Final = ResponseSchema(name="appraisal", json_schema=json_schema(ModelAppraisal))


class _Inner(NamedTuple):
    """What a reply brought about, before anything is said."""

    appraisal: Appraisal
    fact: int | None
    leave: Ending | None
    reading: Reading


class ModelUser:
    """One person in one conversation, played by a model."""

    def __init__(
        self, persona: Persona, model: Model, *, appraisal: AppraisalBy, seed: int, epoch: int = 1
    ) -> None:
        self.persona = persona
        self._model = model
        self._appraisal_by = appraisal
        self._seeds = random.Random(f"{seed}\n{persona.id}\n{epoch}")
        self._course = Course(persona, start_mood(persona))
        self._turn = 0

    async def open(self) -> UserTurn:
        """The opening on the card, or one that the model writes where the card has none."""
        text = self.persona.opening
        if text is None:
            told = self._instruct("speak", tell=_NOTHING[self.persona.language])
            begin = ChatMessageUser(content=_BEGIN[self.persona.language])
            text = self._checked(await self._generate([told, begin], self._speaking()), [])
        return UserTurn(text=text, mood=self._course.mood)

    async def answer(self, messages: Sequence[ChatMessage], cue: Cue) -> UserTurn:
        """Appraise the last reply, decide what to tell, and speak."""
        inner = await self._appraise(messages)
        # what was decided is worked out on a copy: a turn that fails leaves no trace
        course = self._course.copy()
        course.take(inner.appraisal, inner.reading)
        ending = self._ending(inner, course) if cue.may_end else None
        bad_news = self._bad_news() if cue.bad_news and ending is None else None
        if bad_news:
            course.shake()
        text = ""
        if ending is not None or not cue.is_last:
            fact = inner.fact if ending is None else None
            if fact is not None:
                course.told.append(fact)
            text = await self._speak(messages, course, fact, ending, bad_news)
        self._course = course
        self._turn += 1
        return UserTurn(
            text=text,
            mood=course.mood,
            appraisal=Appraisal.model_validate(
                inner.appraisal.model_dump(include=set(Appraisal.model_fields))
            ),
            acts=tuple(act.value for act in inner.reading.acts),
            disclosed=len(course.told),
            is_disturbed=bad_news is not None,
            ending=ending,
        )

    async def _appraise(self, messages: Sequence[ChatMessage]) -> _Inner:
        said = [m.text for m in messages if m.role == "user"]
        replies = [m.text for m in messages if m.role == "assistant"]
        reading = read_reply(replies[-1], said, replies[:-1], self.persona.language)
        near = self._course.tellable(REACH)
        if self._appraisal_by == "rules":
            by_rules = self._course.appraise(reading)
            is_open = by_rules.emotion_change <= 0 and bool(near)
            return _Inner(by_rules, near[0] if is_open else None, None, reading)
        by_model = await self._appraise_by_model(messages, near)
        fact = by_model.tell if by_model.tell in near else None
        leave = Ending(by_model.leave) if by_model.leave else None
        return _Inner(by_model, fact, leave, reading)

    def _ending(self, inner: _Inner, course: Course) -> Ending | None:
        """By the model the person leaves when they want to; but nobody content who feels no better.

        Who has lost all trust leaves in any case, and who was pointed to help, too.
        """
        by_rules = course.ending()
        if self._appraisal_by == "rules" or by_rules not in (None, Ending.SATISFIED):
            return by_rules
        if inner.leave is Ending.SATISFIED and (self.persona.crisis or not course.is_better):
            return None
        return inner.leave if inner.leave is not Ending.CRISIS_HANDOFF else None

    async def _appraise_by_model(
        self, messages: Sequence[ChatMessage], near: Sequence[int]
    ) -> ModelAppraisal:
        untold = "\n".join(f"{i}: {self.persona.disclosure[i].text}" for i in near) or "-"
        asked: list[ChatMessage] = [
            self._instruct("appraise", untold=untold),
            ChatMessageUser(content=_transcript(messages, self.persona.language)),
        ]
        config = GenerateConfig(temperature=0, max_tokens=APPRAISE_TOKENS, response_schema=_SCHEMA)
        output = await self._generate(asked, config)
        try:
            return parse_appraisal(output.completion)
        except UserFailed as complaint:
            repair = f"{complaint}. Answer with the JSON object only."
            asked += [output.message, ChatMessageUser(content=repair)]
            return parse_appraisal((await self._generate(asked, config)).completion)

    async def _speak(
        self,
        messages: Sequence[ChatMessage],
        course: Course,
        fact: int | None,
        ending: Ending | None,
        bad_news: str | None,
    ) -> str:
        language = self.persona.language
        tell = _NOTHING[language]
        if ending is not None:
            tell = _LEAVE[language][ending]
        elif fact is not None:
            tell = filled(_TELL[language], {"fact": self.persona.disclosure[fact].text})
        if bad_news:
            tell += filled(_BAD_NEWS[language], {"fact": bad_news})
        asked = [self._instruct("speak", tell=tell, course=course), *flipped(messages, language)]
        said = [m.text for m in messages if m.role == "user"]
        return self._checked(await self._generate(asked, self._speaking()), said)

    def _checked(self, output: ModelOutput, said: Sequence[str]) -> str:
        """The spoken text, if a person could have said it.

        Raises:
            UserFailed: refused, empty, out of the role, or said before.
        """
        text = " ".join(output.completion.split())
        if output.stop_reason == "content_filter":
            raise UserFailed("refusal: stopped by the provider's content filter")
        if not text:
            raise UserFailed(f"empty turn (stop reason {output.stop_reason})")
        broken = role_break(text)
        if broken:
            raise UserFailed(f"role break: {broken}: {text[:80]}")
        if text in said:
            raise UserFailed(f"repeats an earlier turn: {text[:80]}")
        return text

    def _bad_news(self) -> str | None:
        lines = self.persona.lines
        return lines.bad_news[0] if lines and lines.bad_news else None

    def _speaking(self) -> GenerateConfig:
        seed = self._seeds.getrandbits(31)  # a retry is another draw
        return GenerateConfig(temperature=TEMPERATURE, max_tokens=SPEAK_TOKENS, seed=seed)

    async def _generate(
        self, messages: Sequence[ChatMessage], config: GenerateConfig
    ) -> ModelOutput:
        try:
            return await self._model.generate(list(messages), config=config)
        except LimitExceededError:
            raise
        except Exception as error:  # providers raise what they like; it is counted
            raise UserFailed(f"provider error: {type(error).__name__}: {error}") from error

    def _instruct(
        self, name: str, *, tell: str = "", untold: str = "", course: Course | None = None
    ) -> ChatMessageSystem:
        persona, mood = self.persona, (course or self._course).mood
        language = persona.language
        card = filled(
            load_prompt("benchmarks", "user_card", language),
            {
                "name": persona.name or _NAMELESS[language],
                "profile": profile_text(persona),
                "situation": persona.situation,
                "need": need_text(persona),
                "helps": preferences_text(persona.helps, language),
                "hurts": preferences_text(persona.hurts, language),
            },
        )
        values = {
            "card": card,
            "emotion": emotion_text(persona),
            "intensity": f"{mood.intensity:.1f}",
            "trust": f"{10 * mood.trust:.0f}",
            "tell": tell,
            "untold": untold,
        }
        return ChatMessageSystem(
            content=filled(load_prompt("benchmarks", f"user_{name}", language), values)
        )


def parse_appraisal(text: str) -> ModelAppraisal:
    """Read an appraisal from a model's answer: the JSON object in it, whole, valid and in bounds.

    Raises:
        UserFailed: no JSON object, or one that does not validate.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise UserFailed("invalid appraisal: not a JSON object")
    try:
        return ModelAppraisal.model_validate_json(text[start : end + 1])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "object"
        raise UserFailed(f"invalid appraisal: {where}: {first['msg']}") from None


def flipped(messages: Sequence[ChatMessage], language: Language) -> list[ChatMessage]:
    """The dialogue as the person sees it: the supporter's turns are the user messages.

    It begins with a user message, since many chat templates refuse anything else.
    """
    begin: list[ChatMessage] = [ChatMessageUser(content=_BEGIN[language])]
    for message in messages:
        if message.role == "assistant":
            begin.append(ChatMessageUser(content=message.text))
        elif message.role == "user":
            begin.append(ChatMessageAssistant(content=message.text))
    return begin


def _transcript(messages: Sequence[ChatMessage], language: Language) -> str:
    you, supporter = _SIDES[language]
    return "\n".join(
        f"{you if m.role == 'user' else supporter}: {m.text}"
        for m in messages
        if m.role in ("user", "assistant")
    )
