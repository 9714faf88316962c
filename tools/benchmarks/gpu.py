"""Training of Conformers on a GPU: speed, share of the peak, memory; torch.compile, and torchaudio beside it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asr.losses.ctc import ctc_loss
from asr.models.asr_model import AsrModel, build_model
from asr.models.encoders.conformer import ConformerConfig
from asr.models.heads.ctc import CtcHeadConfig
from asr.nn.subsampling import Subsampling, SubsamplingConfig
from asr.optim.optimizers import build_optimizer
from asr.optim.optimizers.adamw import AdamWConfig
from asr.text.vocabulary import Vocabulary
from asr.training.compile import compile_layers, num_compilations
from asr.types import Batch
from tools.benchmarks.common import BenchError, alternate, machine, say, table, versions

NUM_FEATURES, VOCAB_SIZE = 80, 1000
FRAMES_PER_SECOND, TOKENS_PER_SECOND = 100, 4
LENGTHS = (4.0, 7.0, 10.0, 13.0, 16.0, 19.0)  # seconds of the longest utterance of each batch, as buckets have them
SIZES = {
    "11 M": ConformerConfig(dim=192, num_layers=12, num_heads=4, ff_dim=768),
    "110 M": ConformerConfig(dim=512, num_layers=18, num_heads=8, ff_dim=2048),
}
TINY = {"tiny": ConformerConfig(dim=32, num_layers=2, num_heads=2, ff_dim=64, kernel_size=7)}


def main() -> int:
    """Measure and print what came out."""
    parser = argparse.ArgumentParser(prog="tools/bench gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cpu is for trying the benchmark out, with --tiny")
    parser.add_argument("--batch-seconds", type=float, default=480.0, help="audio in a batch, padding included")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="a model of no use, in seconds")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        report = measure(arguments)
    except BenchError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured, as JSON."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise BenchError("torch sees no CUDA device; to try the benchmark out: tools/bench gpu --device cpu --tiny")
    device = torch.device(arguments.device)
    peak = matmul_flops_per_second(device, 512 if arguments.tiny else 8192)
    report: dict[str, Any] = {
        "benchmark": "gpu",
        "seed": arguments.seed,
        "rounds": arguments.rounds,
        "batch_seconds": arguments.batch_seconds,
        "batches": list(LENGTHS),
        "dtype": "bfloat16 autocast",
        "peak_flops_per_second": peak,
        "sizes": {},
    }
    for name, config in (TINY if arguments.tiny else SIZES).items():
        report["sizes"][name] = measure_size(name, config, device, peak, arguments)
    report["machine"] = machine() | {"gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None}
    report["versions"] = versions(("torch", "torchaudio"))
    return report


def matmul_flops_per_second(device: torch.device, size: int) -> float:
    """What the device reaches with a product of large bfloat16 matrices, the best of five."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = min(timed(lambda: left @ right, device) for _ in range(6))
    return 2 * size**3 / seconds


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done the work."""
    synchronize(device)
    begin = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begin


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PeerModel(nn.Module):
    """torchaudio's Conformer behind the same subsampling and before the same output layer.

    It has no positions, masks no padding before its convolutions and normalises by batch.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        from torchaudio.models import Conformer

        self.subsampling = Subsampling(SubsamplingConfig(), NUM_FEATURES, config.dim)
        self.encoder = Conformer(
            config.dim, config.num_heads, config.ff_dim, config.num_layers, config.kernel_size, config.dropout
        )
        self.output = nn.Linear(config.dim, VOCAB_SIZE)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, S, V) and their lengths (B,) on the host."""
        frames, lens = self.subsampling(batch.features, batch.feature_lens)
        encoded, _ = self.encoder(frames, lens)
        return self.output(encoded).float().log_softmax(-1), self.subsampling.output_lens(batch.readable_lens[0])


class OurModel(nn.Module):
    """The toolkit's Conformer, in the same form."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        vocabulary = Vocabulary(tuple(map(str, range(VOCAB_SIZE))), blank=0, unk=1, sos=2, eos=3)
        self.model: AsrModel = build_model(config, [CtcHeadConfig()], NUM_FEATURES, {"main": vocabulary})

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, S, V) and their lengths (B,) on the host."""
        encoded = self.model.encode(batch.features, batch.feature_lens)
        return self.model.heads["ctc"].log_probs(encoded), self.model.output_lens(batch.readable_lens[0])


@dataclass
class Side:
    """A model in training; all sides get the same batches."""

    name: str
    model: nn.Module
    batches: Sequence[Batch]
    device: torch.device

    def __post_init__(self) -> None:
        self.model.to(self.device).train()
        self.optimizer = build_optimizer(AdamWConfig(lr=1e-5), self.model)

    def forward(self) -> float:
        """Seconds of the forward passes of all batches, as in training."""
        return timed(lambda: [self.loss(batch) for batch in self.batches], self.device)

    def step(self) -> float:
        """Seconds of a step, forward, CTC loss, backward and update, for each of the batches."""

        def steps() -> None:
            for batch in self.batches:
                self.train_on(batch)

        return timed(steps, self.device)

    def train_on(self, batch: Batch) -> None:
        """One step."""
        self.optimizer.zero_grad(set_to_none=True)
        (self.loss(batch) / len(batch.ids)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()

    def host_waits(self) -> int | None:
        """How often the host waits for the GPU in one step; None on a CPU."""
        if self.device.type != "cuda":
            return None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            self.train_on(self.batches[0])
            torch.cuda.set_sync_debug_mode("default")
        return len(caught)

    def flops(self) -> int:
        """Of a step for each of the batches: products of matrices and convolutions, counted by torch."""
        with FlopCounterMode(display=False) as counter:
            self.step()
        return int(counter.get_total_flops())

    def peak_bytes(self) -> int | None:
        """Most memory that a step takes, weights and optimiser included; None on a CPU."""
        if self.device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        self.step()
        return torch.cuda.max_memory_allocated(self.device)

    def loss(self, batch: Batch) -> Tensor:
        """The summed CTC loss () of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16):
            log_probs, lens = self.model(batch)
        return ctc_loss(log_probs, lens, batch.tokens, batch.readable_lens[1], blank=0).sum()


def make_batches(
    batch_seconds: float, seed: int, device: torch.device, lengths: Sequence[float] = LENGTHS
) -> list[Batch]:
    """A batch for each of `lengths`, of random features; utterances are 80 to 100 % as long as the longest."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for seconds in lengths:
        rows = max(2, int(batch_seconds / seconds))
        longest = round(seconds * FRAMES_PER_SECOND)
        lens = torch.randint(longest * 4 // 5, longest + 1, (rows,), generator=generator)
        lens[0] = longest
        num_tokens = round(seconds * TOKENS_PER_SECOND)
        batch = Batch(
            ids=tuple(map(str, range(rows))),
            features=torch.randn(rows, longest, NUM_FEATURES, generator=generator),
            feature_lens=lens,
            tokens=torch.randint(4, VOCAB_SIZE, (rows, num_tokens), generator=generator),
            token_lens=torch.full((rows,), num_tokens * 4 // 5),
        )
        batches.append(batch.to(device))
    return batches


def measure_size(
    name: str, config: ConformerConfig, device: torch.device, peak: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    """All sides of one size, taking turns."""
    batches = make_batches(arguments.batch_seconds, arguments.seed, device)
    audio = sum(float(batch.feature_lens.sum()) for batch in batches) / FRAMES_PER_SECOND
    torch.manual_seed(arguments.seed)
    sides = [Side("asr", OurModel(config), batches, device)]
    if not arguments.no_compile:
        say(f"{name}: compiling ...")
        compiled = Side("asr compiled", OurModel(config), batches, device)
        (trial,) = make_batches(13.44, arguments.seed, device, lengths=(4.48,))  # 3 rows of 112 encoder frames
        if compile_layers(compiled.model, lambda: compiled.loss(trial), "float32", say):
            sides.append(compiled)
    if importlib.util.find_spec("torchaudio") is not None:
        sides.append(Side("torchaudio", PeerModel(config), batches, device))
    else:
        say("torchaudio is not installed here: no peer")
    say(f"{name}: {', '.join(side.name for side in sides)} ...")
    before = num_compilations()
    try:
        for side in sides:
            side.step()
        again = num_compilations() - before
        forward = alternate([side.forward for side in sides], arguments.rounds)
        step = alternate([side.step for side in sides], arguments.rounds)
        flops = sides[0].flops()
        results = {}
        for side, forwards, steps in zip(sides, forward, step, strict=True):
            seconds = median(steps)
            results[side.name] = {
                "parameters": sum(parameter.numel() for parameter in side.model.parameters()),
                "forward_audio_seconds_per_second": audio / median(forwards),
                "step_audio_seconds_per_second": audio / seconds,
                "flop_utilisation": flops / seconds / peak if side.name.startswith("asr") else None,
                "peak_bytes": side.peak_bytes(),
                "host_waits": side.host_waits(),
                "recompilations": again if side.name == "asr compiled" else None,
            }
    except torch.OutOfMemoryError as error:
        raise BenchError(f"{name}: out of memory; lower --batch-seconds") from error
    return results


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        [
            f"{size} {side}",
            f"{result['parameters'] / 1e6:.1f}",
            f"{result['forward_audio_seconds_per_second']:.0f}",
            f"{result['step_audio_seconds_per_second']:.0f}",
            _percent(result["flop_utilisation"]),
            _gigabytes(result["peak_bytes"]),
            _plain(result["host_waits"]),
            _plain(result["recompilations"]),
        ]
        for size, sides in report["sizes"].items()
        for side, result in sides.items()
    ]
    header = ["", "M", "forward", "step", "of peak", "GB", "waits", "recompiled"]
    where = report["machine"]["gpu"] or report["machine"]["cpu"]
    return (
        f"{table(header, rows)}\n"
        f"forward and step (forward, CTC, backward, update): audio seconds per second, {report['dtype']}\n"
        f"peak: {report['peak_flops_per_second'] / 1e12:.2f} TFLOP/s, measured with a product of matrices\n"
        f"{where}; {report['versions']}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.1f}"


def _plain(count: int | None) -> str:
    return "-" if count is None else str(count)


if __name__ == "__main__":
    sys.exit(main())
