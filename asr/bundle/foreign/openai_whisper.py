"""Whisper checkpoints as OpenAI publishes them: one .pt with sizes and weights, without the tokens.

The tokens come from a file beside it: of the package openai-whisper (whisper/assets), or of a folder of another layout.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.bundle.foreign.archives import load_archive, tensors_of
from asr.bundle.foreign.base import ForeignFormat, ForeignModel, register
from asr.bundle.foreign.ctranslate2 import find_vocabulary, read_vocabulary
from asr.bundle.foreign.files import CONFIG
from asr.bundle.foreign.hf_tokens import TOKENIZER, VOCABULARY, check_merges, read_pieces
from asr.bundle.foreign.origin import Origin
from asr.bundle.foreign.tensor_map import TensorMap
from asr.bundle.foreign.whisper import (
    FRAMES_A_SECOND,
    NUM_TIMES,
    POSITIONS,
    SMALLEST_MULTILINGUAL,
    WhisperRules,
    map_hub_names,
    rounding_of,
    whisper_spec,
    whisper_tokenizer,
    with_times,
)
from asr.bundle.foreign.whisper_tables import LANGUAGES, SPACE, UNSPOKEN_ENGLISH, UNSPOKEN_MULTILINGUAL
from asr.errors import BundleError
from asr.text.tokenizer.byte_bpe import BYTE_LETTERS
from asr.types import MAIN_TOKENIZER

SUFFIX = ".pt"
SIZES = ("n_mels", "n_vocab", "n_audio_ctx", "n_audio_head", "n_text_head")  # of `dims`, those that tensors do not tell
RANKS = {False: "gpt2.tiktoken", True: "multilingual.tiktoken"}  # by whether the model is multilingual
ROLES_BEFORE = ("<|endoftext|>", "<|startoftranscript|>")  # the languages
ROLES_AFTER = (
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
SPELLING = {  # of a part of a name: the hub's, OpenAI's
    "layers": "blocks",
    "self_attn": "attn",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn": "cross_attn",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
    "embed_tokens": "token_embedding",
}
WHOLE_NAMES = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "encoder.layer_norm": "encoder.ln_post",
    "decoder.layer_norm": "decoder.ln",
}


@register
class OpenAIWhisper(ForeignFormat):
    """A file that ends in .pt, or a folder with one such file."""

    name = "OpenAI (Whisper)"

    def fits(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return _checkpoint(path) is not None

    def is_archive(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return True

    def read(self, path: Path) -> ForeignModel:
        """See `ForeignFormat`."""
        source = _checkpoint(path)
        assert source is not None, "`fits` comes first"
        content = load_archive(source)
        if not isinstance(content, dict) or not {"dims", "model_state_dict"} <= content.keys():
            raise BundleError(f"{source}: no checkpoint of OpenAI's Whisper, which has `dims` and `model_state_dict`")
        sizes = _sizes(source, content["dims"])
        num_tokens = sizes["n_vocab"]
        is_multilingual = num_tokens >= SMALLEST_MULTILINGUAL
        pieces, file = _read_pieces(source, num_tokens, is_multilingual=is_multilingual)
        tokenizer = whisper_tokenizer(pieces, file)
        vocabulary = tokenizer.vocabulary
        assert vocabulary.eos is not None
        found = TensorMap(source, tensors_of(content["model_state_dict"], source), openai_name)
        own = map_hub_names(found)
        unspoken = UNSPOKEN_MULTILINGUAL if is_multilingual else UNSPOKEN_ENGLISH
        # roles but the end and the languages, of which none is text
        roles = [vocabulary.id(piece) for piece in ("<|startoftranscript|>", *ROLES_AFTER[:-1])]
        rules = WhisperRules(
            suppress=tuple(token for token in (*unspoken, *roles) if token is not None and token < num_tokens),
            suppress_first=(SPACE, vocabulary.eos),
            is_multilingual=is_multilingual,
            window_seconds=sizes["n_audio_ctx"] / FRAMES_A_SECOND,
            positions=rounding_of(found.value(POSITIONS)),
        )
        spec = whisper_spec(source, own, (sizes["n_audio_head"], sizes["n_text_head"]), rules, pieces)
        origin = Origin.of(source, self.name)
        return ForeignModel(source, origin, spec, {MAIN_TOKENIZER: tokenizer}, own)


def openai_name(name: str) -> str:
    """The name that OpenAI gives a tensor which the hub calls `name`; the beginning of a name will do."""
    name = name.removeprefix("model.")
    for theirs, ours in WHOLE_NAMES.items():
        if name == theirs or name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    return ".".join(SPELLING.get(part, part) for part in name.split("."))


def _checkpoint(path: Path) -> Path | None:
    """The file itself, or the only one in a folder that is none of another layout."""
    if path.is_file():
        return path if path.suffix == SUFFIX else None
    if not path.is_dir() or (path / CONFIG).is_file():
        return None
    found = list(path.glob(f"*{SUFFIX}"))
    return found[0] if len(found) == 1 else None


def _sizes(source: Path, dims: Any) -> dict[str, int]:
    found = dims if isinstance(dims, Mapping) else {}
    for name in SIZES:
        value = found.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BundleError(f"{source}: `dims` has no number {name}; not a checkpoint of OpenAI's Whisper")
    return {name: found[name] for name in SIZES}


def _read_pieces(source: Path, num_tokens: int, *, is_multilingual: bool) -> tuple[list[str], Path]:
    """Pieces by id, from what lies beside the checkpoint, and the file they are from."""
    folder, ranks = source.parent, source.parent / RANKS[is_multilingual]
    if ranks.is_file():
        return _from_ranks(ranks, num_tokens), ranks
    if (folder / TOKENIZER).is_file() or (folder / VOCABULARY).is_file():
        found = read_pieces(folder)
        check_merges(found)
        return with_times(found.pieces, num_tokens), found.file
    if (file := find_vocabulary(folder)) is not None:
        return with_times(read_vocabulary(file), num_tokens), file
    raise BundleError(
        f"{source}: comes without its tokens; put {ranks.name} beside it (in whisper/assets of the package "
        "openai-whisper), or tokenizer.json of the same model on the hub"
    )


def _from_ranks(file: Path, num_tokens: int) -> list[str]:
    """Pieces of a file with lines of base64 bytes and their number, and the roles behind them."""
    pieces: list[str] = []
    try:
        for line in file.read_text(encoding="ascii").splitlines():
            encoded, rank = line.split()
            if int(rank) != len(pieces):
                raise BundleError(f"{file}: line {len(pieces) + 1} has number {rank}; copy the file again")
            # the last one of the multilingual file stands for no byte at all
            written = b"" if encoded == "=" else base64.b64decode(encoded, validate=True)
            pieces.append("".join(BYTE_LETTERS[byte] for byte in written))
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, binascii.Error) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{file}: not lines of tokens and numbers; copy the file again") from error
    num_languages = num_tokens - len(pieces) - len(ROLES_BEFORE) - len(ROLES_AFTER) - NUM_TIMES
    if not 0 < num_languages <= len(LANGUAGES):
        raise BundleError(f"{file}: has {len(pieces)} tokens, which do not fit a model of {num_tokens}")
    languages = [f"<|{code}|>" for code in LANGUAGES[:num_languages]]
    return with_times([*pieces, *ROLES_BEFORE, *languages, *ROLES_AFTER], num_tokens)
