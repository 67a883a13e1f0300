"""The rating page in a real browser, as a rater uses it: by mouse, by keyboard, another day."""

import csv
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from selfevo.annotate_items import read_items, shuffled
from selfevo.annotate_labels import read_labels
from tests.benchmarks.people import make_strangers, write_people

from .chromium import BROWSER_TEST, By, Keys, WebDriverWait, chromium
from .desk import RATER, SEED, program, talked, write_rubric

pytestmark = BROWSER_TEST
TRAP = '<img src="x" onerror="document.title=1"><script>document.title=2</script> & so on'
WAIT_S = 20


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    people = write_people(folder / "people.jsonl", make_strangers(3, opening=TRAP))
    return talked(people, "control/stock", folder)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with chromium(tmp_path / "profile", width=1400, height=950) as opened:
        yield opened


@contextmanager
def served(log: Path, rubric: Path, out: Path) -> Iterator[str]:
    """The page's address, until Ctrl-C."""
    with program(log, rubric, out) as running:
        assert running.stdout is not None
        [_, address, *_] = [running.stdout.readline() for _ in range(4)]
        yield address.split()[1]
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.wait(timeout=WAIT_S) == 0


def place(browser: Any, expected: str) -> None:
    """Wait until the heading says where the rater is."""
    WebDriverWait(browser, WAIT_S).until(
        lambda b: b.find_element(By.ID, "place").text == expected,
        f"never at '{expected}'",
    )


def choose(browser: Any, question: str, value: str) -> None:
    browser.find_element(By.CSS_SELECTOR, f"input[name='{question}'][value='{value}']").click()


def type_keys(browser: Any, *keys: str) -> None:
    browser.switch_to.active_element.send_keys(*keys)


def bubbles(browser: Any) -> list[str]:
    return [said.text for said in browser.find_elements(By.CSS_SELECTOR, "#turns .said")]


def test_a_rater_at_work(browser: Any, log: Path, tmp_path: Path) -> None:
    rubric = write_rubric(tmp_path / "rubric.yaml", "ordinal")
    out = tmp_path / "labels.jsonl"
    items = shuffled(read_items([log], str(rubric)).items, SEED, RATER)

    with served(log, rubric, out) as address:
        browser.get(address)
        place(browser, "Conversation 1 of 3")
        assert bubbles(browser) == [turn.text for turn in items[0].material.turns]
        assert bubbles(browser)[0] == TRAP
        assert browser.title == "selfevo annotate"

        # by mouse; saving too early leads to the open question
        choose(browser, "warmth", "3")
        browser.find_element(By.ID, "save").click()
        assert browser.find_element(By.ID, "left").text == "1 question left"
        assert "fit" in browser.find_element(By.CSS_SELECTOR, "fieldset.current").text
        choose(browser, "fit", "cannot tell")
        browser.find_element(By.ID, "notes").send_keys("by mouse: 1")
        browser.find_element(By.ID, "save").click()
        place(browser, "Conversation 2 of 3")
        assert browser.find_element(By.ID, "rated").text == "1 rated"
        assert browser.find_element(By.ID, "notes").get_attribute("value") == ""

        # by keyboard: the second answer is changed before Enter saves
        type_keys(browser, "2")
        type_keys(browser, "1")
        type_keys(browser, "x")
        type_keys(browser, Keys.ARROW_UP)
        type_keys(browser, "1")
        type_keys(browser, Keys.ENTER)
        place(browser, "Conversation 3 of 3")

        # back and forth: what was answered is still there
        type_keys(browser, "3")
        type_keys(browser, Keys.ARROW_LEFT)
        place(browser, "Conversation 2 of 3")
        checked = browser.find_elements(By.CSS_SELECTOR, "input:checked")
        assert [box.get_attribute("value") for box in checked] == ["1", "does not apply"]
        type_keys(browser, Keys.ARROW_RIGHT)
        place(browser, "Conversation 3 of 3")
        assert browser.find_element(By.CSS_SELECTOR, "input:checked").get_attribute("value") == "3"
        browser.get("about:blank")  # closed with an answer that was not saved

    first, second = read_labels(out)
    assert (first.item, second.item) == (items[0].id, items[1].id)
    assert first.values == {"warmth": 3, "fit": None}
    assert first.missing == {"fit": "cannot tell"}
    assert first.notes == "by mouse: 1"
    assert second.values == {"warmth": 1, "fit": None}
    assert second.missing == {"fit": "does not apply"}
    assert 0 < second.seconds < 60

    # another day
    with served(log, rubric, out) as address:
        browser.get(address)
        place(browser, "Conversation 3 of 3")
        assert browser.find_element(By.ID, "rated").text == "2 rated"
        assert browser.find_elements(By.CSS_SELECTOR, "input:checked") == []
        type_keys(browser, "2")
        type_keys(browser, "2")
        type_keys(browser, Keys.CONTROL, Keys.ENTER)
        WebDriverWait(browser, WAIT_S).until(
            lambda b: b.find_element(By.ID, "done-title").text == "All 3 conversations are rated"
        )
        links = browser.find_elements(By.CSS_SELECTOR, "a[download]")
        assert {link.get_attribute("href") for link in links} == {f"{address}labels.csv"}

    with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["warmth"], row["fit"]) for row in rows] == [
        (items[0].id, "3", ""),
        (items[1].id, "1", ""),
        (items[2].id, "2", "2"),
    ]
    assert rows[0]["full_conversation"] == items[0].text
