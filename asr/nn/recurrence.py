"""Recurrent layers where the processor has no bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from asr.system.runtime import computes_bfloat16


def recur(layer: nn.Module, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Run a layer over (B, S, D). oneDNN has no recurrence in emulated bfloat16: it leaves autocast for float32."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not computes_bfloat16(x.device):
        with torch.autocast("cpu", enabled=False):
            output: tuple[Tensor, Any] = layer(x.float(), state)
            return output
    return layer(x, state)  # type: ignore[no-any-return]
