"""Nothing in a training step makes the host wait for a GPU by reading a value from it.

Tensors of torch's `meta` device have shapes but no values, and take the way through the code that those of a GPU take:
asking for a value (`item`, `tolist`, `if tensor:`, a mask as an index) is an error here, where it would be a wait.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.losses.weights import LossConfig, weighted_sum
from asr.models.asr_model import build_model
from asr.models.encoders import ENCODERS
from asr.models.heads import HEADS
from asr.models.heads.ctc import CtcHeadConfig, IntermediateCtcConfig
from asr.text.vocabulary import Vocabulary
from asr.types import Batch

NUM_FEATURES = 40
VOCABULARY = Vocabulary(("<blank>", "<unk>", "<s>", "</s>", *"abcdefgh"), 0, 1, 2, 3)
ENCODER_NAMES = ENCODERS.names()
DECODER_NAMES = [name for name in HEADS.names() if name != "ctc"]
META = torch.device("meta")


def batch() -> Batch:
    """Two views of two utterances, as all losses together want them."""
    on_host = Batch(
        ids=("a", "b", "a", "b"),
        features=torch.zeros(4, 64, NUM_FEATURES),
        feature_lens=torch.tensor([64, 50, 64, 50]),
        tokens=torch.full((4, 7), 5),
        token_lens=torch.tensor([7, 5, 7, 5]),
        num_views=2,
    )
    return on_host.to(META)


@pytest.fixture
def ctc_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has no CTC loss of tensors without values; this one has its shape and its gradient."""

    def loss(log_probs: Tensor, _: Tensor, lens: Tensor, token_lens: Tensor, **__: object) -> Tensor:
        assert {lens.device.type, token_lens.device.type} == {"cpu"}, "torch's CTC loss would fetch the lengths"
        return log_probs.sum((0, 2))

    monkeypatch.setattr(F, "ctc_loss", loss)


@pytest.mark.parametrize("decoder", DECODER_NAMES)
@pytest.mark.parametrize("encoder", ENCODER_NAMES)
def test_a_step_of_every_model_reads_no_value_from_its_device(
    encoder: str, decoder: str, ctc_without_values: None
) -> None:
    heads = [CtcHeadConfig(intermediate=IntermediateCtcConfig(layers=(1,))), HEADS.config(decoder).tiny()]
    model = build_model(ENCODERS.config(encoder).tiny(), heads, NUM_FEATURES, {"main": VOCABULARY}).to(META).train()
    config = LossConfig(weights={"ctc": 0.5, decoder: 0.5}, consistency_weight=0.2)
    weighted_sum(model(batch(), config), config).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "read", [Tensor.item, Tensor.tolist, bool, lambda tensor: torch.arange(1, device=META)[tensor]]
)
def test_a_read_from_the_device_would_be_an_error(read: object) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.ones(1, dtype=torch.bool, device=META))  # type: ignore[operator]
