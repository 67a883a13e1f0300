"""The Inspect provider `selfevo/<checkpoint>`: local checkpoints and LoRA adapters.

```
inspect eval benchmarks/reply.py --model selfevo/default              the embedded model
inspect eval benchmarks/reply.py --model selfevo/runs/demo/round-1/checkpoint
```

Why not Inspect's `hf` provider: it waits about three seconds a turn, cannot be greedy at
temperature 0, reads every history from its beginning, reports no stop reasons, and its cache key
does not see the checkpoint. Here replies that are asked for at any time are written together, each
returns as soon as it ends, what a prompt has in common with an earlier one is not read again, every
request has its own seed, and the checkpoint's content hash is in each output and in the cache key.

Without a temperature it is greedy. Tools are not supported. `response_schema`, `logprobs` and a few
more options have no effect here: a warning says so, once.
"""

import gc
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_ai._util.error import PrerequisiteError  # not public, but what it prints in one line
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.markup import escape

from judges.specificity import TokenLogprobs
from selfevo.checkpoint import content_hash, resolve
from selfevo.errors import RunError, SelfevoError, UsageError
from selfevo.seeds import derived_seed
from selfevo.tokens import ChatDict, continuation_pieces, fit_prompt

if TYPE_CHECKING:
    from selfevo.engine import Completion, Engine, GenerateRequest

logger = logging.getLogger(__name__)

DEFAULT_MAX_TOKENS = 256
BATCH_SIZE = 32
ENGINES_KEPT = 3
"""Models kept in memory: the one under test, a frozen reference, and one more role."""

IGNORED_OPTIONS = (
    "response_schema",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "top_k",
    "best_of",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
)


class CheckpointError(UsageError, PrerequisiteError):
    """The checkpoint cannot be used; Inspect's command line prints this as one line, like ours."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = escape(message)

    def __str__(self) -> str:
        return str(self.args[0])


class CheckpointAPI(ModelAPI):
    """A local checkpoint behind Inspect's model interface.

    Args of `-M`: `device` (default: cuda if there is one, else cpu), `dtype` (float32 on cpu,
    bfloat16 on cuda), `batch_size` (32).
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (the signature that Inspect calls)
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._device = device
        self._dtype = dtype
        self._batch_size = batch_size
        with _one_line_errors():
            self.path = resolve(model_name)
            self.checkpoint = content_hash(self.path)
            engine = self.engine
        self._tokenizer = engine.tokenizer
        self._context_length = engine.context_length
        # part of Inspect's cache key: a checkpoint retrained in place, or read in another dtype,
        # never gets the cached replies of its former self
        self.base_url = f"sha256:{self.checkpoint}:{engine.dtype}"

    @property
    def engine(self) -> "Engine":
        """The checkpoint in memory, loaded again if others took its place.

        Not kept here: Inspect keeps every model object of a process, and memory would run out.

        Raises:
            RunError: the files are not those that this model's outputs are labelled with.
        """
        if content_hash(self.path) != self.checkpoint:
            raise RunError(
                f"{self.path}: changed since it was loaded; start a new process, or use "
                "get_model(..., memoize=False)"
            )
        return load_engine(self.path, self.checkpoint, device=self._device, dtype=self._dtype)

    def max_connections(self) -> int:
        """As many conversations as fit a batch."""
        return self._batch_size

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
            raise UsageError(
                f"selfevo/{self.model_name} cannot call tools; use a task without tools"
            )
        self._warn_about_ignored(config)
        requests = self._requests(input, config)
        replies = self.engine.replies(self._batch_size)
        return self._output(requests, await replies.submit_all(requests))

    async def loglikelihood(
        self, prefix: Sequence[ChatMessage], continuation: str
    ) -> TokenLogprobs:
        """Natural log-probability of each token of `continuation`, the assistant's next words."""
        from selfevo.engine import ScoreRequest

        pieces = continuation_pieces(self._tokenizer, continuation)
        room = self._context_length - len(pieces.ids)
        fitted = fit_prompt(self._tokenizer, _dicts(prefix), room)
        if not pieces.ids:
            raise ValueError(f"loglikelihood: the continuation {continuation!r} has no tokens")
        if len(fitted.ids) > room:
            raise ValueError(
                f"loglikelihood: {len(fitted.ids)} prompt + {len(pieces.ids)} continuation tokens; "
                f"selfevo/{self.model_name} reads {self._context_length}"
            )
        request = ScoreRequest(tuple(fitted.ids), tuple(pieces.ids))
        scores = self.engine.scores(4 * self._batch_size)
        [logps] = await scores.submit_all([request])
        return TokenLogprobs(texts=pieces.texts, logprobs=tuple(logps))

    def _requests(
        self, messages: list[ChatMessage], config: GenerateConfig
    ) -> list["GenerateRequest"]:
        from selfevo.engine import GenerateRequest

        max_tokens = config.max_tokens or DEFAULT_MAX_TOKENS
        # a generous limit does not push the history out: at least half the context is the prompt's
        reserved = min(max_tokens, self._context_length // 2)
        fitted = fit_prompt(self._tokenizer, _dicts(messages), self._context_length - reserved)
        seed = config.seed if config.seed is not None else secrets.randbits(48)
        return [
            GenerateRequest(
                prompt=tuple(fitted.ids),
                max_tokens=max_tokens,
                temperature=config.temperature or 0.0,
                top_p=config.top_p if config.top_p is not None else 1.0,
                # with the prompt, or one seed for an eval would open all its replies alike
                seed=derived_seed(seed, choice, fitted.ids),
                stop=tuple(config.stop_seqs or ()),
            )
            for choice in range(config.num_choices or 1)
        ]

    def _output(
        self, requests: Sequence["GenerateRequest"], completions: Sequence["Completion"]
    ) -> ModelOutput:
        n_in = len(requests[0].prompt)
        n_out = sum(c.n_tokens for c in completions)
        name = f"selfevo/{self.model_name}"
        choices = [
            ChatCompletionChoice(
                message=ChatMessageAssistant(content=c.text, model=name, source="generate"),
                stop_reason=c.stop_reason,
            )
            for c in completions
        ]
        usage = ModelUsage(input_tokens=n_in, output_tokens=n_out, total_tokens=n_in + n_out)
        return ModelOutput(
            model=name, choices=choices, usage=usage, metadata={"checkpoint": self.checkpoint}
        )

    def _warn_about_ignored(self, config: GenerateConfig) -> None:
        for option in IGNORED_OPTIONS:
            if getattr(config, option, None) and (self.model_name, option) not in _WARNED:
                _WARNED.add((self.model_name, option))
                logger.warning("selfevo/%s ignores %s", self.model_name, option)


_WARNED: set[tuple[str, str]] = set()
_ENGINES: "OrderedDict[tuple[str, str, str], Engine]" = OrderedDict()
_ENGINES_LOCK = threading.Lock()


def load_engine(
    path: Path, checkpoint: str, *, device: str | None = None, dtype: str | None = None
) -> "Engine":
    """The checkpoint in memory; of more than `ENGINES_KEPT`, the least recently used is let go."""
    import torch

    from selfevo.engine import Engine

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    key = (checkpoint, device, dtype)
    with _ENGINES_LOCK:
        if key not in _ENGINES:
            while len(_ENGINES) >= ENGINES_KEPT:  # first, or there are briefly too many
                _ENGINES.popitem(last=False)
                gc.collect()
            _ENGINES[key] = Engine(path, device=device, dtype=dtype)
        _ENGINES.move_to_end(key)
        return _ENGINES[key]


def release_engines() -> None:
    """Let all models in memory go, for a training that needs room; they load again when asked."""
    with _ENGINES_LOCK:
        _ENGINES.clear()
    gc.collect()  # an engine and its parts refer to each other


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except SelfevoError as error:
        raise CheckpointError(str(error)) from error
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"selfevo needs {error.name}; install it with: pip install 'selfevo[train]'"
        ) from error


def _dicts(messages: Sequence[ChatMessage]) -> list[ChatDict]:
    return [{"role": m.role, "content": m.text} for m in messages]
