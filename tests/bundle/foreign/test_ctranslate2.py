"""Whisper models as CTranslate2 stores them become model folders of ours."""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model, read_foreign
from asr.decoding.base import build_search
from asr.errors import BundleError
from asr.models.heads.whisper import WhisperDecoder
from asr.types import EncoderOutput
from tests.bundle.foreign.whisper_files import (
    BINS,
    HEADS,
    LAYERS,
    PIECES,
    model_bin,
    positions,
    random_variables,
    write_model,
)

TOLERANCE = {"float32": 0.0, "float16": 2e-3, "bfloat16": 2e-2, "int8": 1.5e-2, "int16": 2e-3}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Reference:
    """Whisper's network written down once more, from the variables of the file: one utterance, no masks, no caches."""

    def __init__(self, variables: dict[str, np.ndarray]) -> None:
        self.values = {name: torch.from_numpy(value).double() for name, value in variables.items()}

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.values[f"{name}/weight"].T + self.values[f"{name}/bias"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.values[f"{name}/gamma"] + self.values[f"{name}/beta"]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
        size = query.shape[-1] // HEADS
        heads = []
        for head in range(HEADS):
            own = slice(head * size, (head + 1) * size)
            scores = query[:, own] @ key[:, own].T / math.sqrt(size)
            if causal:
                scores = scores + torch.full_like(scores, -math.inf).triu(1)
            heads.append(scores.softmax(-1) @ value[:, own])
        return torch.cat(heads, dim=-1)

    def layer(self, x: Tensor, name: str, frames: Tensor | None = None) -> Tensor:
        branch = self.linear(self.norm(x, f"{name}/self_attention/layer_norm"), f"{name}/self_attention/linear_0")
        context = self.attend(*branch.chunk(3, dim=-1), causal=frames is not None)
        x = x + self.linear(context, f"{name}/self_attention/linear_1")
        if frames is not None:
            query = self.linear(self.norm(x, f"{name}/attention/layer_norm"), f"{name}/attention/linear_0")
            key, value = self.linear(frames, f"{name}/attention/linear_1").chunk(2, dim=-1)
            x = x + self.linear(self.attend(query, key, value), f"{name}/attention/linear_2")
        hidden = self.linear(self.norm(x, f"{name}/ffn/layer_norm"), f"{name}/ffn/linear_0")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return x + self.linear(hidden, f"{name}/ffn/linear_1")

    def encode(self, features: Tensor) -> Tensor:
        x = features.T[None]
        for number, stride in ((1, 1), (2, 2)):
            weight, bias = self.values[f"encoder/conv{number}/weight"], self.values[f"encoder/conv{number}/bias"]
            x = F.conv1d(x, weight, bias, stride=stride, padding=1)
            x = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        x = x[0].T
        x = x + torch.from_numpy(positions(len(x)))
        for index in range(LAYERS):
            x = self.layer(x, f"encoder/layer_{index}")
        return self.norm(x, "encoder/layer_norm")

    def logits(self, frames: Tensor, tokens: list[int]) -> Tensor:
        embedding = self.values["decoder/embeddings/weight"]
        x = embedding[tokens] + self.values["decoder/position_encodings/encodings"][: len(tokens)]
        for index in range(LAYERS):
            x = self.layer(x, f"decoder/layer_{index}", frames)
        return self.norm(x, "decoder/layer_norm") @ embedding.T


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    return random_variables()


def loaded(variables: dict[str, np.ndarray], folder: Path, kind: str = "float32") -> Bundle:
    write_model(folder / "source", variables, kind)
    import_model(folder / "source", folder / "model")
    return Bundle.load(folder / "model")


@torch.no_grad()
def test_encoder_and_decoder_are_whispers_network(variables, tmp_path):
    bundle, reference = loaded(variables, tmp_path), Reference(variables)
    bundle.model.double()
    features = torch.randn(31, BINS, dtype=torch.float64)
    encoded = bundle.model.encode(features[None], torch.tensor([31]))
    torch.testing.assert_close(encoded.frames[0], reference.encode(features), rtol=1e-9, atol=1e-9)
    head = bundle.model.heads["whisper"]
    start = head.vocabulary.start
    tokens = [7, 3, 200, 11]
    log_probs = head(encoded, torch.tensor([tokens]), torch.tensor([4]))[0]
    expected = reference.logits(encoded.frames[0], [start, *tokens])
    expected[:, start] = -math.inf  # never written
    torch.testing.assert_close(log_probs, expected.log_softmax(-1), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_greedy_search_reads_the_prompt_keeps_the_rules_and_takes_the_best_token_each_time(variables, tmp_path):
    bundle, reference = loaded(variables, tmp_path), Reference(variables)
    bundle.model.double()
    head = bundle.model.heads["whisper"]
    assert isinstance(head, WhisperDecoder)
    prompt = [head.vocabulary.id(piece) for piece in ("<|startoftranscript|>", "<|notimestamps|>")]
    assert list(head.default_prompt) == prompt[:1]
    assert list(head.build_prompt(timestamps=False)) == prompt
    features = torch.randn(2, 100, BINS, dtype=torch.float64)
    encoded = bundle.model.encode(features, torch.tensor([100, 61]))
    n_best = build_search(bundle.spec.search, bundle.model.heads).search(encoded, [tuple(prompt)] * 2)
    for row, length in enumerate(encoded.lens.tolist()):
        frames, tokens = encoded.frames[row, :length], list(prompt)
        limit = math.ceil(length * bundle.spec.search.model_dump()["max_tokens_per_frame"])
        while len(tokens) < limit + len(prompt):
            scores = reference.logits(frames, tokens)[-1]
            never = sorted((head.vocabulary.control - {head.vocabulary.eos}) | {1, 2})
            scores[never] = -math.inf
            if len(tokens) == len(prompt):
                scores[32] = -math.inf
            if (best := int(scores.argmax())) == head.vocabulary.eos:
                break
            tokens.append(best)
        assert list(n_best[row][0].tokens) == tokens[2:]


@pytest.mark.parametrize("kind", TOLERANCE)
def test_every_storage_type_is_read(variables, tmp_path, kind):
    write_model(tmp_path / "source", variables, kind)
    model = read_foreign(tmp_path / "source")
    assert model.tensors["encoder.conv1.weight"].dtype == DTYPES.get(kind, torch.float32)
    bundle = loaded(variables, tmp_path, kind)
    exact = variables["decoder/layer_1/ffn/linear_0/weight"], variables["encoder/conv2/weight"]
    own = bundle.model.heads["whisper"].layers[1].feed_forward.widen.weight, bundle.model.encoder.conv2.weight
    for expected, weight in zip(exact, own, strict=True):
        atol = TOLERANCE[kind] * float(np.abs(expected).max())
        torch.testing.assert_close(weight.detach(), torch.from_numpy(expected), rtol=TOLERANCE[kind], atol=atol)


@pytest.mark.parametrize("kind", ["float32", "int8", "int16"])
@pytest.mark.parametrize("version", range(1, 6))
def test_files_of_earlier_versions_hold_the_same_model(variables, tmp_path, version, kind):
    write_model(tmp_path / "new", variables, kind)
    write_model(tmp_path / "old", variables, kind, version=version)
    expected, found = read_foreign(tmp_path / "new"), read_foreign(tmp_path / "old")
    assert found.spec == expected.spec
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(tensor, found.tensors[name]) for name, tensor in expected.tensors.items())


@functools.cache
def small_file() -> bytes:
    """A whole file."""
    return model_bin(random_variables(), "int8")


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_cut_or_changed_file_is_read_or_refused_in_one_line(whole_folder, data):
    content = bytearray(small_file())
    place = data.draw(st.sampled_from(places_that_describe(bytes(content))), "place")
    if data.draw(st.booleans(), "cut"):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255), "bits")
    (whole_folder / "model.bin").write_bytes(content)
    complaint = complaint_about(whole_folder)
    assert complaint is None or re.fullmatch(r"[^\n]*/model\.bin: [^\n]+", complaint)


def complaint_about(folder: Path) -> str | None:
    """Why a folder is refused; None if it is read, whole."""
    try:
        read_foreign(folder).bundle()
    except BundleError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    write_model(folder, random_variables())
    return folder


@functools.cache
def places_that_describe(content: bytes) -> list[int]:
    """Where names, shapes, types and numbers stand, and a few of the values."""
    found = [*range(40), *range(len(content) - 70, len(content)), *range(0, len(content), 997)]
    for name in ("encoder/conv1/weight", "decoder/layer_1/ffn/linear_0/weight", "decoder/num_heads"):
        start = content.index(name.encode()) - 2
        found += range(start, start + len(name) + 30)
    return found


def test_the_folder_says_what_the_model_is(variables, tmp_path):
    spec = loaded(variables, tmp_path).spec
    assert (spec.frontend.name, spec.frontend.num_mel_bins) == ("whisper_log_mel", BINS)
    assert (spec.encoder.dim, spec.encoder.num_layers, spec.encoder.num_heads) == (16, LAYERS, HEADS)
    assert (spec.heads[0].max_tokens, spec.heads[0].suppress, spec.heads[0].suppress_first) == (40, (1, 2), (32,))


@pytest.mark.parametrize("name", ["encoder/conv1/bias", "decoder/layer_1/attention/linear_2/weight"])
def test_a_missing_tensor_is_named(variables, tmp_path, name):
    write_model(tmp_path, {other: value for other, value in variables.items() if other != name})
    with pytest.raises(BundleError, match=f"model.bin: tensor '{name}' is missing"):
        read_foreign(tmp_path)


def test_an_unknown_tensor_is_named(variables, tmp_path):
    write_model(tmp_path, variables | {"decoder/layer_0/adapter/weight": np.zeros((2, 2), dtype=np.float32)})
    with pytest.raises(BundleError, match=r"model.bin: tensor 'decoder/layer_0/adapter/weight' is unknown"):
        read_foreign(tmp_path)


@pytest.mark.parametrize("name", ["decoder/activation", "decoder/scale_embeddings"])
def test_another_network_is_refused_also_where_the_file_leaves_it_out(variables, tmp_path, name):
    write_model(tmp_path, variables)
    content = (tmp_path / "model.bin").read_bytes()
    place = content.index(name.encode()) + len(name) + 1 + 1 + 1 + 4  # rank, type, number of bytes
    (tmp_path / "model.bin").write_bytes(content[:place] + b"\x07" + content[place + 1 :])
    with pytest.raises(BundleError, match=rf"model\.bin: {name} is not "):
        read_foreign(tmp_path)
    (tmp_path / "model.bin").write_bytes(content.replace(name.encode(), name.upper().encode()))
    with pytest.raises(BundleError, match=rf"model\.bin: {name} is not "):
        read_foreign(tmp_path)


def test_learned_encoder_positions_are_refused(variables, tmp_path):
    changed = variables["encoder/position_encodings/encodings"] + 0.1
    write_model(tmp_path, variables | {"encoder/position_encodings/encodings": changed})
    with pytest.raises(BundleError, match="holds other positions than Whisper's"):
        read_foreign(tmp_path)


def test_damaged_and_foreign_files_are_refused_by_name(variables, tmp_path):
    write_model(tmp_path, variables)
    content = (tmp_path / "model.bin").read_bytes()
    for damaged in (b"", content[: len(content) // 2], content + b"x", b"\x63" + content[1:], b"PK\x03\x04" * 9):
        (tmp_path / "model.bin").write_bytes(damaged)
        with pytest.raises(BundleError, match=r"model\.bin: "):
            read_foreign(tmp_path)
    (tmp_path / "model.bin").write_bytes(content)
    (tmp_path / "vocabulary.txt").write_text("a\nb\n")
    with pytest.raises(BundleError, match=r"vocabulary\.txt: no vocabulary of Whisper"):
        read_foreign(tmp_path)
    (tmp_path / "vocabulary.txt").unlink()
    with pytest.raises(BundleError, match=r"vocabulary\.json: missing"):
        read_foreign(tmp_path)
    (tmp_path / "vocabulary.json").write_text(json.dumps(PIECES))
    assert read_foreign(tmp_path).tokenizer.vocabulary.pieces == PIECES


def test_a_folder_of_no_known_layout_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"holds no model of a known layout; known: CTranslate2 \(Whisper\)"):
        read_foreign(tmp_path)
    with pytest.raises(BundleError, match="no such folder"):
        read_foreign(tmp_path / "nothing")


@torch.no_grad()
def test_a_text_never_grows_beyond_the_decoders_positions(variables, tmp_path):
    bundle = loaded(variables, tmp_path)
    config = bundle.spec.search.model_validate({"name": "attention_greedy", "max_tokens_per_frame": 9.0})
    frames = torch.randn(3, 30, 16)
    for hypotheses in build_search(config, bundle.model.heads).search(EncoderOutput(frames, torch.tensor([30, 9, 1]))):
        assert len(hypotheses[0].tokens) <= 40 - 2
