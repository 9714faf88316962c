"""Compiled layers give the same numbers under the same names, for all shapes, or else a warning and nothing changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asr.bundle.bundle import Bundle
from asr.experiments import launch
from asr.experiments.loss import batch_loss
from asr.losses.weights import LossConfig
from asr.models.asr_model import AsrModel
from asr.models.encoders.conformer import ConformerConfig
from asr.models.encoders.rnn import RnnConfig
from asr.training.compile import compile_layers, num_compilations, uncompiled
from asr.types import Batch
from tests.tiny_models import tiny_model

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="torch.compile needs a C++ compiler on CPU"
)


@pytest.fixture(autouse=True)
def forgets() -> Iterator[None]:
    """What one test compiles is not there for the next."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compile_with(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aot_eager` does all that torch.compile does but make machine code, which takes a minute."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compile_module(self, backend=backend, **options))


def model_of(config: ConformerConfig | RnnConfig) -> AsrModel:
    torch.manual_seed(1)
    return tiny_model("ctc", num_features=20, vocab_size=9, encoder=config).train()


def batch_of(rows: int, frames: int) -> Batch:
    generator = torch.Generator().manual_seed(rows)
    lens = torch.full((rows,), frames)
    lens[0] -= 7
    features = torch.randn(rows, frames, 20, generator=generator)
    return Batch(tuple(map(str, range(rows))), features, lens, torch.full((rows, 3), 5), torch.full((rows,), 2))


def loss_of(model: AsrModel, batch: Batch) -> Tensor:
    return batch_loss(model, batch, LossConfig()).total


def gradients(model: AsrModel, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad(set_to_none=True)
    total = loss_of(model, batch)
    total.backward()
    return total.detach(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


SMALL = ConformerConfig.tiny().model_copy(update={"dropout": 0.0, "num_layers": 1})


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, needs_compiler])])
def test_compiled_layers_give_the_numbers_of_the_model_as_written_and_are_compiled_once_for_all_shapes(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_with(backend, monkeypatch)
    plain, compiled = model_of(SMALL), model_of(SMALL)
    said: list[str] = []
    assert compile_layers(compiled, lambda: loss_of(compiled, batch_of(3, 448)), "float32", said.append)
    assert said[0].startswith("compiled 1 layer as ")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    before = num_compilations()
    for shape in ((2, 64), (3, 96), (5, 160), (4, 320)):
        batch = batch_of(*shape)
        (loss, grads), (wanted, wanted_grads) = gradients(compiled, batch), gradients(plain, batch)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(grads, wanted_grads, rtol=1e-3, atol=1e-4)
    assert num_compilations() == before
    with uncompiled(compiled), torch.inference_mode():
        loss_of(compiled.eval(), batch_of(1, 64))
    assert num_compilations() == before


def test_a_compiled_run_is_logged_and_can_be_resumed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with("aot_eager", monkeypatch)
    settings = (
        "training.compile=true", "data.max_batch_seconds=4", "optimizer.lr=0.001", "training.epochs=1",
        "encoder.num_layers=1", "heads=[{name: ctc}]", "loss.weights={ctc: 1.0}",
    )  # fmt: skip
    launch.train(Path("experiment.yaml"), Path("exp"), overrides=settings, device="cpu")
    lines = Path("exp/training/train.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [record for record in map(json.loads, lines) if record["kind"] == "epoch"]
    assert [record["compilations"] > 0 for record in epochs] == [True]
    assert not any("_orig_mod" in name for name in Bundle.load("exp").model.state_dict())
    launch.train(Path("experiment.yaml"), Path("exp"), overrides=settings, resume=True, device="cpu")


def test_where_torch_cannot_compile_there_is_one_warning_and_the_model_as_it_was() -> None:
    def broken() -> Tensor:
        raise RuntimeError("\nno compiler here\nand a long story")

    said: list[str] = []
    plain, model = model_of(SMALL), model_of(SMALL)
    assert not compile_layers(model, broken, "float32", said.append)
    assert len(said) == 1
    assert "no compiler here" in said[0]
    assert "long story" not in said[0]
    batch = batch_of(2, 64)
    assert torch.equal(gradients(model, batch)[0], gradients(plain, batch)[0])


def test_recurrent_layers_are_left_alone_with_a_warning() -> None:
    said: list[str] = []
    model = model_of(RnnConfig.tiny())
    assert not compile_layers(model, lambda: pytest.fail("tried"), "float32", said.append)
    assert "no layers" in said[0]
    assert all(module._compiled_call_impl is None for module in model.modules() if isinstance(module, nn.Module))
