"""The code of docs/api.md runs from top to bottom, in a checkout with a recording in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "api.md"


def test_the_code_of_the_page_runs_and_finds_no_words_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    soundfile.write(tmp_path / "talk.wav", np.zeros(16000, dtype=np.float32), 16000)
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), {"__name__": "the_page"})
    lines = capsys.readouterr().out.splitlines()
    assert "0 segments in 1.0 s of audio" in lines
    assert any(line.endswith("['ctc'] 0.04") for line in lines)
    assert lines[-1].startswith("0.333")
