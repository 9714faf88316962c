"""Neural language models by name; one new file here is one new model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.lm.neural.base import LANGUAGE_MODELS, NeuralLm, NeuralLmConfig, build_language_model
from asr.registry import NamedConfig, import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    LanguageModelConfig = NamedConfig
else:
    LanguageModelConfig = LANGUAGE_MODELS.config_union()

__all__ = ["LANGUAGE_MODELS", "LanguageModelConfig", "NeuralLm", "NeuralLmConfig", "build_language_model"]
