"""lhotse cuts as JSON lines, one with its recording and one supervision for every utterance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.audio.io import audio_info
from asr.corpora.exporters.base import audio_path, recording_ids, register, write_lines
from asr.errors import AudioError
from asr.system.display import counted
from asr.types import Utterance


@register
class LhotseExporter:
    """A file, gzipped if its name ends in .gz, for `lhotse.CutSet.from_file`."""

    name = "lhotse"

    def write(self, utterances: Sequence[Utterance], out: Path, root: Path | None) -> list[str]:
        """One line an utterance. Audio of several channels becomes a MultiCut, since an utterance is all of them."""
        ids = recording_ids(utterance.audio for utterance in utterances)
        recordings: dict[Path, dict[str, Any]] = {}
        for utterance in utterances:
            if utterance.audio not in recordings:
                recordings[utterance.audio] = _recording(utterance, ids[utterance.audio], root)
        rows = [_cut(utterance, recordings[utterance.audio]) for utterance in utterances]
        write_lines(out, (json.dumps(row, ensure_ascii=False) for row in rows))
        sphere = sum(utterance.audio.suffix.lower() == ".sph" for utterance in utterances)
        which = counted(sphere, "utterance lies in a SPHERE file", "utterances lie in SPHERE files")
        return [f"{which}, for which lhotse needs sph2pipe"] if sphere else []


def _recording(utterance: Utterance, id: str, root: Path | None) -> dict[str, Any]:
    try:
        info = audio_info(utterance.audio)
    except AudioError as error:
        raise AudioError(f"utterance '{utterance.id}': {error}") from error
    channels = list(range(info.num_channels))
    return {
        "id": id,
        "sources": [{"type": "file", "channels": channels, "source": audio_path(utterance.audio, root)}],
        "sampling_rate": info.sample_rate,
        "num_samples": info.num_samples,
        "duration": info.duration,
        "channel_ids": channels,
    }


def _cut(utterance: Utterance, recording: dict[str, Any]) -> dict[str, Any]:
    channels = recording["channel_ids"]
    channel = channels[0] if len(channels) == 1 else channels
    supervision = {
        "id": utterance.id,
        "recording_id": recording["id"],
        "start": 0.0,
        "duration": utterance.duration,
        "channel": channel,
        "text": utterance.text,
        "language": utterance.lang,
        "speaker": utterance.speaker,
    }
    return {
        "id": utterance.id,
        "start": utterance.start,
        "duration": utterance.duration,
        "channel": channel,
        "supervisions": [{key: value for key, value in supervision.items() if value is not None}],
        "recording": recording,
        "type": "MonoCut" if len(channels) == 1 else "MultiCut",
    }
