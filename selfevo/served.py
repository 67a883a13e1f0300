"""A checkpoint on a vLLM server behind Inspect's model interface.

The same contract as the local provider (`provider.py`): greedy without a temperature, a seed for
every request, true stop reasons, the checkpoint's content hash in each output and in the cache key,
log-likelihoods. Messages become tokens here, in `tokens.py`, as in training; the server gets token
ids, so its own chat template has no say, and one prompt is one prompt everywhere. That is why
Inspect's `vllm/` and `openai-api/` providers are not used: they send messages, cannot score a given
reply, and their cache key does not see the checkpoint.

Tools are not supported, and `logprobs` of what is generated has no effect: a warning says so, once.
"""

import functools
import json
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from openai import APIConnectionError, APIStatusError

from judges.specificity import TokenLogprobs
from selfevo.checkpoint import base_of, is_adapter
from selfevo.endpoints import Endpoint, Servers, Subject
from selfevo.errors import RunError, UsageError
from selfevo.provider import DEFAULT_MAX_TOKENS
from selfevo.quiet import quiet_libraries
from selfevo.seeds import derived_seed
from selfevo.tokens import ChatDict, Tokenizer, continuation_pieces, fit_prompt

logger = logging.getLogger(__name__)

PROVIDER: Final = "selfevo-vllm"
CONNECTIONS: Final = 256
"""Requests in flight a checkpoint: the server batches them itself, so the more the better."""
IGNORED_OPTIONS: Final = ("logprobs", "top_logprobs", "prompt_logprobs", "best_of", "logit_bias")
PASSED_OPTIONS: Final = ("top_k", "frequency_penalty", "presence_penalty")


class Reader(NamedTuple):
    """How a base reads: what turns messages into tokens, and which tokens end a reply."""

    tokenizer: Tokenizer
    end_ids: list[int]
    context_length: int


class ServedAPI(ModelAPI):
    """A checkpoint that vLLM servers answer for."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (the signature that Inspect calls)
        *,
        servers: Servers,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        path = Path(model_name)
        self.subject = Subject.of(path)
        self.checkpoint = self.subject.checkpoint
        self._servers = servers
        self._reader = _read_by(base_of(path) if is_adapter(path) else path)
        # part of Inspect's cache key: neither another content nor the local provider's replies
        self.base_url = f"sha256:{self.checkpoint}:vllm"

    def max_connections(self) -> int:
        """As many as make a full batch on a GPU."""
        return CONNECTIONS

    def max_tokens(self) -> int:
        """Length limit of a reply when the task sets none."""
        return DEFAULT_MAX_TOKENS

    def connection_key(self) -> str:
        """Checkpoints do not share a connection limit."""
        return self.checkpoint

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """One reply (or `config.num_choices`) to the conversation `input`."""
        if tools:
            raise UsageError(f"{PROVIDER} cannot call tools; use a task without tools")
        _warn_about_ignored(config)
        endpoint = await self._servers.endpoint(self.subject)
        limit = self._limit(endpoint)
        max_tokens = config.max_tokens or DEFAULT_MAX_TOKENS
        # as the local provider: at least half the context is the prompt's
        reserved = min(max_tokens, limit // 2)
        prompt = fit_prompt(self._reader.tokenizer, _dicts(input), limit - reserved).ids
        room = min(max_tokens, limit - len(prompt))
        if room < 1:
            return self._output([_choice(self._shown, "", "model_length")], len(prompt), 0)
        answer = await self._ask(endpoint, _request(config, prompt, room))
        found = [self._read(said, at_limit=room == max_tokens) for said in answer["choices"]]
        if len(found) == 1:  # greedy choices are all alike: one is asked for
            found *= config.num_choices or 1
        return self._output(found, len(prompt), int(answer["usage"]["completion_tokens"]))

    async def loglikelihood(
        self, prefix: Sequence[ChatMessage], continuation: str
    ) -> TokenLogprobs:
        """Natural log-probability of each token of `continuation`, the assistant's next words."""
        pieces = continuation_pieces(self._reader.tokenizer, continuation)
        if not pieces.ids:
            raise ValueError(f"loglikelihood: the continuation {continuation!r} has no tokens")
        endpoint = await self._servers.endpoint(self.subject)
        # one token is the server's: it scores a prompt only beside generating
        room = self._limit(endpoint) - len(pieces.ids) - 1
        fitted = fit_prompt(self._reader.tokenizer, _dicts(prefix), room)
        if len(fitted.ids) > room:
            raise ValueError(
                f"loglikelihood: {len(fitted.ids)} prompt + {len(pieces.ids)} continuation tokens; "
                f"{self._shown} reads {room + len(pieces.ids)}"
            )
        request = {
            "prompt": [*fitted.ids, *pieces.ids],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        answer = await self._ask(endpoint, request)
        scored = answer["choices"][0]["prompt_logprobs"][-len(pieces.ids) :]
        logprobs = tuple(
            float(token[str(id_)]["logprob"]) for token, id_ in zip(scored, pieces.ids, strict=True)
        )
        return TokenLogprobs(texts=pieces.texts, logprobs=logprobs)

    def _limit(self, endpoint: Endpoint) -> int:
        """Tokens of prompt and reply together."""
        return min(self._reader.context_length, endpoint.context_length)

    @property
    def _shown(self) -> str:
        return f"{PROVIDER}/{self.model_name}"

    async def _ask(self, endpoint: Endpoint, request: dict[str, Any]) -> dict[str, Any]:
        """The server's answer.

        Raises:
            RunError: there is none; the sample fails, and another try finds a server that answers.
        """
        body = {
            "model": endpoint.model_of(self.subject),
            "stop_token_ids": self._reader.end_ids,
            **request,
        }
        try:
            async with endpoint.connected() as client:
                raw = await client.completions.with_raw_response.create(
                    model=body["model"], prompt=body["prompt"], extra_body=body
                )
        except APIConnectionError as error:
            raise RunError(self._servers.failure(endpoint, error.__cause__ or error)) from error
        except APIStatusError as error:
            if error.status_code >= 500:
                raise RunError(self._servers.failure(endpoint, error)) from error
            raise RunError(f"{self._shown}: {error.message}") from error
        answer: dict[str, Any] = json.loads(raw.content)
        return answer

    def _read(self, choice: dict[str, Any], *, at_limit: bool) -> ChatCompletionChoice:
        if choice["finish_reason"] == "stop":
            return _choice(self._shown, choice["text"], "stop")
        return _choice(self._shown, choice["text"], "max_tokens" if at_limit else "model_length")

    def _output(self, choices: list[ChatCompletionChoice], n_in: int, n_out: int) -> ModelOutput:
        return ModelOutput(
            model=self._shown,
            choices=choices,
            usage=ModelUsage(input_tokens=n_in, output_tokens=n_out, total_tokens=n_in + n_out),
            metadata={"checkpoint": self.checkpoint},
        )


def _request(config: GenerateConfig, prompt: Sequence[int], max_tokens: int) -> dict[str, Any]:
    """The body of a request for replies to `prompt`."""
    seed = config.seed if config.seed is not None else secrets.randbits(48)
    request = {
        "prompt": list(prompt),
        "max_tokens": max_tokens,
        "temperature": config.temperature or 0.0,
        "top_p": config.top_p if config.top_p is not None else 1.0,
        # with the prompt, or one seed for an eval would open all its replies alike
        "seed": derived_seed(seed, prompt),
        "n": (config.num_choices or 1) if config.temperature else 1,
        **{name: getattr(config, name) for name in PASSED_OPTIONS if getattr(config, name)},
    }
    if config.stop_seqs:
        request["stop"] = config.stop_seqs
    if config.response_schema is not None:
        schema = config.response_schema.json_schema.model_dump(exclude_none=True)
        request["structured_outputs"] = {"json": schema}
    return {**request, **(config.extra_body or {})}


def _choice(model: str, text: str, stop_reason: StopReason) -> ChatCompletionChoice:
    message = ChatMessageAssistant(content=text, model=model, source="generate")
    return ChatCompletionChoice(message=message, stop_reason=stop_reason)


def _dicts(messages: Sequence[ChatMessage]) -> list[ChatDict]:
    return [{"role": m.role, "content": m.text} for m in messages]


@functools.cache
def _read_by(base: Path) -> Reader:
    """How a base reads; loaded once a process."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(base)
        config = AutoConfig.from_pretrained(base).get_text_config()
        ends = GenerationConfig.from_pretrained(base) if _has_own_ends(base) else config
    if tokenizer.chat_template is None:
        raise UsageError(f"{base}: the tokenizer has no chat template; add chat_template.jinja")
    configured = ends.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    end_ids = sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})
    return Reader(tokenizer, end_ids, int(config.max_position_embeddings))


def _has_own_ends(base: Path) -> bool:
    return (base / "generation_config.json").is_file()


def _warn_about_ignored(config: GenerateConfig) -> None:
    for option in IGNORED_OPTIONS:
        if getattr(config, option) and option not in _WARNED:
            _WARNED.add(option)
            logger.warning("%s ignores %s", PROVIDER, option)


_WARNED: set[str] = set()


@modelapi(name=PROVIDER)
def served_api() -> type[ModelAPI]:
    """The provider under its name, for Inspect."""
    return ServedAPI


def served_model(path: Path, servers: Servers) -> Model:
    """A checkpoint as Inspect calls it, answered by `servers`."""
    model = get_model(f"{PROVIDER}/{path}", memoize=False, servers=servers)
    model.model_args.clear()  # nothing of a server's address or process belongs in a log
    return model
