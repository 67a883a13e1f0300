import csv
import io
import re
from pathlib import Path

import pytest

from results.board import make_board
from results.board_page import SuiteView, find_logs, page_of
from results.board_table import COLUMNS, csv_of
from results.records import AnyRecord

from .made_records import PEOPLE, board_of_eight, measure, preferences, relief, run, spread

HOSTILE = """</title></script><script>alert("1")</script><img src=x onerror='alert(2)'>"""


def page(*records: AnyRecord) -> str:
    return page_of(make_board(records), n_records=len(records))


def shown(html: str) -> str:
    """The words of a page, without style and script."""
    body = html[html.index("<body>") :]
    text = re.sub(r"<(style|script|title)[ >].*?</\1>|<[^>]*>", " ", body, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)


def rows(*records: AnyRecord) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(make_board(records)))))


def test_the_page_says_who_leads_and_how_to_read_it() -> None:
    text = shown(page(*board_of_eight()))
    assert "M1 leads by relief and is shown better than everybody else." in text
    assert "How to read this" in text
    assert "not measured; do it with inspect eval benchmarks/support.py" in text
    assert "No record of this suite is superseded" in text


def test_the_lead_names_who_is_tied_with_it() -> None:
    text = shown(page(relief("M1", 1.0, 1), relief("M2", 0.99, 3), relief("M3", -2.0)))
    assert "M1 leads by relief and is not shown to differ from M2." in text
    text = shown(page(relief("M1", 1.0, 1), relief("M2", 0.99, 3)))
    assert "M1 leads by relief and nobody is shown to be worse." in text


def test_nothing_that_was_recorded_becomes_markup() -> None:
    record = run(
        HOSTILE,
        {HOSTILE: measure(spread(1.0)), "relief": measure(spread(1.0))},
        suite={HOSTILE: HOSTILE},
        judges={HOSTILE: HOSTILE},
        people={person: {HOSTILE: HOSTILE} for person in PEOPLE},
        logs=[HOSTILE],
        created=HOSTILE,
        exhausted=HOSTILE,
    )
    html = page(record)
    assert "<script>alert" not in html
    assert "<img" not in html
    assert html.count("<script") == 1


def test_the_page_needs_nothing_and_asks_for_nothing() -> None:
    html = page(*board_of_eight())
    assert re.findall(r'(?:src|action)="', html) == []
    links = set(re.findall(r'href="([^"]*)"', html))
    assert all(link.startswith(("#", "data:", "board.")) for link in links)
    assert "default-src 'none'" in html


def test_every_link_inside_the_page_has_its_place() -> None:
    html = page(*board_of_eight())
    places = set(re.findall(r' id="([^"]+)"', html))
    links = set(re.findall(r'href="#([^"]+)"', html))
    filters = set(re.findall(r'data-(?:filter|count)="([^"]+)"', html))
    assert links | filters <= places


def test_a_ranking_that_was_refused_is_a_warning_in_its_section() -> None:
    text = shown(
        page(
            relief("A", 1.0),
            preferences("A", "B", "aaaabbaaaabb"),
            preferences("C", "D", "aaaabbaaaabb"),
        )
    )
    assert "No ranking: 2 groups of methods never met: A, B / C, D" in text


def test_a_board_of_preferences_alone_has_a_page() -> None:
    text = shown(page(preferences("M1", "M2", "aaaabbaaaabb")))
    assert "12 people. M1 leads by preferences in personalization and nobody is shown" in text


def test_transcripts_are_linked_relative_to_the_page_where_they_are(tmp_path: Path) -> None:
    log = tmp_path / "runs" / "logs" / "a b.eval"
    log.parent.mkdir(parents=True)
    log.touch()
    gone = "/home/somebody/logs/gone.eval"
    board = make_board(board_of_eight(logs=("logs/a b.eval", gone)))
    links = find_logs(board, tmp_path / "site", [tmp_path / "elsewhere", tmp_path / "runs"])
    assert links["logs/a b.eval"].href == "../runs/logs/a%20b.eval"
    html = page_of(board, links)
    assert 'href="../runs/logs/a%20b.eval"' in html
    assert f"inspect view --log-dir {links['logs/a b.eval'].folder}" in html
    assert "gone.eval" in html
    assert "/home/somebody" not in html


def test_the_table_has_every_number_once() -> None:
    found = rows(*board_of_eight())
    kinds = [row["kind"] for row in found]
    assert tuple(found[0]) == COLUMNS
    assert kinds.count("measure") == 3 * 4
    assert kinds.count("worst tenth") == 4
    assert kinds.count("slice") == 3 * 4
    assert kinds.count("preferences") == 4
    assert kinds.count("cost") == 4 * 4
    best = found[0]
    assert (best["method"], best["measure"], best["rank"], best["control"]) == (
        "M1",
        "relief",
        "1",
        "false",
    )
    assert float(best["mean"]) == pytest.approx(1.0)
    assert {row["control"] for row in found if row["method"] == "control/null"} == {"true"}


def test_the_table_says_why_a_method_has_no_rank() -> None:
    lacking = run("M1", {"relief": measure(spread(9.0), PEOPLE[:5])})
    [row] = [r for r in rows(lacking, relief("M2", 0.0)) if r["method"] == "M1" and r["note"]]
    assert row["rank"] == ""
    assert row["note"] == "scored on 15 of 20; 90% are needed to be compared"


def test_a_difference_is_green_where_it_is_better_whichever_way_that_is() -> None:
    [view] = make_board(board_of_eight()).suites
    page_view = SuiteView(view, "suite-1", {})
    tones = {
        name: [page_view.tone(found, cell) for cell in found.cells]
        for name in ("relief", "gave_up", "talk.length")
        if (found := view.measure(name))
    }
    assert tones["relief"] == ["good", "quiet", "bad", "bad"]  # the second is the reference
    assert tones["gave_up"][0] == "good"
    assert set(tones["talk.length"]) == {"quiet"}
