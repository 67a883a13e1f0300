"""Headless Chromium for the tests of pages.

Needs Chromium and its driver (Debian: `chromium`, `chromium-driver`) and selenium; a test module
that imports this is skipped without them.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (the [dev] extra)")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

__all__ = ["BROWSER_TEST", "By", "Keys", "Select", "WebDriverWait", "asked_for", "chromium"]

PROGRAM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BROWSER_TEST = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (PROGRAM and DRIVER),
        reason="chromium and chromedriver are not installed (Debian: chromium, chromium-driver)",
    ),
]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(profile: Path, *, width: int, height: int) -> Iterator[Any]:
    """A browser with a fresh profile; it must not have complained by the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAM
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
        assert driver.get_log("browser") == []  # no error, and nothing that a policy stopped
    finally:
        driver.quit()


def asked_for(browser: Any) -> Iterator[str]:
    """Addresses that were asked for: not the icon, nor what the browser's own first tab shows."""
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            if not url.startswith(("data:", "chrome:", "chrome-untrusted:")):
                yield url
