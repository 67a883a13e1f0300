"""The ledger: prices, what counts as the same look, and files that are none."""

import math
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import pytest

from results.ledger import Price, alpha_at, next_alpha, read_ledger
from results.ledger import look as look_at
from results.ledger import quote as quote_at
from results.records import RecordError, RunRecord
from tests.records import make_measure, make_record

ALPHA = 0.05
M0, M1, M2, M3 = (make_record(name) for name in ("m0", "m1", "m2", "m3"))
PEOPLE = ("ann", "ben", "cai")
GATE = "relief by 0.2"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.jsonl"


def look(
    path: Path,
    candidate: RunRecord,
    champion: RunRecord,
    alpha: float = ALPHA,
    rivals: Sequence[RunRecord] = (),
    *,
    question: str = GATE,
    people: Sequence[str] = PEOPLE,
    grows: bool = False,
) -> Price:
    """One question about the same three people, unless told otherwise."""
    return look_at(
        path, candidate, champion, alpha, rivals, question=question, people=people, grows=grows
    )


def quote(path: Path, candidate: RunRecord, champion: RunRecord, alpha: float) -> Price:
    return quote_at(path, candidate, champion, alpha, question=GATE, people=PEOPLE)


# Prices.


def test_the_first_prices_by_hand() -> None:
    # 6 / pi^2 = 0.6079
    assert [round(alpha_at(0.05, r), 5) for r in (1, 2, 3)] == [0.0304, 0.0076, 0.00338]


def test_all_looks_together_cost_alpha_and_no_more() -> None:
    spent = math.fsum(alpha_at(ALPHA, r) for r in range(1, 100_000))
    assert ALPHA - 1e-6 < spent < ALPHA


# Looks.


def test_every_pair_is_a_look_and_the_same_pair_the_same_look(ledger: Path) -> None:
    first = look(ledger, M1, M0, ALPHA)
    assert first == Price(1, alpha_at(ALPHA, 1), alpha_at(ALPHA, 2))
    assert look(ledger, M2, M0, ALPHA).number == 2
    assert look(ledger, M2, M1, ALPHA).number == 3
    again = look(ledger, M1, M0, ALPHA)
    assert again[:2] == first[:2]
    assert again.later == alpha_at(ALPHA, 4)  # three looks were had, whichever is read again
    assert look(ledger, M0, M1, ALPHA).number == 4  # the other way round is another question
    assert [entry.number for entry in read_ledger(ledger)] == [1, 2, 3, 4]


def test_other_people_count_from_one(ledger: Path) -> None:
    look(ledger, M1, M0)
    assert look(ledger, M2, M0, people=("dot", "eve")).number == 1
    assert look(ledger, M3, M0, people=("dot", "eve")).number == 2
    assert look(ledger, M2, M0).number == 2  # these people were not asked this yet


@pytest.mark.parametrize(
    "people", [("ann",), ("ann", "ben"), ("cai", "dot", "eve"), ("ann", "ben", "cai", "dot")]
)
def test_some_or_more_of_the_people_are_no_fresh_ones(
    people: tuple[str, ...], ledger: Path
) -> None:
    look(ledger, M1, M0)
    assert next_alpha(ledger, people, ALPHA) == alpha_at(ALPHA, 2)
    assert look(ledger, M2, M0, people=people).number == 2


def test_ever_larger_evaluations_of_other_records_are_ever_dearer(ledger: Path) -> None:
    people = [f"p{i}" for i in range(50)]
    for round_number in range(1, 6):
        asked = people[: 10 * round_number]
        again = make_record(f"m{round_number}")
        assert look(ledger, again, M0, people=asked).number == round_number


def test_another_question_about_the_same_records_is_another_look(ledger: Path) -> None:
    assert look(ledger, M1, M0).number == 1
    assert look(ledger, M1, M0, question="trust by 0.1").number == 2
    assert look(ledger, M1, M0, question="relief by 0.1").number == 3
    assert look(ledger, M1, M0).number == 1
    assert [entry.question for entry in read_ledger(ledger)] == [
        GATE,
        "trust by 0.1",
        "relief by 0.1",
    ]


def test_the_order_of_people_is_no_part_of_a_look(ledger: Path) -> None:
    look(ledger, M1, M0, people=("cai", "ann", "ben", "ann"))
    assert look(ledger, M1, M0).number == 1
    [entry] = read_ledger(ledger)
    assert entry.people == PEOPLE


# Evaluations that grow.


def grown(n: int) -> tuple[RunRecord, RunRecord, tuple[str, ...]]:
    """The same two checkpoints after so many people."""
    one, other = (make_record(name, relief=[float(i) for i in range(n)]) for name in ("m1", "m0"))
    return one, other, tuple(one.measures["relief"].values)


def test_an_evaluation_that_grows_is_one_look_and_its_people_are_kept(ledger: Path) -> None:
    for n in (50, 60, 60, 55):
        ours, theirs, people = grown(n)
        assert look(ledger, ours, theirs, people=people, grows=True).number == 1
    assert [len(entry.people) for entry in read_ledger(ledger)] == [50, 60]
    assert look(ledger, M2, M0, people=["person-59"]).number == 2
    assert look(ledger, *grown(50)[:2], people=grown(50)[2]).number == 2  # it does not grow


def test_other_checkpoints_and_questions_are_other_looks_though_they_grow(ledger: Path) -> None:
    ours, theirs, people = grown(50)
    look(ledger, ours, theirs, people=people, grows=True)
    assert look(ledger, M2, theirs, people=people, grows=True).number == 2
    assert look(ledger, ours, theirs, people=people, grows=True, question="x").number == 3


def test_who_grows_into_the_people_of_another_look_pays_for_it(ledger: Path) -> None:
    ours, theirs, people = grown(60)
    assert look(ledger, ours, theirs, people=people[:50], grows=True).number == 1
    assert look(ledger, M2, M0, people=people[50:]).number == 1
    assert look(ledger, ours, theirs, people=people, grows=True).number == 2
    assert look(ledger, ours, theirs, people=people, grows=True).number == 2
    assert next_alpha(ledger, people, ALPHA) == alpha_at(ALPHA, 3)
    assert look(ledger, M2, M0, people=people[50:]).number == 1


# Several candidates, and what a line says.


def test_candidates_for_one_place_share_a_look_whatever_their_order(ledger: Path) -> None:
    assert look(ledger, M1, M0, ALPHA, rivals=[M2, M3]).number == 1
    assert look(ledger, M3, M0, ALPHA, rivals=[M1, M2]).number == 1
    assert look(ledger, M1, M0, ALPHA).number == 2  # alone, without Holm: another question
    [together, _] = read_ledger(ledger)
    assert together.candidate == "+".join(sorted(record.hash for record in (M1, M2, M3)))
    assert together.names == "m1 and m2 and m3 against m0"


def test_a_look_says_what_was_compared(ledger: Path) -> None:
    doctor = make_record("médecin")
    look(ledger, doctor, M0, ALPHA)
    assert "médecin against m0" in ledger.read_text("utf-8")
    [entry] = read_ledger(ledger)
    assert (entry.champion, entry.candidate) == (M0.hash, doctor.hash)


def test_asking_the_same_people_otherwise_is_no_fresh_pool(ledger: Path) -> None:
    """Nor is asking a checkpoint again until it is lucky."""
    fields = {"suite": {"users": "u", "settings": "8 turns"}}
    here = [make_record(name, fields=fields) for name in ("m0", "m1")]
    assert look(ledger, here[1], here[0]).number == 1
    fields = {"suite": {"users": "u", "settings": "6 turns"}}
    shorter = [make_record(name, fields=fields) for name in ("m0", "m1")]
    assert look(ledger, shorter[1], shorter[0]).number == 2
    again = here[1].model_copy(update={"measures": {"relief": make_measure([1.0, 2.0])}})
    assert look(ledger, again, here[0]).number == 3


def test_a_quote_is_the_price_and_writes_nothing(ledger: Path) -> None:
    assert quote(ledger, M1, M0, ALPHA).number == 1
    assert next_alpha(ledger, PEOPLE, ALPHA) == alpha_at(ALPHA, 1)
    assert not ledger.parent.exists()
    look(ledger, M1, M0, ALPHA)
    before = ledger.read_bytes()
    assert quote(ledger, M1, M0, ALPHA) == look(ledger, M1, M0, ALPHA)
    assert quote(ledger, M2, M0, ALPHA) == Price(2, alpha_at(ALPHA, 2), alpha_at(ALPHA, 3))
    assert next_alpha(ledger, PEOPLE, ALPHA) == alpha_at(ALPHA, 2)
    assert ledger.read_bytes() == before


def _look_many(path: Path, name: str, n: int) -> None:
    for number in range(n):
        look(path, make_record(f"{name}-{number}"), M0, ALPHA)


def test_two_processes_at_once_lose_no_look(ledger: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_look_many, args=(ledger, name, 15)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    looks = read_ledger(ledger)
    assert [entry.number for entry in looks] == list(range(1, 31))
    assert len({entry.candidate for entry in looks}) == 30


# Files that are no ledger.


def complaint(path: Path) -> str:
    """What reading and looking say alike, in one line."""
    with pytest.raises(RecordError) as of_reading:
        read_ledger(path)
    with pytest.raises(RecordError) as of_looking:
        look(path, M1, M0, ALPHA)
    assert str(of_reading.value) == str(of_looking.value)
    assert "\n" not in str(of_reading.value)
    return str(of_reading.value)


@pytest.fixture
def written(ledger: Path) -> Path:
    look(ledger, M1, M0, ALPHA)
    look(ledger, M2, M0, ALPHA)
    return ledger


def test_a_cut_line_is_named(written: Path) -> None:
    written.write_text(written.read_text("utf-8")[:-20], "utf-8")
    said = complaint(written)
    assert said.startswith(f"{written}:2: is no look (Invalid JSON")
    assert said.endswith("; restore the ledger")


def test_a_line_of_a_merge_is_named(written: Path) -> None:
    lines = written.read_text("utf-8").splitlines()
    written.write_text("\n".join([lines[0], "<<<<<<< HEAD", lines[1]]) + "\n", "utf-8")
    assert complaint(written).startswith(f"{written}:2: is no look")


def test_a_foreign_or_newer_line_is_named(written: Path) -> None:
    with written.open("a", encoding="utf-8") as file:
        file.write('{"people": ["p"]}\n')
    assert complaint(written).startswith(f"{written}:3: is no look (Field required)")
    newer = written.read_text("utf-8").replace('"schema_version": 2', '"schema_version": 1', 1)
    written.write_text(newer, "utf-8")
    assert complaint(written).startswith(f"{written}:1: is no look (Input should be 2)")


def test_bytes_that_are_no_text_are_no_ledger(written: Path) -> None:
    written.write_bytes(b"\xff\xfe\x00")
    assert complaint(written) == f"{written}: is no ledger (not text); restore it"


def test_a_last_line_without_its_end_is_whole(written: Path) -> None:
    written.write_text(written.read_text("utf-8").rstrip("\n"), "utf-8")
    assert look(written, M3, M0, ALPHA).number == 3
    assert len(read_ledger(written)) == 3


def test_a_name_with_a_line_separator_stays_one_line(ledger: Path) -> None:
    look(ledger, make_record("two\u2028lines"), M0, ALPHA)
    assert look(ledger, M1, M0, ALPHA).number == 2


def test_an_empty_file_is_a_new_ledger(ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.touch()
    assert look(ledger, M1, M0, ALPHA).number == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "ledger.jsonl"
    with pytest.raises(RecordError) as refused:
        look(path, M1, M0, ALPHA)
    assert str(refused.value) == (
        f"{path}: the ledger cannot be written (File exists); choose another"
    )


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"cannot be read \(Is a directory\); choose another"):
        look(tmp_path, M1, M0, ALPHA)
