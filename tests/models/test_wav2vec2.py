"""wav2vec 2.0's encoder: norms over an utterance's own frames, in float32 too."""

from __future__ import annotations

import pytest
import torch

from asr.models.encoders.wav2vec2 import TimeNorm, Wav2Vec2Config, Wav2Vec2Encoder


@pytest.mark.parametrize("norm", ["group", "layer"])
@torch.no_grad()
def test_in_float32_an_utterance_encodes_the_same_alone_and_beside_a_much_longer_one(norm: str) -> None:
    torch.manual_seed(0)
    sizes = {"conv_dims": (32,) * 7, "dim": 64, "num_layers": 3, "num_heads": 4, "ff_dim": 128}
    encoder = Wav2Vec2Encoder(Wav2Vec2Config(**sizes, conv_norm=norm), 1).eval()
    waveforms = torch.randn(2, 80000, 1)
    waveforms[1, 9000:] = 5.0  # what stands there must not matter
    lens = torch.tensor([80000, 9000])
    both = encoder(waveforms, lens)
    alone = encoder(waveforms[1:, :9000], lens[1:])
    assert both.lens.tolist() == [249, 27]
    torch.testing.assert_close(both.frames[1, :27], alone.frames[0], rtol=0, atol=1e-4)


def test_the_norm_over_time_is_torchs_where_there_is_no_padding() -> None:
    torch.manual_seed(0)
    norm = TimeNorm(3).double()
    norm.weight.data.uniform_(0.5, 2.0)
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    expected = torch.nn.functional.group_norm(x[:, :, :7], 3, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x, torch.tensor([7, 7]))[:, :, :7], expected, rtol=1e-12, atol=1e-12)
