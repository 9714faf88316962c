"""Utterances longer than a model's window are cut, not cut off, and what their parts say is one answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.bundle.bundle import Bundle
from asr.bundle.decode import choose_decoding
from asr.bundle.recognition import Decoded, encode_waveforms
from asr.bundle.words import PlacedWords
from asr.errors import AudioError
from asr.text.tokenizer import WordSpan
from asr.transcribe.clips import clip_batches, joined
from asr.tune import Tuner
from asr.types import Hypothesis, TokenSegment, Utterance
from tests.bundle.foreign.whisper_files import multilingual_model

RATE = 16000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    own = tmp_path_factory.mktemp("whisper")
    multilingual_model(own / "source", own / "model")
    return Bundle.load(own / "model")


def noise(path: Path, seconds: float) -> Utterance:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    soundfile.write(path, samples, RATE)
    return Utterance(path.stem, path, seconds, "nothing")


def test_every_sample_is_in_a_clip_and_batches_hold_whole_utterances(bundle: Bundle, tmp_path: Path) -> None:
    lengths = {"a": 1.0, "b": 65.0, "c": 30.0, "d": 2.0}
    utterances = [noise(tmp_path / f"{name}.wav", seconds) for name, seconds in lengths.items()]
    batches = list(clip_batches(bundle, utterances, 95.0))
    found: dict[str, int] = {}
    for batch in batches:
        for clip in batch:
            assert len(clip.waveform) <= 30 * RATE
            found[clip.utterance.id] = found.get(clip.utterance.id, 0) + len(clip.waveform)
    assert found == {name: round(seconds * RATE) for name, seconds in lengths.items()}
    names = [{clip.utterance.id for clip in batch} for batch in batches]
    assert sum(map(len, names)) == 4
    assert len(batches) > 1
    assert batches[0][0].place == "b 0.000"


def test_what_the_parts_say_is_one_text_with_its_places() -> None:
    def part(tokens: tuple[int, ...], *words: str) -> Decoded:
        spans = tuple(WordSpan(word, place, place + 1) for place, word in enumerate(words))
        segments = (TokenSegment(0, len(tokens), 5, 50),)
        frames = np.array([[10 * place, 10 * place + 5] for place in range(len(tokens))])
        best = Hypothesis(tokens, -1.0, language="de", segments=segments)
        return Decoded([best, best], PlacedWords(spans, (0.5,) * len(words), frames))

    whole = joined([part((7, 8), "a", "b"), part((9,), "c")], [0, 1500])
    assert (whole.text, whole.placed.confidences) == ("a b c", (0.5, 0.5, 0.5))
    assert whole.placed.words[-1] == WordSpan("c", 2, 3)
    assert whole.placed.token_frames is not None
    assert whole.placed.token_frames.tolist() == [[0, 5], [10, 15], [1500, 1505]]
    (best,) = whole.n_best
    assert (best.tokens, best.score, best.language) == ((7, 8, 9), -2.0, "de")
    assert best.segments == (TokenSegment(0, 2, 5, 50), TokenSegment(2, 3, 1505, 1550))
    single = part((7,), "a")
    assert joined([single], [0]) is single


def test_more_than_a_window_at_once_is_refused(bundle: Bundle) -> None:
    with pytest.raises(AudioError, match=r"30\.1 s given, but the model takes 30 s"):
        encode_waveforms(bundle, [np.zeros(round(30.1 * RATE), dtype=np.float32)])


def test_tuning_hears_long_utterances_to_their_end(bundle: Bundle, tmp_path: Path) -> None:
    noise(tmp_path / "a.wav", 31.0)
    manifest = tmp_path / "dev.jsonl"
    manifest.write_text('{"id": "a", "audio": "a.wav", "duration": 31.0, "text": "nothing"}\n')
    tuner = Tuner(bundle, manifest, next(bundle.model.parameters()).device)
    ((ids, encoded, clips),) = tuner._encoded
    assert (ids, len(encoded.lens)) == (["a", "a"], 2)
    assert clips is not None
    assert sum(clips.seconds) == pytest.approx(31.0)
    trial = tuner.measure(choose_decoding(bundle, None), None, {})
    assert trial.score.words.reference_length == 1
