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
    """The context and the state of the LSTM, between one block of frames and the next."""

    def __init__(self, sample_rate: int, network: SileroNetwork) -> None:
        super().__init__(sample_rate)
        self._network = network
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        self._state: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def _score(self, frames_KW: np.ndarray) -> np.ndarray:
        before = np.concatenate((self._context[None], frames_KW[:-1, -CONTEXT_SAMPLES:]))
        self._context = frames_KW[-1, -CONTEXT_SAMPLES:].copy()
        frames = torch.from_numpy(np.concatenate((before, frames_KW), axis=1))
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
