"""What conversations cost beside a bare Inspect loop: CPU of our solver, user and scorers.

    python -m perf.harness
    python -m perf.harness --people 64 --turns 6 --replies control/oracle --language zh
    python -m perf.harness --people 16 --rounds 3 --model selfevo/default

Both sides are Inspect evals with the options of `selfevo.harness.run_eval`, on the same samples and
the same model, with one generate call a turn. Ours is `benchmarks/support.py`: solver, scripted
user, automatic scorers. The bare side is what anybody would write who had the user's words
beforehand: append a message, generate, again; then a scorer that gives everybody 1. A first
run records what users and supporters say; afterwards the bare solver reads the user's part from a
list, and the model repeats its part from memory, so it costs nothing: the harshest comparison. With
`--model` the model itself answers on both sides; its own CPU then varies by more than the harness
takes. From memory, both sides send the same histories and get the same replies.

Our caches of texts are emptied before each run: another checkpoint says other things. CPU is
`time.process_time` around `inspect_ai.eval`, sides alternate, and the ratio is the median over the
rounds; beside it stands the ratio of the cheapest round of each side, which a busy machine disturbs
least. Left out on both sides: the eval set around it, reading the log back, loading a model,
judges, and the 0.4 s an eval in which Inspect looks through the metadata of all installed packages
for the one that a task comes from.
"""

import argparse
import cProfile
import gc
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import _lru_cache_wrapper
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, cast

from inspect_ai import Task, task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.console import Console
from rich.table import Table

from benchmarks import starter
from benchmarks.dialogues import Language
from benchmarks.persona import load_personas
from benchmarks.support import sample_of, support
from selfevo.harness import lean
from selfevo.provider import CheckpointAPI, release_engines

REPLIES: Final = ("control/listener", "control/oracle", "control/stock", "starter")
MAX_SAMPLES: Final = 32
"""As in a recipe without a word about it."""
CACHED_TEXTS: Final = 1000
"""A larger cache holds texts; a smaller one data files, which a process reads once."""
PACKAGES: Final = ("benchmarks", "judges", "selfevo")
TOP: Final = 8
MAX_TOKENS: Final = 120

Heard = dict[str, tuple[str, ...]]
"""What a person says, turn by turn, by the person's id."""


class Side(NamedTuple):
    """One way to hold the conversations."""

    name: str
    task: Task


class Cost(NamedTuple):
    """What a side took."""

    cpu_s: float
    wall_s: float


@modelapi(name="recorded")
def recorded() -> type[ModelAPI]:
    """`recorded/NAME`, with `recording=FILE`."""
    return Recorded


class Recorded(ModelAPI):
    """Says again what was said: by the first words of the person and the number of the turn."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (the signature Inspect calls)
        recording: str = "",
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._replies: dict[str, list[str]] = json.loads(Path(recording).read_text("utf-8"))
        self.n_calls = 0

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The reply that belongs here."""
        self.n_calls += 1
        replies = self._replies[input[0].text]
        output = ModelOutput.from_content("recorded", replies[len(input) // 2 % len(replies)])
        output.usage = ModelUsage(input_tokens=0, output_tokens=1, total_tokens=1)
        return output

    def max_connections(self) -> int:
        """Nothing to wait for."""
        return 1000


@task
def our_task(language: Language, people: int | None, turns: int) -> Task:
    """`benchmarks/support.py` with everyone in the file, or so many."""
    return support(
        language=language, split=None, limit_users=people, turns=turns, max_tokens=MAX_TOKENS
    )


@solver
def bare_loop(spoken: str) -> Solver:
    """Append what the person says, generate; until the person has nothing more to say.

    Args:
        spoken: File of what each person says; its text would go into the header of the log.
    """
    heard = _read_heard(spoken)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.messages = []
        *answered, parting = heard[str(state.sample_id)]
        for text in answered:
            state.messages.append(ChatMessageUser(content=text))
            state = await generate(state)
        if parting:
            state.messages.append(ChatMessageUser(content=parting))
        return state

    return solve


@scorer(metrics=[mean()])
def one() -> Scorer:
    """Everybody scores 1."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=1.0)

    return score


@task
def bare_task(spoken: str, language: Language) -> Task:
    """The same samples without anything of ours.

    Args:
        spoken: File of what each person says.
        language: Of the people.
    """
    heard = _read_heard(spoken)
    people = load_personas(None, language=language, split=None)
    return Task(
        dataset=MemoryDataset([sample_of(p) for p in people if p.id in heard]),
        solver=bare_loop(spoken),
        scorer=one(),
        config=GenerateConfig(temperature=0, max_tokens=MAX_TOKENS),
    )


for _made_here in (our_task, bare_task):
    _made_here.__module__ = ""  # of no package that Inspect could look for


def _read_heard(spoken: str) -> Heard:
    heard: Heard = json.loads(Path(spoken).read_text("utf-8"))
    return heard


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one JSON line."""
    options = _parser().parse_args(arguments)
    language: Language = options.language
    with tempfile.TemporaryDirectory() as folder:
        ours = our_task(language, options.people, options.turns)
        recording = Path(folder) / "recording.json"
        heard = _record(ours, options.model or options.replies, language, recording)
        spoken = Path(folder) / "spoken.json"
        spoken.write_text(json.dumps(heard), "utf-8")
        bare = bare_task(str(spoken), language)
        recorded_model = get_model("recorded/any", recording=str(recording))
        model = get_model(options.model) if options.model else recorded_model
        sides = (Side("selfevo", ours), Side("bare", bare))
        for side in sides if model is recorded_model else ():  # warm; a model is by now
            _cost(side, model, folder)
        rounds = [
            {side.name: _cost(side, model, folder) for side in (sides if i % 2 else sides[::-1])}
            for i in range(options.rounds)
        ]
        n_turns = sum(len(texts) - 1 for texts in heard.values())
        n_calls = 2 * (options.rounds + 1) * n_turns
        assert options.model or model.api.n_calls == n_calls  # type: ignore[attr-defined]
        profile = _profile(sides[0], recorded_model, folder)
    _show(rounds, len(heard), n_turns, profile, options.model or options.replies)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf.harness", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--people", type=int, help="only so many; without it, all in the file")
    parser.add_argument("--turns", type=int, default=8, help="replies a conversation has at most")
    parser.add_argument("--rounds", type=int, default=7, help="of both sides (default 7)")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--model", help="answers on both sides; without it, recorded replies")
    parser.add_argument(
        "--replies",
        choices=REPLIES,
        default=REPLIES[0],
        help="whose replies are repeated; starter: those of the starter dialogues, each said once",
    )
    return parser


def _record(ours: Task, replies: str, language: Language, recording: Path) -> Heard:
    """Hold the conversations once: the replies go to the file, the person's words come back."""
    if replies == "starter":
        recording.write_text(json.dumps(_starter_replies(ours, language)), "utf-8")
        model = get_model("recorded/starter", recording=str(recording))
    else:
        model = get_model(replies)
    log = _eval(ours, model, str(recording.parent))
    heard: Heard = {}
    said: dict[str, list[str]] = {}
    for sample in log.samples or []:
        mine = [m.text for m in sample.messages if m.role == "user"]
        said[mine[0]] = [m.text for m in sample.messages if m.role == "assistant"]
        silent = [""] if len(mine) == len(said[mine[0]]) else []
        heard[str(sample.id)] = (*mine, *silent)
    recording.write_text(json.dumps(said), "utf-8")
    return heard


def _starter_replies(ours: Task, language: Language) -> dict[str, list[str]]:
    """The supporters' turns of the starter dialogues, dealt to the people."""
    dialogues = starter.load(None, language).dialogues
    turns = [t.text for d in dialogues for t in d.turns if t.speaker == "supporter"]
    openings = [str(sample.input) for sample in ours.dataset]
    return {opening: turns[i :: len(openings)] for i, opening in enumerate(openings)}


def _eval(held: Task, model: Model, folder: str) -> EvalLog:
    with lean(MAX_SAMPLES) as options:
        [log] = inspect_eval(held, model=model, log_dir=folder, **options)
    if log.status != "success":
        sys.exit(f"perf/harness.py: the eval of {held.name} failed; see {log.location}")
    return log


def _cost(side: Side, model: Model, folder: str) -> Cost:
    _forget_texts()
    if isinstance(
        model.api, CheckpointAPI
    ):  # loaded anew, it has not read what the other side said
        release_engines()
        model.api.engine  # noqa: B018
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    _eval(side.task, model, folder)
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def _forget_texts() -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in PACKAGES:
            continue
        for value in vars(module).values():
            if isinstance(value, _lru_cache_wrapper):
                size = value.cache_parameters()["maxsize"]
                if size and size >= CACHED_TEXTS:
                    value.cache_clear()


class Profile(NamedTuple):
    """Where the CPU of our side goes, under cProfile."""

    parts: dict[str, float]
    """Share of the whole, by package."""
    functions: list[tuple[str, float, int]]
    """Own functions: seconds without what they call, calls."""


_PARTS: Final = {
    "user": ("scripted_user.py", "answer"),
    "scorers": ("support.py", "score"),
    "solve": ("conversation.py", "solve"),
    "generate": ("conversation.py", "_generated"),
}
"""Functions whose time, with what they call, is that of a part."""


def _profile(side: Side, model: Model, folder: str) -> Profile:
    _forget_texts()
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    _eval(side.task, model, folder)
    profiler.disable()
    stats = pstats.Stats(profiler)
    rows = cast(dict[tuple[str, int, str], tuple[int, int, float, float, object]], stats.stats)  # type: ignore[attr-defined]
    spent = {
        part: sum(row[3] for key, row in rows.items() if (Path(key[0]).name, key[2]) == place)
        for part, place in _PARTS.items()
    }
    whole = cast(float, stats.total_tt)  # type: ignore[attr-defined]
    solver_s = spent["solve"] - spent["generate"] - spent["user"]
    own = {"user": spent["user"], "scorers": spent["scorers"], "solver": solver_s}
    parts = {**own, "inspect": whole - sum(own.values())}
    functions = [
        (f"{Path(file).parent.name}/{Path(file).name}:{name}", row[2], row[0])
        for (file, _, name), row in rows.items()
        if Path(file).parent.name in PACKAGES
    ]
    functions.sort(key=lambda f: -f[1])
    return Profile({name: s / whole for name, s in parts.items()}, functions[:TOP])


def _show(
    rounds: Sequence[dict[str, Cost]], n_people: int, n_turns: int, profile: Profile, replies: str
) -> None:
    console = Console()
    table = Table(title=f"{n_people} conversations, {n_turns} replies of {replies}")
    for column in ("side", "CPU s", "samples/s", "CPU ms/turn"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name in rounds[0]:
        cpu = median(r[name].cpu_s for r in rounds)
        wall = median(r[name].wall_s for r in rounds)
        table.add_row(name, f"{cpu:.2f}", f"{n_people / wall:.1f}", f"{1000 * cpu / n_turns:.2f}")
    console.print(table)
    where = Table(title="where our side's CPU goes (cProfile), replies recorded")
    where.add_column("part")
    where.add_column("share", justify="right")
    for name, share in profile.parts.items():
        where.add_row(name, f"{share:.1%}")
    console.print(where)
    top = Table(title="own functions, without what they call")
    for column in ("function", "s", "calls"):
        top.add_column(column, justify="left" if column == "function" else "right")
    for function, seconds, calls in profile.functions:
        top.add_row(function, f"{seconds:.3f}", str(calls))
    console.print(top)
    ratios = [r["selfevo"].cpu_s / r["bare"].cpu_s for r in rounds]
    least = {name: min(r[name].cpu_s for r in rounds) for name in rounds[0]}
    print(
        json.dumps(
            {
                "replies": replies,
                "harness_over_bare": round(median(ratios), 3),
                "range": [round(min(ratios), 3), round(max(ratios), 3)],
                "ratio_of_least": round(least["selfevo"] / least["bare"], 3),
                **{f"{name}_share": round(share, 3) for name, share in profile.parts.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
