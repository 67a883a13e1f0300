"""Two real logs of the same people, compared by outcome and by a judge."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import pytest
from inspect_ai import Task, eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import modelapi
from scipy import stats

from benchmarks.errors import DataError
from benchmarks.pairwise import pairwise
from benchmarks.support import support
from selfevo.cli import main
from selfevo.compare import compare_logs, read_preferences
from tests.benchmarks.fakes import answering, output
from tests.benchmarks.people import make_strangers, write_people
from tests.judges.bench import judge_by, judge_saying

KIND = "It sounds like you feel ashamed. What about the money and the landlord?"
COLD = "Everybody has money worries these days, really."
N = 5


class Logs(NamedTuple):
    a: Path
    b: Path
    other_seed: Path
    people: Path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    folder = tmp_path_factory.mktemp("logs")
    rows = make_strangers(N)
    for number, row in enumerate(rows):  # people who are moved differently by the same words
        row["need"] = ("validate", "advise", "encourage")[number % 3]
    people = write_people(folder / "people.jsonl", rows)

    def talk(text: str, **arguments) -> Path:
        [log] = eval(
            support(users=str(people), split=None, turns=3, min_turns=3, **arguments),
            model=answering(lambda messages: output(text, "stop")),
            log_dir=str(folder),
            display="none",
        )
        return Path(log.location)

    return Logs(talk(KIND), talk(COLD), talk(KIND, seed=8), people)


def call(winner: str, margin: int, a: str, b: str) -> str:
    return json.dumps(
        {"evidence_a": a, "evidence_b": b, "reason": "r", "winner": winner, "margin": margin}
    )


def prefers_kindness(request: str) -> str:
    if request.index("landlord") < request.index("Everybody"):
        return call("A", 2, "the landlord", "Everybody has")
    return call("B", 2, "Everybody has", "the landlord")


def judged(logs: Logs, judge, log_dir: Path, *, swap: bool = False):
    a, b = (logs.b, logs.a) if swap else (logs.a, logs.b)
    [log] = eval(
        pairwise(a=str(a), b=str(b)),
        model="none/none",
        model_roles={"judge": judge.model},
        log_dir=str(log_dir),
        display="none",
    )
    return read_preferences(log), log


def test_the_better_supporter_wins_in_both_orders(logs, tmp_path):
    judge = judge_by(prefers_kindness)
    found, log = judged(logs, judge, tmp_path)
    assert found.win.mean == 0.5
    assert (found.win.lower, found.win.upper) == (0.5, 0.5)
    assert found.means == {"win": 1, "margin": 2, "consistent": 1, "slot_driven": 0}
    assert (found.n_pairs, found.n_unscored) == (N, 0)
    assert len(judge.asked) == 2 * N
    stored = log.samples[0].scores["preferred"].metadata
    assert stored["forward"]["winner"] == "A"
    assert stored["backward"]["winner"] == "B"


def test_the_other_way_round_it_loses(logs, tmp_path):
    found, _ = judged(logs, judge_by(prefers_kindness), tmp_path, swap=True)
    assert found.win.mean == -0.5
    assert found.means["margin"] == -2


def test_a_judge_that_likes_the_first_slot_decides_nothing(logs, tmp_path):
    def first(request: str) -> str:
        kind_first = request.index("landlord") < request.index("Everybody")
        quotes = ("the landlord", "Everybody has")
        return call("A", 3, *(quotes if kind_first else reversed(quotes)))

    found, _ = judged(logs, judge_by(first), tmp_path)
    assert found.means == {"win": 0.5, "margin": 0, "consistent": 0, "slot_driven": 1}


def test_the_judge_knows_no_names(logs, tmp_path):
    judge = judge_by(prefers_kindness)
    judged(logs, judge, tmp_path)
    assert not any("mockllm" in m.text or ".eval" in m.text for ms, _ in judge.asked for m in ms)


def test_failures_are_counted_and_too_few_answers_are_an_error(logs, tmp_path):
    [log] = eval(
        pairwise(a=str(logs.a), b=str(logs.b)),
        model="none/none",
        model_roles={"judge": judge_saying("A is kinder.").model},
        log_dir=str(tmp_path),
        display="none",
    )
    assert all(math.isnan(s.scores["preferred"].value) for s in log.samples)
    with pytest.raises(DataError, match=rf"an answer for 0 people \({N} unscored\)"):
        read_preferences(log)


def test_logs_under_other_settings_are_refused(logs):
    with pytest.raises(DataError, match="were run with seed=7 and seed=8; run both"):
        pairwise(a=str(logs.a), b=str(logs.other_seed))


def test_single_preferences_cannot_be_compared(logs):
    with pytest.raises(DataError, match="asks about single preferences"):
        pairwise(a=str(logs.a), b=str(logs.b), rubric="preference_discrepancy")


def test_outcomes_are_paired_by_person(logs, capsys):
    compare_logs(logs.a, logs.b, judge=None, rubric="personalization", out=None)
    shown = capsys.readouterr().out
    values = [
        [
            s.scores["user_outcome"].value["relief"]
            for s in sorted(read_eval_log(str(path)).samples, key=lambda s: s.id)
        ]
        for path in (logs.a, logs.b)
    ]
    differences = [a - b for a, b in zip(*values, strict=True)]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    mean = sum(differences) / N
    assert f"{mean:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})" in shown
    assert f"{N} people on both sides, 0 on one" in shown


def test_from_the_command_line(logs, tmp_path, capsys):
    kind = judge_by(prefers_kindness)

    @modelapi(name="kindjudge")
    def kindjudge():
        return lambda *args, **kwargs: kind.model.api

    arguments = ["compare", str(logs.a), str(logs.b), "--judge", "kindjudge/x", "--out"]
    assert main([*arguments, str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "100.0%" in shown
    assert list(tmp_path.glob("*.eval"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(None, "no such log; give the path of an .eval file"), ("no log", "is no log of Inspect")],
)
def test_what_is_no_log_is_one_line(logs, tmp_path, capsys, text, complaint):
    path = tmp_path / "x.eval"
    if text:
        path.write_text(text)
    assert main(["compare", str(logs.a), str(path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert complaint in error
    with pytest.raises(DataError, match=complaint.split(";")[0]):
        pairwise(a=str(logs.a), b=str(path))


def test_a_judge_is_shown_no_strangers(logs: Logs, tmp_path: Path) -> None:
    """The same ids in another file of people: B would be judged under the card of A's person."""
    rows = make_strangers(N)
    for row in rows:
        row["intensity"] = 3
    people = write_people(tmp_path / "others.jsonl", rows)
    [log] = eval(
        support(users=str(people), split=None, turns=3, min_turns=3),
        model=answering(lambda messages: output(COLD, "stop")),
        log_dir=str(tmp_path),
        display="none",
    )
    with pytest.raises(DataError, match="have other people under the same ids, such as 'en-s0'"):
        pairwise(a=str(logs.a), b=log.location)


def test_a_rubric_of_which_more_is_worse_cannot_be_asked(logs: Logs) -> None:
    with pytest.raises(DataError, match="has criteria that do not add up"):
        pairwise(a=str(logs.a), b=str(logs.b), rubric="empathic_communication")


def test_the_judge_knows_the_people_of_the_file_that_is_named(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_strangers(N)
    for row in rows:
        row["situation"] = "The card of today."
    today = write_people(tmp_path / "today.jsonl", rows)
    held = []

    def run_judge(task: Task, *_: object) -> None:
        held.append(task)
        raise DataError("here", "it is enough", "to see the task")

    monkeypatch.setattr("selfevo.compare.run_judge", run_judge)
    with pytest.raises(DataError, match="it is enough"):
        compare_logs(logs.a, logs.b, judge="j/m", rubric="personalization", out=None, users=today)
    assert all("The card of today." in str(sample.metadata) for sample in held[0].dataset)
