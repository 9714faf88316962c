"""Small models as Hugging Face folders have them, with weights that follow from a formula."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from asr.text.tokenizer.byte_bpe import BYTE_LETTERS
from tests.bundle.foreign.whisper_files import positions

DIM, HEADS, LAYERS, FRAMES, POSITIONS = 16, 2, 2, 50, 40
LONGEST = 14  # tokens, after which the end of the text is likely
TEXT = (*BYTE_LETTERS, "\u0120t", "he", "\u0120the")
MERGES = ("\u0120 t", "h e", "\u0120t he")
ENGLISH = ("<|endoftext|>", "<|startoftranscript|>", "<|nospeech|>", "<|notimestamps|>")
MULTILINGUAL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)
TIMES = tuple(f"<|{place / 50:.2f}|>" for place in range(5))


def pieces_of(*, multilingual: bool) -> tuple[str, ...]:
    return (*TEXT, *(MULTILINGUAL if multilingual else ENGLISH), *TIMES)


class Numbers:
    """Values that look random and are the same everywhere."""

    def __init__(self, seed: int) -> None:
        self._next = 1000 * seed

    def __call__(self, *shape: int, scale: float = 0.3, around: float = 0.0) -> np.ndarray:
        places = self._next + np.arange(int(np.prod(shape)), dtype=np.float64)
        self._next += len(places)
        uniform = np.modf(np.abs(np.sin(places * 12.9898 + 0.7) * 43758.5453))[0]
        return (around + scale * (2 * uniform - 1)).reshape(shape).astype(np.float32)


def whisper_tensors(num_bins: int, num_tokens: int, seed: int = 1) -> dict[str, np.ndarray]:
    """All tensors of a small Whisper model as `WhisperForConditionalGeneration` names them, float32."""
    numbers, found = Numbers(seed), {}

    def linear(name: str, rows: int, columns: int, *, bias: bool = True) -> None:
        found[f"{name}.weight"] = numbers(rows, columns)
        if bias:
            found[f"{name}.bias"] = numbers(rows)

    def norm(name: str) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = numbers(DIM, around=1.0), numbers(DIM)

    def attention(name: str) -> None:
        for part in "kvq":
            linear(f"{name}.{part}_proj", DIM, DIM, bias=part != "k")
        linear(f"{name}.out_proj", DIM, DIM)
        norm(f"{name}_layer_norm")

    for conv, channels in (("conv1", num_bins), ("conv2", DIM)):
        found[f"model.encoder.{conv}.weight"] = numbers(DIM, channels, 3)
        found[f"model.encoder.{conv}.bias"] = numbers(DIM)
    found["model.encoder.embed_positions.weight"] = positions(FRAMES).astype(np.float32)
    found["model.decoder.embed_positions.weight"] = numbers(POSITIONS, DIM, scale=2.0)  # so that texts vary
    found["model.decoder.embed_tokens.weight"] = numbers(num_tokens, DIM)
    end = found["model.decoder.embed_tokens.weight"][len(TEXT)]
    found["model.decoder.embed_positions.weight"][:LONGEST] -= 8 * end
    found["model.decoder.embed_positions.weight"][LONGEST:] = 40 * end
    for part in ("encoder", "decoder"):
        norm(f"model.{part}.layer_norm")
        for index in range(LAYERS):
            name = f"model.{part}.layers.{index}"
            attention(f"{name}.self_attn")
            if part == "decoder":
                attention(f"{name}.encoder_attn")
                found[f"{name}.encoder_attn.out_proj.weight"] *= 8  # so that what is heard decides
            linear(f"{name}.fc1", 4 * DIM, DIM)
            linear(f"{name}.fc2", DIM, 4 * DIM)
            norm(f"{name}.final_layer_norm")
    return found


def whisper_config(num_bins: int, pieces: tuple[str, ...]) -> dict[str, object]:
    """The content of config.json."""
    eot = pieces.index("<|endoftext|>")
    return {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "_name_or_path": "openai/whisper-none",
        "activation_function": "gelu",
        "d_model": DIM,
        "num_mel_bins": num_bins,
        "vocab_size": len(pieces),
        "max_source_positions": FRAMES,
        "max_target_positions": POSITIONS,
        **{f"{part}_{what}": number for part in ("encoder", "decoder") for what, number in SIZES.items()},
        "scale_embedding": False,
        "bos_token_id": eot,
        "eos_token_id": eot,
        "pad_token_id": eot,
        "decoder_start_token_id": eot + 1,
    }


SIZES = {"layers": LAYERS, "attention_heads": HEADS, "ffn_dim": 4 * DIM}


def whisper_generation(pieces: tuple[str, ...]) -> dict[str, object]:
    """The content of generation_config.json."""
    ids = {piece: token for token, piece in enumerate(pieces)}
    eot = ids["<|endoftext|>"]
    multilingual = "<|en|>" in ids
    settings: dict[str, object] = {
        "is_multilingual": multilingual,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "suppress_tokens": [1, 2, *range(eot + 1, len(pieces))],
        "begin_suppress_tokens": [32, eot],
        "alignment_heads": [[1, 0], [1, 1]],
        "decoder_start_token_id": eot + 1,
        **{f"{role}_token_id": eot for role in ("bos", "eos", "pad")},
        "max_length": POSITIONS,
    }
    if multilingual:
        settings["lang_to_id"] = {piece: ids[piece] for piece in ("<|en|>", "<|de|>")}
        settings["task_to_id"] = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
    return settings


def write_whisper(folder: Path, num_bins: int = 80, *, multilingual: bool = True, seed: int = 1) -> tuple[str, ...]:
    """A whole folder; its pieces by id."""
    pieces = pieces_of(multilingual=multilingual)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(whisper_tensors(num_bins, len(pieces), seed), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", whisper_config(num_bins, pieces))
    write_json(folder / "generation_config.json", whisper_generation(pieces))
    write_json(
        folder / "preprocessor_config.json", {"feature_size": num_bins, "sampling_rate": 16000, "hop_length": 160}
    )
    write_tokens(folder, pieces)
    return pieces


def write_tokens(folder: Path, pieces: tuple[str, ...]) -> None:
    """vocab.json, merges.txt and added_tokens.json."""
    write_json(folder / "vocab.json", {piece: token for token, piece in enumerate(TEXT)})
    write_json(folder / "added_tokens.json", {pieces[token]: token for token in range(len(TEXT), len(pieces))})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def change_json(path: Path, **settings: object) -> None:
    """Set some settings of a file anew."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | settings)


def change_tensors(path: Path, **changes: np.ndarray | None) -> None:
    """Replace tensors of a file, or leave those out that are None."""
    from safetensors.numpy import load_file

    tensors = {**load_file(path), **{name.replace("__", "."): value for name, value in changes.items()}}
    save_file({name: value for name, value in tensors.items() if value is not None}, path, metadata={"format": "pt"})
