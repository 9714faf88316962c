"""Manifests in formats of other toolkits. A format is one file here; see `base.Exporter`."""

from __future__ import annotations

from asr.corpora.exporters.base import EXPORTERS, Exporter
from asr.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["EXPORTERS", "Exporter"]
