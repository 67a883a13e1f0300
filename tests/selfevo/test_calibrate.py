"""A judge's card from ratings of people: written by hand here, with agreements known beforehand."""

import csv
import json
from pathlib import Path

import pytest
from inspect_ai.model import modelapi

from benchmarks.errors import DataError
from benchmarks.ratings import RatedSet, load_rated
from judges.card import Trust, read_card
from judges.rubric import load_rubric
from selfevo.calibrate import calibrate, file_name, make_card
from selfevo.cli import main
from selfevo.judge_answers import Answers, by_embedded, by_panel, by_store
from tests.benchmarks.people import make_strangers, write_people
from tests.judges.bench import FakeJudge, judge_by, judge_saying

RUBRIC = """
schema_version: 1
name: warmth
version: "1"
language: en
kind: ordinal
higher_is: better
about: conversation
needs_persona: false
instructions: Look at warmth only.
criteria:
  - name: warmth
    question: How warm?
    weight: 1.0
    levels:
      - {value: 1, name: a, anchor: none}
      - {value: 2, name: b, anchor: little}
      - {value: 3, name: c, anchor: some}
      - {value: 4, name: d, anchor: much}
      - {value: 5, name: e, anchor: all}
"""
N = 36


@pytest.fixture
def rubric(tmp_path: Path) -> Path:
    path = tmp_path / "warmth.en.yaml"
    path.write_text(RUBRIC)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two raters who agree but for one item in six."""
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "rater", "warmth", "full_conversation"])
        for item in range(N):
            level = item % 5 + 1
            talk = f"Seeker: Number {item} hurts.\nSupporter: That is level {level} for you."
            other = level if item % 6 else min(5, level + 1)
            rows.writerow([f"i{item}", "ana", level, talk])
            rows.writerow([f"i{item}", "ben", other, talk])
    return path


def rating(level: int, evidence: str = "for you") -> str:
    return json.dumps({"warmth": {"evidence": evidence, "reason": "r", "level": level}})


def seen(request: str) -> int:
    return int(request.split("That is level ")[1][0])


def named(name: str, fake: FakeJudge) -> str:
    @modelapi(name=name)
    def api():
        return lambda *args, **kwargs: fake.model.api

    return f"{name}/x"


def card_of(judge: str, labels: Path, rubric: Path, out: Path, **arguments):
    return calibrate(judge, str(labels), rubric=str(rubric), out=out, **arguments)


def test_a_judge_that_sees_what_people_see_is_trusted(labels, rubric, tmp_path):
    judge = named("seesall", judge_by(lambda request: rating(seen(request))))
    card = card_of(judge, labels, rubric, tmp_path / "out")
    assert [d.name for d in card.dimensions] == ["warmth", "score"]
    for dimension in card.dimensions:
        assert dimension.trust is Trust.TRUSTED
        assert dimension.agreement.n == N
        assert dimension.agreement.kappa.value > 0.95
        assert dimension.ceiling.kappa.value > 0.9
    assert card.failures == {}
    assert card.position is None
    assert read_card(tmp_path / "out" / "seesall-x.labels.warmth.json") == card


def test_one_that_says_the_same_to_all_is_not(labels, rubric, tmp_path):
    judge = named("fouralways", judge_saying(rating(4)))
    card = card_of(judge, labels, rubric, tmp_path / "out")
    assert {d.trust for d in card.dimensions} == {Trust.UNTRUSTED}


def test_one_that_is_too_generous_ranks_well_and_is_not_trusted(labels, rubric, tmp_path):
    judge = named("generous", judge_by(lambda request: rating(5 if seen(request) > 1 else 3)))
    [warmth, _] = card_of(judge, labels, rubric, tmp_path / "out").dimensions
    assert warmth.agreement.offset.value > 1
    assert warmth.trust is not Trust.TRUSTED


def test_failures_are_counted_and_no_number(labels, rubric, tmp_path):
    def half(request: str) -> str:
        return rating(seen(request)) if seen(request) < 4 else "I cannot say."

    card = card_of(named("halfmute", judge_by(half)), labels, rubric, tmp_path / "out")
    mute = sum(item % 5 + 1 >= 4 for item in range(N))
    assert card.failures == {"not_json": mute}
    assert card.dimensions[0].agreement.n == N - mute
    assert card.dimensions[0].trust is Trust.UNTRUSTED
    assert "of the items have no verdict" in card.dimensions[0].reason


def test_repeats_show_how_steady_it_is(labels, rubric, tmp_path):
    fake = judge_saying(rating(2), rating(4), rating(2), rating(4))
    card = card_of(named("moody", fake), labels, rubric, tmp_path / "out", limit=2, repeats=2)
    assert card.n_items == 2
    assert card.stability is not None
    steady = card_of(named("steady", judge_saying(rating(2))), labels, rubric, tmp_path, repeats=2)
    assert steady.stability.flip_rate.value == 0


def test_what_people_rated_under_another_name_is_held_against_the_score(tmp_path, rubric):
    path = tmp_path / "other.csv"
    rows = ["id,helpful,full_conversation"]
    rows += [f'i{n},{n % 5 + 1},"Supporter: That is level {n % 5 + 1} for you."' for n in range(20)]
    path.write_text("\n".join(rows))
    judge = named("seestoo", judge_by(lambda request: rating(seen(request))))
    [helpful] = card_of(judge, path, rubric, tmp_path / "out").dimensions
    assert helpful.name == "helpful"
    assert helpful.agreement.kappa.value == 1
    assert helpful.ceiling is None


def test_the_embedded_judge_has_a_card_like_any_other(labels):
    rated = load_rated(str(labels))
    answers = by_embedded(rated)
    assert len(answers.asked) == N
    assert {"advice_giving", "invalidation", "score"} <= answers.ratings.keys()
    card = make_card(answers, rated, command="c")
    assert card.judge == "embedded"
    assert [d.name for d in card.dimensions] == ["warmth"]
    assert card.limits


def stored(rated: RatedSet) -> RatedSet:
    ratings = {f"i{item}": float(item % 5 + 1) for item in range(N)}
    harsh = {item: max(1.0, level - 1) for item, level in ratings.items()}
    judges = {"right": ratings, "harsh": harsh, "also": ratings}
    return rated.model_copy(update={"stored": {n: {"warmth": r} for n, r in judges.items()}})


def test_stored_judges_and_panels_of_them(labels):
    rated = stored(load_rated(str(labels)))
    right = make_card(by_store("right", rated), rated, command="c").dimensions[0]
    harsh = make_card(by_store("harsh", rated), rated, command="c").dimensions[0]
    panel = make_card(by_panel("right,harsh,also:median", rated), rated, command="c").dimensions[0]
    assert right.agreement.kappa.value > harsh.agreement.kappa.value
    assert panel.agreement == right.agreement
    assert harsh.agreement.offset.value < 0


def test_a_panel_needs_two_different_judges(labels):
    rated = stored(load_rated(str(labels)))
    for spec in ("right:median", "right,right:median"):
        with pytest.raises(DataError, match="is no panel; name two different judges"):
            by_panel(spec, rated)
    with pytest.raises(DataError, match="reliability"):
        by_panel("right,harsh:reliability", rated)


@pytest.mark.parametrize(
    ("name", "levels", "dimension"),
    [
        ("personalization", (1, 2, 3, 4, 5), "score"),
        ("unhelpfulness", (0, 1), "any"),
        ("preference_discrepancy", (-1, 0, 1), "score"),
        ("support_quality", (1, 2, 3, 4, 5), "score"),
    ],
)
def test_labels_of_people_make_a_card_under_every_shipped_rubric(name, levels, dimension, tmp_path):
    """The way of the documentation: label, calibrate, gate."""
    rubric = load_rubric(name)
    people = write_people(tmp_path / "people.jsonl", make_strangers(4))
    asked = [criterion.name for criterion in rubric.criteria]
    if rubric.kind == "preferences":
        asked = ["helps_1", "helps_2", "hurts_1", "hurts_2"]
    path = tmp_path / "ana.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "conversation_id", *asked, "full_conversation", "persona"])
        for item in range(N):
            level = levels[item % len(levels)]
            talk = f"Seeker: It hurts.\nSupporter: That is place {item} of all."
            rows.writerow([item, item, *[level] * len(asked), talk, f"en-s{item % 4}"])

    def say(request: str) -> str:
        item = int(request.split("That is place ")[1].split()[0])
        level = levels[item % len(levels)]
        entry = {"evidence": f"That is place {item}", "reason": "r", "level": level}
        assert ("What helps" in request) == rubric.needs_persona
        return json.dumps(dict.fromkeys(asked, entry))

    card = calibrate(
        named(f"sees{name}", judge_by(say)),
        str(path),
        rubric=name,
        out=tmp_path / "out",
        users=people,
    )
    assert card.failures == {}
    found = {d.name: d for d in card.dimensions}[dimension]
    assert (found.trust, found.agreement.kappa.value) == (Trust.TRUSTED, 1)


def test_only_the_first_of_several_judgements_is_held_against_people(labels, rubric, tmp_path):
    times: dict[str, int] = {}

    def then_silent(request: str) -> str:
        who = request.split("Number ")[1].split()[0]
        times[who] = times.get(who, 0) + 1
        return rating(seen(request)) if times[who] == 1 else "No."

    judge = named("thensilent", judge_by(then_silent))
    card = card_of(judge, labels, rubric, tmp_path / "out", repeats=2)
    assert card.failures == {}
    assert card.dimensions[0].agreement.n == N
    assert card.stability is None


def test_labels_on_another_scale_than_the_rubrics_are_refused_before_any_call(labels, tmp_path):
    with pytest.raises(DataError, match="is 2, outside the scale; use 0 to 1"):
        calibrate("mockllm/m", str(labels), rubric="unhelpfulness", out=tmp_path)


def test_unknown_judges_of_a_set(labels):
    rated = stored(load_rated(str(labels)))
    with pytest.raises(DataError, match="has no such judge; it has right, harsh, also"):
        by_store("wrong", rated)
    with pytest.raises(DataError, match="'best' is no method of a panel; end it with one of :mean"):
        by_panel("right,harsh:best", rated)


def test_from_the_command_line(labels, tmp_path, capsys):
    out = tmp_path / "cards"
    assert main(["calibrate", "embedded", "--data", str(labels), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "UNTRUSTED" in shown
    page = (out / "embedded.labels.md").read_text()
    assert "| warmth | **UNTRUSTED** (does not)" in page
    assert "measured" in page
    assert str(tmp_path) not in page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["embedded", "--data", "nowhere.csv"], "nowhere.csv"),
        (["embedded", "--data", "lend-an-ear"], "is no set of ratings; use lend-an-ear:PATH"),
        (["stored:gpt", "--data", "LABELS"], "labels has no such judge; it has none"),
        (["embedded", "--data", "LABELS", "--contexts", "nowhere"], "nowhere: is not there"),
        (["stored:gpt", "--data", "LABELS", "--limit", "3"], "is of no use for stored ratings"),
        (["mockllm/m", "--data", "LABELS", "--rubric", "personalization"], "is about nobody"),
        (["mockllm/m", "--data", "LABELS", "--rubric", "charm"], "charm"),
    ],
)
def test_errors_are_one_line(labels, tmp_path, capsys, arguments, complaint):
    given = [str(labels) if a == "LABELS" else a for a in arguments]
    assert main(["calibrate", *given, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert complaint in error


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--repeats", "-1"], ["--limit", "x"]])
def test_numbers_are_above_zero(labels, capsys, arguments):
    assert main(["calibrate", "embedded", "--data", str(labels), *arguments]) == 64
    assert "is no number above 0" in capsys.readouterr().err


def test_a_model_that_does_not_exist_is_one_line(labels, rubric, tmp_path, capsys):
    data = ["--data", str(labels), "--rubric", str(rubric), "--out", str(tmp_path / "out")]
    assert main(["calibrate", "nobody", *data]) == 64
    error = capsys.readouterr().err
    assert error.startswith("selfevo: judge 'nobody': ")
    assert error.count("\n") == 1


def test_file_names():
    assert file_name("openai/gpt-4o", "lend-an-ear") == "openai-gpt-4o.lend-an-ear"
    assert file_name("stored:gpt", "x") == "stored-gpt.x"
    assert file_name("openai/m", "x", "fluency") == "openai-m.x.fluency"
    assert file_name("openai/m", "x", "mine/warmth.en.yaml") == "openai-m.x.warmth"


def test_an_item_unrated_in_one_dimension_counts_against_that_one_only(labels):
    rated = load_rated(str(labels))
    ratings = {f"i{item}": float(item % 5 + 1) for item in range(N)}
    partly = {item: level for item, level in ratings.items() if item not in ("i3", "i7")}
    answers = Answers(
        judge="j",
        hash="h",
        rubric=None,
        ratings={"warmth": partly, "tact": ratings},
        repeats={},
        failures={},
        asked=tuple(ratings),
    )
    [warmth] = make_card(answers, rated, command="c").dimensions
    assert warmth.trust is Trust.UNTRUSTED
    assert warmth.reason == "6% of the items have no verdict (at most 2%)"
