"""Whisper and distil-whisper as Hugging Face folders: settings, weights, the tokenizer's and the generation's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.bundle.foreign.base import ForeignFormat, ForeignModel, register
from asr.bundle.foreign.files import CONFIG, has_only_archives, model_type, open_weights, read_settings
from asr.bundle.foreign.hf_settings import require_architecture, require_values
from asr.bundle.foreign.hf_tokens import check_merges, read_pieces
from asr.bundle.foreign.origin import Origin
from asr.bundle.foreign.tensor_map import TensorMap
from asr.bundle.foreign.whisper import (
    FRAMES_A_SECOND,
    POSITIONS,
    WhisperRules,
    map_hub_names,
    read_alignment,
    rounding_of,
    whisper_spec,
    whisper_tokenizer,
    with_times,
)
from asr.errors import BundleError
from asr.types import MAIN_TOKENIZER

GENERATION = "generation_config.json"
PREPROCESSOR = "preprocessor_config.json"
# what config.json may say of the network, beside sizes; any other value is another network than ours
NETWORK: Mapping[str, Any] = {"activation_function": "gelu", "scale_embedding": False, "tie_word_embeddings": True}
# what preprocessor_config.json may say of the features, beside the number of bands
FEATURES: Mapping[str, Any] = {"sampling_rate": 16000, "n_fft": 400, "hop_length": 160, "dither": 0.0}
ARCHITECTURE = "WhisperForConditionalGeneration"


@register
class HuggingFaceWhisper(ForeignFormat):
    """A folder whose config.json says `"model_type": "whisper"`."""

    name = "Hugging Face (Whisper)"

    def fits(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return model_type(path) == "whisper"

    def is_archive(self, path: Path) -> bool:
        """See `ForeignFormat`."""
        return has_only_archives(path)

    def read(self, path: Path) -> ForeignModel:
        """See `ForeignFormat`."""
        config = read_settings(path / CONFIG)
        generation = read_settings(path / GENERATION, needed=False)
        preprocessor = read_settings(path / PREPROCESSOR, needed=False)
        require_values(path / CONFIG, config, NETWORK)
        require_values(path / PREPROCESSOR, preprocessor, FEATURES)
        require_architecture(path / CONFIG, config, ARCHITECTURE)
        source, tensors = open_weights(path)
        found_tensors = TensorMap(source, tensors)
        own = map_hub_names(found_tensors)
        found = read_pieces(path)
        check_merges(found)
        pieces = with_times(found.pieces, len(own["heads.whisper.embedding.weight"]))
        tokenizer = whisper_tokenizer(pieces, found.file)
        eos = tokenizer.vocabulary.eos
        rules = WhisperRules(
            suppress=tuple(token for token in _ids(path, config, generation, "suppress_tokens") if token != eos),
            suppress_first=_ids(path, config, generation, "begin_suppress_tokens"),
            alignment=read_alignment(path / GENERATION, generation),
            is_multilingual=_is_multilingual(generation),
            window_seconds=_number(path / CONFIG, config, "max_source_positions", 1500) / FRAMES_A_SECOND,
            positions=rounding_of(found_tensors.value(POSITIONS)),
        )
        heads = tuple(_number(path / CONFIG, config, f"{part}_attention_heads", 0) for part in ("encoder", "decoder"))
        spec = whisper_spec(source, own, (heads[0], heads[1]), rules, pieces)
        self._check_bins(path, preprocessor, spec.frontend.model_dump()["num_mel_bins"])
        return ForeignModel(
            source, Origin.of(path, self.name, config.get("_name_or_path")), spec, {MAIN_TOKENIZER: tokenizer}, own
        )

    @staticmethod
    def _check_bins(path: Path, preprocessor: Mapping[str, Any], num_bins: int) -> None:
        said = preprocessor.get("feature_size", num_bins)
        if said != num_bins:
            raise BundleError(f"{path / PREPROCESSOR}: feature_size is {said}, the weights take {num_bins} bands")


def _ids(path: Path, config: Mapping[str, Any], generation: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Token ids of the generation's settings, which early folders keep in config.json."""
    ids = generation.get(name, config.get(name)) or ()
    if not isinstance(ids, list | tuple) or not all(isinstance(token, int) for token in ids):
        raise BundleError(f"{path}: {name} is no list of token ids; copy the folder again")
    return tuple(token for token in ids if token >= 0)  # -1 stands for a list that the files do not have


def _is_multilingual(generation: Mapping[str, Any]) -> bool | None:
    said = generation.get("is_multilingual")
    if isinstance(said, bool):
        return said
    return True if generation.get("lang_to_id") else None


def _number(file: Path, settings: Mapping[str, Any], name: str, default: int) -> int:
    value = settings.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BundleError(f"{file}: {name} is {value!r}, no number; copy the file again")
    return value
