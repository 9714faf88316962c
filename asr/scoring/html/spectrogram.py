"""A spectrogram as a picture that stands in a page: an address that holds the PNG itself."""

from __future__ import annotations

import base64
import io

import numpy as np

from asr.errors import ScoringError

WINDOW = 0.025  # seconds, Hann
HOP = 0.010  # seconds between columns
MAX_COLUMNS = 1600  # of longer audio, columns lie further apart
RANGE = 70.0  # dB below the loudest moment that is black
LEVELS = 48  # colours; more make the file larger, and nothing clearer


def draw_spectrogram(waveform: np.ndarray, sample_rate: int) -> str:
    """A data URI from samples (N,), N > 0: time from left to right over all of N, 0 Hz to half the rate upwards.

    ScoringError where matplotlib and the Pillow it brings are not installed.
    """
    try:
        from matplotlib import colormaps, mlab
        from PIL import Image
    except ImportError as error:
        raise ScoringError("spectrograms need matplotlib: pip install 'asr-toolkit[plots]'") from error
    window = round(WINDOW * sample_rate)
    hop = max(round(HOP * sample_rate), -(-len(waveform) // MAX_COLUMNS))
    padded = np.pad(waveform.astype(np.float64), window // 2)  # so that the picture begins and ends with the audio
    power, _, _ = mlab.specgram(
        padded, NFFT=window, Fs=sample_rate, noverlap=window - hop, detrend="mean", window=np.hanning(window)
    )
    level = 10 * np.log10(np.maximum(power, 1e-12))
    share = np.clip((level - level.max()) / RANGE + 1, 0, 1)
    picture = Image.fromarray(np.round(share * (LEVELS - 1)).astype(np.uint8)[::-1])
    colours = colormaps["magma"].resampled(LEVELS)(np.arange(LEVELS))[:, :3]
    picture.putpalette(np.round(255 * colours).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
