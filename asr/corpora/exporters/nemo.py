"""NeMo manifests: JSON lines. The keys that NeMo does not know, such as `id`, it passes over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.corpora.exporters.base import audio_path, register, write_lines
from asr.types import Utterance


@register
class NemoExporter:
    """A file, gzipped if its name ends in .gz."""

    name = "nemo"

    def write(self, utterances: Sequence[Utterance], out: Path, root: Path | None) -> list[str]:
        """One line an utterance; nothing is too strange for it."""
        write_lines(out, (json.dumps(_row(utterance, root), ensure_ascii=False) for utterance in utterances))
        return []


def _row(utterance: Utterance, root: Path | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "audio_filepath": audio_path(utterance.audio, root),
        "duration": utterance.duration,
        "text": utterance.text,
        "offset": utterance.start or None,  # absent: NeMo reads from the start to the end of the file
        "speaker": utterance.speaker,
        "lang": utterance.lang,
        "id": utterance.id,
    }
    return {key: value for key, value in row.items() if value is not None}
