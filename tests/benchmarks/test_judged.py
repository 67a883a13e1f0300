"""Judges as scorers: a real support log, with judges that answer by what they read."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml
from inspect_ai import eval, score
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import Model

from benchmarks.errors import DataError
from benchmarks.judged import another, judged, judges_by, person_card, personalization
from benchmarks.persona import load_personas
from benchmarks.support import support
from judges.rubric import dump_rubric, load_rubric
from tests.judges.bench import judge_by, judge_saying

from .fakes import answering, output
from .people import make_row, make_strangers, write_people

SAID = "It sounds like you feel ashamed. What about the money and the landlord?"
NEEDS = ("validate", "listen")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = make_strangers(6)
    for number, row in enumerate(rows):
        row["need"] = NEEDS[number % 2]
    return write_people(tmp_path_factory.mktemp("people") / "people.jsonl", rows)


def supporter() -> Model:
    return answering(lambda messages: output(SAID, "stop"))


def run(people: Path, log_dir: Path, judge: Model | list[Model] | None, **arguments) -> EvalLog:
    [log] = eval(
        support(users=str(people), split=None, turns=2, min_turns=2, **arguments),
        model=supporter(),
        model_roles={"judge": judge} if judge else {},
        log_dir=str(log_dir),
        display="none",
    )
    return log


def verdict(rubric: str, level: int) -> str:
    names = [criterion.name for criterion in load_rubric(rubric).criteria]
    entry = {"evidence": "What about the money", "reason": "It asks.", "level": level}
    return json.dumps(dict.fromkeys(names, entry))


def knows_the_person(people: Path):
    """A judge that gives 4 where card and conversation are of one person, else 2."""
    cards = load_personas(people)

    def say(request: str) -> str:
        [own] = [p for p in cards if p.opening in request]
        return verdict("personalization", 4 if own.situation in request else 2)

    return judge_by(say)


def test_personalization_is_the_score_with_the_true_card_minus_a_shuffled_one(people, tmp_path):
    judge = knows_the_person(people)
    log = run(people, tmp_path, judge.model, rubrics="personalization")
    assert log.status == "success", log.error
    assert len(judge.asked) == 12
    for sample in log.samples or []:
        value = sample.scores["personalization"].value
        assert (value["gap"], value["true"], value["shuffled"]) == (2, 4, 2)
        assert value["need_fit"] == 4
    [found] = [s for s in log.results.scores if s.name == "gap"]
    assert found.metrics["mean"].value == 2


def test_a_judge_that_reads_general_quality_gives_no_gap(people, tmp_path):
    judge = judge_saying(verdict("personalization", 5))
    log = run(people, tmp_path, judge.model, rubrics=["personalization"])
    assert {s.scores["personalization"].value["gap"] for s in log.samples} == {0}


def test_several_rubrics_stand_under_their_names(people, tmp_path):
    def say(request: str) -> str:
        is_fluency = '"coherence"' in request
        return verdict("fluency", 3) if is_fluency else verdict("unhelpfulness", 0)

    log = run(people, tmp_path, judge_by(say).model, rubrics="fluency, unhelpfulness")
    scores = (log.samples or [])[0].scores
    assert scores["fluency"].value["score"] == 3
    assert scores["unhelpfulness"].value["any"] == 0
    assert "user_outcome" in scores


def test_a_judge_that_fails_leaves_the_sample_unscored_with_its_reason(people, tmp_path):
    log = run(people, tmp_path, judge_saying("Four.").model, rubrics="fluency")
    assert log.status == "success"
    for sample in log.samples or []:
        found = sample.scores["fluency"]
        assert isinstance(found.value, float)
        assert math.isnan(found.value)
        assert found.metadata["failure"] == "not_json"
        assert "not one JSON object" in found.explanation
        assert not math.isnan(sample.scores["user_outcome"].value["relief"])


def test_the_judge_never_sees_the_private_mood_nor_the_model(people, tmp_path):
    judge = judge_saying(verdict("personalization", 3))
    run(people, tmp_path, judge.model, rubrics="personalization")
    for messages, _ in judge.asked:
        [request] = messages
        assert not re.search(r"trust|intensity|appraisal|relief|mockllm|en-s\d", request.text)


def test_without_a_judge_the_eval_says_so_and_nobody_judges_themselves(people, tmp_path):
    log = run(people, tmp_path, None, rubrics="fluency")
    assert log.status == "error"
    assert "judge" in log.error.message


def test_a_stored_log_is_judged_again(people, tmp_path):
    log = run(people, tmp_path, None)
    again = score(
        read_eval_log(log.location),
        [judged("fluency", users=str(people))],
        model_roles={"judge": judge_saying(verdict("fluency", 2)).model},
        action="append",
        display="none",
    )
    assert {s.scores["judged"].value["score"] for s in again.samples} == {2}
    assert "user_outcome" in again.samples[0].scores


def test_a_broken_conversation_is_not_judged(people, tmp_path):
    judge = judge_saying(verdict("fluency", 3))
    [log] = eval(
        support(users=str(people), split=None, turns=2, min_turns=2, rubrics="fluency"),
        model=answering(lambda messages: output("", "stop")),
        model_roles={"judge": judge.model},
        log_dir=str(tmp_path),
        display="none",
    )
    assert judge.asked == []
    assert all(math.isnan(s.scores["fluency"].value) for s in log.samples)


def test_a_panel_joins_its_judges_and_shows_how_far_apart_they_are(people, tmp_path):
    judges = [judge_saying(verdict("fluency", level)).model for level in (2, 4)]
    log = run(people, tmp_path, judges, rubrics="fluency")
    assert log.status == "success", log.error
    found = (log.samples or [])[0].scores["fluency"]
    assert found.value["score"] == 3
    assert found.metadata["spread"]["score"] == 2
    assert len(found.metadata["judges"]) == 2


def test_a_panel_of_which_too_few_answer_is_no_panel(people, tmp_path):
    judges = [judge_saying(verdict("fluency", 2)).model, judge_saying("Four.").model]
    log = run(people, tmp_path, judges, rubrics="fluency")
    found = (log.samples or [])[0].scores["fluency"]
    assert math.isnan(found.value)
    assert "not_json" in found.explanation


def test_the_gap_of_a_panel_is_that_of_judges_that_saw_both_cards(people, tmp_path):
    """Each is blind to whose card it sees, so no panel of them may find a gap."""
    cards = load_personas(people)

    def failing_on(own: bool, level: int):
        def say(request: str) -> str:
            [person] = [p for p in cards if p.opening in request]
            is_own = person.situation in request
            return "No." if is_own is own else verdict("personalization", level)

        return judge_by(say).model

    steady = judge_saying(verdict("personalization", 3)).model
    judges = [failing_on(False, 5), steady, failing_on(True, 1)]
    log = run(people, tmp_path, judges, rubrics="personalization")
    assert all(math.isnan(s.scores["personalization"].value) for s in log.samples)
    two = [steady, judge_saying(verdict("personalization", 5)).model, failing_on(True, 1)]
    log = run(people, tmp_path, two, rubrics="personalization")
    for sample in log.samples:
        value = sample.scores["personalization"].value
        assert (value["gap"], value["true"]) == (0, 4)
        assert len(sample.scores["personalization"].metadata["failed"]) == 1


def test_only_a_rubric_about_the_person_shows_the_card(people, tmp_path):
    judge = judge_saying(verdict("fluency", 3))
    run(people, tmp_path, judge.model, rubrics="fluency")
    assert not any("What helps" in m.text for messages, _ in judge.asked for m in messages)
    asked = judge_saying(verdict("personalization", 3))
    run(people, tmp_path, asked.model, rubrics="personalization")
    assert all("What helps" in messages[0].text for messages, _ in asked.asked)


def test_a_panel_where_one_judge_is_asked_is_refused(people, tmp_path):
    from benchmarks.pairwise import pairwise

    log = run(people, tmp_path, None)
    judge = judge_saying("x").model
    [compared] = eval(
        pairwise(a=log.location, b=log.location, rubric="fluency"),
        model="none/none",
        model_roles={"judge": [judge, judge]},
        log_dir=str(tmp_path / "compared"),
        display="none",
    )
    assert compared.status == "error"
    assert "holds 2 models, and one is asked here" in compared.error.message


def test_preferences_are_those_of_the_card(people, tmp_path):
    entry = {"evidence": "What about the money", "reason": "r"}
    said = {"helps_1": 1, "helps_2": 1, "hurts_1": -1, "hurts_2": None}
    answer = json.dumps({name: {**entry, "level": level} for name, level in said.items()})
    log = run(people, tmp_path, judge_saying(answer).model, rubrics="preference_discrepancy")
    value = (log.samples or [])[0].scores["preference_discrepancy"].value
    assert value["met"] == pytest.approx(2 / 3, abs=1e-4)
    assert value["violated"] == pytest.approx(1 / 3, abs=1e-4)


def test_the_other_person_has_another_need_and_is_always_the_same(people):
    cards = load_personas(people)
    for persona in cards:
        other = another(persona, cards, seed=7)
        assert other.need != persona.need
        assert other == another(persona, list(reversed(cards)), seed=7)


def test_nobody_else_is_an_error(tmp_path):
    [alone] = load_personas(write_people(tmp_path / "one.jsonl", [make_row()]))
    with pytest.raises(DataError, match="there is nobody else of this language with another need"):
        another(alone, [alone], seed=7)


@pytest.mark.parametrize(
    "make",
    [
        lambda users: judges_by("personalization", users),
        lambda users: judged("preference_discrepancy", persona="shuffled", users=users),
    ],
)
def test_it_is_one_before_anybody_is_paid(tmp_path, make):
    rows = make_strangers(3)
    for row in rows:
        row["need"] = "listen"
    alike = str(write_people(tmp_path / "alike.jsonl", rows))
    with pytest.raises(DataError, match="there is nobody else of this language with another need"):
        make(alike)
    assert judged("fluency", persona="shuffled", users=alike)  # which shows no card


def test_the_card_in_words_is_about_somebody_else(people):
    card = person_card(load_personas(people)[0])
    assert not re.search(r"\b(?:you|your|yourself)\b", f"{card.profile} {card.need}", re.IGNORECASE)
    assert [wish.name for wish in card.wishes] == ["helps_1", "helps_2", "hurts_1", "hurts_2"]
    assert [wish.is_wanted for wish in card.wishes] == [True, True, False, False]


def test_questions_about_a_person_need_a_card():
    with pytest.raises(DataError, match="persona=none shows no card"):
        judged("personalization", persona="none")
    assert judged("fluency", persona="none")


def test_unknown_rubrics_are_refused_before_any_call():
    with pytest.raises(DataError, match="rubrics=warmth: 'warmth' is not known; use person"):
        judges_by("warmth")
    with pytest.raises(DataError, match="'fluency' stands there twice"):
        judges_by(["fluency", "fluency"])
    with pytest.raises(DataError, match="persona=bogus: is not known; use true, shuffled, none"):
        judged("fluency", persona="bogus")  # type: ignore[arg-type]
    assert personalization()


def test_a_question_that_does_not_apply_is_left_out_of_its_mean(people, tmp_path):
    """Whichever sample comes first: Inspect wants the same names in each."""
    path = tmp_path / "mine.yaml"
    own = yaml.safe_load(dump_rubric(load_rubric("fluency")))
    own["criteria"][0]["not_applicable"] = "Nothing was said twice."
    path.write_text(yaml.safe_dump(own), encoding="utf-8")
    first, second = (criterion.name for criterion in load_rubric(path).criteria)
    openings = [person.opening for person in load_personas(people)]

    def say(request: str) -> str:
        answer = json.loads(verdict("fluency", 3))
        if openings[0] in request:
            answer[first] = {"evidence": "", "reason": "No occasion.", "level": None}
        return json.dumps(answer)

    log = run(people, tmp_path, None)
    again = score(
        read_eval_log(log.location),
        judged(str(path), users=str(people)),
        model_roles={"judge": judge_by(say).model},
        display="none",
    )
    found = {s.name: (s.scored_samples, s.unscored_samples) for s in again.results.scores}
    assert (found[first], found[second], found["score"]) == ((5, 1), (6, 0), (6, 0))
