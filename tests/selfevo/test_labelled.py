"""Labels of people and scores of a judge for the same two logs, joined."""

import datetime
import json
from pathlib import Path
from typing import NamedTuple

import pytest
from inspect_ai import eval

from benchmarks.errors import DataError
from benchmarks.support import support
from judges.rubric import load_rubric
from results.prediction_powered import difference_estimate
from selfevo.annotate_items import Item, read_items
from selfevo.annotate_labels import Label
from selfevo.cli import main
from selfevo.labelled import labelled_difference
from tests.benchmarks.fakes import answering, output
from tests.benchmarks.people import make_strangers, write_people
from tests.judges.bench import judge_by

N, N_LABELLED = 44, 24
FLUENCY = load_rubric("fluency")
SAID = {"a": "What about the money and the landlord?", "b": "Money, money, always money."}


class Logs(NamedTuple):
    a: Path
    b: Path
    unjudged: Path


def number(person: str) -> int:
    return int(person.removeprefix("en-s"))


def judged(side: str, person: int) -> int:
    """What the judge says of a person's conversation: it likes A, and varies."""
    return (4 if side == "a" else 2) + person % 2


def human(side: str, person: int) -> int:
    """What people say: the two are alike, but for one person in six."""
    return 3 + person % 2 + (side == "a" and person % 6 == 0)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    folder = tmp_path_factory.mktemp("labelled")
    rows = make_strangers(N)
    people = write_people(folder / "people.jsonl", rows)
    openings = {row["opening"]: number(row["id"]) for row in rows}

    def say(request: str) -> str:
        [person] = [n for opening, n in openings.items() if opening in request]
        side = "a" if SAID["a"] in request else "b"
        entry = {"evidence": SAID[side], "reason": "r", "level": judged(side, person)}
        return json.dumps({criterion.name: entry for criterion in FLUENCY.criteria})

    def talk(side: str, rubrics: str | None) -> Path:
        [log] = eval(
            support(users=str(people), split=None, turns=1, min_turns=1, rubrics=rubrics),
            model=answering(lambda messages: output(SAID[side], "stop")),
            model_roles={"judge": judge_by(say).model},
            log_dir=str(folder),
            display="none",
        )
        assert log.status == "success", log.error
        return Path(log.location)

    return Logs(talk("a", "fluency"), talk("b", "fluency"), talk("b", None))


def label(item: Item, value: int, rater: str = "ana", **changes) -> Label:
    values = {criterion.name: value for criterion in FLUENCY.criteria}
    return Label.model_validate(
        {
            "item": item.id,
            "person": item.person,
            "log": item.log,
            "sample": item.sample,
            "epoch": item.epoch,
            "rubric": "fluency",
            "rubric_version": FLUENCY.version,
            "rubric_hash": FLUENCY.hash,
            "rater": rater,
            "saw_card": False,
            "values": values,
            "missing": {},
            "notes": "",
            "seconds": 1.0,
            "labelled_at": datetime.datetime.now(tz=datetime.UTC),
            "language": "en",
            "about": "conversation",
            "text": item.text,
            **changes,
        }
    )


def write(path: Path, labels: list[Label]) -> Path:
    path.write_text("".join(line.model_dump_json() + "\n" for line in labels), encoding="utf-8")
    return path


def labels_of(logs: Logs, sides: str = "ab") -> list[Label]:
    return [
        label(item, human(side, number(item.sample)))
        for side in sides
        for item in read_items([getattr(logs, side)], "fluency").items
        if number(item.sample) < N_LABELLED
    ]


def expected():
    people = [{f"en-s{n}": float(human(side, n)) for n in range(N_LABELLED)} for side in ("b", "a")]
    judge = [{f"en-s{n}": float(judged(side, n)) for n in range(N)} for side in ("b", "a")]
    return difference_estimate(people[0], judge[0], people[1], judge[1])


def test_the_judges_liking_is_taken_out(logs, tmp_path):
    file = write(tmp_path / "ana.jsonl", labels_of(logs))
    found = labelled_difference(logs.a, logs.b, [file])
    assert found.a_minus_b == expected()
    assert found.a_minus_b.judge_only == 2
    assert found.a_minus_b.upper < 1
    assert (found.a_minus_b.n_human, found.a_minus_b.n_judge) == (N_LABELLED, N)


def test_raters_are_averaged_and_a_later_word_replaces_the_earlier(logs, tmp_path):
    given = labels_of(logs)
    doubted = [given[0].model_copy(update={"values": dict.fromkeys(given[0].values, 1)})]
    ana = write(tmp_path / "ana.jsonl", [*doubted, *given])
    ben = write(tmp_path / "ben.jsonl", [g.model_copy(update={"rater": "ben"}) for g in given])
    assert labelled_difference(logs.a, logs.b, [ana, ben]).a_minus_b == expected()


def test_labels_that_leave_a_question_open_are_counted_and_left_out(logs, tmp_path):
    given = labels_of(logs)
    name = FLUENCY.criteria[0].name
    open_ = given[0].model_copy(
        update={"values": {**given[0].values, name: None}, "missing": {name: "cannot tell"}}
    )
    found = labelled_difference(
        logs.a, logs.b, [write(tmp_path / "ana.jsonl", [open_, *given[1:]])]
    )
    assert found.n_incomplete == 1
    assert found.a_minus_b.n_human == N_LABELLED - 1


def test_both_sides_must_be_labelled(logs, tmp_path):
    file = write(tmp_path / "ana.jsonl", labels_of(logs, "a"))
    with pytest.raises(DataError, match="label"):
        labelled_difference(logs.a, logs.b, [file])


def test_a_log_without_the_judge_is_refused(logs, tmp_path):
    file = write(tmp_path / "ana.jsonl", labels_of(logs))
    with pytest.raises(DataError, match="holds no score of the judge 'fluency'; run it with -T"):
        labelled_difference(logs.a, logs.unjudged, [file])


def test_labels_of_another_rubric_are_refused(logs, tmp_path):
    given = [g.model_copy(update={"rubric_hash": "old"}) for g in labels_of(logs)]
    with pytest.raises(DataError, match="were made with another 'fluency'; rate again"):
        labelled_difference(logs.a, logs.b, [write(tmp_path / "ana.jsonl", given)])
    with pytest.raises(DataError, match="hold no labels"):
        labelled_difference(logs.a, logs.b, [write(tmp_path / "empty.jsonl", [])])


def test_from_the_command_line(logs, tmp_path, capsys):
    file = write(tmp_path / "ana.jsonl", labels_of(logs))
    assert main(["compare", str(logs.a), str(logs.b), "--labels", str(file)]) == 0
    shown = capsys.readouterr().out
    value = expected()
    assert f"{value.value:+.2f} ({value.lower:+.2f} to {value.upper:+.2f})" in shown
    assert f"{N_LABELLED} people labelled on both sides, {N} judged" in shown
