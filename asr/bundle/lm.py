"""Language models for a search: those of a folder, and n-grams of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr.bundle.folder import CONFIG_FILE, WEIGHTS_FILE, require_parts
from asr.bundle.tensors import fill, load_tensors, save_tensors
from asr.config import LmExperiment, dump_yaml, parse_lm_experiment, read_yaml
from asr.errors import BundleError
from asr.lm.base import TokenScorer
from asr.lm.neural import NeuralLm, build_language_model
from asr.lm.neural.scorer import NeuralLmScorer
from asr.lm.ngram import ngram_scorer
from asr.lm.ngram.arpa import read_arpa
from asr.system.runtime import derive_seed, write_text_atomic
from asr.text.tokenizer import Tokenizer, load_tokenizer


def is_language_model(folder: Path) -> bool:
    """Whether a model folder is that of a language model."""
    return (folder / CONFIG_FILE).is_file() and "language_model" in read_yaml(folder / CONFIG_FILE)


@dataclass(frozen=True)
class LmBundle:
    """A neural language model and the tokenizer it shares with an acoustic model.

    The folder is that of a model, less what concerns audio.
    """

    config: LmExperiment
    tokenizer: Tokenizer
    model: NeuralLm[Any]

    @classmethod
    def build(cls, config: LmExperiment, tokenizer: Tokenizer) -> LmBundle:
        """A bundle with fresh weights, drawn from the configured seed."""
        torch.manual_seed(derive_seed(config.seed, "weights"))
        return cls(config, tokenizer, build_language_model(config.language_model, tokenizer.vocabulary))

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> LmBundle:
        """As `Bundle.load`."""
        folder = Path(folder)
        require_parts(folder, "asr lm train --neural")
        if not is_language_model(folder):
            raise BundleError(f"{folder}: an acoustic model, no language model; `asr lm train --neural` makes one")
        config = parse_lm_experiment(read_yaml(folder / CONFIG_FILE), source=str(folder / CONFIG_FILE))
        if config.text is None:
            raise BundleError(f"{folder / CONFIG_FILE}: text is missing; copy the whole folder again")
        tokenizer = load_tokenizer(folder, config.text.tokenizer)
        model = build_language_model(config.language_model, tokenizer.vocabulary)
        fill(model.state_dict(), load_tensors(folder / WEIGHTS_FILE), folder / WEIGHTS_FILE)
        return cls(config, tokenizer, model.to(device).eval())

    def save(self, folder: Path) -> None:
        """Write config, tokenizer and weights; each file is replaced whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / CONFIG_FILE, dump_yaml(self.config))
        self.tokenizer.save(folder)
        save_tensors(folder / WEIGHTS_FILE, self.model.state_dict())


def load_lm(path: Path | str, tokenizer: Tokenizer, unk_score: float) -> TokenScorer:
    """The scorer of texts for a search: the neural language model of a folder, or the n-grams of an ARPA file.

    `tokenizer` is the acoustic model's. `unk_score` is added for a word that n-grams of words lack; a neural model has
    the acoustic model's own tokens and needs none. BundleError if there is no such language model, or if it has other
    tokens.
    """
    path = Path(path)
    if path.is_dir():
        bundle = LmBundle.load(path)
        _require_same_tokens(path, bundle, tokenizer)
        return NeuralLmScorer(bundle.model)
    if not path.exists():
        raise BundleError(f"{path}: no such language model; `asr lm train` makes one")
    return ngram_scorer(read_arpa(path), tokenizer, unk_score)


def _require_same_tokens(path: Path, bundle: LmBundle, tokenizer: Tokenizer) -> None:
    if bundle.tokenizer.vocabulary == tokenizer.vocabulary:
        return
    own, other = bundle.tokenizer.vocabulary.pieces, tokenizer.vocabulary.pieces
    differing = next((token for token, pair in enumerate(zip(own, other, strict=False)) if len(set(pair)) > 1), None)
    detail = f", token {differing} is '{own[differing]}' and not '{other[differing]}'" if differing is not None else ""
    raise BundleError(
        f"{path}: made for the {len(own)} tokens of {bundle.config.model}, but this model has {len(other)}{detail}; "
        "train a language model whose `model` is this one"
    )
