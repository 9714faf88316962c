"""In which types a model runs: `--dtype`.

float32 keeps every promise. `auto` takes the fast types where they were measured, which is on CPU for pretrained
Whisper models (docs/performance.md): the encoder in bfloat16 where the processor computes it, in int8 elsewhere, the
decoder in int8. Models that were made here run in float32 unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from asr.config import Experiment, ModelSpec
from asr.errors import ConfigError
from asr.models.asr_model import AsrModel
from asr.models.heads.whisper import WhisperDecoder
from asr.nn.low_precision import LINEARS, Int8Embedding, computes_int8, lower_linears
from asr.system.runtime import computes_bfloat16, resolve_dtype

FAST_ENCODERS = ("whisper",)  # by name, for which fewer bits were measured


@dataclass(frozen=True)
class Precision:
    """Types of the linear layers of encoder and decoder; what is not lowered may run under autocast."""

    encoder: str = "float32"
    decoder: str = "float32"
    autocast: torch.dtype = torch.float32

    @property
    def name(self) -> str:
        """As outputs record it: one type, or that of the encoder and that of the decoder."""
        if self.autocast != torch.float32:
            return str(self.autocast).removeprefix("torch.")
        return self.encoder if self.encoder == self.decoder else f"{self.encoder}+{self.decoder}"

    @property
    def is_lowered(self) -> bool:
        """Whether `lower` changes a model."""
        return {self.encoder, self.decoder} != {"float32"}


def choose_precision(dtype: str, spec: ModelSpec, device: torch.device) -> Precision:
    """What `dtype` means for a model on a device; ConfigError for a name that is unknown or cannot be followed."""
    autocast = resolve_dtype(dtype)
    is_fast = spec.encoder.name in FAST_ENCODERS and device.type == "cpu"
    if dtype == "auto":
        if not is_fast or isinstance(spec, Experiment):
            return Precision()
        decoder = "int8" if computes_int8() else "float32"
        return Precision("bfloat16" if computes_bfloat16(device) else decoder, decoder)
    if dtype == "int8":
        if not is_fast:
            raise ConfigError("--dtype int8: for Whisper models on a CPU only; use float32 or bfloat16")
        if not computes_int8():
            raise ConfigError("--dtype int8: torch has no products of whole numbers for this processor; use float32")
        return Precision("int8", "int8")
    if dtype == "bfloat16" and is_fast:
        return Precision("bfloat16", "bfloat16")
    return Precision(autocast=autocast)


def lower(model: AsrModel, precision: Precision) -> None:
    """Change a model in place: its linear layers to the precision's, everything else to float32.

    The weights it had are let go layer by layer. What comes out cannot be trained or saved.
    """
    if precision.encoder in LINEARS:
        lower_linears(model.encoder, precision.encoder)
    for head in model.heads.values():
        if precision.decoder not in LINEARS:
            continue
        lower_linears(head, precision.decoder)
        if isinstance(head, WhisperDecoder):
            embeddings = head.embedding.weight
            head.projection = LINEARS[precision.decoder](embeddings, None)
            if precision.decoder == "int8":
                head.add_module("embedding", Int8Embedding(embeddings))
            if precision.encoder == "bfloat16":
                head.keep_memory(torch.bfloat16)
    _widen(model)


def _widen(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
