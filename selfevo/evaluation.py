"""Evaluation of a checkpoint on the held-out people: four Inspect tasks, one `RunRecord`."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inspect_ai import Task
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import Model, get_model
from pydantic import JsonValue

from benchmarks import reflect, reflection, reply, retention, support
from benchmarks.dialogues import Language
from benchmarks.heldout import read_contexts
from judges.absolute import JudgeSettings, identity, judge_hash
from judges.automatic import copy_rate, distinct_n
from judges.card import CardError, JudgeCard, read_card
from judges.rubric import load_rubric
from results.records import SHARE, Measure, RunRecord, suite_hash
from selfevo.checkpoint import content_hash, resolve
from selfevo.config import RunConfig
from selfevo.errors import UsageError
from selfevo.gate_config import JUDGE_PREFIX
from selfevo.harness import Evaluand, finished_log, run_eval
from selfevo.recording import measure_from, measures_of, people_of, provenance_of
from selfevo.run import Run
from selfevo.users import suite_of, talk_task, user_roles

DECIMALS = 4
BENCHMARK: Final = "loop"
LOCAL = "selfevo/"
"""Prefix of the local provider's models."""


class HeldOut(NamedTuple):
    """The files of the held-out people and instructions, and their hash."""

    contexts: Path
    people: Path
    """One context a person, for the reflection."""
    instructions: Path | None
    users: Path | None
    """The simulated users of the gate split."""
    hash: str


class _Subject(NamedTuple):
    """What is evaluated."""

    model: Model
    checkpoint: str
    """Content hash, or the name of a served model."""
    gives_likelihoods: bool


def evaluate(run: Run, folder: str, name: str, checkpoint: Evaluand, heldout: HeldOut) -> RunRecord:
    """The record of checkpoint `name`; evals and record are artefacts of the run, made once."""
    subject = _Subject(checkpoint.model, content_hash(checkpoint.path), gives_likelihoods=True)
    return _evaluated(run, folder, name, subject, heldout)


def measure(run: Run, model: Model, heldout: HeldOut, method: str | None = None) -> RunRecord:
    """Any other Inspect model on the held-out people of a run, to stand beside its checkpoints.

    A model that gives no log-likelihoods has no measures that need them.

    Args:
        run: A run whose held-out people are drawn.
        model: Such as `control/stock` or `openai/gpt-4o`.
        heldout: The run's.
        method: Name on the board; None: the model's.
    """
    name, checkpoint = str(model), getattr(model.api, "checkpoint", None)
    subject = _Subject(model, checkpoint or name, gives_likelihoods=checkpoint is not None)
    # a path may lead elsewhere tomorrow, and two names may look alike as folders
    identity = hashlib.sha256(f"{name}\n{subject.checkpoint}".encode()).hexdigest()
    folder = f"others/{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-')}-{identity[:8]}"
    record = _evaluated(run, folder, name, subject, heldout)
    return record if method is None else record.model_copy(update={"method": method})


def _evaluated(run: Run, folder: str, name: str, subject: _Subject, heldout: HeldOut) -> RunRecord:
    """The record of a model; each eval and the record are made once."""
    config = run.config
    reference = _reference(config)
    players = user_roles(config.users) if config.users else {}
    if config.judge:
        players["judge"] = get_model(config.judge.model)

    def finish(kind: str, task: Task) -> Path:
        title = f"{name}: evaluate ({kind})"
        return run.once(
            f"{folder}/evaluation/{kind}",
            lambda partial: run_eval(
                task,
                subject.model,
                partial,
                title=title,
                roles={"reference": reference, **players},
                max_samples=config.evaluation.max_samples,
            ),
            title=title,
        )

    tasks = _tasks(config, heldout)
    logs = {
        kind: finish(kind, task)
        for kind, task in tasks.items()
        if subject.gives_likelihoods or kind not in _by_likelihood(config)
    }
    return run.record(
        f"{folder}/record.json",
        RunRecord,
        lambda: build_record(
            {kind: finished_log(path) for kind, path in logs.items()},
            method=name,
            suite=_suite(config, heldout),
            checkpoint=subject.checkpoint,
            language=config.data.language,
            folders=[str(path.relative_to(run.root)) for path in logs.values()],
            judges=judge_hashes(config),
        ),
    )


def _by_likelihood(config: RunConfig) -> tuple[str, ...]:
    """Evals in which the model under test ranks given texts instead of writing its own."""
    ranks = config.synthesis.reflection == "label"
    return ("reflection", "retention") if ranks else ("retention",)


def _tasks(config: RunConfig, heldout: HeldOut) -> dict[str, Task]:
    tasks = {
        "reply": reply.reply(
            contexts=str(heldout.contexts),
            seed=config.seed,
            contrast=config.evaluation.contrast,
            max_tokens=config.evaluation.max_tokens,
            task_prompt=config.data.task_prompt,
        )
    }
    if config.synthesis.reflect and _has_emotions(heldout):
        tasks["reflection"] = reflection.reflection(
            contexts=str(heldout.people), strategy=config.synthesis.reflection
        )
    if heldout.instructions is not None:
        tasks["retention"] = retention.retention(
            path=str(heldout.instructions), language=config.data.language
        )
    if heldout.users is not None:
        tasks["support"] = talk_task(config, heldout.users, "gate", seed=config.seed, judged=True)
    return tasks


def build_record(
    logs: Mapping[str, EvalLog],
    *,
    method: str,
    suite: Mapping[str, str],
    checkpoint: str,
    language: Language,
    folders: Sequence[str],
    judges: Mapping[str, str] | None = None,
) -> RunRecord:
    """One record from the logs of a checkpoint."""
    measures: dict[str, Measure] = {}
    for kind, log in logs.items():
        measures |= measures_of(kind, log.samples or [])
    for metric in judges or {}:  # one that answered nobody is in no score, and must not vanish
        measures.setdefault(metric, _unanswered(logs["support"].samples or []))
    replies = logs["reply"].samples or []
    measures["sameness"] = _sameness(replies, language)
    samples = [sample for log in logs.values() for sample in log.samples or []]
    return RunRecord(
        method=method,
        benchmark=BENCHMARK,
        suite=dict(suite),
        checkpoint=checkpoint,
        measures=measures,
        corpus=_corpus(replies),
        judges=dict(judges or {}),
        people=people_of(samples),
        logs=tuple(folders),
        provenance=provenance_of(list(logs.values()), [s.summary() for s in samples]),
    )


def judge_hashes(config: RunConfig) -> dict[str, str]:
    """Which judge is behind each measure that a judge gives: model, prompt, rubric and settings."""
    if config.judge is None:
        return {}
    model, settings = identity(get_model(config.judge.model)), JudgeSettings()
    return {
        f"{JUDGE_PREFIX}{name}": judge_hash(
            model, load_rubric(name, config.data.language), settings
        )
        for name in config.judge.rubrics
    }


def require_models(config: RunConfig) -> None:
    """Make each model that the recipe names beside the one in training; none is loaded.

    Raises:
        UsageError: there is no such model.
    """
    named = {
        "evaluation.reference": config.evaluation.reference,
        "synthesis.reflector": config.synthesis.reflector,
        "synthesis.refiner": config.synthesis.refiner,
        "users.model": config.users and config.users.model,
        "judge.model": config.judge and config.judge.model,
    }
    for key, name in named.items():
        if not name:
            continue
        try:
            get_model(name)
        except ValueError as error:
            raise UsageError(f"{key}: {error}; name an Inspect model") from error


def judge_cards(config: RunConfig) -> dict[str, JudgeCard]:
    """The cards that the recipe names, by the metric that their judge gives.

    Raises:
        UsageError: a card cannot be read.
    """
    paths = config.judge.cards if config.judge else {}
    try:
        return {f"{JUDGE_PREFIX}{rubric}": read_card(path) for rubric, path in paths.items()}
    except CardError as error:
        raise UsageError(str(error)) from None


def _unanswered(samples: Sequence[EvalSample]) -> Measure:
    """A measure that no sample has."""
    return measure_from({}, Counter(str(sample.id) for sample in samples))


def _sameness(samples: Sequence[EvalSample], language: Language) -> Measure:
    """Share of a reply's n-grams that also stand in replies to other people.

    High when everyone gets the same. An empty reply shares nothing; that it is empty is the
    business of other measures.
    """
    replied = [sample for sample in samples if sample.error is None]
    by_unit: dict[str, list[float]] = defaultdict(list)
    for sample in replied:
        person = sample.metadata["dialogue_id"]
        others = [s.output.completion for s in replied if s.metadata["dialogue_id"] != person]
        shared = copy_rate(sample.output.completion, others, language=language)
        by_unit[person].append(shared or 0.0)
    failed = Counter(str(s.metadata["dialogue_id"]) for s in samples if s.error is not None)
    return measure_from(by_unit, failed, SHARE)


def _corpus(samples: Sequence[EvalSample]) -> dict[str, float]:
    """Distinct-n of all replies together; left out where there is no n-gram to count."""
    texts = [sample.output.completion for sample in samples if sample.error is None]
    rates = {f"distinct_{n}": distinct_n(texts, n) for n in (1, 2)}
    return {name: round(rate, DECIMALS) for name, rate in rates.items() if rate is not None}


def _reference(config: RunConfig) -> Model:
    """The frozen model behind the bits; a local one computes in the recipe's precision."""
    name, dtype = config.evaluation.reference, config.model.dtype
    is_local = name.startswith(LOCAL)
    return get_model(name, dtype=dtype) if is_local and dtype else get_model(name)


def _has_emotions(heldout: HeldOut) -> bool:
    """Whether there is anything to compare an inferred emotion with: not every source labels."""
    return any(context.emotion in reflect.EMOTIONS for context in read_contexts(heldout.people))


def _suite(config: RunConfig, heldout: HeldOut) -> dict[str, str]:
    """What must be equal in a comparison, by name."""
    name = config.evaluation.reference
    is_local = name.startswith(LOCAL)
    settings = config.evaluation.model_dump(mode="json", exclude={"max_samples", "reference"})
    parts: dict[str, JsonValue] = {
        "tasks": f"reply {reply.VERSION}, reflection {reflection.VERSION}, "
        f"retention {retention.VERSION}, support {support.VERSION}",
        "people": heldout.hash,
        "users": suite_of(heldout.users, config),
        "reference": content_hash(resolve(name.removeprefix(LOCAL))) if is_local else name,
        "settings": suite_hash({**settings, "dtype": config.model.dtype}),
        "prompt": suite_hash({"task": config.data.task_prompt}),
        "reflection": config.synthesis.reflection,
        "judges": suite_hash(dict(judge_hashes(config))) if config.judge else None,
        # two engines answer alike, not the same; records of one are older than this part
        "generator": "vllm" if config.generation.provider == "vllm" else None,
    }
    return {part: str(value) for part, value in parts.items() if value is not None}
