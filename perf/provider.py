"""Conversations a minute: our local provider beside Inspect's `hf`, on the same checkpoint.

    python -m perf.provider --data PATH/TO/esconv
    python -m perf.provider --layers 2

Both sides are Inspect evals, each side in a process of its own, as people use them: the same bare
solver, an instant user who says what real seekers said, the same tokens read, replies of exactly
`--tokens` tokens, float32, greedy. The checkpoint never ends its turn (`perf/checkpoints.py`); `hf`
also needs `do_sample=false` (it refuses temperature 0) and no second BOS. Time runs from the first
prompt to the last reply; `eval` is the whole eval, with what Inspect needs to begin and to end.
Before each round a side writes a reply to somebody else; ours is loaded anew before that, so that
it knows nothing of the round before. Loading, and the recording of a step (`selfevo/step.py`), are
not in the figures: `ready` says what they take.

`hf` has two rows: as it comes, and told to expect a batch of just this size (`max_connections`),
which spares it the wait for further requests. Ratios are against the first; those against the
second end in `_tuned`. Scheduling is what a turn of all conversations takes outside our engine,
less what Inspect takes for the same with one that answers at once (`control/stock`), and less the
time in which prompts are rendered and tokenized, which both providers do.

Three models: two layers with random weights and 2,048 tokens (`tiny`: nearly all is overhead), the
first two layers of the embedded model (nearly all is its head of 49,152 tokens), and all of it.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ChatMessage, ChatMessageUser, GenerateConfig, Model, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.dialogues import load_dialogues
from perf.checkpoints import END_OF_TURN, never_ending, tiny
from perf.machine import matmul_rate, report
from perf.work import counted, floor
from selfevo.provider import release_engines
from selfevo.quiet import quiet_libraries
from selfevo.step import PLAIN_STEPS
from selfevo.tokens import prompt_ids

N_BARE = 7
"""Runs of a model that answers at once: short, so a pause of the machine would show in one."""


OTHERS_WORDS = "Hello, is anybody there?"


class Work(NamedTuple):
    """What is asked of a side: conversations, and where its log goes."""

    turns: dict[str, list[str]]
    n_tokens: int
    log_dir: Path


class Run(NamedTuple):
    """What one eval took, in seconds."""

    talk_s: float
    eval_s: float
    compute_s: float
    """Inside our engine."""
    prompts_s: float
    """In which our provider made prompts of messages."""
    n_read: int
    """Prompt tokens that our engine read."""
    ready_s: float
    """Loading, where it is anew, and the reply to somebody else."""
    log: str
    """Where it is."""


class Side:
    """A way to hold the conversations: a model in a process of its own."""

    def __init__(self, name: str, model: str, **options: Any) -> None:
        """`options`: of `get_model`."""
        self.name = name
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_open, initargs=(model, options)
        )

    def run(self, work: Work) -> Run:
        """Hold the conversations."""
        return self._process.submit(_held, work).result()

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


_MODEL: list[Model] = []
"""In a side's process, its model."""


def _open(model: str, options: dict[str, Any]) -> None:
    with quiet_libraries():
        _MODEL.append(get_model(model, memoize=False, **options))


def _held(work: Work) -> Run:
    """In a side's process."""
    start = time.perf_counter()
    release_engines()  # ours is loaded anew at the next reply
    _eval(Work({"other": [OTHERS_WORDS]}, 2 * PLAIN_STEPS, work.log_dir))
    ready_s = time.perf_counter() - start
    return _eval(work)._replace(ready_s=ready_s)


class Span:
    """When the first conversation began and the last one ended."""

    def __init__(self) -> None:
        self.start = float("inf")
        self.stop = 0.0


@solver
def talk(turns: dict[str, list[str]], span: Span) -> Solver:
    """Say the person's next words, generate; until they have said everything."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        span.start = min(span.start, time.perf_counter())
        state.messages = []
        for text in turns[str(state.sample_id)]:
            state.messages.append(ChatMessageUser(content=text))
            state = await generate(state)
        span.stop = max(span.stop, time.perf_counter())
        return state

    return solve


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one JSON line."""
    options = _parser().parse_args(arguments)
    layers = ["tiny", "2", "full"] if options.layers is None else [options.layers]
    rows: list[list[str]] = []
    ratios: dict[str, Any] = {}
    turns = _seeker_turns(options.data, options.conversations, options.turns)
    for n_layers in layers:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "checkpoint"
            if n_layers == "tiny":
                tiny(checkpoint)
            else:
                never_ending(checkpoint, None if n_layers == "full" else int(n_layers))
            name = _NAMES.get(n_layers, f"smollm2_{n_layers}_layers")
            _measure(name, checkpoint, turns, options, rows, ratios)
    columns = [
        "",
        "talk s",
        "eval s",
        "conv/min",
        "tok/s",
        "prompt tokens read",
        "inside s",
        "ready s",
    ]
    report(f"{len(turns)} conversations x {options.turns} turns", columns, rows, ratios)


_NAMES = {"tiny": "2_layers", "full": "smollm2"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf.provider", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, help="folder of ESConv; else the starter dialogues")
    parser.add_argument("--layers", help="tiny, full or a number of layers; else tiny, 2, full")
    parser.add_argument("--conversations", type=int, default=16)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=60, help="of a reply (default 60)")
    parser.add_argument("--rounds", type=int, default=1, help="of all sides (default 1)")
    parser.add_argument("--check", type=int, default=8, help="replies compared with `generate`")
    return parser


def _seeker_turns(data: Path | None, n: int, n_turns: int) -> dict[str, list[str]]:
    """What each person says: the first turns of as many dialogues; short ones are continued."""
    source = "starter" if data is None else "esconv"
    dialogues = sorted(load_dialogues(source, path=data, language="en").dialogues, key=_by_id)
    random.Random(7).shuffle(dialogues)
    said = [[t.text.strip() for t in d.turns if t.speaker == "seeker"] for d in dialogues]
    people: dict[str, list[str]] = {}
    rest = iter(said * (1 + n * n_turns // len(said)))
    for number in range(n):
        texts: list[str] = []
        while len(texts) < n_turns:
            texts += next(rest)
        people[f"person-{number}"] = texts[:n_turns]
    return people


def _by_id(dialogue: Any) -> str:
    return str(dialogue.id)


def _measure(
    name: str,
    checkpoint: Path,
    turns: dict[str, list[str]],
    options: argparse.Namespace,
    rows: list[list[str]],
    ratios: dict[str, Any],
) -> None:
    work = Work(turns, options.tokens, checkpoint.parent)
    hf: dict[str, Any] = {
        "dtype": "float32",
        "do_sample": False,
        "tokenizer_call_args": {"add_special_tokens": False},
    }
    tuned = GenerateConfig(max_connections=len(turns))
    sides = (
        Side("selfevo", f"selfevo/{checkpoint}", dtype="float32"),
        Side("hf", f"hf/{checkpoint}", **hf),
        Side("hf, tuned", f"hf/{checkpoint}", config=tuned, **hf),
    )
    bare = Side("bare", "control/stock")
    nothing = [bare.run(work).talk_s for _ in range(N_BARE)]
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for index in range(options.rounds):
        for side in sides if index % 2 == 0 else sides[::-1]:
            runs[side.name].append(side.run(work))
    for side in (*sides, bare):
        side.close()
    logs = {side.name: read_eval_log(runs[side.name][-1].log) for side in sides}
    n_written = len(turns) * options.turns * options.tokens
    for side in sides:
        talk_s = median(run.talk_s for run in runs[side.name])
        is_ours = side.name == "selfevo"
        run = runs[side.name][-1]
        read = sum(len(ids) for ids in _prompts(logs[side.name], checkpoint))
        rows.append(
            [
                f"{name}, {side.name}",
                f"{talk_s:.2f}",
                f"{median(run.eval_s for run in runs[side.name]):.2f}",
                f"{60 * len(turns) / talk_s:.1f}",
                f"{n_written / talk_s:.0f}",
                f"{run.n_read} of {read}" if is_ours else str(read),
                f"{run.compute_s:.2f}" if is_ours else "",
                f"{run.ready_s:.1f}",
            ]
        )
    ours, theirs, best = (median(r.talk_s for r in runs[side.name]) for side in sides)
    last = runs["selfevo"][-1]
    rate = matmul_rate()
    least = floor(_model(checkpoint), last.n_read, n_written, rate)
    rows.append([f"{name}, floor at {rate / 1e9:.0f} GFLOP/s", f"{least:.2f}", *[""] * 6])
    outside = median(r.talk_s - r.compute_s - r.prompts_s for r in runs["selfevo"]) / options.turns
    prompts = median(r.prompts_s for r in runs["selfevo"]) / options.turns
    inspects = median(nothing) / options.turns
    ratios |= {
        f"ratio_{name}": round(theirs / ours, 2),
        f"ratio_{name}_tuned": round(best / ours, 2),
        f"scheduling_ms_per_turn_{name}": round(1000 * (outside - inspects), 1),
        f"inspect_ms_per_turn_{name}": round(1000 * inspects, 1),
        f"prompts_ms_per_turn_{name}": round(1000 * prompts, 1),
        f"greedy_identical_{name}": _is_greedy(logs["selfevo"], checkpoint, options),
        f"same_replies_as_hf_{name}": _share_equal(logs["selfevo"], logs["hf"]),
    }


def _eval(work: Work) -> Run:
    span = Span()
    task = Task(
        dataset=MemoryDataset([Sample(id=person, input="-") for person in work.turns]),
        solver=talk(work.turns, span),
        config=GenerateConfig(max_tokens=work.n_tokens),
    )
    start = time.perf_counter()
    with counted() as done:
        [log] = inspect_eval(
            task,
            _MODEL[0],
            log_dir=str(work.log_dir),
            display="none",
            log_realtime=False,
            max_samples=len(work.turns),
        )
    if log.status != "success":
        raise SystemExit(f"{_MODEL[0]}: {log.error}")
    eval_s = time.perf_counter() - start
    seconds = span.stop - span.start
    return Run(seconds, eval_s, done.compute_s, done.prompts_s, done.n_read, 0.0, log.location)


class _Reply(NamedTuple):
    """A reply and what was read for it."""

    prompt: list[int]
    text: str


def _replies(log: EvalLog, tokenizer: Any) -> list[_Reply]:
    found = []
    for sample in log.samples or []:
        for index, message in enumerate(sample.messages):
            if message.role == "assistant":
                before = _dicts(sample.messages[:index])
                found.append(_Reply(prompt_ids(tokenizer, before), message.text))
    return found


def _prompts(log: EvalLog, checkpoint: Path) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return [reply.prompt for reply in _replies(log, tokenizer)]


def _dicts(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.text} for m in messages]


def _is_greedy(log: EvalLog, checkpoint: Path, options: argparse.Namespace) -> bool:
    """Some of our replies, each against transformers' own greedy search of its prompt alone."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = _model(checkpoint)
    replies = _replies(log, tokenizer)
    for prompt, text in random.Random(1).sample(replies, min(options.check, len(replies))):
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=options.tokens,
            pad_token_id=END_OF_TURN,
        )
        new = out[0, len(prompt) :]
        assert len(new) == options.tokens
        if tokenizer.decode(new, skip_special_tokens=True) != text:
            return False
    return True


def _share_equal(ours: EvalLog, theirs: EvalLog) -> float:
    """Share of the replies that both sides gave."""
    said = [
        {(s.id, i): m.text.strip() for s in log.samples or [] for i, m in enumerate(s.messages)}
        for log in (ours, theirs)
    ]
    equal = [said[1].get(key) == text for key, text in said[0].items() if key[1] % 2]
    return round(sum(equal) / len(equal), 3)


def _model(checkpoint: Path) -> Any:
    with quiet_libraries():
        return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


if __name__ == "__main__":
    main()
