"""The gate believes a judge only as far as its card goes."""

import json
from typing import Any

import pytest

from benchmarks.heldout import write_contexts
from judges.card import DimensionCard, JudgeCard, Trust
from results.records import RunRecord
from selfevo.cli import main
from selfevo.config import JudgeConfig, RunConfig
from selfevo.decision import Verdict
from selfevo.gate import decide
from selfevo.gate_config import GateConfig, Guard
from tests.records import make_measure, make_record

PRIMARY = "judge.personalization"
PLAIN = {"delta_min": 0.1, "control_length": False, "guards": [], "caps": []}
CONFIG = GateConfig.model_validate({"primary": PRIMARY, **PLAIN})


def record(checkpoint: str, gain: float = 0.0, judge: str = "abc", **fields: Any) -> RunRecord:
    values = {f"p{i}": gain + 0.01 * i for i in range(20)}
    measure = make_measure(values)
    return make_record(
        checkpoint,
        measures={PRIMARY: measure, "judge.unhelpfulness": measure, "trust": measure},
        fields={
            "judges": {PRIMARY: judge, "judge.unhelpfulness": judge},
            "provenance": {"created": "2026-11-24T08:00:00+00:00"},
            **fields,
        },
    )


def card(trust: Trust, dimension: str = "score", labels: int | None = None) -> JudgeCard:
    return JudgeCard(
        judge="openai/x",
        judge_hash="abc",
        rubric="personalization",
        data="labels",
        data_hash="d",
        measured="2026-11-24",
        command="c",
        versions={},
        n_items=50,
        n_conversations=50,
        failures={},
        dimensions=(
            DimensionCard(
                name=dimension,
                trust=trust,
                reason="kappa 0.30 (0.10 to 0.50), the bar is 0.40",
                labels_needed=labels,
                agreement=None,
                ceiling=None,
                judge_minus_human=None,
                length=None,
            ),
        ),
    )


def decided(*cards: JudgeCard, config: GateConfig = CONFIG, judge: str = "abc"):
    named = {PRIMARY: cards[0]} if cards else {}
    return decide(record("m1", 1.0, judge), record("m0", 0.0, judge), config, named)


def test_a_trusted_judge_promotes():
    decision = decided(card(Trust.TRUSTED))
    assert decision.verdict is Verdict.PROMOTE
    assert decision.overrides == ()


@pytest.mark.parametrize("trust", [Trust.UNTRUSTED, Trust.INCONCLUSIVE])
def test_an_untrusted_judge_is_an_error(trust):
    decision = decided(card(trust, labels=120))
    assert decision.verdict is Verdict.ERROR
    assert decision.reasons == (
        f"judge untrusted: 'judge.personalization' is {trust} by its card (score: kappa 0.30 "
        "(0.10 to 0.50), the bar is 0.40; 120 labels would decide)",
    )
    assert decision.comparisons == ()


def test_so_is_a_judge_without_a_card():
    decision = decided()
    assert decision.verdict is Verdict.ERROR
    assert decision.reasons[0].startswith("judge untrusted: 'judge.personalization' has no judge")


def test_and_a_card_of_another_judge():
    decision = decided(card(Trust.TRUSTED), judge="other")
    assert decision.verdict is Verdict.ERROR
    assert "the card is of another judge (openai/x, abc)" in decision.reasons[0]


def test_and_a_card_that_never_looked_at_this():
    decision = decided(card(Trust.TRUSTED, "warmth"))
    assert decision.verdict is Verdict.ERROR
    assert "score: never held against people" in decision.reasons[0]


def test_the_override_decides_and_is_recorded():
    config = CONFIG.model_copy(update={"allow_untrusted_judge": True})
    decision = decided(card(Trust.UNTRUSTED), config=config)
    assert decision.verdict is Verdict.PROMOTE
    assert len(decision.overrides) == 1
    assert decision.overrides[0].startswith("judge untrusted: 'judge.personalization'")
    assert type(decision).model_validate_json(decision.model_dump_json()) == decision


@pytest.mark.parametrize(("evaluated", "is_stale"), [("2027-05-23", False), ("2027-05-24", True)])
def test_a_card_goes_stale(evaluated, is_stale):
    new = record("m1", 1.0, provenance={"created": f"{evaluated}T08:00:00+00:00"})
    decision = decide(new, record("m0"), CONFIG, {PRIMARY: card(Trust.TRUSTED)})
    assert (decision.verdict is Verdict.ERROR) == is_stale
    if is_stale:
        assert "the card is stale, 181 days older than the evaluation" in decision.reasons[0]


@pytest.mark.parametrize("created", [None, "", "yesterday"])
def test_an_evaluation_without_a_date_may_have_a_stale_card(created):
    new = record("m1", 1.0, provenance={"created": created})
    decision = decide(new, record("m0"), CONFIG, {PRIMARY: card(Trust.TRUSTED)})
    assert decision.verdict is Verdict.ERROR
    assert decision.reasons == (
        "judge untrusted: 'judge.personalization': it is not known when the evaluation was made, "
        "and its judge's card may be stale; make the record again from its logs",
    )


def test_so_may_a_card_without_a_date():
    undated = card(Trust.TRUSTED).model_copy(update={"measured": "lately"})
    decision = decided(undated)
    assert decision.verdict is Verdict.ERROR
    assert decision.reasons == (
        "judge untrusted: 'judge.personalization': it is not known when its card was measured; "
        "calibrate again",
    )


def test_a_guard_of_a_judge_needs_its_card_too():
    guard = Guard(metric="judge.unhelpfulness", margin=2.0)
    config = CONFIG.model_copy(update={"guards": (guard,)})
    assert decided(card(Trust.TRUSTED), config=config).verdict is Verdict.ERROR
    cards = {
        PRIMARY: card(Trust.TRUSTED),
        "judge.unhelpfulness": card(Trust.TRUSTED, "any"),
    }
    assert decide(record("m1", 1.0), record("m0"), config, cards).verdict is Verdict.PROMOTE


def test_automatic_metrics_need_no_card():
    config = GateConfig.model_validate({"primary": "trust", **PLAIN})
    assert decided(config=config).verdict is Verdict.PROMOTE


def test_a_recipe_may_gate_on_what_its_judge_measures():
    judge = {"model": "openai/x", "rubrics": ["personalization"]}
    config = RunConfig.model_validate(
        {"name": "x", "judge": judge, "gate": {"primary": PRIMARY, **PLAIN}}
    )
    assert config.judge is not None
    with pytest.raises(ValueError, match="which this recipe does not measure"):
        RunConfig.model_validate({"name": "x", "gate": {"primary": PRIMARY}})


@pytest.mark.parametrize(
    ("judge", "complaint"),
    [
        ({"rubrics": ["warmth"]}, r"\['warmth'\] is no rubric; use personalization"),
        ({"rubrics": []}, "nothing is no rubric"),
        ({"rubrics": ["fluency", "fluency"]}, "a rubric stands there twice"),
        ({"cards": {"fluency": "x.json"}}, "'fluency' is not among judge.rubrics"),
    ],
)
def test_judges_that_cannot_work_are_refused(judge, complaint):
    with pytest.raises(ValueError, match=complaint):
        JudgeConfig.model_validate({"model": "openai/x", **judge})


@pytest.mark.parametrize("harm", ["judge.unhelpfulness", "judge.preference_discrepancy"])
def test_more_of_a_harm_is_no_goal(harm):
    judge = {"model": "m", "rubrics": ["unhelpfulness", "preference_discrepancy"]}
    with pytest.raises(ValueError, match="is worse when it is higher; make it a guard"):
        RunConfig.model_validate({"name": "x", "judge": judge, "gate": {"primary": harm}})


def test_a_judge_needs_conversations():
    with pytest.raises(ValueError, match="judge needs users"):
        RunConfig.model_validate(
            {"name": "x", "users": None, "judge": {"model": "m"}, "gate": {"guards": []}}
        )


def test_a_card_that_cannot_be_read_stops_the_run_before_it_begins(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    absent = tmp_path / "absent.json"
    recipe.write_text(
        f"name: x\njudge: {{model: openai/x, cards: {{personalization: {absent}}}}}\n"
    )
    root = tmp_path / "run"
    assert main(["evolve", str(recipe), "--run", str(root)]) == 64
    assert capsys.readouterr().err == (
        f"selfevo: {absent}: no judge card (No such file or directory); make one with selfevo "
        "calibrate\n"
    )
    assert not root.exists()


def test_a_checkpoint_of_a_run_is_judged_and_the_gate_asks_for_the_card(
    finishing_model, m0, tmp_path
):
    """The way of a judge through a run: recipe, eval, record, gate."""
    from inspect_ai.model import modelapi

    from judges.rubric import load_rubric
    from selfevo.evaluation import HeldOut, evaluate, judge_cards
    from selfevo.harness import evaluand
    from selfevo.run import Run
    from selfevo.users import store_people
    from tests.benchmarks.fakes import make_context
    from tests.judges.bench import judge_by

    from .toy import toy_config

    names = [criterion.name for criterion in load_rubric("personalization").criteria]

    def say(request: str) -> str:
        first = request.split("<supporter-")[1].split("\n", 1)[1]
        said = first.split("\n</supporter-")[0]
        entry = {"evidence": said, "reason": "r", "level": 3}
        return json.dumps(dict.fromkeys(names, entry))

    fake = judge_by(say)

    @modelapi(name="runjudge")
    def runjudge():
        return lambda *args, **kwargs: fake.model.api

    config = toy_config(
        finishing_model,
        judge={"model": "runjudge/x", "rubrics": ["personalization"]},
        gate={"primary": PRIMARY, **PLAIN},
        synthesis={"reflect": False},
        users={"turns": 1, "min_turns": 1},
    )
    contexts = tmp_path / "contexts.jsonl"
    write_contexts(contexts, [make_context(f"p{n}", "Hello.", "It is bad.") for n in range(4)])
    run = Run(tmp_path / "run", config)
    try:
        users = store_people(run, "gate")
        heldout = HeldOut(contexts, contexts, None, users, "h")
        model = evaluand(m0, config.model)
        measured = evaluate(run, "m0", "M0", model, heldout)
    finally:
        run.close()
    assert measured.measures[PRIMARY].n_total == 2
    assert measured.measures[PRIMARY].n_scored > 0  # an empty reply is not judged
    assert set(measured.measures[PRIMARY].values.values()) == {0.0}  # the same with any card
    assert list(measured.judges) == [PRIMARY]
    decision = decide(measured, measured, config.gate, judge_cards(config))
    assert decision.verdict is Verdict.ERROR
    assert "has no judge card" in decision.reasons[0]


def test_the_run_and_the_card_call_the_judge_by_the_same_hash(tiny_model, tmp_path):
    """Also a local one: by its weights, wherever they lie."""
    import shutil

    from inspect_ai.model import get_model

    from judges.absolute import JudgeSettings, identity, judge_hash
    from judges.rubric import load_rubric
    from selfevo.evaluation import judge_hashes

    moved = shutil.copytree(tiny_model, tmp_path / "elsewhere")
    judge = {"model": f"selfevo/{tiny_model}", "rubrics": ["fluency"]}
    config = RunConfig.model_validate({"name": "x", "judge": judge})
    on_card = judge_hash(
        identity(get_model(f"selfevo/{moved}")), load_rubric("fluency"), JudgeSettings()
    )
    assert judge_hashes(config) == {"judge.fluency": on_card}
