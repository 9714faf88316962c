"""The built-in corpus: the same bytes on every run, unseen voices in dev and test, sound speech."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.audio.io import audio_info, load_audio
from asr.data.manifest import read_manifest

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "digits"
SPLITS = ("train", "dev", "test")


@pytest.fixture
def miniature(load_recipe: Any) -> dict[str, Any]:
    """One or two voices a split, four utterances each."""
    pytest.importorskip("espeakng_loader", reason="the extra [demo] is not installed")
    cast = load_recipe("digits").Cast
    voices = {"train": ("en-us+m1", "en+Annie"), "dev": ("en-us+f4",), "test": ("en-us+m7",)}
    return {split: cast(names, 4) for split, names in voices.items()}


def test_two_runs_write_the_same_bytes(miniature: dict[str, Any], tmp_path: Path, load_recipe: Any):
    for run, jobs in (("a", 1), ("b", 3)):
        load_recipe("digits").prepare(tmp_path / run, miniature, jobs)
    first, second = (
        {path.relative_to(tmp_path / run): path.read_bytes() for path in (tmp_path / run).rglob("*") if path.is_file()}
        for run in "ab"
    )
    assert len(first) == 16 + 3
    assert first == second


def test_recordings_are_sound_and_the_rows_describe_them(miniature: dict[str, Any], tmp_path: Path, load_recipe: Any):
    load_recipe("digits").prepare(tmp_path, miniature)
    splits = [read_manifest(tmp_path / f"{name}.jsonl") for name in SPLITS]
    assert [len(rows) for rows in splits] == [8, 4, 4]
    for row in itertools.chain(*splits):
        waveform = load_audio(row.audio, 16000)
        assert audio_info(row.audio).sample_rate == 16000
        assert row.duration == len(waveform) / 16000
        assert 0.1 < row.duration / len(row.text.split()) < 1.5
        assert 0.1 < np.abs(waveform).max() < 0.9
        assert np.sqrt(np.mean(waveform**2)) > 0.01
        assert row.text == row.text.lower()
        assert row.speaker == row.id.rsplit("-", 1)[0]


def test_no_voice_of_one_split_speaks_in_another(load_recipe: Any):
    casts = load_recipe("digits").CASTS
    variants = [{voice.split("+")[1] for voice in casts[split].voices} for split in SPLITS]
    assert len(variants[0]) >= 12
    assert [len(names) for names in variants[1:]] == [3, 3]
    for one, other in itertools.combinations(variants, 2):
        assert not one & other


def test_no_voice_uses_the_breath_that_differs_from_process_to_process(load_recipe: Any):
    loader = pytest.importorskip("espeakng_loader", reason="the extra [demo] is not installed")
    for cast in load_recipe("digits").CASTS.values():
        for voice in cast.voices:
            definition = Path(loader.get_data_path()) / "voices" / "!v" / voice.split("+")[1]
            lines = definition.read_text(encoding="utf-8").splitlines()
            assert not [line for line in lines if line.startswith("breath ")], voice


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path):
    blocked = "import sys; sys.modules['espeakng_loader'] = None; import runpy; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", blocked + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    command += [str(RECIPE / "synthesis.py"), "en-us+m1", "1", "1", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: espeakng-loader is not installed; run: pip install 'asr-toolkit[demo]'\n"


def test_a_failing_voice_ends_the_recipe_with_its_line(tmp_path: Path, load_recipe: Any, capsys: Any):
    pytest.importorskip("espeakng_loader", reason="the extra [demo] is not installed")
    recipe = load_recipe("digits")
    cast = recipe.Cast(("xx-nowhere+m1",), 1)
    from asr.corpora.recipe import exit_status

    assert exit_status(lambda: recipe.prepare(tmp_path, {"train": cast})) == 1
    assert capsys.readouterr().err.startswith("error: espeak-ng cannot speak as 'xx-nowhere+m1'")


def test_the_synthesiser_tells_when_it_says_which_word():
    pytest.importorskip("espeakng_loader", reason="the extra [demo] is not installed")
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from synthesis import Espeak\n"
        "speech = Espeak('en-us+f4').speak('turn on the lights, four', 160, 50, 50)\n"
        "print(json.dumps([len(speech.waveform) / 16000, [[w.start, w.end, w.text] for w in speech.words]]))"
    )
    result = subprocess.run([sys.executable, "-c", program, str(RECIPE)], capture_output=True, text=True, check=True)
    duration, words = json.loads(result.stdout)
    assert [text for _, _, text in words] == ["turn", "on the", "lights,", "four"]
    moments = [moment for start, end, _ in words for moment in (start, end)]
    assert moments == sorted(moments)
    assert moments[-1] <= duration
    assert words[3][0] - words[2][1] > 0.1  # the pause at the comma is in no word
    assert words[1][0] == words[0][1]
