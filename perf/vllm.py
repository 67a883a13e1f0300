"""Generation by vLLM: our way (server, HTTP, Inspect's `Model.generate`) over vLLM's offline batch.

    python -m perf.vllm
    python -m perf.vllm --conversations 64 --adapter RUN/m0/checkpoint --data PATH/TO/esconv

Both get the same conversations (the shipped principles as the system message, then a dialogue up
to a supporter turn) in the same precision, greedy, with the output's length forced, and the same
engine options. Conversations of a round begin alike (the principles) and are new in every round, so
prefix caches do on both sides what they do in a run. Both are warm; rounds alternate; the ratio is
the median over the rounds. The offline side pays for no client, no HTTP and no event loop.

Needs `make vllm-env`. The logs of the server and of the offline side are in the folder it names.
"""

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.contexts import sample_contexts
from benchmarks.dialogues import load_dialogues
from perf.machine import matmul_rate, report
from perf.work import floor
from selfevo.checkpoint import resolve
from selfevo.config import ModelConfig
from selfevo.forest import forest
from selfevo.generation import GenerationConfig, vllm_python
from selfevo.harness import evaluand
from selfevo.principles import load_principles
from selfevo.progress import console
from selfevo.quiet import quiet_libraries
from selfevo.tokens import prompt_ids
from selfevo.vllm_server import (
    Settings,
    VllmServer,
    build_of,
    server_environment,
    server_options,
)

OFFLINE: Final = Path(__file__).with_name("vllm_offline.py")
SERVER_ONLY: Final = ("served-model-name", "host", "port", "disable-uvicorn-access-log")
RANK: Final = 16
"""Room for adapters on both sides, as in a run."""

Chat = list[dict[str, str]]


class Done(NamedTuple):
    """A round of one side."""

    seconds: float
    tokens: int
    texts: list[str]

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, all conversations together."""
        return self.tokens / self.seconds


class Offline:
    """vLLM's `LLM.chat` in a process of its own."""

    def __init__(
        self, python: Path, base: Path, options: dict[str, Any], adapter: Path | None, log: Path
    ) -> None:
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [python, "-P", str(OFFLINE)],  # or `vllm` would be this file
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                env=server_environment(dict(os.environ), "none", build_of(python)),
            )
        given = {"base": str(base), "options": options, "adapter": adapter and str(adapter)}
        self._log = log
        self._ask(given)

    def chat(self, conversations: Sequence[Chat], n_tokens: int) -> Done:
        """One round."""
        answer = self._ask({"conversations": conversations, "max_tokens": n_tokens})
        return Done(answer["seconds"], answer["tokens"], answer["texts"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the offline side ended; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Measure, print the table, and the ratios as the last line."""
    options = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="selfevo-perf-vllm-"))
    console.print(f"logs: {folder}")
    base = resolve("default")
    subject = resolve(str(options.adapter)) if options.adapter else base
    generation = GenerationConfig(provider="vllm", context_length=options.context)
    settings = Settings(base, generation, options.dtype, RANK)
    python = vllm_python(generation)
    rounds = _rounds(options)
    with (
        _server(settings, folder) as server,
        _offline(python, settings, options.adapter, folder) as offline,
    ):
        model = evaluand(subject, ModelConfig(), server).model
        ours, theirs, ours_cpu = [], [], []
        asyncio.run(_ours(model, rounds[0], options.tokens))
        offline.chat(rounds[0], options.tokens)
        for conversations in rounds[1:]:
            start = time.process_time()
            ours.append(asyncio.run(_ours(model, conversations, options.tokens)))
            ours_cpu.append(time.process_time() - start)
            theirs.append(offline.chat(conversations, options.tokens))
    _report(options, ours, theirs, ours_cpu, _least(base, rounds[-1], options.tokens))


async def _ours(model: Model, conversations: Sequence[Chat], n_tokens: int) -> Done:
    config = GenerateConfig(
        temperature=0,
        max_tokens=n_tokens,
        extra_body={"ignore_eos": True, "min_tokens": n_tokens, "stop_token_ids": []},
    )
    messages = [_messages(chat) for chat in conversations]
    start = time.perf_counter()
    outputs = await asyncio.gather(*(model.generate(chat, config=config) for chat in messages))
    seconds = time.perf_counter() - start
    tokens = sum(output.usage.output_tokens for output in outputs if output.usage)
    return Done(seconds, tokens, [output.completion for output in outputs])


def _messages(chat: Chat) -> list[ChatMessage]:
    kinds = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    return [kinds[message["role"]](content=message["content"]) for message in chat]


def _rounds(options: argparse.Namespace) -> list[list[Chat]]:
    """Conversations of each round, the first one's to warm up: alike in length, all different."""
    source = "esconv" if options.data else "starter"
    dialogues = load_dialogues(source, path=options.data, language="en").dialogues
    principles = load_principles().all_text()
    drawn = sample_contexts(
        dialogues, n=options.conversations, per_dialogue=4, seed=7, min_seeker_turns=2
    )
    return [
        [
            [
                {"role": "system", "content": principles},
                {"role": "user", "content": f"(Conversation {number}.{index})"},
                *({"role": m.role, "content": m.text.strip()} for m in context.chat_messages()),
            ]
            for index, context in enumerate(drawn)
        ]
        for number in range(options.rounds + 1)
    ]


@contextmanager
def _server(settings: Settings, folder: Path) -> Iterator[VllmServer]:
    server = VllmServer(settings, folder / "server.log")
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _offline(
    python: Path, settings: Settings, adapter: Path | None, folder: Path
) -> Iterator[Offline]:
    options = {
        name.replace("-", "_"): value
        for name, value in server_options(settings, 0, build_of(python)).items()
        if name not in SERVER_ONLY
    }
    options["structured_outputs_config"] = json.loads(str(options["structured_outputs_config"]))
    offline = Offline(python, settings.base, options, adapter, folder / "offline.log")
    try:
        yield offline
    finally:
        offline.close()


class Least(NamedTuple):
    """What the matrix products of a round take at the measured rate of large ones."""

    seconds: float
    tokens_read: int
    """Of all prompts, what they share once."""


def _least(base: Path, conversations: Sequence[Chat], n_tokens: int) -> Least:
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base)
    n_read = len(forest([prompt_ids(tokenizer, chat) for chat in conversations]).ids)
    return Least(floor(model, n_read, len(conversations) * n_tokens, matmul_rate()), n_read)


def _report(
    options: argparse.Namespace,
    ours: list[Done],
    theirs: list[Done],
    ours_cpu: list[float],
    least: Least,
) -> None:
    sides = {"server and Inspect (ours)": ours, "LLM.chat, offline": theirs}
    rows = [
        [
            name,
            f"{median(done.tokens_per_s for done in rounds):.1f}",
            f"{median(done.seconds for done in rounds):.1f}",
        ]
        for name, rounds in sides.items()
    ]
    n_new = options.conversations * options.tokens
    name = f"floor, {least.tokens_read} distinct prompt tokens"
    rows.append([name, f"{n_new / least.seconds:.1f}", f"{least.seconds:.1f}"])
    pairs = list(zip(ours, theirs, strict=True))
    ratios = [a.tokens_per_s / b.tokens_per_s for a, b in pairs]
    same = [x == y for a, b in pairs for x, y in zip(a.texts, b.texts, strict=True)]
    shares = [cpu / done.seconds for cpu, done in zip(ours_cpu, ours, strict=True)]
    report(
        f"{options.conversations} conversations, {options.tokens} new tokens each, "
        f"{options.dtype}, {'an adapter' if options.adapter else 'the base'}",
        ["", "tokens/s", "seconds"],
        rows,
        {
            "ratio_vs_offline": round(median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "same_texts": round(sum(same) / len(same), 3),
            "over_floor": round(median(done.seconds for done in ours) / least.seconds, 2),
            "client_cpu_share": round(median(shares), 3),
        },
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.vllm", description=__doc__)
    parser.add_argument("--conversations", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--adapter", type=Path, help="a LoRA adapter on the embedded model")
    parser.add_argument(
        "--data", type=Path, help="a folder with ESConv; else the shipped dialogues"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
