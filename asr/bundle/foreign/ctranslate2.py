"""Whisper models as CTranslate2 stores them: model.bin, config.json and a vocabulary.

model.bin is little endian: version, then, since version 2, the name and the revision of what is stored; the variables
(name, shape, type, values); since version 3, further names of them. Rows of whole numbers have a scale each:
a value is number / scale.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.bundle.foreign.base import ForeignFormat, ForeignModel, refuse_leftovers
from asr.config import ModelSpec
from asr.decoding.attention_greedy import AttentionGreedyConfig
from asr.errors import BundleError, TextError
from asr.features.whisper_log_mel import WhisperLogMelConfig
from asr.models.encoders.whisper import WhisperEncoderConfig, encoder_positions
from asr.models.heads.alignment_heads import alignment_heads
from asr.models.heads.whisper import WhisperHeadConfig
from asr.text.tokenizer.byte_bpe import ByteBpeConfig, ByteBpeTokenizer, whisper_vocabulary

MODEL_FILE = "model.bin"
SETTINGS_FILE = "config.json"
VOCABULARY_FILES = ("vocabulary.json", "vocabulary.txt")
DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
OLD_DTYPES = {1: torch.int8, 2: torch.int16, 4: torch.float32}  # by size, before version 4
NEWEST_VERSION = 6
SCALE = "_scale"
ERF_GELU = 3
SMALLEST_MULTILINGUAL = 51865  # pieces; the models of English alone have one fewer
TOKENS_A_FRAME = 0.16  # 8 a second; people do not speak faster, loops would
POSITIONS_OFF = 1e-2  # by storage in 16 bits; learned ones are far off


class CTranslate2Whisper(ForeignFormat):
    """A folder with model.bin, config.json and vocabulary.json or vocabulary.txt."""

    name = "CTranslate2 (Whisper)"

    def fits(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return (path / MODEL_FILE).is_file()

    def read(self, path: Path) -> ForeignModel:
        """See `ForeignFormat`."""
        source = path / MODEL_FILE
        content = _Variables.read(source)
        tensors, numbers = content.floating(), content.numbers()
        settings = _read_json(path / SETTINGS_FILE)
        tokenizer = _read_tokenizer(path)
        try:
            own = _Renamer(source, tensors, numbers).all()
        except KeyError as error:
            raise BundleError(f"{source}: tensor '{error.args[0]}' is missing; copy the file again") from error
        spec = _spec(own, numbers, settings, tokenizer)
        return ForeignModel(source, spec, tokenizer, own, content.dtype)


@dataclass(frozen=True)
class _Variables:
    """What model.bin holds."""

    source: Path
    variables: dict[str, Tensor]

    @classmethod
    def read(cls, source: Path) -> _Variables:
        try:
            return cls(source, _Reader(source.read_bytes(), source).variables())
        except OSError as error:
            raise BundleError(f"{source}: cannot read the model ({error.strerror})") from error
        except (IndexError, UnicodeDecodeError, ValueError, RuntimeError) as error:
            raise BundleError(f"{source}: damaged, or no model of CTranslate2; copy the file again") from error

    def floating(self) -> dict[str, Tensor]:
        """The variables with a shape as numbers of floating point."""
        found = {}
        for name, value in self.variables.items():
            if name.endswith(SCALE) or not value.dim() or name == "decoder/alignment_heads":
                continue
            if not value.dtype.is_floating_point:
                scale = self.variables.get(name + SCALE)
                if scale is None:
                    raise BundleError(f"{self.source}: tensor '{name + SCALE}' is missing; copy the file again")
                value = value.float() / scale.float().reshape(-1, *[1] * (value.dim() - 1))
            found[name] = value
        return found

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights; float32 where some are whole numbers."""
        found = {value.dtype for name, value in self.variables.items() if name.endswith("/weight")}
        return found.pop() if len(found) == 1 and next(iter(found)).is_floating_point else torch.float32

    def numbers(self) -> dict[str, int]:
        """The variables that are single numbers."""
        return {name: int(value) for name, value in self.variables.items() if not value.dim()}


class _Reader:
    """Reads the parts of model.bin in their order; IndexError at its end."""

    def __init__(self, content: bytes, source: Path) -> None:
        self._content = memoryview(content)
        self._place = 0
        self._source = source

    def variables(self) -> dict[str, Tensor]:
        """All variables by all their names."""
        version = self._number(4)
        if not 1 <= version <= NEWEST_VERSION:
            raise BundleError(
                f"{self._source}: version {version} of the format, versions 1 to {NEWEST_VERSION} are known"
            )
        if version >= 2:
            spec = self._text()
            self._number(4)  # its revision
            if spec != "WhisperSpec":
                raise BundleError(f"{self._source}: holds a '{spec}', no Whisper model")
        found = dict(self._variable(version) for _ in range(self._number(4)))
        aliases = [(self._text(), self._text()) for _ in range(self._number(4))] if version >= 3 else []
        for alias, target in aliases:
            for suffix in ("", SCALE):
                if target + suffix in found:
                    found[alias + suffix] = found[target + suffix]
        if self._place != len(self._content):
            raise ValueError("something follows the variables")
        return found

    def _variable(self, version: int) -> tuple[str, Tensor]:
        name = self._text()
        shape = [self._number(4) for _ in range(self._number(1))]
        if version >= 4:
            code = self._number(1)
            if code >= len(DTYPES):
                raise BundleError(f"{self._source}: tensor '{name}' has an unknown type {code}")
            dtype, num_bytes = DTYPES[code], self._number(4)
        else:
            size = self._number(1)
            dtype, num_bytes = OLD_DTYPES[size], size * self._number(4)
        data = bytearray(self._bytes(num_bytes))
        return name, torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.zeros(shape, dtype=dtype)

    def _text(self) -> str:
        return bytes(self._bytes(self._number(2))).decode().rstrip("\0")

    def _number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "little")

    def _bytes(self, number: int) -> memoryview:
        if self._place + number > len(self._content):
            raise IndexError("the file ends too early")
        self._place += number
        return self._content[self._place - number : self._place]


class _Renamer:
    """Tensors of CTranslate2 under our names; KeyError of the one that is missing."""

    def __init__(self, source: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, int]) -> None:
        self._source = source
        self._left = dict(tensors)
        self._numbers = numbers
        self._own: dict[str, Tensor] = {}

    def all(self) -> dict[str, Tensor]:
        """All of them; BundleError if one is left over."""
        self._check_numbers()
        positions = self._left.pop("encoder/position_encodings/encodings")
        if (encoder_positions(positions[None].float()) - positions.float()).abs().max() > POSITIONS_OFF:
            raise BundleError(
                f"{self._source}: the encoder's positions are not Whisper's; this variant is not supported"
            )
        for conv in ("conv1", "conv2"):
            self._take(f"encoder.{conv}.weight", f"encoder/{conv}/weight", _kernels)
            self._take(f"encoder.{conv}.bias", f"encoder/{conv}/bias")
        for index in range(_layers(self._left, "encoder")):
            here, there = f"encoder.layers.{index}", f"encoder/layer_{index}"
            self._self_attention(f"{here}.attention", f"{there}/self_attention")
            self._feed_forward(f"{here}.feed_forward", f"{there}/ffn")
        self._norm("encoder.norm", "encoder/layer_norm")
        head = "heads.whisper"
        self._take(f"{head}.embedding.weight", "decoder/embeddings/weight")
        self._take(f"{head}.positions", "decoder/position_encodings/encodings")
        for index in range(_layers(self._left, "decoder")):
            here, there = f"{head}.layers.{index}", f"decoder/layer_{index}"
            self._self_attention(f"{here}.attention", f"{there}/self_attention")
            self._cross_attention(f"{here}.cross_attention", f"{there}/attention")
            self._feed_forward(f"{here}.feed_forward", f"{there}/ffn")
        self._norm(f"{head}.norm", "decoder/layer_norm")
        output = self._left.pop("decoder/projection/weight")
        if not torch.equal(output, self._own[f"{head}.embedding.weight"]):
            raise BundleError(f"{self._source}: tensor 'decoder/projection/weight' is not the embedding; not supported")
        refuse_leftovers(self._source, self._left)
        return self._own

    def _check_numbers(self) -> None:
        wanted = {"pre_norm": 1, "activation": ERF_GELU, "scale_embeddings": 0, "alibi": 0}
        for name, value in wanted.items():
            if self._numbers.get(f"decoder/{name}", value) != value:
                raise BundleError(f"{self._source}: decoder/{name} is not {value}; this variant is not supported")

    def _take(self, own: str, name: str, change: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        self._own[own] = change(self._left.pop(name))

    def _norm(self, own: str, name: str) -> None:
        self._take(f"{own}.weight", f"{name}/gamma")
        self._take(f"{own}.bias", f"{name}/beta")

    def _linear(self, own: str, name: str) -> None:
        for part in ("weight", "bias"):
            self._take(f"{own}.{part}", f"{name}/{part}")

    def _self_attention(self, own: str, name: str) -> None:
        self._norm(f"{own}.norm", f"{name}/layer_norm")
        self._linear(f"{own}.query_key_value", f"{name}/linear_0")
        self._linear(f"{own}.out", f"{name}/linear_1")

    def _cross_attention(self, own: str, name: str) -> None:
        self._norm(f"{own}.norm", f"{name}/layer_norm")
        for part, number in (("query", 0), ("key_value", 1), ("out", 2)):
            self._linear(f"{own}.{part}", f"{name}/linear_{number}")

    def _feed_forward(self, own: str, name: str) -> None:
        self._norm(f"{own}.norm", f"{name}/layer_norm")
        self._linear(f"{own}.widen", f"{name}/linear_0")
        self._linear(f"{own}.narrow", f"{name}/linear_1")


def _kernels(weight: Tensor) -> Tensor:
    """Whole numbers are stored with channels and kernel as one."""
    return weight if weight.dim() == 3 else weight.reshape(len(weight), -1, 3)


def _layers(tensors: Mapping[str, Tensor], part: str) -> int:
    found = [name.split("/")[1] for name in tensors if name.startswith(f"{part}/layer_") and name.count("/") > 2]
    return 1 + max((int(layer.removeprefix("layer_")) for layer in found if layer != "layer_norm"), default=-1)


def _spec(
    own: Mapping[str, Tensor], numbers: Mapping[str, int], settings: Mapping[str, Any], tokenizer: ByteBpeTokenizer
) -> ModelSpec:
    """The configuration that the sizes of the tensors imply."""
    encoder_dim, num_bins, _ = own["encoder.conv1.weight"].shape
    num_tokens, dim = own["heads.whisper.embedding.weight"].shape
    num_layers, num_heads = _count(own, "heads.whisper.layers."), numbers.get("decoder/num_heads", dim // 64)
    is_multilingual = num_tokens >= SMALLEST_MULTILINGUAL
    encoder = WhisperEncoderConfig(
        dim=encoder_dim,
        num_layers=_count(own, "encoder.layers."),
        num_heads=numbers.get("encoder/num_heads", encoder_dim // 64),
        ff_dim=len(own["encoder.layers.0.feed_forward.widen.weight"]),
    )
    head = WhisperHeadConfig(
        dim=dim,
        num_layers=num_layers,
        num_heads=num_heads,
        ff_dim=len(own["heads.whisper.layers.0.feed_forward.widen.weight"]),
        max_tokens=len(own["heads.whisper.positions"]),
        language="en" if is_multilingual else None,
        task="transcribe" if is_multilingual else None,
        suppress=tuple(sorted(set(settings.get("suppress_ids", ())) - {tokenizer.vocabulary.eos})),
        suppress_first=tuple(settings.get("suppress_ids_begin", ())),
        alignment=alignment_heads(settings.get("alignment_heads"), num_layers, num_heads, num_tokens),
    )
    return ModelSpec(
        frontend=WhisperLogMelConfig(num_mel_bins=num_bins),
        tokenizer=ByteBpeConfig(),
        encoder=encoder,
        heads=(head,),
        normalize="basic" if is_multilingual else "english",  # for scoring: the model writes case and punctuation
        search=AttentionGreedyConfig(max_tokens_per_frame=TOKENS_A_FRAME),
    )


def _count(own: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in own if name.startswith(prefix)})


def _read_tokenizer(path: Path) -> ByteBpeTokenizer:
    for name in VOCABULARY_FILES:
        file = path / name
        if not file.is_file():
            continue
        pieces = _read_json(file) if file.suffix == ".json" else file.read_text(encoding="utf-8").split("\n")
        if file.suffix == ".txt" and pieces[-1] == "":
            pieces = pieces[:-1]
        try:
            return ByteBpeTokenizer(whisper_vocabulary([str(piece) for piece in pieces]))
        except TextError as error:
            raise BundleError(f"{file}: {error}") from error
    raise BundleError(f"{path / VOCABULARY_FILES[0]}: missing; the tokens are in it, copy the whole folder again")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the whole folder again") from error
    except ValueError as error:
        raise BundleError(f"{path}: not valid JSON; copy the file again") from error
