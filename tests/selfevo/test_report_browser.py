"""The report of a run in a real browser, opened from a file: sorting, filters, and no trouble."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selfevo.report import report

from .chromium import BROWSER_TEST, By, Keys, Select, asked_for, chromium
from .told_run import write_run

pytestmark = BROWSER_TEST
PHONE = {"width": 400, "height": 800, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(write_run(tmp_path_factory.mktemp("told") / "run")).as_uri()


@pytest.fixture
def browser(address: str, tmp_path: Path) -> Iterator[Any]:
    """The page is open in it, and it has neither complained nor asked for anything else."""
    with chromium(tmp_path / "profile", width=1200, height=900) as opened:
        opened.get(address)
        yield opened
        assert set(asked_for(opened)) <= {address}


def people(browser: Any) -> list[str]:
    """Who is shown in the first table of people, in order."""
    cells = browser.find_elements(By.CSS_SELECTOR, "#people-1 tbody th")
    return [cell.text for cell in cells if cell.is_displayed()]


def header(browser: Any, name: str) -> Any:
    buttons = browser.find_elements(By.CSS_SELECTOR, "#people-1 thead button")
    return next(button for button in buttons if button.text == name)


def test_sorting_by_click_and_by_key(browser: Any) -> None:
    assert people(browser) == ["bob", "dot", "ann", "cem"]  # +1, -3, -7, -30
    header(browser, "Person").click()
    assert people(browser) == ["ann", "bob", "cem", "dot"]
    header(browser, "M2").click()  # 2, 4, 12, 23: as numbers, not as text
    assert people(browser) == ["dot", "cem", "ann", "bob"]
    header(browser, "M2").send_keys(Keys.ENTER)
    assert people(browser) == ["bob", "ann", "cem", "dot"]
    sorted_ = browser.find_elements(By.CSS_SELECTOR, "#people-1 th[aria-sort]")
    assert [(th.text, th.get_attribute("aria-sort")) for th in sorted_] == [("M2", "descending")]


def test_what_is_missing_sorts_last_either_way(browser: Any) -> None:
    def steps() -> list[str]:
        return [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#steps tbody th")]

    buttons = browser.find_elements(By.CSS_SELECTOR, "#steps thead button")
    tokens = next(button for button in buttons if button.text == "Tokens read")
    tokens.click()
    assert steps()[-1] == "M0: phase 1, fine-tune"
    assert steps()[0] == "M1: draft, reflect, refine"
    tokens.click()
    assert steps() == [
        "M0: evaluate (reply)",
        "M1: draft, reflect, refine",
        "M0: phase 1, fine-tune",
    ]


def test_filters_hide_rows_together(browser: Any) -> None:
    text = browser.find_element(By.CSS_SELECTOR, "input[data-filter='people-1']")
    emotion, problem = (
        Select(
            browser.find_element(
                By.CSS_SELECTOR, f"select[data-filter='people-1'][data-key='{key}']"
            )
        )
        for key in ("a1", "a2")
    )
    count = browser.find_element(By.CSS_SELECTOR, "output[data-count='people-1']")
    assert count.text == "4 shown"
    emotion.select_by_visible_text("fear")
    assert people(browser) == ["bob", "ann"]
    problem.select_by_visible_text("<b>job</b>")
    assert people(browser) == ["ann"]
    assert count.text == "1 of 4 shown"
    emotion.select_by_visible_text("all")
    problem.select_by_visible_text("all")
    text.send_keys("CEM")
    assert people(browser) == ["cem"]
    text.send_keys(Keys.BACKSPACE * 3)
    assert len(people(browser)) == 4


def test_examples_are_filtered_by_kind(browser: Any) -> None:
    kind = Select(browser.find_element(By.CSS_SELECTOR, "select[data-key='kind']"))
    kind.select_by_value("dropped")
    rows = browser.find_elements(By.CSS_SELECTOR, "#pair-list [data-row]")
    assert [row.is_displayed() for row in rows] == [False, False, True]


def test_hostile_text_does_nothing(browser: Any) -> None:
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.title == "Run told"
    assert browser.find_elements(By.CSS_SELECTOR, "img") == []
    said = browser.find_elements(By.CSS_SELECTOR, "#people .said")
    assert any("<script>document.title" in element.text for element in said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(browser: Any, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width == PHONE["width"]
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(paper.removeprefix("rgb(").split(",")[0]) < 128) == (scheme == "dark")
