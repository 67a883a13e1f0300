"""A board in the format of Every Eval Ever 0.3, one record a method and suite, validated.

    for name, record in exported(board, records, now=int(time.time())).items(): ...

Each record stands alone, so a score is the mean over all people scored for that method, with a t
interval over people, and not over those who are scored for every method of the board. Measures of
which neither direction is better (length, questions) have no place in the format and are named in
`left_out`. What our records do not hold is said to be unknown and never guessed: who ran the
evaluation, whether weights are open, the judge's prompt (its hash stands for it).

Left out: the companion file of single conversations; records hold no texts.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from pydantic import JsonValue

from results.board_records import Board, Entry, MeasureBoard, Pairwise, SuiteBoard
from results.means import ALPHA, Better
from results.ranking import Ranked, RankingSettings
from results.records import HASH_CHARACTERS, AnyRecord, Measure, RunRecord
from results.stats import paired_bound

VERSION: Final = "0.3.0"
LIBRARY: Final = "inspect_ai"
"""What runs the evaluations; its version is in a record's provenance."""
LOCAL: Final = ("selfevo/", "selfevo-vllm/", "control/")
"""Providers that run in the evaluating program, or on servers that it starts or is given."""
UNKNOWN: Final = "unknown"
MULTI_TURN: Final = ("support", "loop", "pairwise")
"""Benchmarks whose people talk for several turns."""

Json = dict[str, JsonValue]


class ExportError(ValueError):
    """A record does not fit the schema; the message says where."""


def exported(board: Board, records: Sequence[AnyRecord], *, now: int) -> dict[str, Json]:
    """The records by file name.

    Args:
        board: Made from `records`.
        records: Where the values of single people are.
        now: Seconds since 1970.

    Raises:
        ExportError: one does not fit the schema.
    """
    runs = {record.hash: record for record in records if isinstance(record, RunRecord)}
    found = {}
    for suite in board.suites:
        for entry in suite.entries:
            results = _results(suite, entry, runs.get(entry.record or ""))
            if results:
                record = _record(suite, entry, runs.get(entry.record or ""), results, now)
                validate(record)
                found[_file_name(suite, entry)] = record
    return found


def validate(record: Mapping[str, JsonValue]) -> None:
    """Check a record against the schema of the format.

    Raises:
        ExportError: it does not fit.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(record))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the record"
        raise ExportError(f"every-eval-ever: {where}: {error.message}")


@cache
def _validator() -> Any:
    from jsonschema import Draft7Validator

    file = resources.files("results").joinpath("schemas", "every_eval_ever.eval.schema.json")
    return Draft7Validator(json.loads(file.read_text(encoding="utf-8")))


def _record(
    suite: SuiteBoard, entry: Entry, run: RunRecord | None, results: list[JsonValue], now: int
) -> Json:
    versions = run.provenance.versions if run else {}
    model = _model_info(entry.method, entry.checkpoint)
    record: Json = {
        "schema_version": VERSION,
        "evaluation_id": f"{suite.benchmark}/{model['id']}/{now}",
        "retrieved_timestamp": str(now),
        "source_metadata": {
            "source_name": "selfevo leaderboard",
            "source_type": "evaluation_run",
            "source_organization_name": UNKNOWN,
            "evaluator_relationship": "other",
            "additional_details": _details(
                suite=suite.name,
                record=entry.record,
                commit=entry.commit,
                left_out=", ".join(m.measure for m in suite.measures if m.better is None) or None,
            ),
        },
        "eval_library": {
            "name": LIBRARY,
            "version": versions.get(LIBRARY) or versions.get("inspect-ai") or UNKNOWN,
            "additional_details": dict(sorted(versions.items())),
        },
        "model_info": model,
        "evaluation_results": results,
    }
    seconds = _epoch(entry.created)
    if seconds is not None:
        record["evaluation_timestamp"] = str(seconds)
    return record


def _results(suite: SuiteBoard, entry: Entry, run: RunRecord | None) -> list[JsonValue]:
    """One result a measure that has a mean, and one a ranking."""
    found: list[JsonValue] = []
    for board in suite.measures:
        name = board.measure.split(" @ ")[0]
        measure = run.measures.get(name) if run else None
        is_here = any(cell.method == entry.method for cell in board.cells)
        if measure is not None and measure.mean is not None and board.better and is_here:
            found.append(_measure_result(suite, board, name, board.better, measure))
    for pair in suite.pairwise:
        for ranked in pair.ranking.methods if pair.ranking else ():
            if pair.ranking and ranked.name == entry.method:
                found.append(_pair_result(suite, pair, ranked, pair.ranking.settings))
    return found


def _measure_result(
    suite: SuiteBoard, board: MeasureBoard, name: str, better: Better, measure: Measure
) -> Json:
    config: Json = {
        "evaluation_description": f"Mean over people of '{name}' ({suite.benchmark}).",
        "metric_id": f"selfevo.{name}",
        "metric_name": name,
        "lower_is_better": better == "down",
    }
    if measure.scale:  # the format asks for both ends of a continuous score, and none is guessed
        low, high = measure.scale
        config |= {"score_type": "continuous", "min_score": low, "max_score": high}
    if board.judge:
        config["llm_scoring"] = _llm_scoring(UNKNOWN, board.judge, name)
    details = _details(n_samples_scored=str(measure.n_scored), n_samples_total=str(measure.n_total))
    return {
        "evaluation_result_id": f"{suite.name}/{board.measure}",
        "evaluation_name": f"{suite.benchmark}: {name}",
        "source_data": _source_data(suite),
        "metric_config": config,
        "score_details": {
            "score": measure.mean,
            "details": details,
            "uncertainty": _uncertainty(list(measure.values.values())),
        },
    }


def _pair_result(
    suite: SuiteBoard, pair: Pairwise, ranked: Ranked, settings: RankingSettings
) -> Json:
    return {
        "evaluation_result_id": f"{suite.name}/preferences/{pair.rubric}/{pair.judge_hash}",
        "evaluation_name": f"{suite.benchmark}: preferences, {pair.rubric}",
        "source_data": _source_data(suite),
        "metric_config": {
            "evaluation_description": "Bradley-Terry strength in log-odds, mean 0 over the "
            "methods compared: it says nothing outside of this comparison.",
            "metric_id": "selfevo.bradley_terry",
            "metric_name": f"preference strength ({pair.rubric})",
            "metric_kind": "bradley_terry",
            "metric_unit": "log-odds",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": "-Infinity",
            "max_score": "Infinity",
            "llm_scoring": _llm_scoring(pair.judge, pair.judge_hash, pair.rubric),
        },
        "score_details": {
            "score": ranked.strength,
            "details": _details(
                wins=str(ranked.wins),
                losses=str(ranked.losses),
                ties=str(ranked.ties),
                rank=f"{ranked.rank} ({ranked.rank_lower} to {ranked.rank_upper})",
            ),
            "uncertainty": {
                "confidence_interval": {
                    "lower": ranked.lower,
                    "upper": ranked.upper,
                    "confidence_level": 1 - settings.alpha,
                    "method": "percentile bootstrap over people",
                },
                "num_samples": ranked.n_people,
                "num_bootstrap_samples": settings.n_resamples,
            },
        },
    }


def _uncertainty(values: list[float]) -> Json:
    """Of a mean over people; one person has none."""
    if len(values) < 2:
        return {"num_samples": len(values)}
    bound = paired_bound(values, ALPHA / 2)
    return {
        "standard_error": {"value": bound.sd / math.sqrt(bound.n), "method": "analytic"},
        "confidence_interval": {
            "lower": bound.lower,
            "upper": bound.upper,
            "confidence_level": 1 - ALPHA,
            "method": "Student's t over people",
        },
        "standard_deviation": bound.sd,
        "num_samples": bound.n,
    }


def _llm_scoring(judge: str, judge_hash: str, rubric: str) -> Json:
    return {
        "judges": [{"model_info": _model_info(judge, judge_hash)}],
        "input_prompt": f"Not in the record; its hash, with rubric and settings, is {judge_hash}.",
        "additional_details": {"judge_hash": judge_hash, "rubric": rubric},
    }


def _model_info(name: str, content: str | None) -> dict[str, JsonValue]:
    is_local = name.startswith(LOCAL)
    details = {
        "deployment_type": "self_deployed" if is_local else UNKNOWN,
        "model_availability": UNKNOWN,
        **_details(content_hash=content),
    }
    return {
        "name": name,
        "id": name,
        "additional_details": details,
    }


def _source_data(suite: SuiteBoard) -> Json:
    tasks = suite.benchmark.split("+")
    turns = "multi_turn" if set(tasks) & set(MULTI_TURN) else "single_turn"
    return {
        "dataset_name": f"{suite.benchmark} (simulated and recorded people)",
        "source_type": "other",
        "additional_details": {"interaction_type": turns, **suite.suite},
    }


def _details(**given: str | None) -> dict[str, JsonValue]:
    return {name: value for name, value in given.items() if value is not None}


def _epoch(created: str | None) -> int | None:
    try:
        return int(datetime.fromisoformat(created).timestamp()) if created else None
    except ValueError:
        return None


def _file_name(suite: SuiteBoard, entry: Entry) -> str:
    """The method readably, and a hash of method and suite: no two are the same."""
    readable = "".join(c if c.isalnum() or c in "._-" else "-" for c in entry.method).strip("-.")
    key = hashlib.sha256(f"{suite.name}\n{entry.method}".encode()).hexdigest()[:HASH_CHARACTERS]
    return f"{readable or 'method'}-{key}.json"
