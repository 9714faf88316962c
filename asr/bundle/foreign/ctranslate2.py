"""Whisper models as CTranslate2 stores them, for faster-whisper: model.bin, config.json and a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.bundle.foreign.base import ForeignFormat, ForeignModel, register
from asr.bundle.foreign.ctranslate2_file import Variables
from asr.bundle.foreign.files import CONFIG, read_json, read_settings
from asr.bundle.foreign.origin import Origin
from asr.bundle.foreign.tensor_map import TensorMap
from asr.bundle.foreign.whisper import (
    HEAD,
    WhisperRules,
    has_whisper_positions,
    read_alignment,
    rounding_of,
    whisper_spec,
    whisper_tokenizer,
)
from asr.errors import BundleError
from asr.text.tokenizer.byte_bpe import ByteBpeTokenizer
from asr.types import MAIN_TOKENIZER

MODEL_FILE = "model.bin"
VOCABULARY_FILES = ("vocabulary.json", "vocabulary.txt")
SPEC = "WhisperSpec"
POSITIONS = "encoder/position_encodings/encodings"
ERF_GELU = 3
# what single numbers say of the network, beside sizes, and what CTranslate2 takes for those that are left out; any
# other value is another network than ours
NETWORK = {"pre_norm": (1, 1), "activation": (ERF_GELU, 0), "scale_embeddings": (0, 1), "alibi": (0, 0)}
HEADS_TABLE = "decoder/alignment_heads"  # whole numbers without a scale; config.json has them, too


@register
class CTranslate2Whisper(ForeignFormat):
    """A folder with model.bin, config.json and vocabulary.json or vocabulary.txt."""

    name = "CTranslate2 (Whisper)"

    def fits(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return (path / MODEL_FILE).is_file()

    def read(self, path: Path) -> ForeignModel:
        """See `ForeignFormat`."""
        source = path / MODEL_FILE
        variables = Variables(source, SPEC)
        numbers = variables.numbers()
        for name, (value, default) in NETWORK.items():
            if numbers.get(f"decoder/{name}", default) != value:
                raise BundleError(f"{source}: decoder/{name} is not {value}; this variant is not supported")
        settings = read_settings(path / CONFIG)
        tokenizer = _read_tokenizer(path)
        found = TensorMap(source, variables.tables(leave_out={HEADS_TABLE}))
        own = _map_names(found)
        heads = int(numbers.get("encoder/num_heads", 0)), int(numbers.get("decoder/num_heads", 0))
        pieces = tokenizer.vocabulary.pieces
        rules = replace(_rules(path / CONFIG, settings, tokenizer), positions=rounding_of(found.value(POSITIONS)))
        spec = whisper_spec(source, own, heads, rules, pieces)
        return ForeignModel(source, Origin.of(path, self.name), spec, {MAIN_TOKENIZER: tokenizer}, own)


def _rules(file: Path, settings: Mapping[str, Any], tokenizer: ByteBpeTokenizer) -> WhisperRules:
    lists = {}
    for name in ("suppress_ids", "suppress_ids_begin"):
        ids = settings.get(name) or ()
        if not isinstance(ids, list | tuple) or not all(isinstance(token, int) for token in ids):
            raise BundleError(f"{file}: {name} is no list of token ids; copy the file again")
        lists[name] = tuple(ids)
    eos = tokenizer.vocabulary.eos
    suppress = tuple(token for token in lists["suppress_ids"] if token != eos)
    return WhisperRules(suppress, lists["suppress_ids_begin"], read_alignment(file, settings))


def _map_names(found: TensorMap) -> Mapping[str, Tensor]:
    """Our tensors from those of the file; BundleError for one that is missing or unknown."""
    found.require(POSITIONS, has_whisper_positions, "holds other positions than Whisper's")
    for conv in ("conv1", "conv2"):
        found.take(f"encoder.{conv}.weight", f"encoder/{conv}/weight", change=_kernels)
        found.take(f"encoder.{conv}.bias", f"encoder/{conv}/bias")
    for index in range(found.num_layers("encoder/layer_")):
        here, there = f"encoder.layers.{index}", f"encoder/layer_{index}"
        _block(found, f"{here}.attention", f"{there}/self_attention", "query_key_value", "out")
        _block(found, f"{here}.feed_forward", f"{there}/ffn", "widen", "narrow")
    _norm(found, "encoder.norm", "encoder/layer_norm")
    found.take(f"{HEAD}.embedding.weight", "decoder/embeddings/weight")
    found.take(f"{HEAD}.positions", "decoder/position_encodings/encodings")
    for index in range(found.num_layers("decoder/layer_")):
        here, there = f"{HEAD}.layers.{index}", f"decoder/layer_{index}"
        _block(found, f"{here}.attention", f"{there}/self_attention", "query_key_value", "out")
        _block(found, f"{here}.cross_attention", f"{there}/attention", "query", "key_value", "out")
        _block(found, f"{here}.feed_forward", f"{there}/ffn", "widen", "narrow")
    _norm(found, f"{HEAD}.norm", "decoder/layer_norm")
    embedding = found.value("decoder/embeddings/weight")
    found.require("decoder/projection/weight", lambda output: torch.equal(output, embedding), "is not the embedding")
    return found.finish()


def _block(found: TensorMap, own: str, name: str, *linear: str) -> None:
    """A branch of a layer: its norm, and linear layers that the file numbers."""
    _norm(found, f"{own}.norm", f"{name}/layer_norm")
    for number, ours in enumerate(linear):
        for part in ("weight", "bias"):
            found.take(f"{own}.{ours}.{part}", f"{name}/linear_{number}/{part}")


def _norm(found: TensorMap, own: str, name: str) -> None:
    found.take(f"{own}.weight", f"{name}/gamma")
    found.take(f"{own}.bias", f"{name}/beta")


def _kernels(weight: Tensor) -> Tensor:
    """Whole numbers are stored with channels and kernel as one."""
    return weight if weight.dim() == 3 else weight.reshape(len(weight), -1, 3)


def _read_tokenizer(path: Path) -> ByteBpeTokenizer:
    if (file := find_vocabulary(path)) is None:
        raise BundleError(f"{path / VOCABULARY_FILES[0]}: missing; the tokens are in it, copy the whole folder again")
    return whisper_tokenizer(read_vocabulary(file), file)


def find_vocabulary(folder: Path) -> Path | None:
    """The file in a folder that lists its tokens."""
    return next((folder / name for name in VOCABULARY_FILES if (folder / name).is_file()), None)


def read_vocabulary(file: Path) -> list[str]:
    """The tokens of such a file in the order of their ids."""
    pieces = read_json(file) if file.suffix == ".json" else _read_lines(file)
    if not isinstance(pieces, list):
        raise BundleError(f"{file}: expected a list of tokens; copy the file again")
    return [str(piece) for piece in pieces]


def _read_lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror}); copy the whole folder again") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{file}: not UTF-8 text; copy the file again") from error
    return lines[:-1] if lines[-1] == "" else lines
