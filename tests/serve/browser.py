"""A real Chromium, driven by selenium, whose microphone plays a file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
Result = TypeVar("Result")


@contextmanager
def chromium(clip: Path, downloads: Path) -> Iterator[Any]:
    """A `selenium.webdriver.Chrome`; skips the test where Chromium, its driver or selenium is missing."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with its driver (Debian: apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra `test`)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",  # CI runs as root
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={clip}%noloop",
    ):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def wait_for(look: Callable[[], Result], seconds: float = 60.0) -> Result:
    """What `look` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in {seconds:g} s"
        time.sleep(0.1)
    return found


def text_of(driver: Any, selector: str) -> str:
    """Of the first element, with single spaces; "" where there is none."""
    text = driver.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
    return " ".join(text.split())
