"""The whole loop, in the order in which it happens. Read this file first.

Phase 1 gives M0. Each round then lets the champion draft, reflect and refine; turns that into
preference pairs; trains a candidate on them; measures it on held-out people; and lets the gate
decide. Every step is an artefact of the run folder, made once, so a run that is killed goes on
where it was (`run.py`).
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from results.ledger import Price, next_alpha
from results.paired import Incomparable
from results.records import RunRecord
from selfevo.config import RunConfig
from selfevo.decision import Decision, hold
from selfevo.evaluation import evaluate, judge_cards, require_models
from selfevo.gate import decide
from selfevo.generation import require_generator
from selfevo.harness import Evaluand, evaluand
from selfevo.looks import at_a_price, people_asked
from selfevo.material import Material, gather
from selfevo.pairing import Pairs, build_pairs
from selfevo.plan import plan, told
from selfevo.progress import console
from selfevo.run import Run
from selfevo.vllm_server import close_server, servers_of


class Checkpoint(NamedTuple):
    """A model of the run and how it did."""

    name: str
    evaluand: Evaluand
    record: RunRecord


class Round(NamedTuple):
    """What became of one round."""

    name: str
    record: RunRecord | None
    """None when the round ended before there was a candidate."""
    decision: Decision
    n_pairs: int


class Outcome(NamedTuple):
    """What became of the run."""

    run: Run
    m0: Checkpoint
    rounds: tuple[Round, ...]
    champion: Checkpoint


class Champion(BaseModel):
    """`champion.json`: which checkpoint of the run to use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    """Relative to the run."""
    checkpoint: str
    """Content hash."""


def evolve(config: RunConfig, root: Path) -> Outcome:
    """Run the recipe in `root`, or go on with the run that is there."""
    judge_cards(config)  # what cannot be is refused now, not after the training
    require_models(config)
    require_generator(config.generation)
    run = Run(root, _in_place(config))
    try:
        material = gather(run)
        m0 = acquire(run, material)
        champion = m0
        rounds: list[Round] = []
        crown(run, champion, after=0)
        for number in range(1, config.rounds + 1):
            foretell(run, rounds, champion)
            pairs = build_pairs(run, number, champion.evaluand, m0.evaluand, material)
            candidate = optimize(run, number, champion, m0, pairs, material)
            decision = settle(run, number, champion, candidate, pairs)
            rounds.append(
                Round(f"M{number}", candidate and candidate.record, decision, pairs.n_kept)
            )
            if candidate and decision.promoted:
                champion = candidate
            crown(run, champion, after=number)
        return Outcome(run, m0, tuple(rounds), champion)
    finally:
        close_server(run.root)
        run.close()


def acquire(run: Run, material: Material) -> Checkpoint:
    """Phase 1: M0, fine-tuned on a limited set of dialogues plus instruction replay."""
    from selfevo.chat_template import require_chat_template
    from selfevo.sft import train_sft

    if not run.has("m0/checkpoint"):
        require_chat_template(material.base, run.config.data.task_prompt)
    path = run.once(
        "m0/checkpoint",
        lambda work: train_sft(
            material.base, material.dialogues, material.replay, run.config, work
        ),
        title="M0: phase 1, fine-tune",
    )
    return _measured(run, "m0", "M0", path, material)


def optimize(
    run: Run, number: int, champion: Checkpoint, m0: Checkpoint, pairs: Pairs, material: Material
) -> Checkpoint | None:
    """Phase 2: the candidate of this round, or None when there are too few pairs to learn from."""
    from selfevo.diagnostics import RoundDiagnostics, diagnose
    from selfevo.dpo import train_dpo

    folder = f"round-{number}"
    is_trained = run.has(f"{folder}/checkpoint")
    if not is_trained and _n_trainable(pairs, champion, run.config) < run.config.min_pairs:
        return None
    path = run.once(
        f"{folder}/checkpoint",
        lambda work: train_dpo(
            champion.evaluand.path,
            m0.evaluand.path,
            pairs.read(),
            run.config,
            work,
            round_number=number,
        ),
        title=f"M{number}: phase 2, DPO on {pairs.n_kept} pairs",
    )
    run.record(
        f"{folder}/diagnostics.json",
        RoundDiagnostics,
        lambda: diagnose(pairs.read(), path, champion.evaluand.path, m0.evaluand.path, run.config),
    )
    return _measured(run, folder, f"M{number}", path, material)


def _n_trainable(pairs: Pairs, champion: Checkpoint, config: RunConfig) -> int:
    """How many of the pairs a training would read: those that fit."""
    from selfevo.dpo import dpo_rows
    from selfevo.training import load_tokenizer

    if pairs.n_kept < config.min_pairs:
        return pairs.n_kept
    return len(dpo_rows(load_tokenizer(champion.evaluand.path), pairs.read(), config).rows)


def settle(
    run: Run, number: int, champion: Checkpoint, candidate: Checkpoint | None, pairs: Pairs
) -> Decision:
    """Promote, reject or hold; written beside the round. Each look at the people has its price."""

    def ask() -> Decision:
        if candidate is None:
            n_trainable = _n_trainable(pairs, champion, run.config)
            left = pairs.n_kept - n_trainable
            long = f"; {left} more do not fit dpo.max_length" if left else ""
            return hold(f"too few pairs ({n_trainable} < {run.config.min_pairs}{long})")
        gate, record, against = run.config.gate, candidate.record, champion.record
        cards = judge_cards(run.config)

        def decided(price: Price) -> list[Decision]:
            return [
                decide(
                    record,
                    against,
                    gate,
                    cards,
                    alpha=price.alpha,
                    look=price.number,
                    later=price.later,
                )
            ]

        [decision] = at_a_price(_ledger(run), [record], against, gate, decided)
        return decision

    return run.record(f"round-{number}/decision.json", Decision, ask)


def foretell(run: Run, rounds: list[Round], champion: Checkpoint) -> None:
    """Say before a round what its comparison can show, from what the last one taught."""
    record = rounds[-1].record if rounds else None
    gate = run.config.gate
    if record is None or record is champion.record or gate.planned_people is not None:
        return
    people = people_asked([record, champion.record], gate.primary)
    alpha = next_alpha(_ledger(run), people, gate.alpha)
    try:
        console.print(told(plan(record, champion.record, gate, alpha=alpha)))
    except Incomparable:  # the last decision says why
        return


def _in_place(config: RunConfig) -> RunConfig:
    """With a ledger that is the same file wherever the run is continued: else looks are lost."""
    ledger = config.gate.ledger
    if ledger is None:
        return config
    gate = config.gate.model_copy(update={"ledger": ledger.absolute()})
    return config.model_copy(update={"gate": gate})


def _ledger(run: Run) -> Path:
    """Where the looks at the held-out people are counted."""
    return run.config.gate.ledger or run.root / "ledger.jsonl"


def crown(run: Run, champion: Checkpoint, *, after: int) -> None:
    """Point `champion.json` at the checkpoint to use after so many rounds.

    A resumed run walks through its decided rounds again; the pointer does not go back with it.
    """
    if run.has(f"round-{after + 1}/decision.json"):
        return
    path = str(champion.evaluand.path.relative_to(run.root))
    run.replace(
        "champion.json",
        Champion(name=champion.name, path=path, checkpoint=champion.record.checkpoint),
    )


def _measured(run: Run, folder: str, name: str, path: Path, material: Material) -> Checkpoint:
    servers = servers_of(run.config, material.base, run.root)
    model = evaluand(path, run.config.model, servers)
    return Checkpoint(name, model, evaluate(run, folder, name, model, material.heldout))
