"""The material of a run: base model, training dialogues, contexts of each round, held-out people.

Held-out people come from the gate split and are never trained on; the final split is not touched.
Everything is drawn before anything is trained, so a recipe that asks for too much fails at once. It
is stored in the run folder, so a resumed run uses the same material even if the source changed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from benchmarks.contexts import Context, contexts_of, sample_contexts
from benchmarks.dialogues import Dialogue, LoadReport, load_dialogues
from benchmarks.heldout import read_contexts, write_contexts
from benchmarks.instructions import (
    Instruction,
    InstructionSplit,
    load_instructions,
    split_instructions,
)
from benchmarks.splits import Splits, check_leakage, split_dialogues
from selfevo.checkpoint import content_hash, is_adapter, resolve
from selfevo.config import RunConfig
from selfevo.errors import RunError, UsageError
from selfevo.evaluation import HeldOut
from selfevo.principles import load_principles
from selfevo.progress import console
from selfevo.run import Run, RunInfo, describe_run
from selfevo.seeds import derived_seed
from selfevo.users import store_people

Row = TypeVar("Row", bound=BaseModel)


class Material(NamedTuple):
    """Everything that goes into a run."""

    base: Path
    dialogues: tuple[Dialogue, ...]
    """Of phase 1."""
    replay: tuple[Instruction, ...]
    contexts: tuple[Path, ...]
    """The file of each round's contexts."""
    heldout: HeldOut


def gather(run: Run) -> Material:
    """Load, clean, split and draw; stores what was drawn and reports what was dropped."""
    config = run.config
    base = resolve(config.model.base)
    if is_adapter(base):
        raise UsageError(
            f"model.base: {base} is an adapter, and phase 1 trains one of its own; give a full "
            "model (an adapter is merged into its base with PEFT's merge_and_unload)"
        )
    _refuse_changed_inputs(run, base)
    source = _Source(run)
    dialogues = _stored(
        run,
        "data/train.jsonl",
        Dialogue,
        lambda: _draw(source.splits.train, config.data.train, config.seed, "data.train"),
    )
    replay = _stored(
        run,
        "data/replay.jsonl",
        Instruction,
        lambda: _replay(source.instructions.replay, len(dialogues), config),
    )
    heldout = _hold_out(run, source)
    if config.from_users:
        store_people(run, "train")
    contexts = tuple(_round_contexts(run, number, source) for number in range(1, config.rounds + 1))
    return Material(base, dialogues, replay, contexts, heldout)


class _Source:
    """What the recipe names as data; read only if something of it is not in the run folder yet."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @cached_property
    def splits(self) -> Splits:
        return _load(self._run)

    @cached_property
    def instructions(self) -> InstructionSplit:
        config = self._run.config
        replay, asked = config.sft.replay, config.evaluation.retention or 0
        items = load_instructions(replay.source, path=replay.path, language=config.data.language)
        if len(items) < asked:
            raise UsageError(
                f"evaluation.retention: {asked} instructions asked for, the source of sft.replay "
                f"has {len(items)}; lower it or name a larger source"
            )
        return split_instructions(items, heldout=asked, seed=config.seed)


def _round_contexts(run: Run, number: int, source: _Source) -> Path:
    """The file of a round's contexts: from the training split, none of an earlier round."""
    config = run.config.synthesis
    wanted = config.contexts - run.config.from_users

    def draw(partial: Path) -> None:
        used = {
            context.id
            for earlier in range(1, number)
            for context in read_contexts(_round_contexts(run, earlier, source))
        }
        drawn = sample_contexts(
            source.splits.train,
            n=wanted + len(used),
            per_dialogue=config.per_dialogue * number,
            seed=derived_seed(run.config.seed, "contexts"),
            min_seeker_turns=config.min_seeker_turns,
            max_messages=run.config.data.max_messages,
        )
        fresh = [context for context in drawn if context.id not in used][:wanted]
        if len(fresh) < wanted:
            raise UsageError(
                f"synthesis.contexts: round {number} asks for {wanted} contexts, the "
                f"training split has {len(fresh)} unused ones; lower it or raise "
                "synthesis.per_dialogue"
            )
        _require_others(fresh, config.contrast, "synthesis.contrast", "synthesis.contexts")
        write_contexts(partial, fresh)

    return run.once(f"round-{number}/contexts.jsonl", draw)


def _require_others(contexts: Sequence[Context], contrast: int, key: str, pool: str) -> None:
    """Everyone needs `contrast` other people to be told apart from."""
    n_people = len({context.dialogue_id for context in contexts})
    if n_people <= contrast:
        raise UsageError(
            f"{key}: {contrast} other people asked for each, but there are {n_people} people in "
            f"all; lower it or raise {pool}"
        )


def _load(run: Run) -> Splits:
    config = run.config.data
    loaded = load_dialogues(config.source, path=config.path, language=config.language)
    splits = split_dialogues(loaded.dialogues, seed=run.config.seed)
    leaks = check_leakage(splits)
    if leaks:
        raise RunError(
            f"{len(leaks)} situations stand in two splits, the first: {leaks[0].situation}"
        )
    if not run.has("data/report.json"):
        console.print(f"data: {_summary(loaded.report, splits)}")
    run.record("data/report.json", LoadReport, lambda: loaded.report)
    return splits


def _summary(report: LoadReport, splits: Splits) -> str:
    drops = ", ".join(f"{n} {reason}" for reason, n in report.counts().items()) or "nothing"
    leaked = (
        f"; {len(splits.dropped)} left out of held-out splits (seen situation)"
        if splits.dropped
        else ""
    )
    return (
        f"{report.n_kept} of {report.n_read} dialogues ({len(splits.train)} train, "
        f"{len(splits.gate)} gate, {len(splits.final)} final); dropped: {drops}{leaked}"
    )


def _draw(dialogues: Sequence[Dialogue], n: int, seed: int, key: str) -> tuple[Dialogue, ...]:
    """`n` dialogues, chosen by hash: the choice does not depend on the order of the files."""
    if len(dialogues) < n:
        raise UsageError(
            f"{key}: {n} dialogues asked for, the split has {len(dialogues)}; lower {key}"
        )
    return tuple(sorted(dialogues, key=lambda d: derived_seed(seed, key, d.id))[:n])


def _replay(
    items: Sequence[Instruction], n_dialogues: int, config: RunConfig
) -> tuple[Instruction, ...]:
    """As many instructions as make up the configured share of all training examples."""
    share = config.sft.replay.share
    if share >= 1:
        raise UsageError("sft.replay.share: 1 leaves no room for dialogues; choose less than 1")
    n = round(share / (1 - share) * n_dialogues)
    if n > len(items):
        raise UsageError(
            f"sft.replay.share: {share} of the training examples is {n} instructions, the source "
            f"has {len(items)} that are not held out; lower it or name a larger source"
        )
    return tuple(items[:n])


def _hold_out(run: Run, source: _Source) -> HeldOut:
    contexts = run.once(
        "data/heldout.jsonl", lambda partial: write_contexts(partial, _heldout(run.config, source))
    )
    people = run.once(
        "data/heldout-people.jsonl",
        lambda partial: write_contexts(partial, _last_of_each(read_contexts(contexts))),
    )
    files, kept = [contexts, people], None
    if run.config.evaluation.retention is not None:
        kept = run.once(
            "data/retention.jsonl",
            lambda partial: _write_rows(partial, source.instructions.heldout),
        )
        files.append(kept)
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
    return HeldOut(contexts, people, kept, store_people(run, "gate"), digest)


def _heldout(config: RunConfig, source: _Source) -> list[Context]:
    """The contexts of people drawn from the gate split."""
    settings = config.evaluation
    eligible = [
        dialogue
        for dialogue in source.splits.gate
        if contexts_of(dialogue, min_seeker_turns=settings.min_seeker_turns)
    ]
    people = _draw(eligible, settings.dialogues, config.seed, "evaluation.dialogues")
    drawn = sample_contexts(
        people,
        n=settings.dialogues * settings.per_dialogue,
        per_dialogue=settings.per_dialogue,
        seed=config.seed,
        min_seeker_turns=settings.min_seeker_turns,
        max_messages=config.data.max_messages,
    )
    _require_others(drawn, settings.contrast, "evaluation.contrast", "evaluation.dialogues")
    return drawn


def _last_of_each(contexts: Sequence[Context]) -> list[Context]:
    """The latest context of each person: the one that shows the most of them."""
    latest: dict[str, Context] = {}
    for context in sorted(contexts, key=lambda c: (c.dialogue_id, c.turn)):
        latest[context.dialogue_id] = context
    return list(latest.values())


def _stored(
    run: Run, name: str, kind: type[Row], draw: Callable[[], Sequence[Row]]
) -> tuple[Row, ...]:
    """The rows of the artefact `name`, drawn if they are missing."""
    path = run.once(name, lambda partial: _write_rows(partial, draw()))
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # texts may hold U+2028
    return tuple(kind.model_validate_json(line) for line in lines)


def _write_rows(path: Path, rows: Sequence[BaseModel]) -> None:
    path.write_text(
        "".join(json.dumps(row.model_dump(), ensure_ascii=False) + "\n" for row in rows),
        encoding="utf-8",
    )


def _refuse_changed_inputs(run: Run, base: Path) -> None:
    """The run's base model and principles must be those it began to compute with.

    Raises:
        RunError: one of them changed.
    """
    model, principles = content_hash(base), load_principles(run.config.synthesis.principles).hash

    def describe() -> RunInfo:
        return describe_run(base_model=model, principles=principles)

    info = run.record("run.json", RunInfo, describe)
    if (info.base_model, info.principles) != (model, principles) and not run.has_computed():
        run.replace("run.json", describe())  # such as a template that was corrected
        return
    for what, then, now in (
        ("base model", info.base_model, model),
        ("principles", info.principles, principles),
    ):
        if then != now:
            raise RunError(
                f"{run.root}: the {what} changed since the run began ({then[:12]} -> {now[:12]}); "
                "restore it or choose another --run folder"
            )
