"""How messages become tokens: the one place, used by generation, scoring and training alike.

The chat template of the checkpoint decides the bytes (`chat_template.jinja` for the embedded
model). Histories that do not fit are shortened here by whole messages, oldest first, so that no
utterance is ever cut in its middle.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

ChatDict = dict[str, str]
"""One message as chat templates take it: `{"role": ..., "content": ...}`."""


PROMPT: Final = {"add_generation_prompt": True, "enable_thinking": False}
"""How a prompt is rendered: with the header of the assistant's turn.

Of a model that can think aloud (Qwen3), with the empty thought that training puts there: left to
the model, the tags would be part of the reply. Other templates do not know the argument.
"""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that this package uses."""

    eos_token_id: int
    pad_token_id: int | None
    all_special_tokens: list[str]

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """The added tokens by id; each has `content` and says whether it is `special`."""

    def apply_chat_template(self, conversation: list[ChatDict], **kwargs: Any) -> Any:
        """Render and tokenize a conversation."""

    def __call__(self, text: str, **kwargs: Any) -> Any:
        """Tokenize plain text."""

    def decode(self, token_ids: Any, **kwargs: Any) -> str:
        """Turn token ids back into text."""

    def __hash__(self) -> int: ...


class Fitted(NamedTuple):
    """A history that fits, and how much of it had to go."""

    messages: list[ChatDict]
    ids: list[int]
    n_dropped: int


def plain(tokenizer: Tokenizer, messages: Sequence[ChatDict]) -> list[ChatDict]:
    """Messages whose contents cannot end a turn or open another: special tokens get a space inside.

    Contents are stripped: a leading space or line break would merge with the header's own and shift
    the mask.
    """
    special = _special_tokens(tokenizer)
    return [
        {"role": m["role"], "content": _broken_up(special, m["content"].strip())} for m in messages
    ]


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[ChatDict]) -> list[int]:
    """Token ids of `messages` followed by the header of the assistant's turn."""
    ids: list[int] = tokenizer.apply_chat_template(
        plain(tokenizer, messages),
        tokenize=True,
        return_dict=False,
        **PROMPT,
    )
    return ids


def conversation_ids(
    tokenizer: Tokenizer, messages: Sequence[ChatDict], *, template: str | None = None
) -> list[int]:
    """Token ids of a whole conversation, by the tokenizer's own template or another one."""
    ids: list[int] = tokenizer.apply_chat_template(
        plain(tokenizer, messages), chat_template=template, tokenize=True, return_dict=False
    )
    return ids


def end_ids(generation_config: Any, tokenizer: Tokenizer) -> list[int]:
    """The tokens at which a reply ends, sorted."""
    configured = getattr(generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})


class Supervised(NamedTuple):
    """A conversation for training; the names are those of TRL's columns."""

    input_ids: list[int]
    assistant_masks: list[int]
    """1 where a token is the assistant's: of what it says, and of the end of its turn."""


def supervised(tokenizer: Tokenizer, messages: Sequence[ChatDict]) -> Supervised:
    """Where the assistant speaks, of a template that does not mark it: rendered turn by turn.

    Raises:
        ValueError: the template renders a turn otherwise once something follows it.
    """
    whole = _rendered(tokenizer, messages)
    spans: list[tuple[int, int]] = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            before = _rendered(tokenizer, messages[:number], **PROMPT)
            spoken = _rendered(tokenizer, messages[: number + 1])
            if not (spoken.startswith(before) and whole.startswith(spoken)):
                raise ValueError("the chat template renders a turn otherwise once more follows")
            spans.append((len(before), len(spoken)))
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    mask = [
        int(any(start <= begin < end for start, end in spans))
        for begin, _ in encoded["offset_mapping"]
    ]
    return Supervised(list(encoded["input_ids"]), mask)


def _rendered(tokenizer: Tokenizer, messages: Sequence[ChatDict], **options: bool) -> str:
    text: str = tokenizer.apply_chat_template(plain(tokenizer, messages), tokenize=False, **options)
    return text


def fit_prompt(tokenizer: Tokenizer, messages: Sequence[ChatDict], max_tokens: int) -> Fitted:
    """Drop the oldest whole messages until the prompt has at most `max_tokens` tokens.

    A leading system message stays, and once something is dropped, what remains starts with the
    user. The last message always stays, even if it alone is too long: then the caller decides.
    """
    head = [m for m in messages[:1] if m["role"] == "system"]
    body = list(messages[len(head) :])
    n_all = len(body)
    ids = prompt_ids(tokenizer, head + body)
    while len(ids) > max_tokens and len(body) > 1:
        body = body[1:]
        while len(body) > 1 and body[0]["role"] != "user":
            body = body[1:]
        ids = prompt_ids(tokenizer, head + body)
    return Fitted(head + body, ids, n_all - len(body))


class Pieces(NamedTuple):
    """A text as tokens: ids, and the stretch of text that each one ends; together, the text."""

    ids: list[int]
    texts: tuple[str, ...]


def continuation_pieces(tokenizer: Tokenizer, text: str) -> Pieces:
    """Tokenize a continuation on its own, without special tokens.

    A character that takes several tokens (most Chinese ones) belongs to its last token; the others
    carry `""`.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in encoded["offset_mapping"]]
    texts: list[str] = []
    cursor = 0
    for index, end in enumerate(ends):
        following = ends[index + 1] if index + 1 < len(ends) else None
        stop = cursor if following == end else max(cursor, end)
        texts.append(text[cursor:stop])
        cursor = stop
    if texts:
        texts[-1] += text[cursor:]
    return Pieces(list(encoded["input_ids"]), tuple(texts))


@lru_cache(maxsize=8)  # a tokenizer makes these anew each time it is asked, for every message
def _special_tokens(tokenizer: Tokenizer) -> list[str]:
    """Also those without a name: of Llama 3's headers, `all_special_tokens` does not know."""
    added = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    return sorted(added.union(tokenizer.all_special_tokens), key=lambda token: (-len(token), token))


def _broken_up(special: Sequence[str], text: str) -> str:
    for token in special:
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
