"""Weights stored as whole numbers: found where they were, and the same again when they are read."""

from __future__ import annotations

from pathlib import Path

import torch

from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model
from asr.bundle.tensors import load_tensors
from asr.bundle.whole_numbers import WholeTensors, holds_whole_numbers, widened
from asr.nn.low_precision import Int8Embedding, computes_int8
from tests.bundle.foreign.whisper_files import random_variables, write_model


def test_only_rows_of_whole_numbers_are_stored_as_such_and_are_what_they_were() -> None:
    draw = torch.Generator().manual_seed(0)
    whole = torch.randint(-127, 128, (9, 2, 30), dtype=torch.int8, generator=draw)
    whole[:, 0, 0] = 127
    made = whole.float() / (torch.rand(9, generator=draw) * 900 + 1)[:, None, None]
    tensors = {"a.weight": made, "b.weight": torch.randn(9, 30, generator=draw), "a.bias": torch.ones(9)}
    stored = dict(WholeTensors(tensors))
    assert stored.keys() == {"a.weight", "a.weight_scale", "b.weight", "a.bias"}
    assert torch.equal(stored["a.weight"], whole)
    again = widened(stored)
    assert again.keys() == tensors.keys()
    torch.testing.assert_close(again["a.weight"], made, rtol=1e-6, atol=0)
    assert torch.equal(again["b.weight"], tensors["b.weight"])


def test_a_model_published_in_int8_is_stored_and_runs_in_the_numbers_of_its_file(tmp_path: Path) -> None:
    write_model(tmp_path / "source", random_variables(), "int8")
    import_model(tmp_path / "source", tmp_path / "model")
    stored = load_tensors(tmp_path / "model" / "model.safetensors")
    name = "heads.whisper.embedding.weight"
    assert stored[name].dtype == torch.int8
    assert holds_whole_numbers(tmp_path / "model" / "model.safetensors")
    exact = Bundle.load(tmp_path / "model").model.heads["whisper"].embedding.weight
    torch.testing.assert_close(exact, stored[name].float() * stored[f"{name}_scale"][:, None])
    if computes_int8():
        lowered = Bundle.load(tmp_path / "model", dtype="int8").model.heads["whisper"].embedding
        assert isinstance(lowered, Int8Embedding)
        assert torch.equal(lowered.whole, stored[name])
