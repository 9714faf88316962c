"""Every model of the catalogue that comes from the hub fits our reader, tensor by tensor, without its weights.

Names and shapes of all tensors are those of transformers' model built from the same configuration on the meta device.
expected_catalogued.json holds them, from transformers 5.24; `python -m tests.bundle.foreign.test_catalogued` writes it.
Sizes are those of the publishers' config.json.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.bundle.catalogue import CATALOGUE
from asr.bundle.foreign import read_foreign
from asr.features import build_frontend
from asr.text.tokenizer.byte_bpe import BYTE_LETTERS
from tests.bundle.foreign.hf_files import write_json

EXPECTED = Path(__file__).parent / "expected_catalogued.json"
NUM_TEXT = {51864: 50256, 51865: 50257, 51866: 50257}  # pieces of text by all pieces: English, multilingual, version 3
NUM_LANGUAGES = {51864: 99, 51865: 99, 51866: 100}
CTC_PIECES = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

Shapes = Mapping[str, tuple[int, ...]]


def _whisper(dim: int, encoder: int, decoder: int, pieces: int, bins: int = 80) -> dict[str, Any]:
    sizes = {"layers": (encoder, decoder), "attention_heads": (dim // 64,) * 2, "ffn_dim": (4 * dim,) * 2}
    both = {f"{part}_{key}": pair[at] for key, pair in sizes.items() for at, part in enumerate(("encoder", "decoder"))}
    return {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "d_model": dim,
        "num_mel_bins": bins,
        "vocab_size": pieces,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        **both,
    }


def _ctc(kind: str, architecture: str, *, large: bool) -> dict[str, Any]:
    return {
        "model_type": kind,
        "architectures": [architecture],
        "hidden_size": 1024 if large else 768,
        "num_hidden_layers": 24 if large else 12,
        "num_attention_heads": 16 if large else 12,
        "intermediate_size": 4096 if large else 3072,
        "feat_extract_norm": "layer" if large else "group",
        "conv_bias": large,
        "do_stable_layer_norm": large,
        "vocab_size": len(CTC_PIECES),
        "pad_token_id": 0,
    }


ENGLISH, MULTILINGUAL, VERSION_3 = NUM_TEXT
CONFIGS = {
    "whisper-tiny.en": _whisper(384, 4, 4, ENGLISH),
    "whisper-tiny": _whisper(384, 4, 4, MULTILINGUAL),
    "whisper-base.en": _whisper(512, 6, 6, ENGLISH),
    "whisper-base": _whisper(512, 6, 6, MULTILINGUAL),
    "whisper-small.en": _whisper(768, 12, 12, ENGLISH),
    "whisper-small": _whisper(768, 12, 12, MULTILINGUAL),
    "whisper-medium.en": _whisper(1024, 24, 24, ENGLISH),
    "whisper-medium": _whisper(1024, 24, 24, MULTILINGUAL),
    "whisper-large-v2": _whisper(1280, 32, 32, MULTILINGUAL),
    "whisper-large-v3": _whisper(1280, 32, 32, VERSION_3, bins=128),
    "whisper-large-v3-turbo": _whisper(1280, 32, 4, VERSION_3, bins=128),
    "distil-small.en": _whisper(768, 12, 4, ENGLISH),
    "distil-large-v3": _whisper(1280, 32, 2, VERSION_3, bins=128),
    "distil-large-v3.5": _whisper(1280, 32, 2, VERSION_3, bins=128),
    "wav2vec2-base-960h": _ctc("wav2vec2", "Wav2Vec2ForCTC", large=False),
    "wav2vec2-large-960h-lv60-self": _ctc("wav2vec2", "Wav2Vec2ForCTC", large=True),
    "wav2vec2-xlsr-multilingual-56": _ctc("wav2vec2", "Wav2Vec2ForCTC", large=True),  # but for its many tokens
    "hubert-large-ls960-ft": _ctc("hubert", "HubertForCTC", large=True),
}


def whisper_pieces(total: int) -> list[str]:
    """As many as Whisper has, in its order; those of text are any letters."""
    pairs = map("".join, itertools.product(BYTE_LETTERS, repeat=2))
    text = [*BYTE_LETTERS, *itertools.islice(pairs, NUM_TEXT[total] - len(BYTE_LETTERS))]
    languages = ["<|en|>", *(f"<|x{number:02d}|>" for number in range(1, NUM_LANGUAGES[total]))]
    roles = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    times = [f"<|{place / 50:.2f}|>" for place in range(1501)]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, *(f"<|{role}|>" for role in roles), *times]
    return [*text, *special]


def folded(shapes: Shapes) -> list[list[Any]]:
    """[name with `N` for the number of a layer, shape, first number, last number], the numbers None without one."""
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for name, shape in shapes.items():
        number = re.search(r"\.(\d+)\.", name)
        key = re.sub(r"\.\d+\.", ".N.", name, count=1), tuple(shape)
        found.setdefault(key, []).extend([int(number[1])] if number else [])
    rows = []
    for (name, shape), numbers in sorted(found.items()):
        assert sorted(numbers) == list(range(min(numbers), max(numbers) + 1)) if numbers else True
        rows.append([name, list(shape), min(numbers, default=None), max(numbers, default=None)])
    return rows


def unfolded(rows: list[list[Any]]) -> dict[str, tuple[int, ...]]:
    """The reverse of `folded`."""
    return {
        name.replace(".N.", f".{number}.") if first is not None else name: tuple(shape)
        for name, shape, first, last in rows
        for number in (range(first, last + 1) if first is not None else (None,))
    }


def written(name: str, folder: Path) -> Path:
    """The files of a model but for its weights."""
    config = CONFIGS[name]
    write_json(folder / "config.json", config)
    pieces = CTC_PIECES if config["model_type"] != "whisper" else whisper_pieces(config["vocab_size"])
    write_json(folder / "vocab.json", {piece: token for token, piece in enumerate(pieces)})
    return folder


def test_every_model_of_the_catalogue_from_the_hub_is_checked() -> None:
    assert set(CONFIGS) == {entry.name for entry in CATALOGUE.values() if entry.hub}
    assert set(json.loads(EXPECTED.read_text())) == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_reader_takes_every_tensor_and_makes_every_one_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = unfolded(json.loads(EXPECTED.read_text())[name])
    tensors: dict[str, Tensor] = {key: torch.empty(shape, device="meta") for key, shape in theirs.items()}
    for module in ("hf_whisper", "hf_ctc"):
        monkeypatch.setattr(f"asr.bundle.foreign.{module}.open_weights", lambda path: (path, tensors))
    model = read_foreign(written(name, tmp_path))
    with torch.device("meta"):
        bundle = Bundle.build(model.spec, build_frontend(model.spec.frontend), model.tokenizers)
    ours = {key: tuple(tensor.shape) for key, tensor in bundle.weights().items()}
    assert {key: tuple(tensor.shape) for key, tensor in model.tensors.items()} == ours
    millions = sum(tensor.numel() for tensor in model.tensors.values()) / 1e6
    assert millions == pytest.approx(CATALOGUE[name].parameters, rel=0.06)  # publishers count the positions, and round


@pytest.mark.parametrize("name", CONFIGS)
def test_names_and_shapes_are_those_of_transformers(name: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (extra `oracles`)")
    assert folded(shapes_of_transformers(name)) == json.loads(EXPECTED.read_text())[name]


def shapes_of_transformers(name: str) -> Shapes:
    """All tensors that a file of transformers' model holds: those tied to others once."""
    import transformers

    config = transformers.AutoConfig.for_model(**CONFIGS[name])
    with torch.device("meta"):
        model = getattr(transformers, CONFIGS[name]["architectures"][0])(config)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if key not in tied}


if __name__ == "__main__":
    rows = {name: folded(shapes_of_transformers(name)) for name in CONFIGS}
    lines = [
        f" {json.dumps(name)}: [\n  " + ",\n  ".join(map(json.dumps, found)) + "\n ]" for name, found in rows.items()
    ]
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
