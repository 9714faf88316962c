"""Layers with weights in fewer bits, for inference on a CPU: made from trained ones, never trained themselves.

int8    weights are whole numbers -127..127 with a scale for each row, and so are the vectors that come in, each with
        a scale of its own, found as it comes: a vector's result depends on no other. Products are summed exactly.
bf16    weights and products; sums are float32. Norms, softmax and the sums of branches stay float32 around them.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 1e-30  # in place of the largest value of a vector of zeros
VECTORS_AT_ONCE = 2048  # that are multiplied, for the memory
ROWS_AT_ONCE = 4096  # of a weight that is rounded: embeddings are many times as large as all else


def computes_int8() -> bool:
    """Whether torch has fast products of whole numbers for this processor (FBGEMM: x86 with AVX2)."""
    return (
        "fbgemm" in torch.backends.quantized.supported_engines
        and platform.machine().lower() in ("x86_64", "amd64")
        and bool(torch.cpu._is_avx2_supported())
        and hasattr(torch, "_make_per_channel_quantized_tensor")
        and hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32")
    )


def whole_numbers(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight (rows, columns) as int8, and what each row has to be multiplied with, float32 (rows,)."""
    whole = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    for start in range(0, len(weight), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        exact = weight[part].detach().float()
        scales[part] = exact.abs().amax(1).clamp_(min=TINY) / 127
        whole[part] = (exact / scales[part, None]).round_().clamp_(-127, 127)
    return whole, scales


class Int8Linear(nn.Module):
    """A linear layer (..., columns) -> (..., rows) in whole numbers.

    Without VNNI a processor adds two products in 16 bits, so that vectors get 7 bits there, and 8 elsewhere.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        whole, scales = whole_numbers(weight)
        self.out_features, self.in_features = whole.shape
        zeros = torch.zeros(len(whole), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a later torch will do this otherwise; `computes_int8` will tell
            with_scales = torch._make_per_channel_quantized_tensor(whole, scales.double(), zeros, 0)
            self._packed = torch.ops.quantized.linear_prepack(with_scales, None)
        self.bias = None if bias is None else bias.detach().float()
        self._zero = 128 if torch.cpu._is_vnni_supported() else 64
        self._step = 1.0 / (self._zero - 1)

    def forward(self, x: Tensor) -> Tensor:
        """float32, whatever type comes in."""
        rows = x.reshape(-1, self.in_features).float()
        num_rows = rows.shape[0]
        found = rows.new_empty(num_rows, self.out_features)
        for start in range(0, num_rows, VECTORS_AT_ONCE):
            if num_rows <= VECTORS_AT_ONCE:  # as in every step of a decoder, where each operation counts
                self._multiply(rows, found)
            else:
                self._multiply(rows[start : start + VECTORS_AT_ONCE], found[start : start + VECTORS_AT_ONCE])
        return found.view(*x.shape[:-1], self.out_features)

    def _multiply(self, rows: Tensor, found: Tensor) -> None:
        """The layer for vectors (N, columns), into (N, rows)."""
        largest = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True)).clamp_(min=TINY)
        product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / largest, self._step, self._zero, self._packed
        )
        if self.bias is None:
            torch.mul(product, largest, out=found)
        else:
            torch.addcmul(self.bias, product, largest, out=found)


class Int8Embedding(nn.Module):
    """An embedding whose vectors are kept in whole numbers: ids (...) -> (..., columns) float32."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.whole, self.scales = whole_numbers(weight)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class."""
        return self.whole[ids].float() * self.scales[ids][..., None]


class Bfloat16Linear(nn.Module):
    """A linear layer in bfloat16: (..., columns) of any type -> (..., rows) bfloat16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight.detach().to(torch.bfloat16)
        self.bias = None if bias is None else bias.detach().to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.linear(x.to(torch.bfloat16), self.weight, self.bias)


LINEARS: dict[str, Callable[[Tensor, Tensor | None], nn.Module]] = {"int8": Int8Linear, "bfloat16": Bfloat16Linear}


def lower_linears(module: nn.Module, kind: str) -> None:
    """Put layers of `kind`, a key of LINEARS, in the place of all linear layers inside a module, one by one."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, LINEARS[kind](child.weight, child.bias))
        else:
            lower_linears(child, kind)
