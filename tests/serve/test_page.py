"""The page at `/` in a real browser: what is spoken, what is dropped on it, what can be done with the words."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srt
import webvtt

from asr.audio.io import load_audio, write_wav
from asr.serve.security import Access, Keys
from asr.transcribe.segmentation import DEFAULT_SEGMENTATION
from tests.serve.browser import chromium, text_of, wait_for
from tests.serve.servers import loader, running

pytestmark = pytest.mark.slow
MODEL = Path(__file__).resolve().parents[2] / "recipes" / "an4" / "streaming_model"
CLIPS = ("cen7-fcaw-b", "an407-fcaw-b", "cen6-fcaw-b")
PAGE_SIZES = ((360, 740), (1280, 900))


@pytest.fixture(scope="module")
def clip(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of AN4's test set, with a second of faint noise behind each."""
    rng = np.random.default_rng(0)
    parts = [np.zeros(8000, dtype=np.float32)]
    for name in CLIPS:
        waveform = load_audio(next((corpora / "an4" / "wav").rglob(f"{name}.sph")), 16000)
        parts += [waveform, rng.normal(0, 0.0005, 16000).astype(np.float32)]
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    write_wav(path, np.concatenate(parts), 16000)
    return path


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running({"an4-streaming": loader(MODEL, DEFAULT_SEGMENTATION)}) as address:
        yield address


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(clip: Path, downloads: Path) -> Iterator[Any]:
    with chromium(clip, downloads) as driver:
        yield driver


@pytest.fixture
def page(driver: Any, address: str) -> Any:
    driver.get(address)
    wait_for(lambda: text_of(driver, "#status") == "Ready")
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def asr(command: str, *arguments: object) -> str:
    """What the command line prints, with single spaces."""
    words = [sys.executable, "-m", "asr", command, "--model", MODEL, *arguments]
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return " ".join(result.stdout.split())


def drop(page: Any, file: Path) -> None:
    """Hand over a file, and wait for its words."""
    page.find_element("id", "files").send_keys(str(file))
    wait_for(lambda: page.find_element("css selector", ".result footer").is_displayed())


def test_words_appear_while_it_is_spoken_and_the_text_is_that_of_the_command_line(page: Any, clip: Path) -> None:
    seconds = len(load_audio(clip, 16000)) / 16000
    expected = asr("listen", "--simulate", clip, "--speed", 4)
    button = page.find_element("id", "record")
    button.click()
    wait_for(lambda: text_of(page, "#record") == "Stop")
    began, most_shown, dimmed = time.monotonic(), 0, ""
    while time.monotonic() - began < seconds - 1.0:
        dimmed = dimmed or text_of(page, ".partial")
        most_shown = max(most_shown, len(f"{text_of(page, '.final')} {text_of(page, '.partial')}".split()))
        time.sleep(0.1)
    assert dimmed
    assert most_shown >= len(expected.split()) // 2
    time.sleep(4)
    button.click()
    wait_for(lambda: page.find_element("css selector", ".result footer").is_displayed())
    assert text_of(page, ".final") == expected
    assert text_of(page, ".partial") == ""
    length = page.execute_script("return document.querySelector('audio').duration")
    assert seconds < length < seconds + 5


def test_a_file_gives_the_words_of_the_command_line_and_any_of_them_begins_playback(page: Any, clip: Path) -> None:
    drop(page, clip)
    assert text_of(page, ".final") == asr("transcribe", clip)
    words = page.find_elements("css selector", ".result .word")
    assert len(words) == len(text_of(page, ".final").split())
    words[4].click()
    wait_for(lambda: text_of(page, ".word.current") == words[4].text, 3)
    start = float(words[4].get_attribute("title").split()[0])
    now = page.execute_script("const a = document.querySelector('audio'); a.pause(); return a.currentTime")
    assert start <= now < start + 2
    last = page.execute_async_script(
        "const a = document.querySelector('audio'), done = arguments[0]; a.onseeked = () => setTimeout(() =>"
        "done([...document.querySelectorAll('.result .word')].indexOf(document.querySelector('.current'))), 100);"
        "a.currentTime = a.duration - 0.05"
    )
    assert last == len(words) - 1


def test_one_stop_of_the_tabulator_and_arrows_reach_every_word(page: Any, clip: Path) -> None:
    drop(page, clip)
    words = page.find_elements("css selector", ".result .word")
    assert [word.get_attribute("tabindex") for word in words].count("0") == 1
    page.execute_script("arguments[0].focus()", words[0])
    for key, place in (("\ue014", 1), ("\ue014", 2), ("\ue012", 1), ("\ue010", len(words) - 1), ("\ue011", 0)):
        page.switch_to.active_element.send_keys(key)  # right, right, left, end, home
        assert page.switch_to.active_element == words[place]
    page.switch_to.active_element.send_keys("\ue007")  # enter
    wait_for(lambda: not page.execute_script("return document.querySelector('audio').paused"), 3)


def test_downloads_hold_the_transcript(page: Any, clip: Path, downloads: Path) -> None:
    drop(page, clip)
    files = {}
    for name in ("txt", "srt", "vtt", "json"):
        page.find_element("css selector", f"[data-format={name}]").click()
        files[name] = downloads / f"{clip.stem}.{name}"
        wait_for(files[name].exists, 5)
    text = text_of(page, ".final")
    assert " ".join(files["txt"].read_text().split()) == text
    cues = list(srt.parse(files["srt"].read_text()))
    assert " ".join(" ".join(cue.content for cue in cues).split()) == text
    assert [cue.text for cue in webvtt.read(files["vtt"])] == [cue.content for cue in cues]
    assert all(one.end <= other.start for one, other in pairwise(cues))
    assert all(len(line) <= 42 for cue in cues for line in cue.content.splitlines())
    data = json.loads(files["json"].read_text())
    assert " ".join(word["text"] for segment in data["segments"] for word in segment["words"]) == text
    assert data["duration"] == pytest.approx(len(load_audio(clip, 16000)) / 16000, abs=0.01)


def test_what_is_no_audio_is_told_and_the_page_works_on(page: Any, clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    page.find_element("id", "files").send_keys(str(broken))
    assert wait_for(lambda: text_of(page, ".result .error"))
    drop(page, clip)
    page.get_log("browser")  # the refusal


@pytest.mark.parametrize(("width", "height"), PAGE_SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_text_stands_out(page: Any, clip: Path, width: int, height: int, scheme: str) -> None:
    drop(page, clip)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_script("document.querySelector('details').open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    colours = page.execute_script(
        "return ['.final', '.hint', '.legend', '.result h2', '#record', '[data-format]'].map(name => {"
        "let at = document.querySelector(name); const ink = getComputedStyle(at).color;"
        "while (getComputedStyle(at).backgroundColor === 'rgba(0, 0, 0, 0)') at = at.parentElement;"
        "return [name, ink, getComputedStyle(at).backgroundColor]})"
    )
    assert [name for name, ink, ground in colours if contrast(ink, ground) < 4.5] == []  # WCAG 2.2, level AA
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_has_a_name_for_screen_readers(page: Any, clip: Path) -> None:
    drop(page, clip)
    page.execute_script("document.querySelector('details').open = true")
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "combobox", "textbox", "Audio", "heading"}
    named = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in roles]
    assert {node["role"]["value"] for node in named} == roles
    assert [node for node in named if not node.get("name", {}).get("value", "").strip()] == []


def test_nobody_but_the_server_is_asked(page: Any, address: str, clip: Path) -> None:
    drop(page, clip)
    asked = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(asked) > 5
    assert [name for name in asked if not name.startswith((address, "blob:", "data:"))] == []


def test_a_server_with_keys_asks_for_one_and_streams_with_it(driver: Any, clip: Path) -> None:
    loaders = {"an4-streaming": loader(MODEL, DEFAULT_SEGMENTATION)}
    with running(loaders, Access(Keys(["the-right-key"]))) as address:
        driver.get(address)
        for key in ("a-wrong-key", "the-right-key"):
            field = wait_for(lambda: driver.find_element("id", "key"))
            wait_for(field.is_displayed)
            field.send_keys(key)
            driver.find_element("css selector", "#key-form button").click()
        wait_for(lambda: text_of(driver, "#status") == "Ready")
        drop(driver, clip)
        assert text_of(driver, ".final")
        button = driver.find_element("id", "record")
        button.click()
        wait_for(lambda: text_of(driver, ".result .state").startswith("Listening, 0:02"))
        button.click()
        wait_for(lambda: text_of(driver, ".result .state") not in ("", "Finishing"))
        assert text_of(driver, ".result .error") == ""
        driver.get_log("browser")  # the refusals


def contrast(one: str, other: str) -> float:
    """Of two colours, `rgb(r, g, b)`, as WCAG 2.2 computes it."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)
