"""The leaderboard in a real browser, opened from a file: sorting, filters, and no trouble."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from results.records import store_record
from selfevo.leaderboard_command import write_leaderboard
from tests.results.made_records import board_of_eight, measure, run, spread

from .chromium import BROWSER_TEST, By, Keys, Select, asked_for, chromium

pytestmark = BROWSER_TEST
TRAP = '<img src="x" onerror="document.title=1"><script>document.title=2</script>'
METHODS, MEASURES, SLICES = (f"suite-1-{name}" for name in ("methods", "measures", "slices"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("board")
    trap = run(TRAP, {"relief": measure(spread(-3.0))})
    for record in (*board_of_eight(), trap):
        store_record(record, folder / "runs")
    write_leaderboard(folder / "runs", folder / "site")
    return (folder / "site" / "index.html").as_uri()


@pytest.fixture
def browser(address: str, tmp_path: Path) -> Iterator[Any]:
    """The page is open in it, and it has neither complained nor asked for anything else."""
    with chromium(tmp_path / "profile", width=1200, height=900) as opened:
        opened.get(address)
        yield opened
        assert set(asked_for(opened)) <= {address}


def methods(browser: Any, table: str) -> list[str]:
    """The methods that are shown, in order."""
    cells = browser.find_elements(By.CSS_SELECTOR, f"#{table} tbody .method")
    return [cell.text for cell in cells if cell.is_displayed()]


def header(browser: Any, table: str, name: str) -> Any:
    buttons = browser.find_elements(By.CSS_SELECTOR, f"#{table} thead button")
    return next(button for button in buttons if button.text == name)


def search(browser: Any, table: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"input[data-filter='{table}']")


def choose(browser: Any, table: str, key: str, value: str) -> None:
    chooser = f"select[data-filter='{table}'][data-key='{key}']"
    Select(browser.find_element(By.CSS_SELECTOR, chooser)).select_by_value(value)


def count(browser: Any, table: str) -> str:
    return str(browser.find_element(By.CSS_SELECTOR, f"output[data-count='{table}']").text)


def test_what_was_recorded_is_text(browser: Any) -> None:
    assert browser.title == "Leaderboard"
    assert TRAP in methods(browser, METHODS)
    assert browser.find_elements(By.TAG_NAME, "img") == []


def test_methods_sort_by_number_and_the_missing_stay_last(browser: Any) -> None:
    best_first = ["M1", "selfevo/default", "control/stock", "control/null", TRAP]
    absent = "control/listener"
    assert methods(browser, METHODS) == [*best_first, absent]
    header(browser, METHODS, "mean").click()
    assert methods(browser, METHODS) == [*best_first[::-1], absent]
    header(browser, METHODS, "mean").send_keys(Keys.ENTER)
    assert methods(browser, METHODS) == [*best_first, absent]
    header(browser, METHODS, "method").click()
    assert methods(browser, METHODS)[-2:] == ["M1", "selfevo/default"]


def test_a_method_is_found_by_its_name(browser: Any) -> None:
    search(browser, METHODS).send_keys("control")
    assert set(methods(browser, METHODS)) == {
        "control/stock",
        "control/null",
        "control/listener",
        "selfevo/default",  # told to be a control
    }
    assert count(browser, METHODS) == "4 of 6 shown"


def test_one_measure_at_a_time_and_all_on_demand(browser: Any) -> None:
    assert count(browser, MEASURES) == "5 of 13 shown"  # the primary one
    choose(browser, MEASURES, "measure", "talk.length")
    assert methods(browser, MEASURES) == ["M1", "control/null", "control/stock", "selfevo/default"]
    search(browser, MEASURES).send_keys("m1")
    assert methods(browser, MEASURES) == ["M1"]
    choose(browser, MEASURES, "measure", "")
    assert methods(browser, MEASURES) == ["M1", "M1", "M1"]


def test_slices_by_attribute_and_by_value(browser: Any) -> None:
    assert count(browser, SLICES) == "10 of 15 shown"
    choose(browser, SLICES, "attribute", "language")
    assert count(browser, SLICES) == "5 of 15 shown"
    choose(browser, SLICES, "slice", "emotion=anger")
    assert count(browser, SLICES) == "0 of 15 shown"
    choose(browser, SLICES, "attribute", "")
    rows = browser.find_elements(By.CSS_SELECTOR, f"#{SLICES} tbody tr")
    told = [row.text for row in rows if row.is_displayed()]
    assert len(told) == 5
    assert all("few" in text for text in told)


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways(browser: Any, width: int, scheme: str) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page = "document.documentElement"
    wide = browser.execute_script(f"return [{page}.scrollWidth, {page}.clientWidth]")
    assert wide[0] == wide[1] <= width


def test_every_link_of_the_contents_leads_somewhere(browser: Any) -> None:
    links = browser.find_elements(By.CSS_SELECTOR, "nav.contents a")
    inner = [link.get_attribute("href").rpartition("#")[2] for link in links]
    inner = [name for name in inner if not name.endswith((".csv", ".json"))]
    assert len(inner) == 5
    for name in inner:
        assert browser.find_element(By.ID, name).is_displayed()
