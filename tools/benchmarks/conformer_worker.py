"""The worker that builds a Conformer of about 11 million parameters, ours or a peer's, and times its passes.

It runs in the peers' environment too, so nothing of ours that needs more than torch is imported unless it is our turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.benchmarks.common import serve, versions

DIM, LAYERS, HEADS, FF_DIM, KERNEL = 192, 12, 4, 768, 31
DROPOUT = 0.1
FEATURES, VOCABULARY = 80, 128
TOKENS_PER_SECOND = 6
FRAMES_PER_SECOND = 100
Pass = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # features (B, T, F), lens -> log-probs (B, S, V), lens


class Ours(nn.Module):
    """An encoder with a CTC head, as a recipe would configure it."""

    def __init__(self) -> None:
        super().__init__()
        from asr.models.asr_model import build_model
        from asr.models.encoders.conformer import ConformerConfig
        from asr.models.heads.ctc import CtcHeadConfig
        from asr.system.libraries import settle_libraries
        from asr.text.vocabulary import Vocabulary

        settle_libraries()  # what concerns threads stands in this process' environment already
        encoder = ConformerConfig(
            dim=DIM, num_layers=LAYERS, num_heads=HEADS, ff_dim=FF_DIM, kernel_size=KERNEL, dropout=DROPOUT
        )
        vocabulary = Vocabulary(tuple(map(str, range(VOCABULARY))), blank=0, unk=1, sos=2, eos=3)
        self.model = build_model(encoder, [CtcHeadConfig()], FEATURES, {"main": vocabulary})

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.model.encode(features, lens)
        return self.model.heads["ctc"].log_probs(encoded), encoded.lens


class Torchaudio(nn.Module):
    """torchaudio.models.Conformer behind a stack of four frames, as in torchaudio.models.conformer_rnnt_base."""

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.models import Conformer

        self.input = nn.Linear(4 * FEATURES, DIM)
        self.encoder = Conformer(DIM, HEADS, FF_DIM, LAYERS, KERNEL, dropout=DROPOUT)
        self.output = nn.Linear(DIM, VOCABULARY)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        stacked = features[:, : features.shape[1] // 4 * 4].unflatten(1, (-1, 4)).flatten(2)
        frames, lens = self.encoder(self.input(stacked), lens // 4)
        return self.output(frames).log_softmax(-1), lens


class SpeechBrain(nn.Module):
    """The encoder of recipes/LibriSpeech/ASR/transformer/hparams/conformer_small.yaml, cut to size."""

    def __init__(self) -> None:
        super().__init__()
        from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
        from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR

        self.front_end = ConvolutionFrontEnd(
            input_shape=(8, 10, FEATURES),
            num_blocks=2,
            num_layers_per_block=1,
            out_channels=(64, 32),
            kernel_sizes=(3, 3),
            strides=(2, 2),
            residuals=(False, False),
        )
        self.encoder = TransformerASR(
            tgt_vocab=VOCABULARY,
            input_size=32 * FEATURES // 4,
            d_model=DIM,
            nhead=HEADS,
            num_encoder_layers=LAYERS,
            num_decoder_layers=0,
            d_ffn=FF_DIM,
            dropout=DROPOUT,
            activation=nn.GELU,
            encoder_module="conformer",
            attention_type="RelPosMHAXL",
            normalize_before=True,
            causal=False,
            kernel_size=KERNEL,
        )
        self.output = nn.Linear(DIM, VOCABULARY)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        share = lens / features.shape[1]
        frames = self.encoder.encode(self.front_end(features), share)
        return self.output(frames).log_softmax(-1), (share * frames.shape[1]).round().long()


TOOLKITS: dict[str, type[nn.Module]] = {"asr": Ours, "torchaudio": Torchaudio, "speechbrain": SpeechBrain}


class Bench:
    """The jobs of the worker."""

    def build(
        self, toolkit: str, dtype: str, threads: int, utterances: int, seconds: float, seed: int
    ) -> dict[str, Any]:
        """Make the network and a batch of noise."""
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.model = TOOLKITS[toolkit]().train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.autocast = dtype == "bfloat16"
        frames, tokens = round(seconds * FRAMES_PER_SECOND), round(seconds * TOKENS_PER_SECOND)
        self.features = torch.randn(utterances, frames, FEATURES)
        self.lens = torch.full((utterances,), frames)
        self.tokens = torch.randint(4, VOCABULARY, (utterances, tokens))
        self.token_lens = torch.full((utterances,), tokens)
        found = versions(("torchaudio", "speechbrain", "asr-toolkit"))
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return {"parameters": parameters, "torch": torch.__version__, "versions": found}

    def train(self) -> float:
        """Seconds of a step: forward, CTC, backward, clipping, AdamW."""
        begin = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            log_probs, lens = self.model(self.features, self.lens)
        log_probs = log_probs.float().clamp(min=torch.finfo(torch.float32).min)  # ours rules tokens out by -inf
        loss = F.ctc_loss(log_probs.transpose(0, 1), self.tokens, lens, self.token_lens, reduction="sum")
        (loss / len(self.lens)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return time.perf_counter() - begin

    def encode(self) -> float:
        """Seconds of a forward pass without gradients."""
        self.model.eval()
        begin = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            self.model(self.features, self.lens)
        seconds = time.perf_counter() - begin
        self.model.train()
        return seconds


if __name__ == "__main__":
    bench = Bench()
    serve({"build": bench.build, "train": bench.train, "encode": bench.encode})
