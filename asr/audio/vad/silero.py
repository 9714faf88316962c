"""Silero VAD (github.com/snakers4/silero-vad, MIT): its network in torch, with the weights that its package brings.

Shapes: K frames, W samples of a frame, C context samples before it, F short-time spectra of a frame, D dim.
Only the LSTM runs from frame to frame; everything before it takes all frames of a block at once, which is what makes
this faster than the published model, called once a frame.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.audio.vad.base import VADS, Vad, VadStream
from asr.audio.vad.onnx_tensors import read_float_tensors
from asr.errors import ConfigError
from asr.registry import NamedConfig

CONTEXT_SAMPLES = 64  # of the frame before, which the network sees in front of a frame
FFT_SIZE, FFT_SHIFT = 256, 128  # samples
NUM_BINS = FFT_SIZE // 2 + 1
DIM = 128
# The network knows the levels that recordings usually have: it finds speech in 60 of 60 of AN4's dev utterances, in 58
# made 20 dB quieter, in 18 at 40 dB. So quiet recordings are made louder for it, up to where they are left as they are.
USUAL_DB = -40.0  # relative to full scale: mean power of the loudest fifth of a second
MOST_GAIN_DB = 45.0
SMOOTHED = 6  # frames: a fifth of a second, because a click is no speech
LEVEL_FRAMES = 156  # five seconds, which are held back until something of the usual level is heard or they are over
# The package also has safetensors, but of an older training: its probabilities differ from the published model's by 0.5
WEIGHTS = "data/silero_vad_16k_op15.onnx"
NAMES = {  # ours: theirs
    "stft_conv": "stft.forward_basis_buffer",
    **{f"conv{layer + 1}": f"encoder.{layer}.reparam_conv" for layer in range(4)},
    "lstm": "decoder.rnn",
    "final_conv": "decoder.decoder.2",
}


class SileroVadConfig(NamedConfig):
    """Nothing to set: the weights decide."""

    name: Literal["silero"] = "silero"


@VADS.register(SileroVadConfig)
class SileroVad(Vad):
    """ConfigError where the weights are missing."""

    def __init__(self, config: NamedConfig, sample_rate: int) -> None:
        super().__init__(config, sample_rate)
        self._network = load_network()

    def stream(self) -> SileroVadStream:
        return SileroVadStream(self.sample_rate, self._network)


class SileroVadStream(VadStream):
    """The context and the state of the LSTM, between one block of frames and the next.

    A recording that is quieter than USUAL_DB is brought there. Its level is that of what was heard so far, of its first
    five seconds all of them: as long they wait for their probabilities, unless something of the usual level comes.
    """

    def __init__(self, sample_rate: int, network: SileroNetwork) -> None:
        super().__init__(sample_rate)
        self._network = network
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        self._state: tuple[Tensor, Tensor] | None = None
        self._powers = np.zeros(SMOOTHED - 1)  # of the last frames
        self._peak = 0.0  # mean power of the loudest fifth of a second so far
        self._held: list[np.ndarray] | None = []  # the first frames, until their level is known; None afterwards
        self._num_held = 0

    def _score(self, frames_KW: np.ndarray) -> np.ndarray:
        peaks_K = self._peaks(frames_KW)
        if self._held is None:
            return self._probabilities(frames_KW, peaks_K)
        self._held.append(frames_KW)
        missing = LEVEL_FRAMES - self._num_held
        self._num_held += len(frames_KW)
        if len(frames_KW) < missing and peaks_K[-1] < 10 ** (USUAL_DB / 10):
            return np.zeros(0, dtype=np.float32)
        peaks_K[:missing] = peaks_K[:missing][-1]
        return self._release(peaks_K)

    def _score_rest(self) -> np.ndarray:
        return self._release(np.full(1, self._peak)) if self._held else super()._score_rest()

    def _release(self, peaks_K: np.ndarray) -> np.ndarray:
        """Score what was held back; the first peak given is that of all frames before, too."""
        assert self._held is not None
        frames_KW, self._held = np.concatenate(self._held), None
        earlier = np.full(len(frames_KW) - len(peaks_K), peaks_K[0])
        return self._probabilities(frames_KW, np.concatenate((earlier, peaks_K)))

    def _peaks(self, frames_KW: np.ndarray) -> np.ndarray:
        """The largest mean power (K,) of neighbouring frames up to each frame."""
        powers = np.concatenate((self._powers, frames_KW.astype(np.float64).var(axis=1)))
        means_K = np.lib.stride_tricks.sliding_window_view(powers, SMOOTHED).mean(axis=1)
        peaks_K: np.ndarray = np.maximum(np.maximum.accumulate(means_K), self._peak)
        self._powers, self._peak = powers[-(SMOOTHED - 1) :], float(peaks_K[-1])
        return peaks_K

    @torch.inference_mode()
    def _probabilities(self, frames_KW: np.ndarray, peaks_K: np.ndarray) -> np.ndarray:
        gains_db = np.clip(USUAL_DB - 10 * np.log10(np.maximum(peaks_K, 1e-30)), 0.0, MOST_GAIN_DB)
        before = np.concatenate((self._context[None], frames_KW[:-1, -CONTEXT_SAMPLES:]))
        self._context = frames_KW[-1, -CONTEXT_SAMPLES:].copy()
        gains_K1 = np.float32(10) ** (gains_db / 20).astype(np.float32)[:, None]
        frames = torch.from_numpy(np.concatenate((before, frames_KW), axis=1) * gains_K1)
        with torch.autocast("cpu", enabled=False):
            probabilities, self._state = self._network(frames, self._state)
        return np.asarray(probabilities.numpy())


class SileroNetwork(nn.Module):
    """Frames with their context (K, C + W) at 16 kHz -> probabilities (K,), and the state for the next frames."""

    def __init__(self) -> None:
        super().__init__()
        # real parts, then imaginary ones
        self.stft_conv = nn.Conv1d(1, 2 * NUM_BINS, FFT_SIZE, stride=FFT_SHIFT, bias=False)
        self.conv1 = nn.Conv1d(NUM_BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, DIM, 3, padding=1)
        self.lstm = nn.LSTM(DIM, DIM)
        self.final_conv = nn.Conv1d(DIM, 1, 1)

    def forward(
        self, frames: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        padded = F.pad(frames, (0, CONTEXT_SAMPLES), mode="reflect")
        real, imaginary = self.stft_conv(padded[:, None]).split(NUM_BINS, dim=1)
        hidden_KDF = (real.square() + imaginary.square()).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            hidden_KDF = layer(hidden_KDF).relu()
        hidden_KD, state = self.lstm(hidden_KDF.squeeze(-1), state)  # F has become 1
        return self.final_conv(hidden_KD.relu()[..., None]).sigmoid().flatten(), state


def load_network() -> SileroNetwork:
    """The network with the weights that silero-vad brings; ConfigError where they are missing or do not fit.

    The package itself is not imported, because that sets torch to one thread.
    """
    path = _weights_path()
    with torch.device("meta"):  # takes no draw from the caller's generator
        network = SileroNetwork()
    try:
        tensors = read_float_tensors(path)
        weights = {name: torch.from_numpy(tensors[_their_name(name)].copy()) for name in network.state_dict()}
        network.load_state_dict(weights, assign=True)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{path}: not the weights of Silero VAD that this version knows; pip install silero-vad==6.2.3"
        ) from error
    return network.requires_grad_(False).eval()


def _weights_path() -> Path:
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / WEIGHTS).is_file():
            return path
    raise ConfigError(
        "the voice activity detector 'silero' lacks its weights; pip install silero-vad==6.2.3, or choose 'energy'"
    )


def _their_name(name: str) -> str:
    """Silero's name for one of our parameters."""
    module, _, parameter = name.partition(".")
    if module == "stft_conv":
        return f"model.{NAMES[module]}"
    return f"model.{NAMES[module]}.{parameter.removesuffix('_l0')}"  # torch's LSTM counts layers, its cell does not
