"""From Inspect logs to records: every measure of a checkpoint, person by person.

    selfevo record LOG... --out results/runs

A log is read through its summaries, so that a thousand conversations take a fraction of a second.
What each task of the benchmarks gives to a record stands in `SOURCES`; evaluations of the loop use
the same table (`evaluation.py`). Measures of conversations are named `talk.*`, those of a judge
`judge.*`; the users' own outcome has no prefix.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast

from inspect_ai.log import EvalLog, EvalSample, EvalSampleSummary
from inspect_ai.scorer import Score
from pydantic import ValidationError

from benchmarks import reply, support
from benchmarks.errors import DataError
from benchmarks.judged import HEADLINES
from benchmarks.logs import (
    MAX_TOKENS,
    Summaries,
    generation,
    method_name,
    model_name,
    portable,
    read_summaries,
    sampling,
    task_prompt,
)
from benchmarks.suite import CHECKPOINT_KEY
from benchmarks.suite import KEY as SUITE
from results.records import (
    SHARE,
    Cost,
    Measure,
    PreferenceRecord,
    PreferenceRow,
    Provenance,
    RunRecord,
    Winner,
    read_run,
    suite_hash,
    variance_within,
)
from selfevo.gate_config import JUDGE_PREFIX, TALK_PREFIX, USER_MEASURES

DECIMALS: Final = 4
WHOLE: Final = 64
"""Characters of a hash."""
SAID: Final = 120
"""Characters of an error in another one."""
RECIPE: Final = "recipe.yaml"
RECORD: Final = "record.json"
"""Of a run: its recipe, and what each checkpoint scored."""
Sample = EvalSample | EvalSampleSummary
EMBEDDED: Final = "embedded"
"""Scorer of the judge without a model; its measures are `judge.embedded.*`."""

SCALES: Final[Mapping[str, tuple[float, float]]] = {
    "relief": (-4.0, 4.0),
    f"{JUDGE_PREFIX}personalization": (-4.0, 4.0),
    **dict.fromkeys(
        (
            "trust",
            "satisfied",
            "gave_up",
            "emotion_accuracy",
            *(name for name in reply.MEASURES if not name.startswith("specificity")),
            *(TALK_PREFIX + name for name in support.MEASURES),
            f"{JUDGE_PREFIX}unhelpfulness",
            f"{JUDGE_PREFIX}preference_discrepancy",
        ),
        SHARE,
    ),
}
"""Lowest and highest possible value of a measure; others have none, or it is not known here."""
ODD: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What foreign data in a log of ours can lead to."""
UNBOUNDED: Final = ("length", f"{TALK_PREFIX}length", f"{TALK_PREFIX}turns")

ATTRIBUTES: Final = ("language", "emotion", "problem", "need", "style", "age_group")
"""Metadata of a sample by which people are sliced, besides the poles of the Big Five."""


class Read(NamedTuple):
    """Where in a log a measure stands."""

    scorer: str
    key: str | None
    """Of a score with several values."""


class Source(NamedTuple):
    """What a task gives to a record."""

    unit: Literal["dialogue_id", "id"]
    """What a person is: in the sample's metadata, or the sample itself."""
    measures: Mapping[str, Read]


SOURCES: Final[Mapping[str, Source]] = {
    "reply": Source("dialogue_id", {name: Read("automatic", name) for name in reply.MEASURES}),
    "reflection": Source("dialogue_id", {"emotion_accuracy": Read("emotion_recognised", None)}),
    "retention": Source("id", {"retention": Read("answer_likelihood", None)}),
    "support": Source(
        "id",
        {
            (name if name in USER_MEASURES else TALK_PREFIX + name): Read("user_outcome", name)
            for name in support.MEASURES
        },
    ),
}


def load_record(paths: Sequence[Path], method: str | None = None) -> RunRecord:
    """One stored record, or the logs of one checkpoint.

    Args:
        paths: One `.json` record, or one or more logs.
        method: Name on the board; None: that of the model.

    Raises:
        RecordError: the record cannot be read.
        DataError: a log cannot be read, or the logs do not belong together.
    """
    if len(paths) == 1 and paths[0].suffix == ".json":
        record = read_run(paths[0], sealed=not _is_of_a_run(paths[0]))
        return record.model_copy(update={"method": method}) if method else record
    return record_of([read_summaries(path) for path in paths], method)


def _is_of_a_run(path: Path) -> bool:
    """A run writes its own records, without a hash."""
    return path.name == RECORD and (path.resolve().parent.parent / RECIPE).is_file()


def record_of(logs: Sequence[Summaries], method: str | None = None) -> RunRecord:
    """One record from the logs of one checkpoint.

    Raises:
        DataError: a log is of another task or version, holds what no log of ours does, or the logs
            are not of one checkpoint.
    """
    try:
        record = _record_of(logs, method)
        _ = record.hash  # text that is no Unicode has none
    except DataError:
        raise
    except ODD as error:
        raise _odd(logs, error) from error
    return record


def _odd(logs: Sequence[Summaries], error: Exception) -> DataError:
    """What is wrong with logs that are not as ours are, in one line."""
    said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else repr(error)
    said = " ".join(said.encode("utf-8", "backslashreplace").decode().split())[:SAID]
    where = " and ".join(str(log.path) for log in logs)
    return DataError(where, f"holds what no log of these tasks does ({said})", "run it again")


def _record_of(logs: Sequence[Summaries], method: str | None) -> RunRecord:
    headers = [log.header for log in logs]
    _refuse_strangers(logs)
    samples = [sample for log in logs for sample in log.samples]
    measures: dict[str, Measure] = {}
    for log in logs:
        measures |= measures_of(task_of(log.header), log.samples)
    return RunRecord(
        method=method or method_name(headers[0]),
        benchmark="+".join(sorted(task_of(header) for header in headers)),
        suite=_suite(logs),
        checkpoint=_checkpoint(logs),
        measures=measures,
        judges=_judges(samples),
        people=people_of(samples),
        exhausted=next(filter(None, (_exhausted(header) for header in headers)), None),
        logs=tuple(portable(log.path) for log in logs),
        provenance=provenance_of(headers, samples),
    )


def task_of(header: EvalLog) -> str:
    """The benchmark of a log, however it was installed: `benchmarks/support` is `support`."""
    return header.eval.task.rpartition("/")[2]


def measures_of(task: str, samples: Sequence[Sample]) -> dict[str, Measure]:
    """Every measure that the samples of a task hold."""
    source = SOURCES[task]
    reads = {**source.measures, **(_judged(samples) if task == "support" else {})}
    return {
        name: measure_of(samples, read, unit=source.unit, scale=_scale(name))
        for name, read in reads.items()
    }


def measure_of(
    samples: Sequence[Sample],
    read: Read,
    *,
    unit: Literal["dialogue_id", "id"],
    scale: tuple[float, float] | None = None,
) -> Measure:
    """One measure: the means of the units, and what has no score."""
    found: dict[str, list[float]] = defaultdict(list)
    missing: dict[str, int] = defaultdict(int)
    for sample in samples:
        value = _value(sample, read)
        person = _unit(sample, unit)
        if value is None:
            missing[person] += 1
        else:
            found[person].append(value)
    return measure_from(found, missing, scale)


def measure_from(
    found: Mapping[str, Sequence[float]],
    missing: Mapping[str, int],
    scale: tuple[float, float] | None = None,
) -> Measure:
    """A measure from the values of each unit's samples."""
    within = variance_within(found.values())
    is_repeated = any(len(values) > 1 for values in found.values())
    units = sorted(found)
    return Measure(
        values={u: round(math.fsum(found[u]) / len(found[u]), DECIMALS) for u in units},
        counts={u: len(found[u]) for u in units} if is_repeated else {},
        missing=dict(sorted(missing.items())),
        within=None if within is None else round(within, DECIMALS),
        scale=scale,
    )


def people_of(samples: Sequence[Sample]) -> dict[str, dict[str, str]]:
    """Attributes of every unit that has some."""
    people: dict[str, dict[str, str]] = {}
    for sample in samples:
        known = {name: sample.metadata.get(name) for name in ATTRIBUTES}
        poles = sample.metadata.get("big_five")
        known |= poles if isinstance(poles, dict) else {}
        given = {name: str(value) for name, value in known.items() if value is not None}
        unit: Literal["dialogue_id", "id"] = (
            "dialogue_id" if "dialogue_id" in sample.metadata else "id"
        )
        if given:
            people[_unit(sample, unit)] = given
    return dict(sorted(people.items()))


def provenance_of(headers: Sequence[EvalLog], samples: Sequence[Sample]) -> Provenance:
    """When, with what and at which cost the logs were made."""
    usage = [u for header in headers for u in header.stats.model_usage.values()]
    turns = [
        sample.turn_count
        for sample in samples
        if isinstance(sample, EvalSampleSummary) and sample.turn_count is not None
    ]
    minutes = [_minutes(header) for header in headers]
    revision = headers[0].eval.revision
    return Provenance(
        created=str(headers[0].eval.created),
        commit=revision.commit if revision else None,
        versions=dict(headers[0].eval.packages),
        cost=Cost(
            calls=sum(turns) if turns else None,
            input_tokens=sum(u.input_tokens for u in usage) if usage else None,
            output_tokens=sum(u.output_tokens for u in usage) if usage else None,
            minutes=None if None in minutes else round(sum(cast(list[float], minutes)), 2),
        ),
    )


def preferences_of(log: Summaries, a: str | None = None, b: str | None = None) -> PreferenceRecord:
    """The record of a finished log of `benchmarks/pairwise.py`.

    Args:
        log: The log.
        a: Name of the one method on the board; None: that of the model.
        b: Of the other.

    Raises:
        DataError: it is of another task, or holds what no log of ours does.
    """
    try:
        record = _preferences_of(log, a, b)
        _ = record.hash
    except DataError:
        raise
    except ODD as error:
        raise _odd([log], error) from error
    return record


def _preferences_of(log: Summaries, a: str | None, b: str | None) -> PreferenceRecord:
    notes = log.header.eval.metadata or {}
    if task_of(log.header) != "pairwise" or SUITE not in notes:
        raise DataError(
            str(log.path), "holds no preferences", "give a log of selfevo compare --judge"
        )
    rows, judges = [], set()
    for sample in log.samples:
        score = (sample.scores or {}).get("preferred")
        notes_of_score = (score.metadata or {}) if score else {}
        if "winners" not in notes_of_score:
            continue
        forward, backward = cast(list[Winner], notes_of_score["winners"])
        judges.add(str(notes_of_score["judge"]))
        rows.append(
            PreferenceRow(
                person=str(sample.metadata["persona"]),
                forward=forward,
                backward=backward,
                words_a=sample.metadata["words_a"],
                words_b=sample.metadata["words_b"],
            )
        )
    if len(judges) != 1:
        raise DataError(
            str(log.path), f"holds answers of {len(judges)} judges", "see why in `inspect view`"
        )
    return PreferenceRecord(
        a=a or model_name(str(notes["a"])),
        b=b or model_name(str(notes["b"])),
        suite=notes[SUITE] or {},
        judge=_model_in(log.header, "judge") or "judge",
        judge_hash=judges.pop(),
        rubric=str(notes["rubric"]),
        rows=tuple(rows),
        n_unscored=len(log.samples) - len(rows),
        logs=(portable(log.path),),
        provenance=provenance_of([log.header], log.samples),
    )


def _refuse_strangers(logs: Sequence[Summaries]) -> None:
    """Logs of known tasks, each once, of one model."""
    seen: set[str] = set()
    for log in logs:
        task = task_of(log.header)
        if task not in SOURCES:
            raise DataError(
                str(log.path), f"is of task '{task}'", f"give logs of {', '.join(SOURCES)}"
            )
        if SUITE not in (log.header.eval.metadata or {}):
            raise DataError(
                str(log.path), "does not say what it was asked (an older version)", "run it again"
            )
        _refuse_foreign(log)
        if task in seen:
            raise DataError(str(log.path), f"is a second log of '{task}'", "give one of each task")
        if log.header.eval.model != logs[0].header.eval.model:
            raise DataError(
                str(log.path),
                f"is of {log.header.eval.model}, not of {logs[0].header.eval.model}",
                "give logs of one checkpoint",
            )
        seen.add(task)


def _refuse_foreign(log: Summaries) -> None:
    """A task of this name that is not ours."""
    task, suite = task_of(log.header), (log.header.eval.metadata or {})[SUITE]
    is_named = isinstance(suite, dict) and all(isinstance(part, str) for part in suite.values())
    unit = SOURCES[task].unit
    is_ours = unit == "id" or all(unit in sample.metadata for sample in log.samples)
    if not is_named or not is_ours:
        missing = "suite" if not is_named else unit
        raise DataError(
            str(log.path), f"has no {missing} as '{task}' writes it", "give a log of these tasks"
        )


def _suite(logs: Sequence[Summaries]) -> dict[str, str]:
    """The named parts of the tasks' suites; with several tasks each part names its task."""
    suites = [(task_of(log.header), suite_of_log(log.header)) for log in logs]
    if len(suites) == 1:
        return suites[0][1]
    return {f"{task}.{name}": part for task, parts in suites for name, part in parts.items()}


def suite_of_log(header: EvalLog) -> dict[str, str]:
    """What a log was asked, and the models beside the judges that its numbers depend on.

    A task does not know the models in its roles, nor what the command line changed.
    """
    parts = dict((header.eval.metadata or {})[SUITE])
    subset = header.eval.config.limit or header.eval.config.sample_id
    if subset is not None:  # of `inspect eval --limit`, which the task knows nothing of
        parts["subset"] = str(subset)
    max_tokens = generation(header).get(MAX_TOKENS)
    if max_tokens is not None:  # of `inspect eval --max-tokens`, instead of the task's
        parts["max tokens"] = str(max_tokens)
    if task_of(header) == "reply":
        parts["reference"] = _model_in(header, "reference") or reply.REFERENCE
    if parts.get("user") not in (None, "scripted"):
        parts["user model"] = _model_in(header, "user") or "none"
    return parts


def _model_in(header: EvalLog, role: str) -> str | None:
    bound = (header.eval.model_roles or {}).get(role)
    models = bound if isinstance(bound, list) else [bound] if bound else []
    return " and ".join(model_name(config.model) for config in models) or None


def _checkpoint(logs: Sequence[Summaries]) -> str:
    """The content hash that the scores noted; the model's name where it is served.

    With its settings of generation and system prompt: the same weights under another prompt are
    another candidate, and another look (`results/ledger.py`).
    """
    hashes = {
        str(score.metadata[CHECKPOINT_KEY])
        for log in logs
        for sample in log.samples
        for score in (sample.scores or {}).values()
        if score.metadata and CHECKPOINT_KEY in score.metadata
    }
    if len(hashes) > 1:
        raise DataError(
            str(logs[0].path),
            "the checkpoint changed during the evaluation, or between the logs",
            "run them again",
        )
    name = hashes.pop() if hashes else model_name(logs[0].header.eval.model)
    given = "".join(sorted({sampling(log.header, WHOLE) for log in logs}))
    prompts = {prompt for log in logs if (prompt := task_prompt(log.header))}
    prompted = f" prompt {suite_hash(dict.fromkeys(prompts, ''))}" if prompts else ""
    return f"{name}{given}{prompted}"


def _judges(samples: Sequence[Sample]) -> dict[str, str]:
    """Which judges are behind each measure; of a panel all that answered anywhere."""
    found: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        for scorer, score in (sample.scores or {}).items():
            hashes = (score.metadata or {}).get("judge_hashes")
            if isinstance(hashes, list):
                for name in _judge_measures(scorer, score):
                    found[name] |= set(map(str, hashes))
    return {name: "+".join(sorted(hashes)) for name, hashes in sorted(found.items())}


def _judge_measures(scorer: str, score: Score) -> dict[str, Read]:
    """What a score of a judge gives to a record; nothing of other scorers."""
    if scorer in HEADLINES:
        return {f"{JUDGE_PREFIX}{scorer}": Read(scorer, HEADLINES[scorer])}
    if scorer == EMBEDDED and isinstance(score.value, dict):
        return {f"{JUDGE_PREFIX}{EMBEDDED}.{key}": Read(scorer, key) for key in score.value}
    return {}


def _judged(samples: Sequence[Sample]) -> dict[str, Read]:
    """The measures of judges that are in a log: their headlines."""
    reads: dict[str, Read] = {}
    for sample in samples:
        for scorer, score in (sample.scores or {}).items():
            reads |= _judge_measures(scorer, score)
    return dict(sorted(reads.items()))


def _scale(name: str) -> tuple[float, float] | None:
    return None if name in UNBOUNDED else SCALES.get(name)


def _value(sample: Sample, read: Read) -> float | None:
    score = (sample.scores or {}).get(read.scorer)
    if score is None or sample.error is not None:
        return None
    value = score.value.get(read.key) if isinstance(score.value, dict) and read.key else score.value
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _unit(sample: Sample, unit: Literal["dialogue_id", "id"]) -> str:
    return str(sample.metadata["dialogue_id"] if unit == "dialogue_id" else sample.id)


def _exhausted(header: EvalLog) -> str | None:
    """The budget that ended an eval early (`benchmarks/budget.py`)."""
    early = header.results.early_stopping if header.results else None
    found = early.metadata.get("exhausted") if early else None
    return str(found) if found else None


def _minutes(header: EvalLog) -> float | None:
    from datetime import datetime

    started, ended = header.stats.started_at, header.stats.completed_at
    if not started or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds() / 60
