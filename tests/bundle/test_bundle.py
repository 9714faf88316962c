"""A model folder is complete in itself, survives being moved, and says which part of it is broken."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.lm import LmBundle, load_lm
from asr.bundle.tensors import load_tensors, save_tensors
from asr.bundle.training_texts import TrainingTexts
from asr.config import LmExperiment, TextConfig
from asr.errors import AsrError, BundleError
from asr.lm.neural.lstm import LstmLmConfig
from asr.text.tokenizer import CharConfig, Tokenizer, train_tokenizer


def test_a_moved_folder_without_its_training_part_gives_the_same_output(workspace: Path, tmp_path: Path) -> None:
    features, lens = torch.randn(2, 90, 80), torch.tensor([90, 71])
    here = Bundle.load("model")
    with torch.inference_mode():
        expected = here.model.heads["ctc"].log_probs(here.model.encode(features, lens))
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.move(workspace / "model", moved)
    shutil.rmtree(moved / "training")
    there = Bundle.load(moved)
    with torch.inference_mode():
        assert torch.equal(there.model.heads["ctc"].log_probs(there.model.encode(features, lens)), expected)
    assert there.spec == here.spec


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.model"])
def test_a_missing_file_is_named(name: str, workspace: Path) -> None:
    Path("model", name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load("model")


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.model"])
def test_a_truncated_file_is_named(name: str, workspace: Path) -> None:
    path = Path("model", name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AsrError, match=name):
        Bundle.load("model")


def test_a_pickle_offered_as_weights_is_refused_and_not_loaded(workspace: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path("exploded"),)

    Path("model/model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BundleError, match="pickled checkpoints are never loaded"):
        Bundle.load("model")
    assert not Path("exploded").exists()


def test_weights_of_another_model_are_refused_by_tensor_name(workspace: Path) -> None:
    path = Path("model/model.safetensors")
    tensors = load_tensors(path)
    tensors["stranger"] = torch.zeros(1)
    save_tensors(path, tensors)
    with pytest.raises(BundleError, match="tensor 'stranger' is unknown"):
        Bundle.load("model")
    del tensors["stranger"]
    name = sorted(tensors)[0]
    save_tensors(path, tensors | {name: torch.zeros(1, 2, 3, 4, 5)})
    with pytest.raises(BundleError, match=f"tensor '{name}' has shape"):
        Bundle.load("model")


def test_bfloat16_weights_load_as_float32(workspace: Path) -> None:
    path = Path("model/model.safetensors")
    save_tensors(path, {name: tensor.bfloat16() if tensor.is_floating_point() else tensor
                        for name, tensor in load_tensors(path).items()})  # fmt: skip
    assert {parameter.dtype for parameter in Bundle.load("model").model.parameters()} == {torch.float32}


def test_seen_texts_and_speakers_are_told_from_unseen_ones_after_saving(tmp_path: Path) -> None:
    TrainingTexts.collect(["one two", "three"], ["anna"]).save(tmp_path)
    texts = TrainingTexts.load(tmp_path)
    assert texts is not None
    assert texts.has_text("three")
    assert texts.has_speaker("anna")
    assert not texts.has_text("anna")
    assert not texts.has_speaker("three")
    assert np.all(np.diff(texts.hashes.astype(object)) > 0)


def save_lm(folder: Path, tokenizer: Tokenizer, *, tied: bool = True) -> LmBundle:
    """A language model with random weights in a folder."""
    config = LmExperiment.model_validate(
        {
            "model": "exp/model",
            "data": {"train": ["a.txt"], "dev": ["b.txt"]},
            "language_model": LstmLmConfig.tiny().model_copy(update={"tie_embeddings": tied}).model_dump(),
            "text": TextConfig(normalize="none", tokenizer=CharConfig()).model_dump(),
        }
    )
    bundle = LmBundle.build(config, tokenizer)
    bundle.save(folder)
    return bundle


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_comes_back_from_its_folder_and_scores_the_same(tied: bool, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CharConfig(), ["one two"])
    bundle = save_lm(tmp_path, tokenizer, tied=tied)
    scorer = load_lm(tmp_path, tokenizer, unk_score=-10.0)
    tokens = torch.tensor([tokenizer.encode("two")])
    with torch.inference_mode():
        expected = bundle.model.eval()(tokens, torch.tensor([3]))
    state = scorer.init_state(1, torch.device("cpu"))
    for position, last in enumerate([2, *tokens[0].tolist()]):
        scores, state = scorer.step(torch.tensor([last]), state)
        torch.testing.assert_close(scores, expected[:, position])


def test_a_language_model_with_other_tokens_is_refused_with_both_sizes(tmp_path: Path) -> None:
    save_lm(tmp_path, train_tokenizer(CharConfig(), ["one two"]))
    with pytest.raises(BundleError, match="made for the 10 tokens of exp/model, but this model has 8, token 4 is"):
        load_lm(tmp_path, train_tokenizer(CharConfig(), ["three"]), unk_score=-10.0)


@pytest.mark.parametrize(("name", "complaint"), [("missing", "no such language model"), ("notes.txt", "notes.txt")])
def test_what_is_no_language_model_is_refused(name: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AsrError, match=complaint):
        load_lm(tmp_path / name, train_tokenizer(CharConfig(), ["one"]), unk_score=-10.0)


def test_an_acoustic_model_is_no_language_model(workspace: Path) -> None:
    with pytest.raises(BundleError, match="model: an acoustic model, no language model"):
        load_lm("model", Bundle.load("model").tokenizer, unk_score=-10.0)
