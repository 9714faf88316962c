"""Features of speech: filterbanks and cepstra, their normalisation and their augmentation."""

from asr.features.base import FEATURES
from asr.features.frontend import AnyFeatureConfig as FeatureConfig

__all__ = ["FEATURES", "FeatureConfig"]
