"""Audio and pictures of scored utterances: players, and spectrograms with the words below them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from asr.audio.io import audio_info, load_audio
from asr.errors import AudioError, ScoringError
from asr.scoring.alignment import DELETION, HIT, LEFT_OUT
from asr.scoring.html.sounds import audio_link, embedded_audio, is_playable
from asr.scoring.html.spectrogram import draw_spectrogram
from asr.scoring.wer import Score
from asr.types import Utterance, Word

MAX_SECONDS = 60.0  # of an utterance that gets a spectrogram, or stands in the page as audio
MAX_RATE = 16000  # Hz, of both


@dataclass
class Media:
    """By row of the score."""

    audio: dict[int, str | int] = field(default_factory=dict)  # an address, or the number of a note why there is none
    pictures: dict[int, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # each once
    durations: dict[int, float] = field(default_factory=dict)  # seconds
    problems: list[str] = field(default_factory=list)  # for the terminal

    def miss(self, row: int, note: str) -> None:
        """Remember why a row has no audio."""
        if note not in self.notes:
            self.notes.append(note)
        self.audio[row] = self.notes.index(note)


def worst_utterances(score: Score, count: int) -> list[str]:
    """Up to `count` ids of utterances with errors: most errors first, of as many the higher rate, then in order."""
    errors = score.utterance_errors
    order = np.lexsort((score.utterance_lengths, -errors))[:count]
    return [score.ids[row] for row in order.tolist() if errors[row]]


def find_media(
    score: Score,
    rows: Sequence[int],
    folder: Path,
    utterances: Mapping[str, Utterance],
    worst: Mapping[str, Sequence[Word]],
) -> Media:
    """Players of the utterances in `rows`, for a page in a folder, and spectrograms of the `worst`, as in `write_html`.

    Audio that cannot be read is a problem of its utterance alone.
    """
    media = Media()
    if not utterances:
        return media
    if not any(score.ids[row] in utterances for row in rows):
        raise ScoringError(f"the manifest has none of the utterances that were scored, like '{score.ids[0]}'")
    shared = Counter(utterance.audio for utterance in utterances.values())
    for row in rows:
        utterance = utterances.get(score.ids[row])
        if utterance is None:
            media.miss(row, "The manifest does not have this utterance.")
            continue
        media.durations[row] = utterance.duration
        try:
            if is_playable(utterance.audio):
                is_part = utterance.start > 0 or shared[utterance.audio] > 1
                media.audio[row] = audio_link(utterance, folder, is_part)
            else:
                suffix = utterance.audio.suffix or "such"
                media.miss(row, f"Browsers do not play {suffix} files; --worst puts more utterances into the page.")
            if utterance.id in worst:
                _show(media, score, row, utterance, worst[utterance.id])
        except AudioError as error:
            if not isinstance(media.audio.get(row), str):  # a browser may play what we cannot
                media.miss(row, str(error))
            media.problems.append(str(error))
    return media


def _show(media: Media, score: Score, row: int, utterance: Utterance, words: Sequence[Word]) -> None:
    """Draw one utterance, and put it into the page where its file cannot be played."""
    if utterance.duration > MAX_SECONDS:
        media.problems.append(f"utterance {utterance.id}: too long for a spectrogram (over {MAX_SECONDS:.0f} s)")
        return
    rate = min(MAX_RATE, audio_info(utterance.audio).sample_rate)
    waveform = load_audio(utterance.audio, rate, start=utterance.start, duration=utterance.duration)
    if not isinstance(media.audio[row], str):
        media.audio[row] = embedded_audio(waveform, rate)
    try:
        picture = draw_spectrogram(waveform, rate)
    except ScoringError as error:
        if str(error) not in media.problems:
            media.problems.append(str(error))
        return
    media.pictures[row] = {
        "png": picture,
        "seconds": len(waveform) / rate,
        "hertz": rate // 2,
        "words": marked_words(score, row, words),
    }


def marked_words(score: Score, row: int, words: Sequence[Word]) -> list[tuple[float, float, str, str, float | None]]:
    """Start, end, text, operation and confidence of a hypothesis's words, and of the words deleted between them.

    A word that was deleted stands where the one before it ends. Words of which the rules made something else than
    single words have no operation where it cannot be told which word became which.
    """
    rules = replace(score.rules, markup=False, merge_compounds=False)
    pieces = [(piece, number) for number, word in enumerate(words) for piece in rules.compare(word.text, "")[0].split()]
    marks: dict[int, str] = {}
    deleted = []
    if [piece for piece, _ in pieces] == score.hypotheses[row].split():
        origin = iter([number for _, number in pieces])
        reached = words[0].start if words else 0.0
        for reference, _, operation in score.alignment(row):
            if operation == DELETION:
                deleted.append((reached, reached, reference or "", DELETION, None))
            elif operation != LEFT_OUT:
                number = next(origin)
                reached = words[number].end
                marks[number] = operation if marks.get(number, HIT) == HIT else marks[number]
    spoken = [(word.start, word.end, word.text, marks.get(n, ""), word.confidence) for n, word in enumerate(words)]
    return [*spoken, *deleted]
