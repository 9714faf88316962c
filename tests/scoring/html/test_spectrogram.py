"""Pictures of sound, decoded again."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from asr.scoring.html.spectrogram import MAX_COLUMNS, draw_spectrogram

pytest.importorskip("matplotlib")


def brightness(uri: str) -> np.ndarray:
    """(rows, columns), 0..255."""
    from PIL import Image

    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L"))


def tone(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize(("hertz", "rate"), [(2000, 16000), (1000, 8000)])
def test_a_tone_is_a_line_at_its_height(hertz, rate):
    picture = brightness(draw_spectrogram(tone(hertz, 1.0, rate), rate))
    lines = picture[:, 5:-5].argmax(axis=0)
    assert np.abs(lines / len(picture) - 0.75).max() < 0.01  # a quarter of the way up


def test_time_runs_over_the_whole_width():
    silent = np.zeros(16000, np.float32)
    picture = brightness(draw_spectrogram(np.concatenate([silent, tone(2000, 1.0, 16000)]), 16000))
    loud = np.flatnonzero(picture.max(axis=0) > 128)
    assert abs(loud[0] / picture.shape[1] - 0.5) < 0.02
    assert loud[-1] > 0.98 * picture.shape[1]


@pytest.mark.parametrize("num_samples", [1, 100, 400])
def test_next_to_no_sound_is_a_picture_too(num_samples):
    assert brightness(draw_spectrogram(np.zeros(num_samples, np.float32), 16000)).shape[1] >= 1


def test_long_sounds_keep_to_the_widest_picture():
    width = brightness(draw_spectrogram(tone(500, 40.0, 16000), 16000)).shape[1]
    assert MAX_COLUMNS * 0.9 < width <= MAX_COLUMNS + 1
