"""Models that CTranslate2 itself writes, in every type that it stores: read by our own reader, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr.bundle.foreign import read_foreign
from tests.bundle.foreign.whisper_files import BINS, HEADS, LAYERS, PIECES, random_variables, write_model

ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed (extra `oracles`)")
PROMPT = ["<|startoftranscript|>", "<|notimestamps|>"]
KINDS = ("float32", "float16", "bfloat16", "int8", "int16", "int8_float16", "int8_bfloat16")


def written_by_ctranslate2(folder: Path, kind: str) -> Path:
    """A small random model, converted and saved by CTranslate2's own code."""
    from ctranslate2.specs import WhisperSpec

    spec = WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    variables = random_variables()
    variables["decoder/projection/weight"] = variables["decoder/embeddings/weight"].copy()
    for name, value in variables.items():
        *parents, last = name.split("/")
        place: Any = spec
        for parent in parents:
            base, _, number = parent.rpartition("_")  # members of lists are numbered
            place = getattr(place, parent) if hasattr(place, parent) else getattr(place, base)[int(number)]
        setattr(place, last, value)
    spec.register_vocabulary(list(PIECES))
    spec.validate()
    spec.optimize(quantization=kind)
    folder.mkdir()
    spec.save(str(folder))
    return folder


@torch.no_grad()
def compare(folder: Path) -> None:
    """Encoder, decoder and greedy texts of the engine in float32, and of the model that we read."""
    engine = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32")
    features = np.random.default_rng(0).normal(size=(2, BINS, 60)).astype(np.float32)
    view = ctranslate2.StorageView.from_array(features)
    options = {"beam_size": 1, "suppress_tokens": [], "suppress_blank": False, "max_length": 20}
    results = engine.generate(view, [PROMPT] * 2, return_logits_vocab=True, **options)
    bundle = read_foreign(folder).bundle()
    head = bundle.model.heads["whisper"]
    encoded = bundle.model.encode(torch.from_numpy(features).transpose(1, 2), torch.tensor([60, 60]))
    frames = torch.from_numpy(np.array(engine.encode(view)))
    torch.testing.assert_close(encoded.frames, frames, rtol=1e-5, atol=1e-5)
    for row, result in enumerate(results):
        logits = torch.from_numpy(np.stack([np.array(step).reshape(-1) for step in result.logits[0]]))
        logits[:, head.vocabulary.start] = -torch.inf  # our own never write it
        texts = torch.tensor([[head.vocabulary.id(PROMPT[1]), *result.sequences_ids[0]]] * 2)
        log_probs = head(encoded, texts, torch.full((2,), texts.shape[1]))[row, 1 : len(logits) + 1]
        torch.testing.assert_close(log_probs, logits.log_softmax(-1), rtol=1e-5, atol=1e-5)
        assert len(logits) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_frames_and_log_probabilities_are_those_of_ctranslate2(kind: str, tmp_path: Path) -> None:
    compare(written_by_ctranslate2(tmp_path / "model", kind))


@pytest.mark.parametrize("version", [2, 3, 4, 5, 6])
def test_files_of_earlier_versions_are_read_as_ctranslate2_reads_them(version: int, tmp_path: Path) -> None:
    write_model(tmp_path, random_variables(), version=version)
    compare(tmp_path)
