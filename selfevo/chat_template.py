"""Whether a base model's chat template can say what a run says: asked before anything is trained.

Templates differ in what they refuse. A run needs a system message (reflection and refinement are
asked in one), dialogues of several turns, and to know which tokens are the assistant's, for they
are what phase 1 trains. The template marks them, or TRL knows the marks of its family, or the
dialogue is rendered turn by turn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import TemplateError
from trl.chat_template_utils import get_training_chat_template, is_chat_template_stop_token_trained

from selfevo.errors import UsageError
from selfevo.quiet import quiet_libraries
from selfevo.tokens import ChatDict, conversation_ids, prompt_ids, supervised
from selfevo.training import load_tokenizer

SYSTEM: Final[ChatDict] = {"role": "system", "content": "Be kind."}
DIALOGUE: Final[tuple[ChatDict, ...]] = (
    {"role": "user", "content": "I lost my dog."},
    {"role": "assistant", "content": "Oh no. Where?"},
    {"role": "user", "content": "In the park."},
    {"role": "assistant", "content": "It knows the way."},
)
FILE: Final = "chat_template.jinja"


def require_chat_template(base: Path, task_prompt: str | None) -> None:
    """Refuse a base model whose template cannot say what a run says.

    Args:
        base: The checkpoint folder.
        task_prompt: System message of the dialogues that are trained, if they have one.

    Raises:
        UsageError: there is none; it refuses a system message or a dialogue; or the end of the
            assistant's turn would not be trained, so that no reply would learn to end.
    """
    with quiet_libraries():
        tokenizer = load_tokenizer(base)
        if tokenizer.chat_template is None:
            raise UsageError(f"{base}: the tokenizer has no chat template; add {FILE}")
        _require_dialogues(base, tokenizer)
        _require_ends(base, tokenizer, (SYSTEM, *DIALOGUE) if task_prompt else DIALOGUE)


def marks_turns(tokenizer: Any) -> bool:
    """Whether TRL can tell from the template which tokens are the assistant's."""
    try:
        get_training_chat_template(tokenizer)
    except ValueError:  # no marks, and of no family that TRL knows
        return False
    return True


def _require_dialogues(base: Path, tokenizer: Any) -> None:
    said = {"a dialogue": DIALOGUE, "a system message": (SYSTEM, *DIALOGUE)}
    for what, messages in said.items():
        try:
            conversation_ids(tokenizer, messages)
            prompt_ids(tokenizer, messages[:-1])
        except TemplateError as error:
            raise UsageError(
                f"{base}: the chat template refuses {what} ({error}), which a run needs; write a "
                f"{FILE} that renders it"
            ) from None


def _require_ends(base: Path, tokenizer: Any, trained: Sequence[ChatDict]) -> None:
    if marks_turns(tokenizer):
        template = get_training_chat_template(tokenizer)
        is_trained = is_chat_template_stop_token_trained(tokenizer, chat_template=template)
    else:
        is_trained = _ends_with_an_added_token(base, tokenizer, trained)
    if not is_trained:
        raise UsageError(
            f"{base}: the token that ends a turn of the assistant would not be trained, so that "
            f"no reply would learn to end; put it between {{% generation %}} and "
            f"{{% endgeneration %}} in {FILE}"
        )


def _ends_with_an_added_token(base: Path, tokenizer: Any, trained: Sequence[ChatDict]) -> bool:
    """As TRL asks it of a template with marks: of a turn, the last token that is no white space."""
    try:
        ids, mask = supervised(tokenizer, trained)
    except ValueError as error:
        raise UsageError(
            f"{base}: {error}, and it does not mark what the assistant says; put "
            f"{{% generation %}} and {{% endgeneration %}} around it in {FILE}"
        ) from None
    said = [token for token, is_said in zip(ids, mask, strict=True) if is_said]
    while said and not tokenizer.decode([said[-1]]).strip():
        said.pop()
    return bool(said) and said[-1] in tokenizer.added_tokens_decoder
