"""CTC loss against all paths, finite differences and published values."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from asr.lengths import ctc_min_frames
from asr.losses.ctc import ctc_loss

# The two utterances of TensorFlow's ctc_loss_op_test.py (testBasic): probabilities with blank last, losses, and the
# gradient with respect to the logits at the label that each frame is aligned to.
TENSORFLOW_PROBABILITIES = [
    [
        [0.633766, 0.221185, 0.0917319, 0.0129757, 0.0142857, 0.0260553],
        [0.111121, 0.588392, 0.278779, 0.0055756, 0.00569609, 0.010436],
        [0.0357786, 0.633813, 0.321418, 0.00249248, 0.00272882, 0.0037688],
        [0.0663296, 0.643849, 0.280111, 0.00283995, 0.0035545, 0.00331533],
        [0.458235, 0.396634, 0.123377, 0.00648837, 0.00903441, 0.00623107],
    ],
    [
        [0.30176, 0.28562, 0.0831517, 0.0862751, 0.0816851, 0.161508],
        [0.24082, 0.397533, 0.0557226, 0.0546814, 0.0557528, 0.19549],
        [0.230246, 0.450868, 0.0389607, 0.038309, 0.0391602, 0.202456],
        [0.280884, 0.429522, 0.0326593, 0.0339046, 0.0326856, 0.190345],
        [0.423286, 0.315517, 0.0338439, 0.0393744, 0.0339315, 0.154046],
    ],
]
TENSORFLOW_LOSSES = [3.34211, 5.42262]
TENSORFLOW_GRADIENTS_AT_ALIGNED = [
    [-0.366234, -0.411608, -0.678582, -0.356151, -0.541765],
    [-0.69824, -0.602467, -0.797544, -0.570478, -0.576714],
]


def loss_by_all_paths(log_probs: Tensor, tokens: tuple[int, ...]) -> float:
    """-log of the summed probability of every path that collapses to the tokens; tiny inputs only."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        labels = tuple(token for token, _ in itertools.groupby(path) if token != 0)
        if labels == tokens:
            total += math.exp(sum(log_probs[frame, token].item() for frame, token in enumerate(path)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("tokens", [(), (1,), (2, 1), (1, 1), (3, 1, 3), (2, 2, 2), (1, 2, 3, 1)])
def test_loss_sums_over_all_paths(tokens: tuple[int, ...]) -> None:
    log_probs = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    frames, count = torch.tensor([5]), torch.tensor([len(tokens)])
    loss = ctc_loss(log_probs[None], frames, torch.tensor([tokens], dtype=torch.int64), count, blank=0)
    assert loss.item() == pytest.approx(loss_by_all_paths(log_probs, tokens), rel=1e-12)


def test_loss_and_gradient_equal_tensorflows_published_values() -> None:
    logits = torch.tensor(TENSORFLOW_PROBABILITIES).log().roll(1, dims=-1).requires_grad_()  # blank first
    tokens, token_lens = torch.tensor([[1, 2, 3, 2, 1], [1, 2, 2, 1, 0]]), torch.tensor([5, 4])
    losses = ctc_loss(logits.log_softmax(-1), torch.tensor([5, 5]), tokens, token_lens, blank=0)
    losses.sum().backward()
    torch.testing.assert_close(losses, torch.tensor(TENSORFLOW_LOSSES), rtol=0, atol=1e-5)
    aligned = torch.tensor([[1, 2, 3, 2, 1], [1, 2, 0, 2, 1]])
    assert logits.grad is not None
    at_aligned = logits.grad.gather(-1, aligned[..., None]).squeeze(-1)
    torch.testing.assert_close(at_aligned, torch.tensor(TENSORFLOW_GRADIENTS_AT_ALIGNED), rtol=0, atol=1e-5)


def test_gradient_equals_finite_differences_with_forbidden_tokens_and_padding() -> None:
    logits = torch.randn(3, 6, 6, dtype=torch.float64, requires_grad=True)
    forbidden = torch.tensor([False, False, True, True, False, False])
    tokens = torch.tensor([[4, 4, 5], [1, 9, 9], [9, 9, 9]])

    def losses(logits: Tensor) -> Tensor:
        log_probs = logits.masked_fill(forbidden, -math.inf).log_softmax(-1)
        return ctc_loss(log_probs, torch.tensor([6, 4, 2]), tokens, torch.tensor([3, 1, 0]), blank=0)

    assert torch.autograd.gradcheck(losses, (logits,))


def test_an_utterance_costs_inf_exactly_when_it_has_too_few_frames() -> None:
    log_probs = torch.randn(1, 6, 5).log_softmax(-1)
    for tokens in [(1, 2, 3), (1, 1, 2), (4, 4, 4)]:
        for num_frames in range(1, 7):
            loss = ctc_loss(log_probs, torch.tensor([num_frames]), torch.tensor([tokens]), torch.tensor([3]), blank=0)
            assert loss.isfinite().item() == (num_frames >= ctc_min_frames(tokens))


def test_a_batch_without_any_tokens_costs_its_blanks() -> None:
    log_probs = torch.randn(2, 3, 5).log_softmax(-1)
    tokens = torch.empty(2, 0, dtype=torch.int64)
    losses = ctc_loss(log_probs, torch.tensor([3, 2]), tokens, torch.tensor([0, 0]), blank=0)
    torch.testing.assert_close(losses, -torch.stack([log_probs[0, :, 0].sum(), log_probs[1, :2, 0].sum()]))


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_loss_is_computed_in_single_precision_or_better(given: torch.dtype, computed: torch.dtype) -> None:
    log_probs = torch.randn(1, 4, 5).log_softmax(-1).to(given)
    loss = ctc_loss(log_probs, torch.tensor([4]), torch.tensor([[1]]), torch.tensor([1]), blank=0)
    assert loss.dtype == computed
