"""Ways to compute what torch computes, but faster: gradients written by hand, and choices by device.

Every public function here equals an expression of plain torch operations up to rounding, and gives that expression to
whatever traces a model (`is_traced`): a compiler makes kernels of its own from it, and an exported graph holds only
operations that other runtimes know. Figures: docs/performance.md.

B batch, S frames or tokens, D model dim, H heads, E = D / H, K keys, T frames of images, F their width, C channels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.system.runtime import computes_bfloat16

RecurrentState = Tensor | tuple[Tensor, Tensor]  # (1, B, hidden size): hidden, of an LSTM hidden and cells
MAX_PLAIN_KEYS = 512  # beyond, torch's fused kernel is as fast on CPU, and holds no scores
FEW_QUERIES = 16  # for which plain products are faster, however many keys there are
BLOCK = 128  # values of which the largest is found before its place
TRANSFORM_SIZE = 256  # frames; at least four times the kernel, for little overlap


def is_traced() -> bool:
    """Whether torch.compile or torch.export records what is called, instead of running it."""
    return torch.compiler.is_compiling()


def may_hold_padding(lens: Tensor, num_frames: int) -> bool:
    """False when every row of a batch is known to be `num_frames` long, so that masks may be left out."""
    if lens.device.type != "cpu" or is_traced():  # to know, the host would wait for the device, or need a value
        return True
    return bool((lens < num_frames).any())


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What to add to scores: nothing where a bool mask is True, -inf elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -math.inf)


def project_few(x: Tensor, weight: Tensor) -> Tensor:
    """Products (..., V) of a few vectors (..., D) with many (V, D), as where a decoder predicts its next token.

    On CPU the product is made transposed, which takes half of the time for 2 to 16 rows of float32.
    """
    rows = x.numel() // max(1, x.shape[-1])
    if (
        is_traced()
        or x.device.type != "cpu"
        or x.dtype != torch.float32
        or weight.dtype != x.dtype
        or not 1 < rows < 16
    ):
        return F.linear(x, weight)
    product = weight @ x.reshape(rows, -1).t()
    return product.t().contiguous().view(*x.shape[:-1], -1)


def largest_of_many(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest values (N,) of rows (N, V) and where they are; V of tens of thousands. NaN where there is one.

    On CPU places are kept for blocks of BLOCK values alone, which takes a third of the time of `max`.
    """
    num_blocks = x.shape[1] // BLOCK
    if x.device.type != "cpu" or is_traced() or num_blocks < BLOCK:
        return x.max(1)
    blocks = x[:, : num_blocks * BLOCK].unflatten(1, (num_blocks, BLOCK))
    best, block = blocks.amax(2).max(1)
    place = block * BLOCK + blocks[torch.arange(len(x)), block].argmax(1)
    rest = x[:, num_blocks * BLOCK :]
    if not rest.shape[1]:
        return best, place
    best_rest, place_rest = rest.max(1)
    return torch.maximum(best, best_rest), torch.where(best_rest > best, place_rest + num_blocks * BLOCK, place)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention (B, H, S, E); a floating mask is added to the scores, a bool one allows keys.

    `dropout` is the share of attention weights to drop. On CPU plain products beat the fused kernel as long as the
    scores of a head stay in the cache; its backward in bfloat16 takes twice as long again.
    """
    if query.device.type != "cpu" or is_traced():
        return F.scaled_dot_product_attention(query, key, value, mask, dropout)
    if mask is not None and mask.dtype == torch.bool:
        mask = additive(mask, query.dtype)  # a sum with this takes an eighth of the time of masked_fill
    if query.shape[-2] <= FEW_QUERIES and not torch.is_grad_enabled():
        return _attend_few(query, key, value, mask)
    if dropout > 0.0:
        scores = query / math.sqrt(query.shape[-1]) @ key.transpose(-1, -2)
        return drop((scores if mask is None else scores + mask).softmax(dim=-1), dropout) @ value
    half_backward = query.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if key.shape[-2] > MAX_PLAIN_KEYS and not half_backward:
        return F.scaled_dot_product_attention(query, key, value, mask)
    context: Tensor = _PlainAttention.apply(query, key, value, mask)
    return context


def _attend_few(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of a few queries without gradients or dropout; all that it takes is reading keys and values once.

    Products in bfloat16 are as fast as memory only with the many keys as rows.
    """
    query = (query / math.sqrt(query.shape[-1])).to(key.dtype)  # keys may be kept in another type
    if key.dtype == torch.bfloat16:
        scores = (key @ query.transpose(-1, -2)).transpose(-1, -2).float()
    else:
        scores = query @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.add_(mask)
    return scores.softmax(dim=-1).to(value.dtype) @ value


class _PlainAttention(torch.autograd.Function):
    """Attention by products of whole matrices, its gradients laid out as what they are gradients of.

    Autograd would make the gradient of the keys a transposed one, which slows everything that follows.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
        weights = (scores if mask is None else scores.add_(mask)).softmax(dim=-1)
        ctx.save_for_backward(query, key, value, weights)
        ctx.mask_shape = None if mask is None else mask.shape
        return weights @ value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        (gradient,), (query, key, value, weights) = gradients, ctx.saved_tensors
        of_weights = gradient @ value.transpose(-1, -2)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        scale = 1.0 / math.sqrt(query.shape[-1])
        return (
            (of_scores @ key).mul_(scale),
            (of_scores.transpose(-1, -2) @ query).mul_(scale),
            weights.transpose(-1, -2) @ gradient,
            of_scores.sum_to_size(ctx.mask_shape) if ctx.needs_input_grad[3] else None,
        )


def shift_distances(scores: Tensor) -> Tensor:
    """Scores by distance (B, H, S, 2 S - 1), from S - 1 down to 1 - S, become scores by key (B, H, S, S).

    Row i wants distances i .. i - S + 1, which start at column S - 1 - i: one padded column makes a reshape do it.
    """
    B, H, S, num_distances = scores.shape
    if is_traced():  # the reshape is correct for all S, but torch cannot prove it
        frame = torch.arange(S, device=scores.device)
        return scores.gather(-1, (S - 1 - frame[:, None] + frame).expand(B, H, S, S))
    padded = F.pad(scores, (1, 0)).view(B, H, num_distances + 1, S)
    return padded[:, :, 1:].reshape(B, H, S, num_distances)[..., :S]


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the pairs (i, i + E / 2) of vectors (..., S, E) by their position's angle.

    `table` (2, S, E) comes from `asr.nn.positions.RotaryPositions`.
    """
    cos, sin = table.to(x.dtype)
    if is_traced():
        plain: Tensor = x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin
        return plain
    turned: Tensor = _Rotation.apply(x, cos, sin)
    return turned


class _Rotation(torch.autograd.Function):
    """The gradient of a rotation is the rotation back, which is half the work of what autograd would do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        turned = torch.mul(x, cos, out=x.new_empty(x.shape))  # contiguous, as products of matrices want it
        return turned.addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        cos, sin = ctx.saved_tensors
        swapped = gradient.roll(gradient.shape[-1] // 2, dims=-1)
        return torch.addcmul(gradient * cos, swapped, sin, value=-1.0), None, None


def convolve_depthwise(x_BSD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One filter per channel along time, length kept: (B, S, D), weights (D, 1, 1, kernel size), biases (D,).

    Frames outside the tensor count as zero. A (B, S, D) tensor seen as an image of height 1 in channels-last layout
    needs no copy, and torch's 2-D kernel for that layout is about ten times as fast as the 1-D one for (B, D, S). On
    CPU it runs in float32 even if weights or autocast are bfloat16: that kernel is slower, and for some lengths it
    never comes back (torch 2.13, oneDNN).
    """
    if x_BSD.device.type != "cpu" or is_traced():
        return _convolve(x_BSD, weight, bias)
    exact = torch.promote_types(weight.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        convolved: Tensor = _CpuConvolution.apply(x_BSD.to(exact), weight.to(exact), bias.to(exact))
        return convolved.to(x_BSD.dtype)


def _convolve(x_BSD: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = (0, weight.shape[-1] // 2)
    return _frames(F.conv2d(_image(x_BSD), weight, bias, padding=padding, groups=len(weight)))


class _CpuConvolution(torch.autograd.Function):
    """The same, with a gradient of the weights by Fourier transform.

    Torch's own takes twice as long, and five times when utterances have more than 512 frames (docs/performance.md).
    The sum over all frames of a batch may be taken in any pieces: here the utterances follow each other with zeros in
    between and are cut into windows of one length.
    """

    @staticmethod
    def forward(ctx: Any, x_BSD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x_BSD, weight)
        return _convolve(x_BSD, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        (gradient_BSD,), (x_BSD, weight) = gradients, ctx.saved_tensors
        # autograd does not promise a layout, and another one takes ten times as long
        gradient_BSD = gradient_BSD.contiguous()
        return (
            _convolve(gradient_BSD, weight.flip(-1), None) if ctx.needs_input_grad[0] else None,
            _weight_gradient(x_BSD, gradient_BSD, weight.shape[-1])[:, None, None],
            gradient_BSD.sum((0, 1)),
        )


def _weight_gradient(x_BSD: Tensor, gradient_BSD: Tensor, kernel_size: int) -> Tensor:
    """Correlations (D, kernel_size) of each channel of `x` with its gradient, by the overlap-save method."""
    half = kernel_size // 2
    size = max(TRANSFORM_SIZE, 1 << (4 * kernel_size).bit_length())
    step = size - 2 * half  # frames of a window whose correlations do not wrap around
    x, gradient = (F.pad(frames, (0, 0, 0, half)).flatten(0, 1) for frames in (x_BSD, gradient_BSD))
    missing = -len(x) % step
    x_NDS = F.pad(x, (0, 0, half, half + missing)).unfold(0, size, step)
    gradient_NDS = F.pad(gradient, (0, 0, 0, missing)).unfold(0, step, step)
    products = torch.fft.rfft(gradient_NDS, n=size).conj() * torch.fft.rfft(x_NDS)
    correlations: Tensor = torch.fft.irfft(products.sum(0), n=size)
    return correlations[:, :kernel_size]


def _image(frames_BSD: Tensor) -> Tensor:
    """(B, D, 1, S) in channels-last layout, without a copy."""
    return frames_BSD.transpose(1, 2).unsqueeze(2)


def _frames(image: Tensor) -> Tensor:
    return image.squeeze(2).transpose(1, 2)


def relu_within(x: Tensor, lens: Tensor) -> Tensor:
    """ReLU of images (B, C, T, F), and zeros from each row's length (B,) on, so that padding cannot leak.

    Changes `x` itself unless it is traced.
    """
    if is_traced():
        return x.relu().masked_fill(padding_mask(lens, x.shape[2])[:, None, :, None], 0.0)
    output: Tensor = _ReluWithin.apply(x, lens)
    return output


class _ReluWithin(torch.autograd.Function):
    """ReLU and mask in one pass over the widest tensors of a small model, where one after the other would take four.

    Both are zero where they block, and where the outcome is zero the gradient is, too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, lens: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        x.relu_()
        if x.device.type == "cpu":
            for row, length in zip(x, lens.tolist(), strict=True):
                row[:, length:] = 0.0
        else:  # reading lengths would make the host wait
            x *= ~padding_mask(lens, x.shape[2])[:, None, :, None]
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (output,) = gradients, ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, output, 0.0), None


def drop(x: Tensor, share: float) -> Tensor:
    """Zero a `share` of all values and scale the others so that the expectation stays: any shape, dtype kept.

    On CPU one random byte decides about one value: a generator's 64-bit words read as bytes are about twelve times as
    fast as a float each. A value is kept with probability `kept_bytes(share)` / 256, and it is that probability the
    kept values are scaled by. Draws follow from torch's default generator.
    """
    kept = kept_bytes(share)
    if kept == 256:
        return x
    if x.device.type != "cpu" or is_traced():  # a compiler makes the draw part of its kernels
        return F.dropout(x, share)
    scales = torch.empty(x.shape, dtype=x.dtype)
    torch.lt(_random_bytes(x.shape), kept, out=scales)  # into floats at once: no bools in between
    return x * scales.mul_(256 / kept)


def kept_bytes(share: float) -> int:
    """How many of the 256 values of a random byte keep a value when a `share` is dropped; at least one."""
    return max(1, round((1.0 - share) * 256))


def _random_bytes(shape: torch.Size) -> Tensor:
    """Uniform uint8 of any shape on the CPU.

    Torch's default generator draws a seed; the words come from SFC64 (Doty-Humphrey's PractRand), which is twice as
    fast as torch's Mersenne Twister and no smaller part of a training step otherwise.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_())
    count = shape.numel()
    words = np.random.SFC64(seed).random_raw((count + 7) // 8)
    return torch.from_numpy(words.view(np.uint8))[:count].view(shape)


def recur(layer: nn.Module, x: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
    """Run a recurrent layer (torch's, one layer, one direction, batch first) over (B, S, D).

    Returns its outputs (B, S, hidden size) and its last state. oneDNN has no recurrence in emulated bfloat16: where the
    processor has none, autocast is left for float32. An exported graph holds one operation, `asr::recur`.
    """
    if torch.compiler.is_exporting():
        assert isinstance(layer, nn.RNNBase)
        return _exported_recurrence(layer, x, state)
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not computes_bfloat16(x.device):
        with torch.autocast("cpu", enabled=False):
            output: tuple[Tensor, RecurrentState] = layer(x.float(), state)
            return output
    return layer(x, state)  # type: ignore[no-any-return]


def _exported_recurrence(layer: nn.RNNBase, x: Tensor, state: RecurrentState | None) -> tuple[Tensor, RecurrentState]:
    """The layer as one operation: torch itself would export a step for each frame of the example it is given."""
    if state is None:
        nothing = x.new_zeros(1, x.shape[0], layer.hidden_size)
        state = (nothing, nothing) if layer.mode == "LSTM" else nothing
    states = list(state) if isinstance(state, tuple) else [state]
    weights = [getattr(layer, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
    output, *last = _recur(layer.mode, x, states, weights)
    return output, (last[0], last[1]) if layer.mode == "LSTM" else last[0]


_RECURRENCES = {"GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}


@torch.library.custom_op(
    "asr::recur", mutates_args=(), schema="(str mode, Tensor x, Tensor[] state, Tensor[] weights) -> Tensor[]"
)
def _recur(mode: str, x: Tensor, state: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    """One recurrent layer over (B, S, D): outputs, last hidden state, and cells of an LSTM.

    `mode` is that of torch.nn.RNNBase, `weights` are of input and state and their two biases: what LSTM, GRU and RNN of
    ONNX take, too.
    """
    settings = (True, 1, 0.0, False, False, True)  # biases, one layer, no dropout, not training, one way, batch first
    if mode == "LSTM":
        return list(torch.lstm(x, state, weights, *settings))
    return list(_RECURRENCES[mode](x, state[0], weights, *settings))


@_recur.register_fake
def _(mode: str, x: Tensor, state: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    return [x.new_empty(*x.shape[:2], state[0].shape[-1]), *(part.new_empty(part.shape) for part in state)]
