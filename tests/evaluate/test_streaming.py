"""A manifest as it would be spoken, with a tiny model that streams."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.audio.io import write_wav
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding
from asr.data.manifest import write_manifest
from asr.evaluate.evaluator import evaluate
from asr.evaluate.streaming import StreamEvaluation, align_reference, background, normalized_words, run_stream
from asr.transcribe.streaming.settings import streaming_config
from asr.types import Utterance, Word
from tests.conftest import melody
from tests.transcribe.streaming.tools import tiny_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    bundle = tiny_bundle()
    bundle.frontend.float()
    bundle.model.float()
    return bundle


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    rows = []
    for number in range(4):
        seconds = 0.9 + 0.3 * number
        write_wav(folder / f"{number}.wav", melody(20 + number, seconds), 16000)
        rows.append(Utterance(f"u{number}", folder / f"{number}.wav", seconds, ("abc", "de fg")[number % 2]))
    write_manifest(folder / "dev.jsonl", rows)
    return folder / "dev.jsonl"


@pytest.fixture(scope="module")
def result(bundle: Bundle, manifest: Path) -> StreamEvaluation:
    decoding = Decoding(bundle.spec.search)
    offline = evaluate(bundle, manifest, decoding)
    steps: list[tuple[int, int]] = []
    config = streaming_config(0.16, ["streaming.endpoint.by=decoder"])
    spoken = run_stream(
        bundle, offline, decoding, config, device=CPU, parallel=(1, 3), on_progress=lambda *done: steps.append(done)
    )
    assert steps == [(number, 8) for number in range(1, 9)]
    return spoken


def test_every_utterance_is_scored_once_beside_the_whole_one(result: StreamEvaluation) -> None:
    assert list(result.hypotheses) == ["u0", "u1", "u2", "u3"]
    data = result.to_json()
    assert data["utterances"] == 4
    assert data["offline_wer"] == result.offline.score.words.rate
    assert data["method"] == "states"
    assert [load["streams"] for load in data["parallel"]] == [1, 3]
    assert data["rtf"] > 0
    assert data["streaming"]["chunk"] == 0.16


def test_files_and_table_hold_the_figures(result: StreamEvaluation, tmp_path: Path) -> None:
    result.save(tmp_path)
    assert json.loads((tmp_path / "stream.json").read_text()) == result.to_json()
    rows = [json.loads(line) for line in (tmp_path / "hypotheses.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["u0", "u1", "u2", "u3"]
    table = result.table()
    assert "streaming, 0.16 s" in table
    assert "3 at once" in table


def test_another_normaliser_counts_for_streams_as_for_whole_utterances(bundle: Bundle, manifest: Path) -> None:
    decoding, upper = Decoding(bundle.spec.search), "upper"
    offline = evaluate(bundle, manifest, decoding, normalizer=upper)
    spoken = run_stream(bundle, offline, decoding, streaming_config(0.16), device=CPU, normalizer=upper)
    assert list(spoken.score.references) == list(offline.score.references) == ["ABC", "DE FG", "ABC", "DE FG"]


def test_silence_behind_an_utterance_sounds_like_its_background() -> None:
    rng = np.random.default_rng(0)
    hum = 0.01 * np.sin(2 * np.pi * 400 * np.arange(32000) / 16000) + rng.normal(0, 0.001, 32000)
    speech = np.concatenate([hum[:8000], hum[8000:24000] * 30, hum[24000:]]).astype(np.float32)
    noise = background(speech, 800, 16000, np.random.default_rng(1))
    assert noise.shape == (16000,)
    assert np.sqrt(np.square(noise).mean()) == pytest.approx(np.sqrt(np.square(hum).mean()), rel=0.2)
    spectrum = np.abs(np.fft.rfft(noise))
    assert abs(np.argmax(spectrum) - 400) < 40
    assert np.square(spectrum[300:500]).sum() > 0.8 * np.square(spectrum).sum()
    assert not background(np.zeros(900, np.float32), 800, 50, rng).any()
    assert not background(np.zeros(5, np.float32), 800, 50, rng).any()


def test_words_of_a_reference_share_the_times_of_those_they_are_made_of() -> None:
    words = [Word(0.1, 0.4, "Say"), Word(0.4, 0.5, "-"), Word(0.5, 1.0, "Twenty-one")]
    assert normalized_words(words, "english") == (
        Word(0.1, 0.4, "say"),
        Word(0.5, 1.0, "twenty"),
        Word(0.5, 1.0, "one"),
    )


def test_reference_words_are_placed_in_the_audio_or_unknown(bundle: Bundle) -> None:
    searcher = Decoding(bundle.spec.search).build(bundle, None)
    words = align_reference(bundle, searcher, "abc de", melody(1, 2.0))
    assert [word.text for word in words] == ["abc", "de"]
    assert 0 <= words[0].start < words[0].end <= words[1].start < words[1].end <= 2.0
    assert align_reference(bundle, searcher, "abc zzz", melody(1, 2.0)) == ()
    assert align_reference(bundle, searcher, "", melody(1, 2.0)) == ()
    assert align_reference(bundle, searcher, "abc de fg abc de fg", melody(1, 0.3)) == ()
