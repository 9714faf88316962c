"""Small wav2vec 2.0 and HuBERT models as Hugging Face folders have them; models of ours are written in that layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from asr.bundle.bundle import Bundle
from asr.models.encoders.wav2vec2 import Wav2Vec2Config
from tests.bundle.foreign.hf_files import Numbers, write_json

PIECES = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLU'")
ARCHITECTURES = {"wav2vec2": "Wav2Vec2ForCTC", "hubert": "HubertForCTC"}
CONV, KERNELS, STRIDES = (6, 8, 8), (10, 8, 4), (5, 4, 4)
SIZES: dict[str, Any] = {
    "conv_dim": CONV,
    "conv_kernel": KERNELS,
    "conv_stride": STRIDES,
    "num_feat_extract_layers": 3,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": len(PIECES),
    "pad_token_id": 0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "group": {"feat_extract_norm": "group", "conv_bias": False, "do_stable_layer_norm": False},
    "layer": {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
}


def ctc_tensors(kind: str, variant: str, *, old_spelling: bool = False, seed: int = 1) -> dict[str, np.ndarray]:
    """All tensors of a small model as `Wav2Vec2ForCTC` and `HubertForCTC` name them, float32."""
    numbers, found, settings = Numbers(seed), {}, VARIANTS[variant]
    dim = SIZES["hidden_size"]

    def linear(name: str, rows: int, columns: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = numbers(rows, columns), numbers(rows)

    def norm(name: str, size: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = numbers(size, around=1.0), numbers(size)

    for index, (inner, outer) in enumerate(zip((1, *CONV), CONV, strict=False)):
        name = f"{kind}.feature_extractor.conv_layers.{index}"
        found[f"{name}.conv.weight"] = numbers(outer, inner, KERNELS[index], scale=0.5)
        if settings["conv_bias"]:
            found[f"{name}.conv.bias"] = numbers(outer)
        if settings["feat_extract_norm"] == "layer" or index == 0:
            norm(f"{name}.layer_norm", outer)
    norm(f"{kind}.feature_projection.layer_norm", CONV[-1])
    linear(f"{kind}.feature_projection.projection", dim, CONV[-1])
    positions = f"{kind}.encoder.pos_conv_embed.conv"
    length, direction = (
        ("weight_g", "weight_v")
        if old_spelling
        else ("parametrizations.weight.original0", "parametrizations.weight.original1")
    )
    found[f"{positions}.{length}"] = numbers(1, 1, SIZES["num_conv_pos_embeddings"], around=2.0)
    found[f"{positions}.{direction}"] = numbers(dim, dim // 4, SIZES["num_conv_pos_embeddings"])
    found[f"{positions}.bias"] = numbers(dim)
    norm(f"{kind}.encoder.layer_norm", dim)
    for index in range(SIZES["num_hidden_layers"]):
        name = f"{kind}.encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{name}.attention.{part}", dim, dim)
        norm(f"{name}.layer_norm", dim)
        linear(f"{name}.feed_forward.intermediate_dense", SIZES["intermediate_size"], dim)
        linear(f"{name}.feed_forward.output_dense", dim, SIZES["intermediate_size"])
        norm(f"{name}.final_layer_norm", dim)
    found[f"{kind}.masked_spec_embed"] = numbers(dim)
    linear("lm_head", len(PIECES), dim)
    found["lm_head.weight"] *= 4
    return found


def write_ctc(folder: Path, kind: str, variant: str, *, old_spelling: bool = False, do_normalize: bool = True) -> Path:
    """A whole folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(ctc_tensors(kind, variant, old_spelling=old_spelling), folder / "model.safetensors", {"format": "pt"})
    config = {"model_type": kind, "architectures": [ARCHITECTURES[kind]], **SIZES, **VARIANTS[variant]}
    write_side_files(folder, config, PIECES, {"do_normalize": do_normalize, "sampling_rate": 16000})
    return folder


def write_side_files(
    folder: Path, config: dict[str, Any], pieces: tuple[str, ...], preprocessor: dict[str, Any]
) -> None:
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", {"feature_size": 1, "padding_value": 0.0, **preprocessor})
    write_json(folder / "vocab.json", {piece: token for token, piece in enumerate(pieces)})


def export_ctc(bundle: Bundle, folder: Path) -> None:
    """Write a model of ours, encoder `wav2vec2` and CTC, as a folder of `Wav2Vec2ForCTC`."""
    encoder = bundle.spec.encoder
    assert isinstance(encoder, Wav2Vec2Config)
    own = {name: tensor.detach().numpy() for name, tensor in bundle.weights().items()}
    found: dict[str, np.ndarray] = {}

    def move(ours: str, theirs: str) -> None:
        for part in ("weight", "bias"):
            if f"{ours}.{part}" in own:
                found[f"{theirs}.{part}"] = own.pop(f"{ours}.{part}")

    for index in range(len(encoder.conv_dims)):
        ours, theirs = f"encoder.stages.{index}", f"wav2vec2.feature_extractor.conv_layers.{index}"
        move(f"{ours}.conv", f"{theirs}.conv")
        move(f"{ours}.{'norm' if encoder.conv_norm == 'layer' else 'time_norm'}", f"{theirs}.layer_norm")
    move("encoder.project_norm", "wav2vec2.feature_projection.layer_norm")
    move("encoder.project", "wav2vec2.feature_projection.projection")
    positions = "wav2vec2.encoder.pos_conv_embed.conv"
    weight = own.pop("encoder.positions.conv.weight")
    found[f"{positions}.parametrizations.weight.original0"] = np.sqrt(np.square(weight).sum((0, 1), keepdims=True))
    found[f"{positions}.parametrizations.weight.original1"] = weight
    found[f"{positions}.bias"] = own.pop("encoder.positions.conv.bias")
    move("encoder.norm", "wav2vec2.encoder.layer_norm")
    for index in range(encoder.num_layers):
        ours, theirs = f"encoder.layers.{index}", f"wav2vec2.encoder.layers.{index}"
        for part in ("weight", "bias"):
            joined = own.pop(f"{ours}.query_key_value.{part}")
            for name, value in zip("qkv", np.split(joined, 3), strict=True):
                found[f"{theirs}.attention.{name}_proj.{part}"] = value
        move(f"{ours}.out", f"{theirs}.attention.out_proj")
        move(f"{ours}.attention_norm", f"{theirs}.layer_norm")
        move(f"{ours}.widen", f"{theirs}.feed_forward.intermediate_dense")
        move(f"{ours}.narrow", f"{theirs}.feed_forward.output_dense")
        move(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm")
    move("heads.ctc.output.linear", "lm_head")
    found["wav2vec2.masked_spec_embed"] = np.zeros(encoder.dim, dtype=np.float32)  # used in training alone
    assert not own, f"not written: {sorted(own)}"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in found.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    vocabulary = bundle.tokenizer.vocabulary
    config = {
        "model_type": "wav2vec2",
        "architectures": ["Wav2Vec2ForCTC"],
        "conv_dim": encoder.conv_dims,
        "conv_kernel": encoder.conv_kernels,
        "conv_stride": encoder.conv_strides,
        "num_feat_extract_layers": len(encoder.conv_dims),
        "conv_bias": encoder.conv_bias,
        "hidden_dropout": encoder.dropout,
        "feat_extract_norm": encoder.conv_norm,
        "do_stable_layer_norm": encoder.pre_norm,
        "hidden_size": encoder.dim,
        "num_hidden_layers": encoder.num_layers,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": encoder.ff_dim,
        "num_conv_pos_embeddings": encoder.position_kernel,
        "num_conv_pos_embedding_groups": encoder.position_groups,
        "vocab_size": len(vocabulary),
        "pad_token_id": vocabulary.blank,
    }
    frontend = bundle.spec.frontend.model_dump()
    preprocessor = {"do_normalize": frontend["normalize"], "sampling_rate": frontend["sample_rate"]}
    write_side_files(folder, config, vocabulary.pieces, preprocessor)
    assert vocabulary.blank is not None
    names = {"pad_token": vocabulary.pieces[vocabulary.blank], "word_delimiter_token": "|"}
    write_json(folder / "tokenizer_config.json", {**names, "tokenizer_class": "Wav2Vec2CTCTokenizer"})
