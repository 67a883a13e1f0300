"""Probes of a judge: which replies that must lose do not, for the judge's card."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from inspect_ai.log import EvalLog

from benchmarks.probing import HUMAN, position, probe_variants, probing
from judges.card import ProbeOutcome
from judges.embedded import personalization
from judges.material import Material
from judges.probes import Probe, ProbeRank, Scored, probe_ranks
from judges.resampling import N_RESAMPLES, AgreementUndefined, Bootstrap, Interval, means
from judges.unhelpful import Reply, Turns
from selfevo.harness import run_judge

SEED = 7
CONTEXTS_OF_EMBEDDED = 195
"""All dialogues of ESConv's validation split; the embedded judge is fast."""


def probe_embedded(path: Path) -> tuple[ProbeOutcome, ...]:
    """The embedded judge's `personalization` on people's replies and on probes."""
    scores: dict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    for variant in probe_variants(path, n=CONTEXTS_OF_EMBEDDED, seed=SEED):
        place = (variant.context.id, variant.context.dialogue_id)
        scores[place][variant.name] = _embedded_score(variant.material)
    return _outcomes(scores)


def probe_model(
    judge: str, path: Path, *, contexts: int, log_dir: Path
) -> tuple[ProbeOutcome, ...]:
    """A model's score of people's replies and of probes, in an Inspect eval of its own.

    Raises:
        RunError: the eval failed.
    """
    log = run_judge(probing(path=str(path), contexts=contexts), judge, log_dir)
    return read_probes(log)


def position_of_model(judge: str, path: Path, *, contexts: int, log_dir: Path) -> Interval | None:
    """How often a model prefers the same slot twice: the same reply in both.

    None where it gave too few answers to tell.

    Raises:
        RunError: the eval failed.
    """
    log = run_judge(position(path=str(path), contexts=contexts), judge, log_dir)
    driven = {}
    for sample in log.samples or []:
        score = (sample.scores or {}).get("preferred")
        if score is not None and isinstance(score.value, Mapping):
            driven[str(sample.id)] = float(str(score.value["slot_driven"]))
    items = sorted(driven)
    values_N = np.array([driven[item] for item in items])
    try:
        return Bootstrap.over(items, None, seed=SEED, n_resamples=N_RESAMPLES).interval(
            lambda weights_RN: means(weights_RN, values_N)
        )
    except AgreementUndefined:
        return None


def read_probes(log: EvalLog) -> tuple[ProbeOutcome, ...]:
    """What a finished probing log says."""
    scores: dict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    for sample in log.samples or []:
        score = (sample.scores or {}).get("rates")
        value = None
        if score is not None and isinstance(score.value, Mapping):
            value = float(str(score.value["score"]))
        place = (sample.metadata["context"], sample.metadata["conversation"])
        scores[place][sample.metadata["variant"]] = value
    return _outcomes(scores)


def _outcomes(
    scores: Mapping[tuple[str, str], Mapping[str, float | None]],
) -> tuple[ProbeOutcome, ...]:
    rows = [
        Scored(
            cluster=dialogue,
            human=values.get(HUMAN),
            probes={Probe(name): value for name, value in values.items() if name != HUMAN},
        )
        for (_, dialogue), values in scores.items()
    ]
    kept = {
        probe
        for row in rows
        if row.human is not None
        for probe, value in row.probes.items()
        if value is not None
    }
    rows = [row._replace(probes={p: v for p, v in row.probes.items() if p in kept}) for row in rows]
    return tuple(_outcome(probe, rank) for probe, rank in probe_ranks(rows, seed=SEED).items())


def _outcome(probe: Probe, rank: ProbeRank) -> ProbeOutcome:
    return ProbeOutcome(
        name=probe.value,
        below=Interval(value=rank.below, lower=rank.below_low, upper=rank.below_high),
        difference=Interval(
            value=rank.difference, lower=rank.difference_low, upper=rank.difference_high
        ),
        n=rank.n,
        n_failed=rank.n_unscored,
    )


def _embedded_score(material: Material) -> float:
    """Of the last reply alone: the dialogue before it is everybody's."""
    turns = as_turns(material)
    card = material.card.situation if material.card else None
    return personalization(Reply(turns, len(turns) - 1, material.language), card=card).score


def as_turns(material: Material) -> Turns:
    """The conversation as the embedded judge reads it."""
    return [("user" if t.speaker == "person" else "assistant", t.text) for t in material.turns]
