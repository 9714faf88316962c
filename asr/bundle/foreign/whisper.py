"""What readers of Whisper models share: the configuration that tensors imply, and the hub's names of tensors.

The hub's names are mapped; OpenAI's are renamed to those first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.bundle.foreign.base import configure
from asr.bundle.foreign.tensor_map import TensorMap, count_layers, stack_rows
from asr.config import ModelSpec
from asr.decoding.attention_greedy import AttentionGreedyConfig
from asr.errors import BundleError, TextError
from asr.features.whisper_log_mel import WhisperLogMelConfig
from asr.models.encoders.whisper import ROUNDINGS, WhisperEncoderConfig, whisper_positions
from asr.models.heads.alignment_heads import Place, alignment_heads
from asr.models.heads.whisper import WhisperHeadConfig
from asr.text.tokenizer.byte_bpe import ByteBpeConfig, ByteBpeTokenizer, whisper_vocabulary

HEAD = "heads.whisper"
POSITIONS = "model.encoder.embed_positions.weight"
SMALLEST_MULTILINGUAL = 51865  # pieces; the models of English alone have one fewer
TOKENS_A_FRAME = 0.16  # 8 a second; people do not speak faster, loops would
POSITIONS_OFF = 1e-2  # by storage in 16 bits; learned ones are far off
HEAD_DIM = 64  # of all published sizes
NUM_TIMES = 1501  # 0.00 to 30.00 s in steps of 0.02
FRAMES_A_SECOND = 50  # of the encoder


@dataclass(frozen=True)
class WhisperRules:
    """What a foreign folder says about writing."""

    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()
    alignment: tuple[Place, ...] = ()  # (layer, head), from 0; () where it does not say
    is_multilingual: bool | None = None  # None: as many pieces as multilingual models have
    window_seconds: float = 30.0
    positions: str = "exact"  # `rounding_of` the encoder's


def whisper_spec(
    source: Path, own: Mapping[str, Tensor], num_heads: tuple[int, int], rules: WhisperRules, pieces: Collection[str]
) -> ModelSpec:
    """The configuration that our tensors imply. `num_heads` are of encoder and decoder, 0 for the usual size of heads.

    BundleError for sizes that are impossible, and for tokens that do not fit the tensors.
    """
    encoder_dim, num_bins, _ = own["encoder.conv1.weight"].shape
    num_tokens, dim = own[f"{HEAD}.embedding.weight"].shape
    if num_tokens != len(pieces):
        raise BundleError(f"{source}: has {num_tokens} tokens, the vocabulary {len(pieces)}; copy the folder again")
    chosen = (*rules.suppress, *rules.suppress_first)
    if outside := next((token for token in chosen if not 0 <= token < num_tokens), None):
        raise BundleError(f"{source}: token {outside} is to be suppressed, of {num_tokens}; copy the folder again")
    is_multilingual = rules.is_multilingual
    if is_multilingual is None:
        is_multilingual = num_tokens >= SMALLEST_MULTILINGUAL
    num_layers, num_decoder_heads = count_layers(own, f"{HEAD}.layers."), num_heads[1] or max(1, dim // HEAD_DIM)
    encoder = configure(
        WhisperEncoderConfig,
        source,
        dim=encoder_dim,
        num_layers=count_layers(own, "encoder.layers."),
        num_heads=num_heads[0] or max(1, encoder_dim // HEAD_DIM),
        ff_dim=_ff_dim(own, "encoder.layers.0"),
        positions=rules.positions,
    )
    head = configure(
        WhisperHeadConfig,
        source,
        dim=dim,
        num_layers=num_layers,
        num_heads=num_decoder_heads,
        ff_dim=_ff_dim(own, f"{HEAD}.layers.0"),
        max_tokens=len(own[f"{HEAD}.positions"]),
        language="en" if is_multilingual else None,
        task="transcribe" if is_multilingual else None,
        suppress=tuple(sorted(set(rules.suppress))),
        suppress_first=rules.suppress_first,
        alignment=alignment_heads(rules.alignment, num_layers, num_decoder_heads, num_tokens),
    )
    frontend = configure(
        WhisperLogMelConfig,
        source,
        num_mel_bins=num_bins,
        window_seconds=rules.window_seconds,
        min_seconds=min(WhisperLogMelConfig().min_seconds, rules.window_seconds),
    )
    return ModelSpec(
        frontend=frontend,
        tokenizer=ByteBpeConfig(),
        encoder=encoder,
        heads=(head,),
        normalize="basic" if is_multilingual else "english",  # for scoring: the model writes case and punctuation
        search=AttentionGreedyConfig(max_tokens_per_frame=TOKENS_A_FRAME),
    )


def read_alignment(file: Path, settings: Mapping[str, Any]) -> tuple[Place, ...]:
    """The `alignment_heads` of a file's settings; BundleError if they are no pairs of numbers."""
    found = settings.get("alignment_heads") or ()
    if not isinstance(found, list | tuple) or not all(_is_place(one) for one in found):
        raise BundleError(f"{file}: alignment_heads are no list of [layer, head]; copy the file again")
    return tuple((layer, head) for layer, head in found)


def _is_place(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, int) for one in value)


def whisper_tokenizer(pieces: Sequence[str], file: Path) -> ByteBpeTokenizer:
    """Whisper's tokenizer with pieces by id; BundleError that names their file if they are none of Whisper's."""
    try:
        return ByteBpeTokenizer(whisper_vocabulary(pieces))
    except TextError as error:
        raise BundleError(f"{file}: {error}") from error


def with_times(pieces: Sequence[str], num_tokens: int) -> list[str]:
    """Pieces, and the names of the timestamps behind them where a file leaves those out, as early ones do."""
    named = list(pieces)
    if num_tokens - len(named) == NUM_TIMES:
        named += [f"<|{place / FRAMES_A_SECOND:.2f}|>" for place in range(NUM_TIMES)]
    return named


def has_whisper_positions(positions: Tensor) -> bool:
    """Whether the encoder's positions (S, D) are the sinusoids that are computed here."""
    if positions.dim() != 2 or positions.shape[1] < 4 or positions.shape[1] % 2:
        return False
    values = positions.float()
    exact = whisper_positions(len(values), values.shape[1], "exact", values.device)
    return bool((exact - values).abs().max() <= POSITIONS_OFF)


def rounding_of(positions: Tensor) -> str:
    """What the encoder's positions (S, D) were rounded to; "exact" for more digits than 16 bits hold.

    A tensor without values, of torch's `meta` device, counts as exact.
    """
    if positions.device.type != "meta":
        for name in ("bfloat16", "float16"):  # the coarser one first: the other holds its values, too
            if torch.equal(positions.to(ROUNDINGS[name]).double(), positions.double()):
                return name
    return "exact"


def map_hub_names(found: TensorMap) -> Mapping[str, Tensor]:
    """Our tensors from those of a model as the hub names them; BundleError for one that is missing or unknown."""
    found.require(POSITIONS, has_whisper_positions, "holds other positions than Whisper's")
    for conv in ("conv1", "conv2"):
        found.pair(f"encoder.{conv}", f"model.encoder.{conv}")
    for index in range(found.num_layers("model.encoder.layers.")):
        here, there = f"encoder.layers.{index}", f"model.encoder.layers.{index}"
        _attention(found, f"{here}.attention", f"{there}.self_attn")
        _feed_forward(found, here, there)
    found.pair("encoder.norm", "model.encoder.layer_norm")
    found.take(f"{HEAD}.embedding.weight", "model.decoder.embed_tokens.weight")
    found.take(f"{HEAD}.positions", "model.decoder.embed_positions.weight")
    for index in range(found.num_layers("model.decoder.layers.")):
        here, there = f"{HEAD}.layers.{index}", f"model.decoder.layers.{index}"
        _attention(found, f"{here}.attention", f"{there}.self_attn")
        _cross_attention(found, f"{here}.cross_attention", f"{there}.encoder_attn")
        _feed_forward(found, here, there)
    found.pair(f"{HEAD}.norm", "model.decoder.layer_norm")
    if found.has("proj_out.weight"):
        embedding = found.value("model.decoder.embed_tokens.weight")
        found.require("proj_out.weight", lambda output: torch.equal(output, embedding), "is not the embedding")
    return found.finish()


def _attention(found: TensorMap, own: str, name: str) -> None:
    query, key, value = (f"{name}.{part}_proj" for part in "qkv")
    found.pair(f"{own}.norm", f"{name}_layer_norm")
    found.take(
        f"{own}.query_key_value.weight", f"{query}.weight", f"{key}.weight", f"{value}.weight", change=stack_rows
    )
    found.take(f"{own}.query_key_value.bias", f"{query}.bias", f"{value}.bias", change=_without_key_bias)
    found.pair(f"{own}.out", f"{name}.out_proj")


def _cross_attention(found: TensorMap, own: str, name: str) -> None:
    found.pair(f"{own}.norm", f"{name}_layer_norm")
    found.pair(f"{own}.query", f"{name}.q_proj")
    found.take(f"{own}.key_value.weight", f"{name}.k_proj.weight", f"{name}.v_proj.weight", change=stack_rows)
    found.take(f"{own}.key_value.bias", f"{name}.v_proj.bias", change=_behind_zeros)
    found.pair(f"{own}.out", f"{name}.out_proj")


def _feed_forward(found: TensorMap, own: str, name: str) -> None:
    found.pair(f"{own}.feed_forward.norm", f"{name}.final_layer_norm")
    found.pair(f"{own}.feed_forward.widen", f"{name}.fc1")
    found.pair(f"{own}.feed_forward.narrow", f"{name}.fc2")


def _without_key_bias(query: Tensor, value: Tensor) -> Tensor:
    """Keys have no bias in Whisper; it would cancel in the softmax."""
    return torch.cat([query, torch.zeros_like(query), value])


def _behind_zeros(value: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(value), value])


def _ff_dim(own: Mapping[str, Tensor], layer: str) -> int:
    name = f"{layer}.feed_forward.widen.weight"
    return len(own[name]) if name in own else 1
