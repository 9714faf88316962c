"""The first example of the README, as people meet it: real speech, real weights, fetched at the first use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from asr.bundle.catalogue import CATALOGUE, DEFAULT_MODEL
from asr.scoring.wer import score

ROOT = Path(__file__).resolve().parents[2]
CLIP = "recipes/pretrained/ljspeech.ogg"
SPOKEN = (
    "The prison population fluctuated a great deal, but it was almost always in excess of the accommodation available, "
    "and there were times when the place was full to overflowing. Neild gives some figures which well illustrate this. "
    "On the 14th June, 1800, there were 199 debtors and 289 felons in the prison."
)


def asr(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, with a store of its own and no hub."""
    environment = {**os.environ, "ASR_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "asr", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def bare(text: str) -> str:
    """Words without case and marks."""
    return " ".join(re.sub(r"[^a-z0-9 ]", " ", text.lower()).split())


def test_the_clip_is_small() -> None:
    assert (ROOT / CLIP).stat().st_size <= 200_000


@pytest.mark.slow
def test_without_naming_a_model_real_speech_becomes_text(tmp_path: Path) -> None:
    wheel = CATALOGUE[DEFAULT_MODEL].wheel
    assert wheel is not None
    for requirement in wheel.requirements:
        try:
            metadata.distribution(requirement.split("==")[0])
        except metadata.PackageNotFoundError:
            pytest.skip(f"{requirement} is not installed (extra '{wheel.extra}')")
    first = asr(tmp_path, "transcribe", CLIP)
    assert first.returncode == 0, first.stderr
    assert "importing 147.9 MB from the installed" in first.stderr
    assert "licence MIT" in first.stderr
    errors = score({"clip": bare(SPOKEN)}, {"clip": bare(first.stdout)}).words
    assert errors.errors <= 2
    # The page shows what one machine wrote; number formats of others may change a mark or a line end.
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = page.partition(f"$ asr transcribe {CLIP}\n")[2].partition("\n\n")[0]
    shown = " ".join(line for line in shown.splitlines() if "whisper-base:" not in line)
    assert score({"clip": bare(shown)}, {"clip": bare(first.stdout)}).words.errors <= 1, first.stdout
    again = asr(tmp_path, "transcribe", CLIP, "--model", DEFAULT_MODEL)
    assert again.stdout == first.stdout
    assert "importing" not in again.stderr
    about = asr(tmp_path, "info", DEFAULT_MODEL)
    assert re.search(r"^licence +MIT$", about.stdout, re.MULTILINE)
