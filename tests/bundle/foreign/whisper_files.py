"""Random Whisper models as CTranslate2 stores them, written byte by byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from asr.bundle.foreign import import_model
from asr.text.tokenizer.byte_bpe import BYTE_LETTERS

DIM, HEADS, BINS, LAYERS, POSITIONS = 16, 2, 4, 2, 40
CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
ROLES = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|startofprev|>", "<|notimestamps|>")
TIMES = ("<|0.00|>", "<|0.02|>")
WORDS = (*BYTE_LETTERS, "\u0120t", "he", "\u0120the")
PIECES = (*WORDS, *ROLES, *TIMES)
MULTILINGUAL = (
    *WORDS,
    *ROLES[:2],
    *(
        f"<|{name}|>"
        for name in ("en", "de", "fr", "translate", "transcribe", "startofprev", "nospeech", "notimestamps")
    ),
    *(f"<|{place / 50:.2f}|>" for place in range(1501)),
)


def random_variables(seed: int = 0, pieces: tuple[str, ...] = PIECES) -> dict[str, np.ndarray]:
    """All variables of a small model, float32."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        found[f"{name}/weight"] = random.normal(0, 0.3, (rows, columns))
        found[f"{name}/bias"] = random.normal(0, 0.1, rows)

    def norm(name: str) -> None:
        found[f"{name}/gamma"], found[f"{name}/beta"] = random.normal(1, 0.1, DIM), random.normal(0, 0.1, DIM)

    def layer(name: str) -> None:
        for part in ("self_attention", "ffn"):
            norm(f"{name}/{part}/layer_norm")
        linear(f"{name}/self_attention/linear_0", 3 * DIM, DIM)
        found[f"{name}/self_attention/linear_0/bias"][DIM : 2 * DIM] = 0
        linear(f"{name}/self_attention/linear_1", DIM, DIM)
        linear(f"{name}/ffn/linear_0", 4 * DIM, DIM)
        linear(f"{name}/ffn/linear_1", DIM, 4 * DIM)

    for conv, channels in (("conv1", BINS), ("conv2", DIM)):
        found[f"encoder/{conv}/weight"] = random.normal(0, 0.3, (DIM, channels, 3))
        found[f"encoder/{conv}/bias"] = random.normal(0, 0.1, DIM)
    found["encoder/position_encodings/encodings"] = positions(50)
    found["decoder/position_encodings/encodings"] = random.normal(0, 0.3, (POSITIONS, DIM))
    found["decoder/embeddings/weight"] = random.normal(0, 0.3, (len(pieces), DIM))
    for part in ("encoder", "decoder"):
        norm(f"{part}/layer_norm")
        for index in range(LAYERS):
            layer(f"{part}/layer_{index}")
    for index in range(LAYERS):
        name = f"decoder/layer_{index}/attention"
        norm(f"{name}/layer_norm")
        for number, rows in enumerate((DIM, 2 * DIM, DIM)):
            linear(f"{name}/linear_{number}", rows, DIM)
        found[f"{name}/linear_2/weight"] *= 10  # so that what is heard decides
        found[f"{name}/linear_1/bias"][:DIM] = 0
    return {name: value.astype(np.float32) for name, value in found.items()}


def positions(number: int) -> np.ndarray:
    """The encoder's fixed positions, one number at a time."""
    table = np.zeros((number, DIM))
    half = DIM // 2
    for place in range(number):
        for index in range(half):
            angle = place * np.exp(-np.log(10000) / (half - 1) * index)
            table[place, index], table[place, half + index] = np.sin(angle), np.cos(angle)
    return table


def write_model(
    folder: Path,
    variables: Mapping[str, np.ndarray],
    kind: str = "float32",
    pieces: tuple[str, ...] = PIECES,
    version: int = 6,
) -> None:
    """A folder with model.bin, config.json and vocabulary.txt; of whole numbers the weights, their scales float32."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(model_bin(variables, kind, version))
    settings = {"suppress_ids": [1, 2], "suppress_ids_begin": [32], "lang_ids": [], "alignment_heads": []}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "vocabulary.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")


def model_bin(variables: Mapping[str, np.ndarray], kind: str = "float32", version: int = 6) -> bytes:
    """The content of model.bin; before version 4 of float32, int8 and int16 alone, before 3 without other names."""
    output = "decoder/projection/weight"
    if version < 3:
        variables = {**variables, output: variables["decoder/embeddings/weight"]}
    stored = [packed for name, value in sorted(variables.items()) for packed in pack(name, value, kind, version)]
    for name in ("encoder/num_heads", "decoder/num_heads"):
        stored.append(variable(name, np.array(HEADS), "int16", version))
    for name, number in (("decoder/activation", 3), ("decoder/scale_embeddings", 0), ("decoder/pre_norm", 1)):
        stored.append(variable(name, np.array(number), "int8", version))
    parts = [struct.pack("<I", version)]
    if version >= 2:
        parts += [text("WhisperSpec"), struct.pack("<I", 3)]
    parts += [struct.pack("<I", len(stored)), *stored]
    if version >= 3:
        parts += [struct.pack("<I", 1), text(output) + text("decoder/embeddings/weight")]
    return b"".join(parts)


def pack(name: str, value: np.ndarray, kind: str, version: int = 6) -> list[bytes]:
    """A variable, and its scales if it is one of whole numbers."""
    if kind not in ("int8", "int16") or not name.endswith("/weight"):
        return [variable(name, value, "float32" if kind in ("int8", "int16") else kind, version)]
    rows = value.reshape(len(value), -1)
    if kind == "int8":
        scale = 127 / np.abs(rows).max(axis=1)
        whole = np.rint(rows * scale[:, None])
    else:
        scale = np.array(1024 / np.abs(rows).max())
        whole = np.rint(rows * scale)
    return [variable(name, whole, kind, version), variable(f"{name}_scale", scale, "float32", version)]


def variable(name: str, value: np.ndarray, kind: str, version: int = 6) -> bytes:
    if kind == "bfloat16":
        data = (value.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()  # cut off
    else:
        data = value.astype(np.dtype(kind).newbyteorder("<")).tobytes()
    head = text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    if version < 4:  # how wide the items are, and how many
        width = np.dtype(kind).itemsize
        return head + struct.pack("<BI", width, len(data) // width) + data
    return head + struct.pack("<BI", CODES[kind], len(data)) + data


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def multilingual_model(source: Path, folder: Path, seed: int = 0) -> None:
    """A model folder of a random model of three languages that writes timestamps."""
    write_model(source, random_variables(seed, MULTILINGUAL), pieces=MULTILINGUAL)
    import_model(source, folder)
    config = folder / "config.yaml"
    text = config.read_text().replace("language: null", "language: en").replace("task: null", "task: transcribe")
    config.write_text(text)
