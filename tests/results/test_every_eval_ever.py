import hashlib
import json
import math
import re
from importlib import resources

import pytest
from pydantic import JsonValue
from scipy import stats

from results.board import make_board
from results.every_eval_ever import ExportError, exported, validate
from results.records import AnyRecord, RunRecord

from .made_records import board_of_eight, measure, preferences, run, spread

NOW = 1_790_000_000


def export(*records: AnyRecord) -> dict[str, dict[str, JsonValue]]:
    return exported(make_board(records), records, now=NOW)


def of(method: str, *records: AnyRecord) -> dict[str, JsonValue]:
    [found] = [r for r in export(*records).values() if r["model_info"]["name"] == method]  # type: ignore[index,call-overload]
    return found


def result(record: dict[str, JsonValue], metric: str) -> dict[str, JsonValue]:
    results = json.loads(json.dumps(record["evaluation_results"]))
    [found] = [r for r in results if r["metric_config"]["metric_id"] == metric]
    assert isinstance(found, dict)
    return found


def test_each_method_has_a_record_and_all_fit_the_schema() -> None:
    found = export(*board_of_eight())
    assert len(found) == 4  # a control that nobody measured has none
    for name, record in found.items():
        validate(record)
        assert re.fullmatch(r"[\w.-]+-[0-9a-f]{12}\.json", name)


def test_the_score_is_the_mean_with_a_t_interval_over_people() -> None:
    values = spread(1.0)
    found = result(of("M1", *board_of_eight()), "selfevo.relief")
    sd = math.sqrt(sum((v - 1.0) ** 2 for v in values) / 19)
    half = float(stats.t.ppf(0.975, 19)) * sd / math.sqrt(20)
    details = found["score_details"]
    assert isinstance(details, dict)
    uncertainty = details["uncertainty"]
    assert isinstance(uncertainty, dict)
    assert details["score"] == pytest.approx(1.0)
    assert uncertainty["standard_error"] == {
        "value": pytest.approx(sd / math.sqrt(20)),
        "method": "analytic",
    }
    assert uncertainty["confidence_interval"] == {
        "lower": pytest.approx(1 - half),
        "upper": pytest.approx(1 + half),
        "confidence_level": 0.95,
        "method": "Student's t over people",
    }
    assert uncertainty["num_samples"] == 20


def test_direction_and_bounds_are_those_of_the_measure() -> None:
    record = of("M1", *board_of_eight())
    relief = result(record, "selfevo.relief")["metric_config"]
    assert isinstance(relief, dict)
    assert (relief["lower_is_better"], relief["min_score"], relief["max_score"]) == (False, -4, 4)
    gave_up = result(record, "selfevo.gave_up")["metric_config"]
    assert isinstance(gave_up, dict)
    assert gave_up["lower_is_better"] is True


def test_bounds_that_are_not_known_are_not_made_up() -> None:
    record = of("M1", run("M1", {"specificity": measure(spread(1.0))}))
    config = result(record, "selfevo.specificity")["metric_config"]
    assert isinstance(config, dict)
    assert not {"score_type", "min_score", "max_score"} & config.keys()


def test_a_measure_without_a_better_direction_is_left_out_and_named() -> None:
    record = of("M1", *board_of_eight())
    assert "talk.length" not in json.dumps(record["evaluation_results"])
    source = record["source_metadata"]
    assert isinstance(source, dict)
    assert isinstance(source["additional_details"], dict)
    assert source["additional_details"]["left_out"] == "talk.length"


def test_a_judged_measure_names_its_judge_by_hash() -> None:
    record = of(
        "M1",
        run(
            "M1",
            {"judge.personalization": measure(spread(1.0))},
            judges={"judge.personalization": "9f" * 32},
        ),
    )
    config = result(record, "selfevo.judge.personalization")["metric_config"]
    assert isinstance(config, dict)
    assert "9f" * 32 in json.dumps(config["llm_scoring"])


def test_a_ranking_is_a_result_with_its_bootstrap() -> None:
    found = result(of("M1", *board_of_eight()), "selfevo.bradley_terry")
    details = found["score_details"]
    assert isinstance(details, dict)
    assert isinstance(details["uncertainty"], dict)
    assert details["uncertainty"]["num_bootstrap_samples"] == 1000
    assert details["uncertainty"]["num_samples"] == 12
    assert "openai/judge" in json.dumps(found["metric_config"])


def test_a_method_that_was_only_compared_has_its_ranking() -> None:
    record = of("M2", preferences("M1", "M2", "aaaabbaaaabb"))
    assert isinstance(record["evaluation_results"], list)
    assert len(record["evaluation_results"]) == 1


def test_times_versions_and_turns_are_the_records_own() -> None:
    record = of("M1", *board_of_eight())
    assert record["evaluation_id"] == f"support/M1/{NOW}"
    assert record["retrieved_timestamp"] == str(NOW)
    assert record["evaluation_timestamp"] == "1795514400"  # 2026-11-24 10:00 UTC
    assert record["eval_library"] == {
        "name": "inspect_ai",
        "version": "0.3.285",
        "additional_details": {"inspect_ai": "0.3.285"},
    }
    assert '"interaction_type": "multi_turn"' in json.dumps(record)


def test_two_suites_of_a_method_are_two_files() -> None:
    other = run("M1", {"relief": measure(spread(1.0))}, suite={"people": "q"})
    assert len(export(*board_of_eight(), other)) == 5


def test_two_names_that_look_alike_in_a_file_name_are_two_files() -> None:
    records: list[RunRecord] = [
        run(method, {"relief": measure(spread(1.0))}) for method in ("a/b", "a-b", "家", "国")
    ]
    assert len(export(*records)) == 4


def test_nothing_scored_is_no_record() -> None:
    assert export(run("M1", {"relief": measure([], ["user-00"])})) == {}


def test_a_record_that_does_not_fit_is_refused_with_the_place() -> None:
    record = of("M1", *board_of_eight())
    with pytest.raises(ExportError, match=r"every-eval-ever: evaluation_results: .*array"):
        validate({**record, "evaluation_results": "none"})
    with pytest.raises(ExportError, match="'model_info' is a required property"):
        validate({name: part for name, part in record.items() if name != "model_info"})


def test_the_schema_is_the_published_one() -> None:
    folder = resources.files("results").joinpath("schemas")
    schema = folder.joinpath("every_eval_ever.eval.schema.json").read_bytes()
    note = folder.joinpath("README.md").read_text("utf-8")
    assert hashlib.sha256(schema).hexdigest() in note
    assert json.loads(schema)["version"] == "0.3.0"
    assert "MIT License" in folder.joinpath("LICENSE.every_eval_ever").read_text("utf-8")


@pytest.mark.parametrize(
    ("method", "deployment"),
    [
        ("selfevo/m0/checkpoint", "self_deployed"),
        ("selfevo-vllm/m0/checkpoint", "self_deployed"),
        ("openai/gpt", "unknown"),
    ],
)
def test_who_deploys_a_model_is_told_where_it_is_known(method: str, deployment: str) -> None:
    info = of(method, run(method, {"relief": measure(spread(1.0))}))["model_info"]
    assert json.loads(json.dumps(info))["additional_details"]["deployment_type"] == deployment
