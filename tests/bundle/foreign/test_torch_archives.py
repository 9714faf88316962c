"""Models that exist as torch archives alone: read where a person asks for that, and refused if they hold a program."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.bundle.foreign import import_model, read_foreign
from asr.bundle.foreign.openai_whisper import openai_name
from asr.bundle.foreign.whisper_tables import LANGUAGES
from asr.errors import BundleError
from asr.text.tokenizer.byte_bpe import BYTE_LETTERS
from tests.bundle.foreign.hf_files import (
    DIM,
    FRAMES,
    HEADS,
    LAYERS,
    POSITIONS,
    pieces_of,
    whisper_tensors,
    write_json,
    write_tokens,
    write_whisper,
)

# openai/whisper's names, of the last layer and of what stands outside of layers
NAMES = {
    "model.encoder.conv1.weight": "encoder.conv1.weight",
    "model.encoder.embed_positions.weight": "encoder.positional_embedding",
    "model.encoder.layers.1.self_attn.q_proj.weight": "encoder.blocks.1.attn.query.weight",
    "model.encoder.layers.1.self_attn.k_proj.weight": "encoder.blocks.1.attn.key.weight",
    "model.encoder.layers.1.self_attn.out_proj.bias": "encoder.blocks.1.attn.out.bias",
    "model.encoder.layers.1.self_attn_layer_norm.weight": "encoder.blocks.1.attn_ln.weight",
    "model.encoder.layers.1.fc1.weight": "encoder.blocks.1.mlp.0.weight",
    "model.encoder.layers.1.fc2.bias": "encoder.blocks.1.mlp.2.bias",
    "model.encoder.layers.1.final_layer_norm.bias": "encoder.blocks.1.mlp_ln.bias",
    "model.encoder.layer_norm.weight": "encoder.ln_post.weight",
    "model.decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "model.decoder.embed_positions.weight": "decoder.positional_embedding",
    "model.decoder.layers.1.encoder_attn.v_proj.bias": "decoder.blocks.1.cross_attn.value.bias",
    "model.decoder.layers.1.encoder_attn_layer_norm.bias": "decoder.blocks.1.cross_attn_ln.bias",
    "model.decoder.layer_norm.bias": "decoder.ln.bias",
}
NUM_MULTILINGUAL = 50257 + 2 + 99 + 6 + 1501
DIMS = {
    "n_mels": 80,
    "n_audio_ctx": FRAMES,
    "n_audio_state": DIM,
    "n_audio_head": HEADS,
    "n_audio_layer": LAYERS,
    "n_text_ctx": POSITIONS,
    "n_text_state": DIM,
    "n_text_head": HEADS,
    "n_text_layer": LAYERS,
}


def checkpoint(num_tokens: int) -> dict[str, Any]:
    """What a .pt of a small model holds."""
    tensors = whisper_tensors(80, num_tokens)
    state = {openai_name(name): torch.from_numpy(value) for name, value in tensors.items()}
    return {"dims": {**DIMS, "n_vocab": num_tokens}, "model_state_dict": state}


def write_ranks(file: Path, num_pieces: int) -> list[str]:
    """A file of tokens in the form of tiktoken; the tokens in letters of bytes."""
    letters = [*BYTE_LETTERS, *(f"{a}{b}" for a in BYTE_LETTERS for b in BYTE_LETTERS)][: num_pieces - 1]
    byte_of = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}
    lines = [base64.b64encode(bytes(byte_of[letter] for letter in piece)).decode() for piece in letters]
    file.write_text("".join(f"{line} {rank}\n" for rank, line in enumerate([*lines, "="])), encoding="ascii")
    return [*letters, ""]


def test_the_names_are_openais() -> None:
    assert {name: openai_name(name) for name in NAMES} == NAMES
    assert openai_name("model.encoder.layers.") == "encoder.blocks."


def test_a_checkpoint_of_openai_is_the_model_that_the_hub_has(tmp_path: Path) -> None:
    hub, file = tmp_path / "hub", tmp_path / "openai" / "tiny.pt"
    pieces = write_whisper(hub, multilingual=True)
    file.parent.mkdir()
    torch.save(checkpoint(len(pieces)), file)
    write_json(file.parent / "vocabulary.json", list(pieces))  # type: ignore[arg-type]
    expected, found = read_foreign(hub), read_foreign(file, archives=True)
    assert expected.tensors.keys() == found.tensors.keys()
    assert all(torch.equal(tensor, found.tensors[name]) for name, tensor in expected.tensors.items())
    assert found.spec.encoder == expected.spec.encoder
    assert found.spec.frontend == expected.spec.frontend
    assert read_foreign(file.parent, archives=True).spec == found.spec
    import_model(file, tmp_path / "model", archives=True)
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_tokens_come_from_the_ranks_of_the_package(tmp_path: Path) -> None:
    torch.save(checkpoint(NUM_MULTILINGUAL), tmp_path / "base.pt")
    with pytest.raises(BundleError, match=r"base\.pt: comes without its tokens; put multilingual\.tiktoken beside it"):
        read_foreign(tmp_path / "base.pt", archives=True)
    text = write_ranks(tmp_path / "multilingual.tiktoken", 50257)
    model = read_foreign(tmp_path / "base.pt", archives=True)
    vocabulary, head = model.tokenizer.vocabulary, model.spec.heads[0]
    assert list(vocabulary.pieces[:50257]) == text
    assert vocabulary.pieces[50257:50260] == ("<|endoftext|>", "<|startoftranscript|>", "<|en|>")
    assert (len(vocabulary), vocabulary.id("<|su|>"), vocabulary.id("<|translate|>")) == (51865, 50357, 50358)
    assert [vocabulary.id(piece) for piece in ("<|notimestamps|>", "<|0.00|>", "<|30.00|>")] == [50363, 50364, 51864]
    assert (head.language, len(head.suppress), head.suppress_first) == ("en", 88, (220, 50257))
    assert head.suppress[-6:] == (50258, 50358, 50359, 50360, 50361, 50362)


def test_models_of_english_and_of_version_3_have_their_own_tokens(tmp_path: Path) -> None:
    for folder, num_tokens, num_pieces, ranks in (("en", 51864, 50256, "gpt2"), ("v3", 51866, 50257, "multilingual")):
        file = tmp_path / folder / "model.pt"
        file.parent.mkdir()
        torch.save(checkpoint(num_tokens), file)
        write_ranks(file.parent / f"{ranks}.tiktoken", num_pieces)
        model = read_foreign(file, archives=True)
        assert len(model.tokenizer.vocabulary) == num_tokens
        assert (model.spec.heads[0].language is None) == (folder == "en")
    assert model.tokenizer.vocabulary.id("<|yue|>") == 50258 + len(LANGUAGES)


def test_a_missing_tensor_has_openais_name_and_other_content_is_refused(tmp_path: Path) -> None:
    pieces = pieces_of(multilingual=True)
    content = checkpoint(len(pieces))
    write_tokens(tmp_path, pieces)
    del content["model_state_dict"]["encoder.blocks.0.mlp.0.bias"]
    changes: list[tuple[dict[str, Any], str]] = [
        ({}, "a.pt: tensor 'encoder.blocks.0.mlp.0.bias' is missing"),
        ({"dims": {}}, "a.pt: `dims` has no number n_mels"),
        ({"dims": {**content["dims"], "n_audio_head": "2"}}, "a.pt: `dims` has no number n_audio_head"),
        ({"model_state_dict": None}, "a.pt: holds no tensors by name"),
    ]
    for change, line in changes:
        torch.save({**content, **change}, tmp_path / "a.pt")
        with pytest.raises(BundleError, match=line):
            read_foreign(tmp_path / "a.pt", archives=True)
    torch.save({"weights": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(BundleError, match="no checkpoint of OpenAI's Whisper, which has `dims` and `model_state_dict`"):
        read_foreign(tmp_path / "a.pt", archives=True)


class Program:
    """Runs when it is unpickled, if the loader runs anything."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def test_an_archive_with_anything_but_tensors_is_refused_in_one_line_and_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    folder = tmp_path / "hub"
    write_whisper(folder)
    (folder / "model.safetensors").unlink()
    for file in (folder / "pytorch_model.bin", tmp_path / "a.pt"):
        torch.save({"dims": DIMS, "model_state_dict": {}, "extra": Program(proof)}, file)
        with pytest.raises(BundleError) as caught:
            read_foreign(folder if file.suffix == ".bin" else file, archives=True)
        assert str(caught.value).startswith(f"{file}: damaged, or holds more than tensors; it could run programs")
        assert "\n" not in str(caught.value)
    assert not proof.exists()


def test_archives_are_read_by_an_explicit_import_alone(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    pieces = write_whisper(folder)
    tensors = {name: torch.from_numpy(value) for name, value in whisper_tensors(80, len(pieces)).items()}
    expected = read_foreign(folder).bundle().weights()
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    found = read_foreign(folder, archives=True).bundle().weights()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    with pytest.raises(BundleError, match=f"its weights are a torch archive; `asr models import {folder}` reads"):
        read_foreign(folder)
    with pytest.raises(BundleError, match="its weights are a torch archive"):
        import_model(folder, tmp_path / "model")
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert read_foreign(folder, archives=True).num_parameters > 0
    torch.save({**tensors, "step": 3}, folder / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"pytorch_model\.bin: 'step' is no tensor"):
        read_foreign(folder, archives=True)
    content = (folder / "pytorch_model.bin").read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"PK\x03\x04" + content[4:500]):
        (folder / "pytorch_model.bin").write_bytes(damaged)
        with pytest.raises(BundleError, match=r"pytorch_model\.bin: damaged"):
            read_foreign(folder, archives=True)
