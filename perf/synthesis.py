"""Draft, reflect, refine of many contexts: our provider beside plain batched `generate`.

    python -m perf.synthesis --data PATH/TO/esconv

The prompts are those of the recipe's strategy `generate`, for contexts of which several belong to
one dialogue. What a stage gives to the next is fixed (a supporter's own words as the draft, one
reflection), so both sides read the same prompts; both write the same numbers of tokens, greedily,
with a checkpoint that never ends its turn (`perf/checkpoints.py`). Ours: every context is a
coroutine that goes through its stages, 32 at a time. Plain: all drafts, then all reflections, then
all refinements, each sorted by length and in left-padded batches of 32.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, NoReturn, cast

import anyio
import torch
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    get_model,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.dialogues import Dialogue
from benchmarks.reflect import Inference, Reflection, reflect_by_generation
from perf.checkpoints import END_OF_TURN, never_ending
from perf.machine import matmul_rate, report
from perf.material import long_dialogues, messages
from perf.work import counted, floor
from selfevo.principles import load_principles
from selfevo.provider import release_engines
from selfevo.quiet import quiet_libraries
from selfevo.refine import Reply, refine_by_generation
from selfevo.tokens import prompt_ids

STAGES = ("draft", "reflect", "refine")
TOKENS = (56, 80, 80)
"""That the stages write."""
BATCH = 32
REFLECTION = Reflection(
    personality=Inference(value="a worried person", evidence="I do not know what to do"),
    emotion=Inference(value="anxiety", evidence="I am anxious"),
    situation=Inference(value="something at work went wrong", evidence="my job"),
    need=Inference(value="to be listened to", evidence="nobody listens"),
)


class Prompts(NamedTuple):
    """What the stages of one context read."""

    draft: list[ChatMessage]
    reflect: list[ChatMessage]
    refine: list[ChatMessage]


class Asked(Exception):
    """Carries what a model was asked."""

    def __init__(self, asked: list[ChatMessage]) -> None:
        self.asked = asked


class Listener:
    """Takes the place of a model and answers with what it was asked."""

    async def generate(self, asked: list[ChatMessage], config: GenerateConfig) -> NoReturn:
        """Raise what was asked."""
        raise Asked(asked)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one JSON line."""
    options = _parser().parse_args(arguments)
    dialogues = long_dialogues(options.data, options.dialogues, min_turns=options.contexts)
    contexts = anyio.run(_all_prompts, dialogues, options.contexts)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        never_ending(checkpoint, options.layers)
        with quiet_libraries():
            plain = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        ids = [[prompt_ids(tokenizer, _dicts(asked)) for asked in prompts] for prompts in contexts]
        seconds: dict[str, list[float]] = {"selfevo": [], "generate": []}
        texts: dict[str, list[list[str]]] = {}
        for _ in range(options.rounds):
            release_engines()  # or it would know what it read in the round before
            model = get_model(f"selfevo/{checkpoint}", memoize=False, dtype="float32")
            with counted() as work:
                took, texts["selfevo"] = _timed(lambda m=model: _ours(m, contexts))  # type: ignore[misc]
            seconds["selfevo"].append(took)
            took, texts["generate"] = _timed(lambda: _plain(plain, tokenizer, ids))
            seconds["generate"].append(took)
    n_prompt = sum(len(prompt) for prompts in ids for prompt in prompts)
    n_written = len(contexts) * sum(TOKENS)
    rate = matmul_rate()
    ours, theirs = (median(seconds[name]) for name in ("selfevo", "generate"))
    least = floor(plain, work.n_read, n_written, rate)
    rows = [
        ["selfevo", f"{ours:.1f}", f"{n_written / ours:.0f}", str(work.n_read)],
        ["generate", f"{theirs:.1f}", f"{n_written / theirs:.0f}", str(n_prompt)],
        [f"floor at {rate / 1e9:.0f} GFLOP/s", f"{least:.1f}", "", ""],
    ]
    title = f"{len(contexts)} contexts of {len(dialogues)} dialogues, {'/'.join(map(str, TOKENS))}"
    ratios = {
        "ratio_synthesis": round(theirs / ours, 2),
        "share_of_prompt_tokens_read": round(work.n_read / n_prompt, 3),
        "share_of_equal_texts": _share_equal(texts["selfevo"], texts["generate"]),
        "over_floor": round(ours / least, 2),
    }
    report(f"{title} tokens", ["", "s", "tok/s written", "prompt tokens read"], rows, ratios)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf.synthesis", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, help="folder of ESConv; else the starter dialogues")
    parser.add_argument("--dialogues", type=int, default=8)
    parser.add_argument("--contexts", type=int, default=8, help="of a dialogue (default 8)")
    parser.add_argument("--layers", type=int, help="only the first layers of the embedded model")
    parser.add_argument("--rounds", type=int, default=1, help="of both sides (default 1)")
    return parser


async def _all_prompts(dialogues: Sequence[Dialogue], n_contexts: int) -> list[Prompts]:
    """Of each dialogue its first contexts, dialogue by dialogue, as a recipe has them."""
    rng = random.Random(7)
    found = []
    for dialogue in dialogues:
        at = [i for i, turn in enumerate(dialogue.turns) if turn.speaker == "supporter" and i > 0]
        for index in at[:n_contexts]:
            talk = [_message(m) for m in messages(dialogue, index)]
            draft = Reply(text=dialogue.turns[rng.choice(at)].text, stop_reason="stop")
            found.append(await _prompts(talk, draft))
    return found


async def _prompts(talk: list[ChatMessage], draft: Reply) -> Prompts:
    principles = load_principles()
    listener = cast(Model, Listener())
    config = GenerateConfig()
    try:
        await reflect_by_generation(listener, talk, principles.reflecting, config)
    except Asked as reflect:
        asked = reflect.asked
    try:
        await refine_by_generation(listener, talk, draft, REFLECTION.text(), principles, config)
    except Asked as refine:
        return Prompts(talk, asked, refine.asked)
    raise AssertionError("the listener never answers")


def _timed(run: Callable[[], list[list[str]]]) -> tuple[float, list[list[str]]]:
    start = time.perf_counter()
    texts = run()
    return time.perf_counter() - start, texts


def _ours(model: Model, contexts: Sequence[Prompts]) -> list[list[str]]:
    """Each context goes through its stages."""
    texts: list[list[str]] = [[] for _ in contexts]

    async def one(index: int, limit: anyio.CapacityLimiter) -> None:
        async with limit:
            for asked, n_tokens in zip(contexts[index], TOKENS, strict=True):
                config = GenerateConfig(temperature=0, max_tokens=n_tokens)
                texts[index].append((await model.generate(asked, config=config)).completion)

    async def everyone() -> None:
        limit = anyio.CapacityLimiter(BATCH)
        async with anyio.create_task_group() as tasks:
            for index in range(len(contexts)):
                tasks.start_soon(one, index, limit)

    anyio.run(everyone)
    return texts


def _plain(model: Any, tokenizer: Any, ids: Sequence[Sequence[list[int]]]) -> list[list[str]]:
    """Stage by stage, in batches of similar length."""
    texts = [["", "", ""] for _ in ids]
    for stage, n_tokens in enumerate(TOKENS):
        order = sorted(range(len(ids)), key=lambda row: len(ids[row][stage]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            width = max(len(ids[row][stage]) for row in rows)
            padded = [[END_OF_TURN] * (width - len(ids[r][stage])) + ids[r][stage] for r in rows]
            mask = [[0] * (width - len(ids[r][stage])) + [1] * len(ids[r][stage]) for r in rows]
            out = model.generate(
                torch.tensor(padded),
                attention_mask=torch.tensor(mask),
                do_sample=False,
                max_new_tokens=n_tokens,
                pad_token_id=END_OF_TURN,
            )[:, width:]
            assert out.shape[1] == n_tokens
            for row, text in zip(
                rows, tokenizer.batch_decode(out, skip_special_tokens=True), strict=True
            ):
                texts[row][stage] = text
    return texts


def _share_equal(ours: list[list[str]], theirs: list[list[str]]) -> float:
    pairs = [p for a, b in zip(ours, theirs, strict=True) for p in zip(a, b, strict=True)]
    return round(sum(a == b for a, b in pairs) / len(pairs), 3)


def _message(message: dict[str, str]) -> ChatMessage:
    kind = ChatMessageUser if message["role"] == "user" else ChatMessageAssistant
    return kind(content=message["content"])


def _dicts(asked: Sequence[ChatMessage]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.text} for m in asked]


if __name__ == "__main__":
    main()
