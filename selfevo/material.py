"""The material of a run: base model, dialogues to train on, contexts for each round, held-out people, instructions.

Held-out people come from the gate split and are never trained on; the final split is not touched. What was drawn is stored
in the run folder, so that a resumed run uses the same people even if the source has changed.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.contexts import Context, contexts_of, sample_contexts
from benchmarks.dialogues import Dialogue, LoadReport, load_dialogues
from benchmarks.heldout import read_contexts, write_contexts
from benchmarks.instructions import Instruction, load_instructions, split_instructions
from benchmarks.splits import Splits, check_leakage, split_dialogues
from selfevo.checkpoint import content_hash, resolve
from selfevo.config import RunConfig
from selfevo.errors import RunError, UsageError
from selfevo.evaluation import HeldOut
from selfevo.principles import load_principles
from selfevo.progress import console
from selfevo.run import Run, RunInfo, describe_run
from selfevo.seeds import derived_seed


class Material(NamedTuple):
    """Everything that goes into a run."""

    base: Path
    dialogues: tuple[Dialogue, ...]
    """Of phase 1."""
    replay: tuple[Instruction, ...]
    pool: tuple[Dialogue, ...]
    """The training split, from which the rounds draw their contexts."""
    heldout: HeldOut


def gather(run: Run) -> Material:
    """Load, clean, split and draw; stores what was drawn and reports what was dropped."""
    config = run.config
    base = resolve(config.model.base)
    splits = _load(run)
    info = run.record(
        "run.json",
        RunInfo,
        lambda: describe_run(
            base_model=content_hash(base),
            principles=load_principles(config.synthesis.principles).hash,
        ),
    )
    _refuse_changed_inputs(run, info, base)
    n_heldout = config.evaluation.retention
    instructions = split_instructions(
        load_instructions(
            config.sft.replay.source, path=config.sft.replay.path, language=config.data.language
        ),
        heldout=n_heldout or 0,
        seed=config.seed,
    )
    dialogues = _draw(splits.train, config.data.train, config.seed, "data.train")
    return Material(
        base=base,
        dialogues=dialogues,
        replay=_replay(instructions.replay, len(dialogues), config),
        pool=splits.train,
        heldout=_hold_out(run, splits.gate, instructions.heldout),
    )


def round_contexts(run: Run, number: int, pool: Sequence[Dialogue]) -> Path:
    """The file of this round's contexts: drawn from the training split, none of an earlier round."""
    used = {
        context.id
        for earlier in range(1, number)
        for context in read_contexts(run.root / f"round-{earlier}" / "contexts.jsonl")
    }
    config = run.config.synthesis

    def draw(partial: Path) -> None:
        drawn = sample_contexts(
            pool,
            n=config.contexts + len(used),
            per_dialogue=config.per_dialogue * number,
            seed=derived_seed(run.config.seed, "contexts"),
            min_seeker_turns=config.min_seeker_turns,
        )
        fresh = [context for context in drawn if context.id not in used][: config.contexts]
        if len(fresh) < config.contexts:
            raise UsageError(
                f"synthesis.contexts: round {number} asks for {config.contexts} contexts, the training split has "
                f"{len(fresh)} unused ones; lower it or raise synthesis.per_dialogue"
            )
        write_contexts(partial, fresh)

    return run.once(f"round-{number}/contexts.jsonl", draw)


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
        f"{report.n_kept} of {report.n_read} dialogues ({len(splits.train)} train, {len(splits.gate)} gate, "
        f"{len(splits.final)} final); dropped: {drops}{leaked}"
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
            f"sft.replay.share: {share} of the training examples is {n} instructions, the source has {len(items)}; "
            "lower it or name a larger source"
        )
    return tuple(items[:n])


def _hold_out(run: Run, gate: Sequence[Dialogue], instructions: Sequence[Instruction]) -> HeldOut:
    config = run.config.evaluation

    def write_people(partial: Path) -> None:
        eligible = [d for d in gate if contexts_of(d, min_seeker_turns=config.min_seeker_turns)]
        people = _draw(eligible, config.dialogues, run.config.seed, "evaluation.dialogues")
        write_contexts(
            partial,
            sample_contexts(
                people,
                n=config.dialogues * config.per_dialogue,
                per_dialogue=config.per_dialogue,
                seed=run.config.seed,
                min_seeker_turns=config.min_seeker_turns,
            ),
        )

    contexts = run.once("data/heldout.jsonl", write_people)
    people = run.once(
        "data/heldout-people.jsonl",
        lambda partial: write_contexts(partial, _last_of_each(read_contexts(contexts))),
    )
    kept = None
    if instructions:
        kept = run.once("data/retention.jsonl", lambda partial: _write_rows(partial, instructions))
    files = [contexts, people, *([kept] if kept else [])]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
    return HeldOut(contexts, people, kept, digest)


def _last_of_each(contexts: Sequence[Context]) -> list[Context]:
    """The latest context of each person: the one that shows the most of them."""
    latest: dict[str, Context] = {}
    for context in sorted(contexts, key=lambda c: (c.dialogue_id, c.turn)):
        latest[context.dialogue_id] = context
    return list(latest.values())


def _write_rows(path: Path, items: Sequence[Instruction]) -> None:
    path.write_text(
        "".join(json.dumps(item.model_dump(), ensure_ascii=False) + "\n" for item in items),
        encoding="utf-8",
    )


def _refuse_changed_inputs(run: Run, info: RunInfo, base: Path) -> None:
    principles = load_principles(run.config.synthesis.principles).hash
    for what, then, now in (
        ("base model", info.base_model, content_hash(base)),
        ("principles", info.principles, principles),
    ):
        if then != now:
            raise RunError(
                f"{run.root}: the {what} changed since the run began ({then[:12]} -> {now[:12]}); "
                "restore it or choose another --run folder"
            )
