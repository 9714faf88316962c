"""What a test set shares with a training set: audio, speakers, texts, and texts that are nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from asr.audio.io import audio_info
from asr.corpora.doctor.audio import AudioFile, Measurement, audio_files
from asr.corpora.doctor.pool import examine_all
from asr.errors import AudioError
from asr.text.near import NearTexts
from asr.text.normalize import normalize
from asr.types import Utterance


@dataclass(frozen=True)
class Shared:
    """A test utterance and one of the training utterances it has something in common with."""

    test: str  # ids
    train: str
    similarity: float = 1.0  # of near-duplicate texts: 1 - edits / words
    what: str = ""  # the speaker, the text, or how audio is shared


@dataclass(frozen=True)
class Leaks:
    """Everything that was found, in the order of the test set; a kind that was not looked for is None."""

    num_test: int
    normalizer: str
    threshold: float
    audio: Sequence[Shared] | None
    not_compared: Sequence[str]  # reasons why audio could not be compared
    speakers: Sequence[Shared]
    texts: Sequence[Shared]
    near_texts: Sequence[Shared]

    @property
    def kinds(self) -> dict[str, Sequence[Shared]]:
        """What was looked for, by name."""
        kinds = {"audio": self.audio, "speakers": self.speakers, "texts": self.texts, "near_texts": self.near_texts}
        return {name: shared for name, shared in kinds.items() if shared is not None}

    def to_json(self) -> dict[str, Any]:
        """Count, share of the test utterances and all pairs of each kind."""
        return {
            "test_utterances": self.num_test,
            "normalize": self.normalizer,
            "threshold": self.threshold,
            **{
                name: {
                    "count": len(shared),
                    "share": len(shared) / self.num_test,
                    "pairs": [asdict(one) for one in shared],
                }
                for name, shared in self.kinds.items()
            },
            "shared_speakers": sorted({one.what for one in self.speakers}),
            "unheard": list(self.not_compared),
        }

    def table(self, num_examples: int) -> Table:
        """A row for each kind, followed by examples."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("shared", no_wrap=True)
        table.add_column("test utterances", justify="right", no_wrap=True)
        table.add_column("%", justify="right", no_wrap=True)
        table.add_column("test", overflow="fold")
        table.add_column("train", overflow="fold")
        table.add_column("what", overflow="fold")
        for name, shared in self.kinds.items():
            share = f"{100 * len(shared) / self.num_test:.1f}"
            head = [name.replace("_", " "), str(len(shared)), share]
            cells = [(one.test, one.train, one.what) for one in shared[:num_examples]]
            for test, train, what in cells or [("", "", "")]:
                table.add_row(*head, Text(test), Text(train), Text(what))
                head = ["", "", ""]
        return table


def find_leaks(
    train: Sequence[Utterance],
    test: Sequence[Utterance],
    *,
    normalizer: str = "basic",
    threshold: float = 0.8,
    audio: bool = True,
    workers: int = 1,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Leaks:
    """Compare a test set with a training set; both hold at least one utterance.

    Audio is shared if stretches of one file overlap, or if the samples are equal, whatever file holds them; only
    stretches of equal rate and length, as files' headers tell, are decoded to be compared. A file that cannot be read
    is listed under `not_compared`. Texts are shared if they are equal after normalisation, empty ones aside;
    near-duplicates, found by `asr.text.near.NearTexts`, are those whose words are equal but for a share of
    1 - `threshold`. TextError if there is no such normaliser.
    """
    texts, near_texts = _shared_texts(train, test, normalizer, threshold)
    found, unread = _shared_audio(train, test, workers, on_progress) if audio else (None, [])
    return Leaks(
        num_test=len(test),
        normalizer=normalizer,
        threshold=threshold,
        audio=found,
        not_compared=unread,
        speakers=list(_shared_speakers(train, test)),
        texts=texts,
        near_texts=near_texts,
    )


def _shared_speakers(train: Sequence[Utterance], test: Sequence[Utterance]) -> Iterator[Shared]:
    first: dict[str, str] = {}
    for row in train:
        if row.speaker is not None:
            first.setdefault(row.speaker, row.id)
    for row in test:
        if row.speaker in first:
            yield Shared(row.id, first[row.speaker], what=row.speaker)


def _shared_texts(
    train: Sequence[Utterance], test: Sequence[Utterance], normalizer: str, threshold: float
) -> tuple[list[Shared], list[Shared]]:
    """Equal texts, and near-duplicates of those that have no equal."""
    first: dict[str, Utterance] = {}
    for row in train:
        if text := normalize(row.text, normalizer):
            first.setdefault(text, row)
    known = list(first)
    index = NearTexts(known, threshold)
    equal, near = [], []
    matches: dict[str, Shared | None] = {}
    for row in test:
        text = normalize(row.text, normalizer)
        if text in first:
            equal.append(Shared(row.id, first[text].id, what=text))
            continue
        if text not in matches:
            match = index.find(text)
            matches[text] = match and Shared(
                row.id, first[known[match.text]].id, match.similarity, f"{text} / {known[match.text]}"
            )
        if one := matches[text]:
            near.append(Shared(row.id, one.train, one.similarity, one.what))
    return equal, near


def _shared_audio(
    train: Sequence[Utterance], test: Sequence[Utterance], workers: int, on_progress: Callable[[str], None]
) -> tuple[list[Shared], list[str]]:
    """Rows are numbered through, those of the training set first."""
    rows = [*train, *test]
    overlapping = _overlaps(train, test)
    numbered = list(enumerate(rows))
    sides = audio_files(numbered[: len(train)]), audio_files(numbered[len(train) :])
    alike, unread = _of_equal_length(*sides, set(overlapping))
    digests: dict[int, bytes] = {}
    num_measured, total = 0, sum(len(audio_file.stretches) for audio_file in alike)
    for results in examine_all(alike, workers):
        num_measured += len(results)
        on_progress(f"{num_measured} of {total} stretches of equal length")
        for number, measured in results:
            if isinstance(measured, Measurement):
                digests[number] = measured.digest
            else:
                unread.append(f"{rows[number].id}: {measured.reason}")
    first: dict[bytes, int] = {}
    for number in sorted(digests):
        if number < len(train):
            first.setdefault(digests[number], number)
    shared = []
    for number in range(len(train), len(rows)):
        row = rows[number]
        if number in overlapping:
            shared.append(Shared(row.id, rows[overlapping[number]].id, what=f"the same stretch of {row.audio}"))
        elif (origin := first.get(digests.get(number, b""))) is not None:
            shared.append(Shared(row.id, rows[origin].id, what=f"the same samples in {rows[origin].audio}"))
    return shared, unread


def _overlaps(train: Sequence[Utterance], test: Sequence[Utterance]) -> dict[int, int]:
    """Test rows, by number, that overlap in time with a training row of the same file, whose number is given."""
    by_path: dict[Path, list[int]] = defaultdict(list)
    for number, row in enumerate(train):
        by_path[row.audio].append(number)
    spans = {
        path: np.array([(train[number].start, train[number].start + train[number].duration) for number in numbers])
        for path, numbers in by_path.items()
    }
    overlaps = {}
    for number, row in enumerate(test, start=len(train)):
        if row.audio in spans:
            starts, ends = spans[row.audio].T
            common = np.flatnonzero((starts < row.start + row.duration) & (ends > row.start))
            if len(common):
                overlaps[number] = by_path[row.audio][common[0]]
    return overlaps


def _of_equal_length(
    train: Sequence[AudioFile], test: Sequence[AudioFile], known: set[int]
) -> tuple[list[AudioFile], list[str]]:
    """The stretches of either side that have a counterpart of the same rate and length; `known` ones need none."""
    unread: list[str] = []
    sides = [[(one, _lengths(one, unread)) for one in side] for side in (train, test)]
    keys = [{key for _, lengths in side for row, key in lengths.items() if row not in known} for side in sides]
    common = keys[0] & keys[1]
    alike = []
    for audio_file, lengths in (*sides[0], *sides[1]):
        stretches = tuple(
            one for one in audio_file.stretches if lengths.get(one.row) in common and one.row not in known
        )
        if stretches:
            alike.append(AudioFile(audio_file.path, stretches))
    return alike, unread


def _lengths(audio_file: AudioFile, unread: list[str]) -> dict[int, tuple[int, float]]:
    """Rate and number of samples of each stretch by its row, by the header; those without samples are left out."""
    try:
        info = audio_info(audio_file.path)
    except AudioError as error:
        unread.append(str(error))
        return {}
    bounds = {stretch.row: stretch.bounds(info.sample_rate) for stretch in audio_file.stretches}
    lengths = {row: min(end, info.num_samples) - begin for row, (begin, end) in bounds.items()}
    return {row: (info.sample_rate, length) for row, length in lengths.items() if length > 0}
