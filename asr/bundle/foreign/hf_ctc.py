"""wav2vec 2.0 and HuBERT with CTC as Hugging Face folders: settings, weights, vocab.json and what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.bundle.foreign.base import ForeignFormat, ForeignModel, configure, register
from asr.bundle.foreign.files import CONFIG, has_only_archives, model_type, open_weights, read_settings
from asr.bundle.foreign.hf_settings import require_architecture, require_values
from asr.bundle.foreign.hf_tokens import HubPieces, read_pieces
from asr.bundle.foreign.origin import Origin
from asr.bundle.foreign.tensor_map import TensorMap, stack_rows
from asr.config import ModelSpec
from asr.errors import BundleError, TextError
from asr.features.raw import RawConfig
from asr.models.encoders.wav2vec2 import Wav2Vec2Config
from asr.models.heads.ctc import CtcHeadConfig
from asr.text.tokenizer.separated import SEPARATOR, SeparatedConfig, SeparatedTokenizer
from asr.text.vocabulary import Vocabulary
from asr.types import MAIN_TOKENIZER

PREPROCESSOR = "preprocessor_config.json"
TOKENIZER_SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the later one counts
ARCHITECTURES = {"wav2vec2": "Wav2Vec2ForCTC", "hubert": "HubertForCTC"}  # by model_type
# what config.json may say of the network, beside sizes; any other value is another network than ours
NETWORK: Mapping[str, Any] = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "add_adapter": False,
    "adapter_attn_dim": None,
    "conv_pos_batch_norm": False,
}
FEATURES: Mapping[str, Any] = {"feature_size": 1}
SIZES = {  # our settings of the encoder by those of config.json; what is left out has the base model's size in both
    "conv_dim": "conv_dims",
    "conv_kernel": "conv_kernels",
    "conv_stride": "conv_strides",
    "conv_bias": "conv_bias",
    "feat_extract_norm": "conv_norm",
    "feat_proj_layer_norm": "projection_norm",
    "hidden_size": "dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "ff_dim",
    "num_conv_pos_embeddings": "position_kernel",
    "num_conv_pos_embedding_groups": "position_groups",
    "do_stable_layer_norm": "pre_norm",
    "layer_norm_eps": "norm_eps",
    "hidden_dropout": "dropout",
}
ROLES = {"blank": ("pad_token", "<pad>"), "unk": ("unk_token", "<unk>"), "sos": ("bos_token", "<s>")}
ROLES |= {"eos": ("eos_token", "</s>")}
WEIGHT_NORMS = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


@register
class HuggingFaceCtc(ForeignFormat):
    """A folder whose config.json says `"model_type": "wav2vec2"` or `"hubert"`."""

    name = "Hugging Face (wav2vec 2.0, HuBERT with CTC)"

    def fits(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return model_type(path) in ARCHITECTURES

    def is_archive(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return has_only_archives(path)

    def read(self, path: Path) -> ForeignModel:
        """See `ForeignFormat`."""
        file = path / CONFIG
        config = read_settings(file)
        kind = str(config["model_type"])
        preprocessor = read_settings(path / PREPROCESSOR, needed=False)
        require_values(file, config, NETWORK)
        require_values(path / PREPROCESSOR, preprocessor, FEATURES)
        require_architecture(file, config, ARCHITECTURES[kind])
        sizes = {own: config[name] for name, own in SIZES.items() if name in config}
        encoder = configure(Wav2Vec2Config, file, **sizes)
        frontend = configure(
            RawConfig,
            path / PREPROCESSOR,
            sample_rate=preprocessor.get("sampling_rate", 16000),
            normalize=preprocessor.get("do_normalize", True),
        )
        source, tensors = open_weights(path)
        own = _map_names(TensorMap(source, tensors), f"{kind}.", encoder)
        tokenizer = _read_tokenizer(path, config, len(own["heads.ctc.output.linear.bias"]))
        spec = ModelSpec(
            frontend=frontend,
            tokenizer=SeparatedConfig(),
            encoder=encoder,
            heads=(CtcHeadConfig(),),
            normalize=_normaliser(tokenizer),
        )
        origin = Origin.of(path, self.name, config.get("_name_or_path"))
        return ForeignModel(source, origin, spec, {MAIN_TOKENIZER: tokenizer}, own)


def _map_names(found: TensorMap, prefix: str, encoder: Wav2Vec2Config) -> Mapping[str, Tensor]:
    """Our tensors from theirs; BundleError for one that is missing or unknown."""
    found.drop(f"{prefix}masked_spec_embed")  # stands for what is hidden in training
    for index in range(len(encoder.conv_dims)):
        here, there = f"encoder.stages.{index}", f"{prefix}feature_extractor.conv_layers.{index}"
        found.take(f"{here}.conv.weight", f"{there}.conv.weight")
        if encoder.conv_bias:
            found.take(f"{here}.conv.bias", f"{there}.conv.bias")
        if encoder.conv_norm == "layer" or index == 0:
            found.pair(f"{here}.{'norm' if encoder.conv_norm == 'layer' else 'time_norm'}", f"{there}.layer_norm")
    if encoder.projection_norm:
        found.pair("encoder.project_norm", f"{prefix}feature_projection.layer_norm")
    found.pair("encoder.project", f"{prefix}feature_projection.projection")
    _positions(found, f"{prefix}encoder.pos_conv_embed.conv")
    found.pair("encoder.norm", f"{prefix}encoder.layer_norm")
    for index in range(encoder.num_layers):
        here, there = f"encoder.layers.{index}", f"{prefix}encoder.layers.{index}"
        for part in ("weight", "bias"):
            names = [f"{there}.attention.{each}_proj.{part}" for each in "qkv"]
            found.take(f"{here}.query_key_value.{part}", *names, change=stack_rows)
        found.pair(f"{here}.out", f"{there}.attention.out_proj")
        found.pair(f"{here}.attention_norm", f"{there}.layer_norm")
        found.pair(f"{here}.widen", f"{there}.feed_forward.intermediate_dense")
        found.pair(f"{here}.narrow", f"{there}.feed_forward.output_dense")
        found.pair(f"{here}.feed_forward_norm", f"{there}.final_layer_norm")
    found.pair("heads.ctc.output.linear", "lm_head")
    return found.finish()


def _positions(found: TensorMap, name: str) -> None:
    """The convolution that gives positions; its weight is stored as lengths and directions, under two spellings."""
    found.take("encoder.positions.conv.bias", f"{name}.bias")
    spelled = next((parts for parts in WEIGHT_NORMS if found.has(f"{name}.{parts[0]}")), WEIGHT_NORMS[0])
    found.take("encoder.positions.conv.weight", *(f"{name}.{part}" for part in spelled), change=fold_weight_norm)


def fold_weight_norm(lengths: Tensor, directions: Tensor) -> Tensor:
    """The weight (D, D / groups, K) whose slices at each place of the kernel have these lengths (1, 1, K)."""
    exact = directions.to(torch.promote_types(directions.dtype, torch.float32))
    norms = exact.square().sum((0, 1), keepdim=True).sqrt()
    return (exact * (lengths.to(exact.dtype) / norms)).to(directions.dtype)


def _read_tokenizer(path: Path, config: Mapping[str, Any], num_outputs: int) -> SeparatedTokenizer:
    """The tokens of the output layer; further ones, which no output stands for, are left out."""
    found = read_pieces(path)
    if len(found.pieces) < num_outputs:
        raise BundleError(f"{found.file}: names {len(found.pieces)} tokens of {num_outputs} outputs; not supported")
    pieces = found.pieces[:num_outputs]
    settings = _token_names(path)
    separator = settings.get("word_delimiter_token", SEPARATOR)
    roles = {role: settings.get(name, usual) for role, (name, usual) in ROLES.items()}
    ids = {role: pieces.index(piece) if piece in pieces else None for role, piece in roles.items()}
    blank = _blank(path, config, found, ids["blank"], num_outputs)
    try:
        vocabulary = Vocabulary(tuple(pieces), blank=blank, unk=ids["unk"], sos=ids["sos"], eos=ids["eos"])
        return SeparatedTokenizer(vocabulary, separator)
    except TextError as error:
        raise BundleError(f"{found.file}: {error}") from error


def _blank(path: Path, config: Mapping[str, Any], found: HubPieces, named: int | None, num_outputs: int) -> int:
    """The id of CTC's blank, which config.json and the tokenizer's files both call padding."""
    said = config.get("pad_token_id", named)
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said < num_outputs:
        raise BundleError(f"{path / CONFIG}: pad_token_id {said!r} is no token, and CTC's blank is needed")
    if named is not None and named != said:
        raise BundleError(f"{found.file}: the padding is token {named}, {CONFIG} says {said}; copy the folder again")
    return said


def _token_names(path: Path) -> dict[str, str]:
    """Names of tokens by their role in the tokenizer's files."""
    names: dict[str, str] = {}
    for file in TOKENIZER_SETTINGS:
        for key, value in read_settings(path / file, needed=False).items():
            name = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(name, str):
                names[key] = name
    return names


def _normaliser(tokenizer: SeparatedTokenizer) -> str:
    """How texts are compared with what the model writes: in the case that its letters have."""
    letters: Sequence[str] = sorted(tokenizer.alphabet)
    if not any(letter != letter.upper() for letter in letters):
        return "upper"
    return "none" if any(letter != letter.lower() for letter in letters) else "basic"
