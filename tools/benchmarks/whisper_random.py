"""Random weights of any of Whisper's sizes in the layout of CTranslate2, which write the same text whatever they hear.

The positions of the decoder decide: each is the embedding of the token to come next, many times as large as what the
layers add. So both engines write as many tokens, and nothing looks like a loop.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np

WRITTEN = 40  # tokens
CERTAIN = 30.0  # times an embedding's length
FRAMES, POSITIONS, BINS, HEAD_SIZE = 1500, 448, 80, 64
CODES = {"int8": 1, "int16": 2, "float16": 4}


def write_random_model(folder: Path, like: Path, *, dim: int, layers: int) -> Path:
    """A model with the tokens of another one, `like`, in float16."""
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        shutil.copyfile(like / name, folder / name)
    pieces = (like / "vocabulary.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    variables = random_variables(pieces, dim, layers)
    numbers = {"encoder/num_heads": dim // HEAD_SIZE, "decoder/num_heads": dim // HEAD_SIZE}
    stored = {name: _variable(name, value.astype(np.float16), "float16") for name, value in variables.items()}
    stored |= {name: _variable(name, np.array(number, np.int16), "int16") for name, number in numbers.items()}
    flags = {"decoder/activation": 3, "decoder/pre_norm": 1, "decoder/scale_embeddings": 0}
    stored |= {name: _variable(name, np.array(value, np.int8), "int8") for name, value in flags.items()}
    with open(folder / "model.bin", "wb") as file:
        file.write(struct.pack("<I", 6) + _text("WhisperSpec") + struct.pack("<II", 3, len(stored)))
        for name in sorted(stored):
            file.write(stored[name])
        file.write(struct.pack("<I", 1) + _text("decoder/projection/weight") + _text("decoder/embeddings/weight"))
    return folder


def random_variables(pieces: list[str], dim: int, layers: int) -> dict[str, np.ndarray]:
    """All variables with a shape, by name."""
    random = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}

    def draw(*shape: int, scale: float = 0.02) -> np.ndarray:
        return (random.standard_normal(shape, dtype=np.float32) * scale).astype(np.float16)

    def linear(name: str, rows: int, columns: int, scale: float = 0.02) -> None:
        found[f"{name}/weight"], found[f"{name}/bias"] = draw(rows, columns, scale=scale), draw(rows)

    def norm(name: str) -> None:
        found[f"{name}/gamma"], found[f"{name}/beta"] = np.ones(dim, np.float16), np.zeros(dim, np.float16)

    for conv, channels in (("conv1", BINS), ("conv2", dim)):
        found[f"encoder/{conv}/weight"], found[f"encoder/{conv}/bias"] = draw(dim, channels, 3), draw(dim)
    found["encoder/position_encodings/encodings"] = _sinusoids(dim).astype(np.float16)
    for part in ("encoder", "decoder"):
        norm(f"{part}/layer_norm")
        for layer in (f"{part}/layer_{index}" for index in range(layers)):
            norm(f"{layer}/self_attention/layer_norm")
            linear(f"{layer}/self_attention/linear_0", 3 * dim, dim)
            found[f"{layer}/self_attention/linear_0/bias"][dim : 2 * dim] = 0
            linear(f"{layer}/self_attention/linear_1", dim, dim, 0.002)
            if part == "decoder":
                norm(f"{layer}/attention/layer_norm")
                linear(f"{layer}/attention/linear_0", dim, dim)
                linear(f"{layer}/attention/linear_1", 2 * dim, dim)
                found[f"{layer}/attention/linear_1/bias"][:dim] = 0
                linear(f"{layer}/attention/linear_2", dim, dim, 0.002)
            norm(f"{layer}/ffn/layer_norm")
            linear(f"{layer}/ffn/linear_0", 4 * dim, dim)
            linear(f"{layer}/ffn/linear_1", dim, 4 * dim, 0.002)
    embeddings = draw(len(pieces), dim, scale=dim**-0.5)
    words = [token for token, piece in enumerate(pieces) if piece.startswith("\u0120") and piece[1:].isalpha()]
    following = np.full(POSITIONS, pieces.index("<|endoftext|>"))
    following[:WRITTEN] = random.choice(words, WRITTEN, replace=False)
    found["decoder/embeddings/weight"] = embeddings
    found["decoder/position_encodings/encodings"] = embeddings[following] * np.float16(CERTAIN)
    return found


def _sinusoids(dim: int) -> np.ndarray:
    """(FRAMES, dim): sines, then cosines."""
    scales = np.exp(-np.log(10000.0) / (dim // 2 - 1) * np.arange(dim // 2))
    angles = np.arange(FRAMES)[:, None] * scales
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _variable(name: str, value: np.ndarray, kind: str) -> bytes:
    data = value.tobytes()
    return _text(name) + struct.pack(f"<B{value.ndim}IBI", value.ndim, *value.shape, CODES[kind], len(data)) + data


def _text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"
