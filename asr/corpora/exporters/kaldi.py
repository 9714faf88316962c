"""Kaldi data folders: wav.scp, text, utt2spk, spk2utt, and segments and utt2lang where they are needed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal, localcontext
from pathlib import Path

from asr.audio.io import audio_info
from asr.corpora.exporters.base import audio_path, recording_ids, register, write_lines
from asr.errors import AudioError, ManifestError
from asr.types import Utterance

DIGITS = 800  # more than any sum of two floats needs


@register
class KaldiExporter:
    """A folder. An utterance without a speaker is its own, as is the custom; lines are sorted, as Kaldi demands."""

    name = "kaldi"

    def write(self, utterances: Sequence[Utterance], out: Path, root: Path | None) -> list[str]:
        """ManifestError for what Kaldi's lines cannot hold: spaces in ids and speakers, texts with line breaks ..."""
        rows = sorted(utterances, key=lambda utterance: utterance.id.encode())
        for utterance in rows:
            if (fault := _fault(utterance, audio_path(utterance.audio, root))) is not None:
                raise ManifestError(f"utterance {utterance.id!a} does not fit into Kaldi's files: {fault}")
        files = _audio_files(rows, root)
        if any(utterance.text for utterance in rows):
            files["text"] = [f"{utterance.id} {utterance.text}".rstrip() for utterance in rows]
        files["utt2spk"] = [f"{utterance.id} {utterance.speaker or utterance.id}" for utterance in rows]
        files["spk2utt"] = _spk2utt(rows)
        if any(utterance.lang for utterance in rows):
            files["utt2lang"] = [f"{utterance.id} {utterance.lang}" for utterance in rows if utterance.lang]
        for path in sorted(out.iterdir()) if out.is_dir() else []:
            if path.name not in files:
                raise ManifestError(f"{path}: does not belong to this export; choose another --out, or remove it")
        for name, lines in files.items():
            write_lines(out / name, lines)
        others = sum(utterance.audio.suffix.lower() != ".wav" for utterance in rows)
        which = "1 utterance is not in a wav file" if others == 1 else f"{others} utterances are not in wav files"
        return [f"{which}, the only kind that Kaldi itself reads"] if others else []


def _audio_files(rows: Sequence[Utterance], root: Path | None) -> dict[str, list[str]]:
    """wav.scp, and segments unless every utterance is exactly a file."""
    durations: dict[Path, float] = {}
    for utterance in rows:
        if utterance.audio not in durations:
            try:
                durations[utterance.audio] = audio_info(utterance.audio).duration
            except AudioError as error:
                raise AudioError(f"utterance '{utterance.id}': {error}") from error
    if all(utterance.start == 0 and utterance.duration == durations[utterance.audio] for utterance in rows):
        return {"wav.scp": [f"{utterance.id} {audio_path(utterance.audio, root)}" for utterance in rows]}
    ids = recording_ids(durations)
    recordings = sorted(ids, key=lambda audio: ids[audio].encode())
    return {
        "wav.scp": [f"{ids[audio]} {audio_path(audio, root)}" for audio in recordings],
        "segments": [f"{utterance.id} {ids[utterance.audio]} {_span(utterance)}" for utterance in rows],
    }


def _span(utterance: Utterance) -> str:
    """Start and end, added as decimals, so that their difference is the duration to the last digit."""
    start, duration = (Decimal(repr(value)) for value in (utterance.start, utterance.duration))
    with localcontext(prec=DIGITS):
        return f"{start:f} {start + duration:f}"


def _spk2utt(rows: Sequence[Utterance]) -> list[str]:
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for utterance in rows:
        ids[utterance.speaker or utterance.id].append(utterance.id)
    return [f"{speaker} {' '.join(ids[speaker])}" for speaker in sorted(ids, key=str.encode)]


def _fault(utterance: Utterance, audio: str) -> str | None:
    """What would be read as something else, or not at all."""
    words = {"id": utterance.id, "speaker": utterance.speaker, "lang": utterance.lang}
    for name, word in words.items():
        if word is not None and (not word or re.search(r"\s|^\ufeff", word)):
            return f"its {name} {word!a} is not one word"
    if utterance.speaker == utterance.id:
        return "its speaker is named like itself, which means no speaker"
    if utterance.text != utterance.text.strip() or re.search(r"[^\S ]", utterance.text):
        return "its text begins or ends with a space, or holds other spaces than plain ones"
    if utterance.duration <= 0:
        return "it has no duration"
    if audio != audio.strip() or audio == "-" or re.search(r"^\||\n|\|$|:\d+$", audio):
        return f"the path {audio!a} means something else than a file"
    return None
