"""What a base model's chat template makes of dialogues, and whether a run can use it.

Templates differ in what they refuse. A run needs a system message (reflection and refinement are
asked in one), dialogues of several turns, and to know which tokens are the assistant's, for they
are what phase 1 trains: the template marks them, or TRL knows the marks of its family, or the
dialogue is rendered turn by turn. What is asked here before anything is trained is what generation
takes for granted: the prompt is how a trained reply begins, and the reply ends where generation
stops.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import TemplateError
from transformers import AutoConfig, GenerationConfig
from trl.chat_template_utils import get_training_chat_template

from selfevo.errors import UsageError
from selfevo.quiet import quiet_libraries
from selfevo.tokens import (
    ChatDict,
    Supervised,
    conversation_ids,
    end_ids,
    plain,
    prompt_ids,
    supervised,
)
from selfevo.training import load_tokenizer

SYSTEM: Final[ChatDict] = {"role": "system", "content": "Be kind."}
DIALOGUE: Final[tuple[ChatDict, ...]] = (
    {"role": "user", "content": "I lost my dog."},
    {"role": "assistant", "content": "Oh no. Where?"},
    {"role": "user", "content": "In the park."},
    {"role": "assistant", "content": "It knows the way."},
)
FILE: Final = "chat_template.jinja"


class Rendering(NamedTuple):
    """How conversations are rendered to be trained on."""

    tokenizer: Any
    is_marked: bool
    """Whether the assistant's turns are marked; else they are found turn by turn."""
    template: str | None
    """With marks, where the tokenizer's own has none: TRL's of the same family."""

    @classmethod
    def of(cls, tokenizer: Any) -> "Rendering":
        """That of a tokenizer with a chat template."""
        try:
            return cls(tokenizer, True, get_training_chat_template(tokenizer))
        except ValueError:  # no marks, and of no family that TRL knows
            return cls(tokenizer, False, None)

    def n_tokens(self, messages: Sequence[ChatDict]) -> int:
        """Of the conversation."""
        return len(conversation_ids(self.tokenizer, messages, template=self.template))

    def supervised(self, messages: Sequence[ChatDict]) -> Supervised:
        """The conversation, and which of its tokens are trained.

        Raises:
            ValueError: there are no marks, and turns are rendered otherwise once more follows.
        """
        if not self.is_marked:
            return supervised(self.tokenizer, messages)
        encoded = self.tokenizer.apply_chat_template(
            plain(self.tokenizer, messages),
            chat_template=self.template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        return Supervised(encoded["input_ids"], encoded["assistant_masks"])


def require_chat_template(base: Path, task_prompt: str | None) -> None:
    """Refuse a base model whose template cannot say what a run says.

    Args:
        base: The checkpoint folder.
        task_prompt: System message of the dialogues that are trained, if they have one.

    Raises:
        UsageError: there is none; it refuses a system message or a dialogue; a prompt is not how a
            trained reply begins; or a reply does not end where generation stops.
    """
    trained = (SYSTEM, *DIALOGUE) if task_prompt else DIALOGUE
    with quiet_libraries():
        tokenizer = load_tokenizer(base)
        if tokenizer.chat_template is None:
            raise UsageError(f"{base}: the tokenizer has no chat template; add {FILE}")
        if not tokenizer.is_fast:
            raise UsageError(f"{base}: the tokenizer has no tokenizer.json, and a run needs it")
        _require_dialogues(base, tokenizer)
        try:
            row = Rendering.of(tokenizer).supervised(trained)
        except ValueError as error:
            raise UsageError(
                f"{base}: {error}, and it does not mark what the assistant says; put "
                f"{{% generation %}} and {{% endgeneration %}} around it in {FILE}"
            ) from None
        _require_the_prompt(base, tokenizer, trained, row)
        _require_ends(base, tokenizer, trained, row)


def _require_dialogues(base: Path, tokenizer: Any) -> None:
    said = {"a dialogue": DIALOGUE, "a system message": (SYSTEM, *DIALOGUE)}
    for what, messages in said.items():
        try:
            conversation_ids(tokenizer, messages)
            prompt_ids(tokenizer, messages[:-1])
        except (TemplateError, TypeError, ValueError) as error:  # a template is a program
            raise UsageError(
                f"{base}: the chat template refuses {what} ({error}), which a run needs; write a "
                f"{FILE} that renders it"
            ) from None


def _require_the_prompt(
    base: Path, tokenizer: Any, trained: Sequence[ChatDict], row: Supervised
) -> None:
    """Of the first reply; some families render the thoughts of earlier replies otherwise."""
    first = next(i for i, message in enumerate(trained) if message["role"] == "assistant")
    reply = trained[first]["content"]
    asked = tokenizer.decode(prompt_ids(tokenizer, trained[:first]))
    rendered = tokenizer.decode(row.input_ids)
    follows = rendered.removeprefix(asked).lstrip().startswith(reply)
    # a header that ends in a space is one token with the reply's first word, and not trained
    if not (rendered.startswith(asked) and follows and reply in tokenizer.decode(_replies(row)[0])):
        raise UsageError(
            f"{base}: the chat template asks for a reply otherwise than it renders one, so that "
            f"what is trained is not what will be said; write a {FILE} whose prompt is how a "
            "rendered reply begins"
        )


def _require_ends(base: Path, tokenizer: Any, trained: Sequence[ChatDict], row: Supervised) -> None:
    """Of every reply of phase 1, and of the last one as phase 2 reads it."""
    try:
        generation = GenerationConfig.from_pretrained(base)
    except OSError:  # no file of its own
        generation = GenerationConfig.from_model_config(AutoConfig.from_pretrained(base))
    ends = end_ids(generation, tokenizer)
    for ids in [*_replies(row), conversation_ids(tokenizer, trained)]:
        words = [token for token in ids if tokenizer.decode([token]).strip()]
        if not words or words[-1] not in ends:
            last = tokenizer.decode(words[-1:])
            raise UsageError(
                f"{base}: a trained reply ends in {last!r}, where generation does not stop, so "
                "that no reply would end; add its id to eos_token_id in generation_config.json, "
                f"or write a {FILE} that ends a reply in an end token"
            )


def _replies(row: Supervised) -> list[list[int]]:
    """What is trained, reply by reply; nothing at all counts as one."""
    both = zip(row.input_ids, row.assistant_masks, strict=True)
    return [[i for i, _ in run] for is_said, run in groupby(both, itemgetter(1)) if is_said] or [[]]
