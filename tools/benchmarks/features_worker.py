"""The worker that times 80-bin log mel energies of one waveform, by asr, kaldi-native-fbank or torchaudio."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks.common import serve, versions

SAMPLE_RATE = 16000
NUM_BINS = 80
FULL_SCALE = 32768  # Kaldi counts in 16-bit steps

Extract = Callable[[], Any]  # features (T, NUM_BINS), something that numpy can read


class Bench:
    """The jobs of the worker."""

    def build(self, toolkit: str, threads: int, seconds: float, seed: int) -> dict[str, str]:
        """Prepare a waveform of noise, in the form in which the toolkit takes it fastest."""
        import torch

        torch.set_num_threads(threads)
        samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * SAMPLE_RATE)).astype(np.float32)
        builders = {"asr": _ours, "kaldi-native-fbank": _kaldi_native_fbank, "torchaudio": _torchaudio}
        with torch.inference_mode():
            self.extract = builders[toolkit](samples)
        return versions(("asr-toolkit", "torch", "torchaudio", "kaldi-native-fbank"))

    def features(self, repeats: int) -> float:
        """Seconds for the waveform, on average."""
        import torch

        with torch.inference_mode():
            begin = time.perf_counter()
            for _ in range(repeats):
                self.extract()
            return (time.perf_counter() - begin) / repeats

    def values(self) -> list[list[float]]:
        """The features, rounded, to see that all compute the same."""
        return np.asarray(self.extract(), dtype=np.float64).round(4).tolist()


def _ours(samples: np.ndarray) -> Extract:
    from asr.features import build_frontend
    from asr.features.fbank import FbankConfig
    from asr.system.libraries import settle_libraries

    settle_libraries()
    frontend = build_frontend(FbankConfig(cmvn="none"))
    return lambda: frontend.extract(samples, SAMPLE_RATE)


def _kaldi_native_fbank(samples: np.ndarray) -> Extract:
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = NUM_BINS
    scaled = (samples * FULL_SCALE).tolist()  # an array is converted to this, which takes another third of the time

    def extract() -> np.ndarray:
        fbank = kaldi_native_fbank.OnlineFbank(options)
        fbank.accept_waveform(SAMPLE_RATE, scaled)
        fbank.input_finished()
        return np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])

    return extract


def _torchaudio(samples: np.ndarray) -> Extract:
    import torch
    from torchaudio.compliance import kaldi

    scaled = torch.from_numpy(samples * FULL_SCALE)[None]
    return lambda: kaldi.fbank(scaled, num_mel_bins=NUM_BINS, dither=0.0, sample_frequency=SAMPLE_RATE)


if __name__ == "__main__":
    bench = Bench()
    serve({"build": bench.build, "features": bench.features, "values": bench.values})
