"""Probes of a judge on dialogues written for these tests, in ESConv's form."""

import json
import math
from pathlib import Path

import pytest
import yaml
from inspect_ai import eval

from benchmarks.errors import DataError
from benchmarks.probing import HUMAN, position, probe_variants, probing
from judges.probes import Probe
from judges.rubric import dump_rubric, load_rubric
from selfevo.judge_probes import probe_embedded, read_probes
from tests.judges.bench import FakeJudge, judge_by, judge_saying

PLACES = ("harbour", "bakery", "orchard", "station")


@pytest.fixture
def esconv(tmp_path: Path) -> Path:
    path = tmp_path / "valid.jsonl"
    path.write_text("".join(json.dumps(dialogue(place)) + "\n" for place in PLACES))
    return path


def dialogue(place: str) -> dict[str, object]:
    turns = [
        ("usr", f"Something happened at the {place} yesterday and I cannot sleep."),
        ("sys", f"What did they do to you at the {place}?"),
        ("usr", f"My uncle sold the {place} without a word, and laughed at me."),
        ("sys", f"He sold the {place} and laughed, that must have cut deep."),
        ("usr", "It did, I keep hearing him laugh whenever it is quiet."),
        ("sys", f"When the laugh comes back at night, is it the {place} or him you miss?"),
    ]
    return {
        "emotion_type": "anger",
        "problem_type": "conflict",
        "situation": f"My uncle sold our {place} behind my back and I owe the workers an answer.",
        "dialog": [{"speaker": speaker, "text": text} for speaker, text in turns],
        "survey_score": {"seeker": {"initial_emotion_intensity": "5"}},
    }


def test_every_context_has_a_persons_reply_each_probe_and_a_strangers_card(esconv):
    variants = probe_variants(esconv, n=4, seed=7)
    names = [variant.name for variant in variants]
    assert set(names) == {HUMAN, *Probe}
    assert len(names) == 4 * (1 + len(Probe))
    for variant in variants:
        own = variant.material.card.person == variant.context.dialogue_id
        assert own == (variant.name != Probe.SHUFFLED_PERSONA)
        said = variant.material.turns[-1].text
        is_human = variant.name in (HUMAN, Probe.SHUFFLED_PERSONA)
        assert (said == variant.context.human_reply) == is_human


def test_a_rubric_without_a_score_can_fool_nobody(esconv, tmp_path):
    own = yaml.safe_load(dump_rubric(load_rubric("fluency")))
    own["adds_up"] = False
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(own), encoding="utf-8")
    with pytest.raises(DataError, match="do not add up to a score; probe by another rubric"):
        probing(str(esconv), rubric=str(path))


def run(task, judge: FakeJudge, log_dir: Path):
    [log] = eval(
        task,
        model="none/none",
        model_roles={"judge": judge.model},
        log_dir=str(log_dir),
        display="none",
    )
    assert log.status == "success", log.error
    return log


def verdict(level: int, evidence: str) -> str:
    names = [criterion.name for criterion in load_rubric("personalization").criteria]
    entry = {"evidence": evidence, "reason": "", "level": level}
    return json.dumps(dict.fromkeys(names, entry))


def last_reply(request: str) -> str:
    return request.split("<supporter-")[-1].split("\n", 1)[1].split("\n</supporter-")[0]


def card(request: str) -> str:
    return request.split("Situation, in their own words: ")[1].split("\n")[0]


def test_a_judge_that_sees_through_them_and_one_that_loves_flattery(esconv, tmp_path):
    def discerning(request: str) -> str:
        said = last_reply(request)
        is_own = any(place in said and place in card(request) for place in PLACES)
        return verdict(5 if is_own and said.endswith("miss?") else 1, said[:400])

    found = read_probes(run(probing(str(esconv), contexts=4), judge_by(discerning), tmp_path))
    assert {outcome.name for outcome in found} == set(Probe)
    for outcome in found:
        assert (outcome.below.value, outcome.difference.value, outcome.n) == (1, 4, 4)
        assert outcome.loses

    def vain(request: str) -> str:
        said = last_reply(request)
        return verdict(5 if "wonderful" in said else 3, said[:400])

    taken_in = read_probes(run(probing(str(esconv), contexts=4), judge_by(vain), tmp_path))
    [flattery] = [outcome for outcome in taken_in if outcome.name == Probe.FLATTERY]
    assert (flattery.below.value, flattery.loses) == (0, False)


def test_contexts_without_a_verdict_are_counted(esconv, tmp_path):
    def silent_on_flattery(request: str) -> str:
        said = last_reply(request)
        return "No." if "wonderful" in said else verdict(3, said[:400])

    found = read_probes(
        run(probing(str(esconv), contexts=4), judge_by(silent_on_flattery), tmp_path)
    )
    assert Probe.FLATTERY not in {outcome.name for outcome in found}  # never scored, so no figure
    assert all(outcome.n_failed == 0 for outcome in found)


def test_position_is_the_same_reply_twice(esconv, tmp_path):
    answer = {"evidence_a": "the laugh comes", "evidence_b": "the laugh comes", "reason": ""}
    first = judge_saying(json.dumps({**answer, "winner": "A", "margin": 2}))
    log = run(position(str(esconv), contexts=4), first, tmp_path)
    assert [s.scores["preferred"].value["slot_driven"] for s in log.samples] == [1, 1, 1, 1]
    fair = judge_saying(json.dumps({**answer, "winner": "tie", "margin": 0}))
    log = run(position(str(esconv), contexts=4), fair, tmp_path)
    assert {s.scores["preferred"].value["slot_driven"] for s in log.samples} == {0}


def test_the_embedded_judge_is_probed_too(esconv):
    found = {outcome.name: outcome for outcome in probe_embedded(esconv)}
    assert set(found) == set(Probe)
    assert found[Probe.PARROT].below.value == 1
    assert not math.isnan(found[Probe.SHUFFLED_PERSONA].difference.value)


def test_too_few_contexts_are_refused(esconv):
    with pytest.raises(DataError, match="contexts=1: is too few to exchange cards"):
        probing(str(esconv), contexts=1)
