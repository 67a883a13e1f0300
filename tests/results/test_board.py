import pytest

from results.board import BoardError, make_board
from results.board_controls import CONTROLS
from results.board_pairs import result_of
from results.board_records import Board, SuiteBoard
from results.records import AnyRecord, PreferenceRow, Winner

from .made_records import PEOPLE, SUITE, board_of_eight, measure, preferences, relief, run, spread


def suite(*records: AnyRecord, primary: str | None = None) -> SuiteBoard:
    [only] = make_board(records, primary=primary).suites
    return only


def test_methods_are_listed_best_first_with_the_controls_that_nobody_measured() -> None:
    found = suite(*board_of_eight())
    assert [entry.method for entry in found.entries] == [
        "M1",
        "selfevo/default",
        "control/stock",
        "control/null",
        "control/listener",
    ]
    assert found.primary == "relief"
    absent = found.entries[-1]
    assert not absent.measured
    assert absent.command == (
        "inspect eval benchmarks/support.py --model control/listener; selfevo record LOG"
    )
    assert {entry.method for entry in found.entries if entry.control} == CONTROLS.keys()
    assert found.warnings == ()


def test_every_control_is_on_every_board() -> None:
    found = suite(relief("M1", 1.0), relief("M2", 2.0))
    assert {entry.method for entry in found.entries} >= CONTROLS.keys()


def test_differences_are_to_the_base_model() -> None:
    found = suite(*board_of_eight()).measures[0]
    assert found.reference == "selfevo/default"
    best, base, *_ = found.cells
    assert best.difference == pytest.approx(1.0)
    assert best.difference_lower is not None
    assert 0 < best.difference_lower < 1 < (best.difference_upper or 0)
    assert (base.difference, base.rank) == (None, 2)


@pytest.mark.parametrize(
    ("methods", "reference"),
    [
        (("M1", "control/stock", "selfevo/default"), "selfevo/default"),
        (("M1", "control/stock", "A0"), "control/stock"),
        (("M1", "A0"), "A0"),
    ],
)
def test_without_a_base_model_differences_are_to_stock_or_the_first(
    methods: tuple[str, ...], reference: str
) -> None:
    records = [relief(method, place, place) for place, method in enumerate(methods)]
    assert suite(*records).measures[0].reference == reference


def test_suites_are_never_mixed_and_say_what_differs() -> None:
    other = {**SUITE, "users": "model", "language": "zh"}
    board = make_board(
        [
            relief("M1", 1.0),
            relief("M2", 1.0),
            run("M1", {"relief": measure(spread(3.0))}, suite=other),
            run("M3", {"relief": measure(spread(3.0))}, benchmark="loop"),
        ]
    )
    first, loop, talks = board.suites
    assert [c.method for c in first.measures[0].cells] == ["M1", "M2"]
    assert first.differs == ()
    assert loop.differs == ("benchmark (support and loop)",)
    assert talks.differs == ("language (absent and zh)", "users (scripted and model)")


def test_the_newest_record_of_a_method_counts_and_the_older_is_named() -> None:
    old = run("M1", {"relief": measure(spread(5.0))}, created="2026-11-20T00:00:00+00:00")
    found = suite(old, relief("M1", 1.0), relief("M2", 0.0))
    assert found.measures[0].cells[0].mean == pytest.approx(1.0)
    [said] = found.superseded
    assert said.startswith(f"M1: {old.hash[:8]} of 2026-11-20T00:00:00+00:00, by ")


def test_a_pair_compared_again_counts_once_whichever_side_came_first() -> None:
    old = preferences("A0", "M1", "aaaaaaaaaaab", created="2026-11-01")
    new = preferences("M1", "A0", "aaaaaaaaaaab", created="2026-11-02")
    [pair] = suite(old, new).pairwise
    assert pair.ranking is not None
    assert pair.ranking.methods[0].name == "M1"
    assert pair.n_pairs == 12
    assert "A0 against M1, personalization by openai/judge" in suite(old, new).superseded[0]


def test_preferences_stand_beside_the_runs_of_their_suite_even_if_it_has_more_tasks() -> None:
    parts = {f"support.{name}": value for name, value in SUITE.items()}
    record = run(
        "M1",
        {"relief": measure(spread(1.0))},
        benchmark="reply+support",
        suite={**parts, "reply.people": "q"},
    )
    found = suite(record, preferences("M1", "M2", "aaaabbaabbaa"))
    assert found.benchmark == "reply+support"
    assert len(found.pairwise) == 1
    [only_compared] = [e for e in found.entries if e.method == "M2"]
    assert not only_compared.measured
    assert only_compared.command is None


@pytest.mark.parametrize(
    ("forward", "backward", "expected"),
    [
        ("A", "B", "A"),
        ("B", "A", "B"),
        ("A", "A", "tie"),
        ("B", "B", "tie"),
        ("tie", "tie", "tie"),
        ("A", "tie", "tie"),
    ],
)
def test_two_orders_that_disagree_are_a_tie(
    forward: Winner, backward: Winner, expected: Winner
) -> None:
    row = PreferenceRow(person="p", forward=forward, backward=backward, words_a=1, words_b=1)
    assert result_of(row) == expected


def test_strengths_are_from_pairs_and_the_slot_is_from_calls() -> None:
    [pair] = suite(preferences("M1", "M2", "ab1111111111a1b1a1b1")).pairwise
    assert pair.ranking is not None
    best, other = pair.ranking.methods
    assert (best.wins, best.losses, best.ties) == (3, 3, 14)
    assert best.strength == pytest.approx(other.strength) == pytest.approx(0)
    assert pair.disagreement == 0.7
    assert pair.ranking.slot is not None
    assert pair.ranking.slot.lower > 0


def test_methods_that_never_met_are_not_ranked_and_the_page_says_which() -> None:
    found = suite(
        *[relief(m, place, place) for place, m in enumerate(("A", "B", "C", "D"))],
        preferences("A", "B", "aaaabbaaaabb"),
        preferences("C", "D", "aaaabbaaaabb"),
    )
    [pair] = found.pairwise
    assert pair.ranking is None
    assert pair.refused is not None
    assert "A, B / C, D" in pair.refused
    assert any("A, B / C, D" in warning for warning in found.warnings)
    assert found.measures[0].cells[0].rank == 1  # what can be said is said


def test_null_above_a_method_breaks_the_board() -> None:
    found = suite(relief("control/null", 1.0), relief("M1", 0.0), relief("control/hostile", -2.0))
    assert found.warnings[0] == (
        "control/null is not beaten by M1 in relief: the board is broken, or the null reply is."
    )


def test_a_method_that_only_ties_with_the_null_reply_has_not_beaten_it() -> None:
    [warning] = suite(relief("control/null", 1.0), relief("M1", 1.0)).warnings
    assert warning.startswith("control/null is not beaten by M1 in relief")


def test_null_above_what_is_meant_to_hurt_is_no_fault() -> None:
    found = suite(relief("control/null", -1.0), relief("M1", 0.0), relief("control/hostile", -2.0))
    assert found.warnings == ()


def test_stock_above_a_method_is_said_and_above_the_null_reply_is_not() -> None:
    found = suite(relief("control/stock", 1.0), relief("M1", 0.0), relief("control/null", -1.0))
    [warning] = found.warnings
    assert warning.startswith("control/stock is not beaten by M1 in relief: nothing was learned")


def test_a_control_that_wins_by_preference_is_said_too() -> None:
    found = suite(preferences("control/null", "M1", "aaaaaaaab=bb"))
    assert found.warnings[0].startswith(
        "control/null is not beaten by M1 in preferences in personalization (openai/judge)"
    )


def test_whoever_is_missing_is_counted_and_what_it_could_hide_is_said() -> None:
    lacking = run("M1", {"relief": measure(spread(1.0), PEOPLE[:2], scale=(-4.0, 4.0))})
    found = suite(lacking, relief("M2", 0.0))
    board = found.measures[0]
    assert (board.n_people, board.n_common) == (20, 18)
    first = board.cells[0]
    assert first.n == 18
    assert first.own_mean == pytest.approx((20 * 1.0 - 0.5 - 0.75) / 18)
    assert first.worst_mean == pytest.approx((18 * (first.own_mean or 0) - 8) / 20)
    other = board.cells[1]
    assert other.mean == pytest.approx((0.5 + 0.25 + 20 * 0.0) / 18)  # without the same two people
    assert other.worst_mean is None
    assert any("18 of 20 people have one" in warning for warning in found.warnings)


def test_a_method_that_lacks_too_many_is_not_ranked_and_costs_the_others_nobody() -> None:
    lacking = run("M1", {"relief": measure(spread(9.0), PEOPLE[:5])})
    found = suite(lacking, relief("M2", 0.0), relief("M3", 1.0))
    board = found.measures[0]
    assert board.n_common == 20
    last = board.cells[-1]
    assert (last.method, last.rank, last.mean) == ("M1", None, None)
    assert last.left_out == "scored on 15 of 20; 90% are needed to be compared"
    assert any(w.startswith("M1 is not ranked by relief") for w in found.warnings)


def test_two_judges_of_one_measure_are_two_measures() -> None:
    records = [
        run(
            method,
            {"judge.personalization": measure(spread(mean))},
            judges={"judge.personalization": judge * 64},
        )
        for method, mean, judge in (("M1", 1.0, "a"), ("M2", 2.0, "a"), ("M3", 9.0, "b"))
    ]
    found = suite(*records)
    assert found.primary == "judge.personalization @ aaaaaaaaaaaa"
    assert [c.method for c in found.measures[0].cells] == ["M2", "M1"]
    assert [m.measure for m in found.measures] == [
        "judge.personalization @ aaaaaaaaaaaa",
        "judge.personalization @ bbbbbbbbbbbb",
    ]


def test_a_method_without_the_primary_measure_is_listed_and_said() -> None:
    other = run("M3", {"trust": measure(spread(1.0))})
    found = suite(relief("M1", 1.0), relief("M2", 0.0), other)
    assert "M3" in [entry.method for entry in found.entries]
    assert "M3 has no relief: it is listed and not ranked." in found.warnings


def test_length_is_shown_and_not_ranked() -> None:
    found = suite(*board_of_eight())
    length = found.measure("talk.length")
    assert length is not None
    assert length.better is None
    assert all(cell.rank is None and cell.mean is not None for cell in length.cells)
    assert found.entries[0].length == pytest.approx(24)


def test_slices_are_of_the_primary_measure_and_small_ones_are_marked() -> None:
    found = suite(*board_of_eight())
    keys = {(s.attribute, s.value): (s.n, s.is_small) for s in found.slices}
    assert keys == {
        ("emotion", "anger"): (4, True),
        ("emotion", "fear"): (16, False),
        ("language", "en"): (20, False),
    }
    first = found.slices[0]
    assert first.method == "M1"
    assert first.lower is not None
    assert first.lower < first.mean < (first.upper or 0)


def test_the_worst_tenth_is_each_methods_own() -> None:
    found = suite(*board_of_eight())
    tails = {tail.method: tail for tail in found.tails}
    assert tails["M1"].n == 2
    assert tails["M1"].mean == pytest.approx(0.5)
    assert tails["M1"].lower is None  # of two people there is no interval worth showing


def test_an_evaluation_that_ended_early_is_said() -> None:
    cut = run("M1", {"relief": measure(spread(1.0))}, exhausted="calls 100")
    found = suite(cut, relief("M2", 0.0))
    assert found.warnings[0] == (
        "M1: the evaluation ended early (calls 100); not everybody was asked."
    )


def test_a_board_of_one_says_so() -> None:
    found = suite(relief("M1", 1.0))
    assert "M1 is the only method: there is nothing to rank." in found.warnings
    assert found.measures[0].reference is None


def test_the_primary_measure_may_be_chosen() -> None:
    found = suite(*board_of_eight(), primary="gave_up")
    assert found.primary == "gave_up"
    assert found.measures[0].better == "down"
    assert found.measures[0].cells[0].method == "M1"


def test_a_primary_that_has_no_known_direction_is_better_when_higher() -> None:
    found = suite(*board_of_eight(), primary="talk.length")
    assert found.measures[0].better == "up"


def test_a_primary_that_nobody_measured_is_refused_with_those_that_were() -> None:
    with pytest.raises(BoardError, match=r"'charm'; measured are gave_up, relief, talk\.length"):
        make_board(board_of_eight(), primary="charm")


def test_a_suite_without_the_chosen_primary_falls_back_and_says_so() -> None:
    other = run("M9", {"specificity": measure(spread(1.0))}, benchmark="reply")
    board = make_board([*board_of_eight(), other], primary="relief")
    assert board.suites[1].primary == "specificity"
    assert any("'relief' was not measured" in w for w in board.suites[1].warnings)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(BoardError, match="no record"):
        make_board([])


def test_nothing_scored_is_not_a_number() -> None:
    nobody = run("M1", {"relief": measure([], PEOPLE)})
    found = suite(nobody, relief("M2", 0.0))
    last = found.measures[0].cells[-1]
    assert (last.method, last.n, last.own_mean, last.rank) == ("M1", 0, None, None)
    only = suite(nobody)
    assert only.measures[0].cells[0].left_out is not None
    assert only.tails == ()


def test_the_order_of_the_records_does_not_matter() -> None:
    records = board_of_eight()
    assert make_board(records) == make_board(records[::-1])


def test_a_board_survives_the_disk() -> None:
    board = make_board(board_of_eight())
    assert Board.model_validate_json(board.model_dump_json()) == board


def test_a_judge_who_likes_length_is_seen_to() -> None:
    record = preferences("M1", "M2", "ab" * 30)
    longer = [(number % 2 == 0) != (number < 6) for number in range(60)]  # wins but for six
    rows = tuple(
        row.model_copy(update={"words_a": 20.0, "words_b": 10.0 if is_longer else 30.0})
        for row, is_longer in zip(record.rows, longer, strict=True)
    )
    [pair] = suite(record.model_copy(update={"rows": rows})).pairwise
    assert pair.ranking is not None
    assert pair.ranking.length is not None
    assert pair.ranking.length.lower > 1


def test_without_a_length_effect_strengths_at_equal_length_are_the_same() -> None:
    """Also where one order is a tie, which counts as a tie of the pair."""
    record = preferences("M1", "M2", "aab=1aab=1" * 8)
    rows = tuple(
        row.model_copy(
            update={
                "words_a": 20.0,
                "words_b": 10.0 if number // 10 % 2 else 30.0,
                **({"backward": "tie"} if number % 10 == 0 else {}),
            }
        )
        for number, row in enumerate(record.rows)
    )
    [pair] = suite(record.model_copy(update={"rows": rows})).pairwise
    assert pair.ranking is not None
    equal = pair.ranking.at_equal_length
    assert equal is not None
    for method in pair.ranking.methods:
        assert equal[method.name].value == pytest.approx(method.strength, abs=1e-9)
