"""How large a corpus is: hours, speakers, durations, words, and how many of its words another corpus lacks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr.audio.io import audio_info
from asr.corpora.doctor.corpus import num_characters
from asr.errors import AudioError
from asr.text.normalize import normalize
from asr.types import Utterance

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


@dataclass(frozen=True)
class UnknownWords:
    """The words of a corpus that another one lacks (out-of-vocabulary words)."""

    counts: Counter[str]  # how often each occurs
    num_words: int  # of the corpus, known or not
    num_types: int  # different words of the corpus

    @property
    def rate(self) -> float | None:
        """Share of the running words, 0..1; None without words."""
        return self.counts.total() / self.num_words if self.num_words else None

    @property
    def type_rate(self) -> float | None:
        """Share of the different words, 0..1; None without words."""
        return len(self.counts) / self.num_types if self.num_types else None


@dataclass(frozen=True)
class CorpusStats:
    """Numbers of a corpus. Arrays have one entry an utterance, (N,), in the order of the manifest."""

    normalizer: str
    seconds: np.ndarray
    num_words: np.ndarray
    num_characters: np.ndarray  # white space aside
    speaker_seconds: dict[str, float]  # by speaker, most speech first
    num_without_speaker: int
    words: Counter[str]
    characters: Counter[str]  # white space aside
    languages: Counter[str]
    num_texts: int  # different ones, empty ones aside
    num_empty: int
    formats: Counter[tuple[int, int]] | None  # utterances by (sample rate, channels); None if nobody asked
    unreadable: Sequence[str]  # reasons why headers could not be read
    unknown: UnknownWords | None  # None without another corpus

    @property
    def hours(self) -> float:
        """All durations together."""
        return float(self.seconds.sum()) / 3600

    @property
    def distributions(self) -> dict[str, np.ndarray]:
        """What quantiles tell about; rates are those of utterances with a text."""
        spoken = (self.num_characters > 0) & (self.seconds > 0)
        seconds = self.seconds[spoken]
        named = {
            "duration_seconds": self.seconds,
            "words_per_utterance": self.num_words,
            "words_per_second": self.num_words[spoken] / seconds,
            "characters_per_second": self.num_characters[spoken] / seconds,
            "minutes_per_speaker": np.array(list(self.speaker_seconds.values())) / 60,
        }
        return {name: values for name, values in named.items() if len(values)}

    def to_json(self) -> dict[str, Any]:
        """Everything but the entries of single utterances."""
        unknown = self.unknown
        return {
            "utterances": len(self.seconds),
            "hours": self.hours,
            "speakers": len(self.speaker_seconds),
            "speaker_hours": {name: seconds / 3600 for name, seconds in self.speaker_seconds.items()},
            "utterances_without_speaker": self.num_without_speaker,
            "languages": dict(self.languages.most_common()),
            "normalize": self.normalizer,
            "texts": self.num_texts,
            "empty_texts": self.num_empty,
            "words": self.words.total(),
            "vocabulary": len(self.words),
            "characters": self.characters.total(),
            "alphabet": dict(self.characters.most_common()),
            "distributions": {
                name: {**quantiles(values), "mean": float(values.mean())} for name, values in self.distributions.items()
            },
            "formats": [
                {"sample_rate": rate, "channels": channels, "utterances": count}
                for (rate, channels), count in self.formats.most_common()
            ]
            if self.formats is not None
            else None,
            "unreadable": list(self.unreadable),
            "oov": {
                "rate": unknown.rate,
                "type_rate": unknown.type_rate,
                "words": dict(unknown.counts.most_common()),
            }
            if unknown is not None
            else None,
        }


def measure(
    utterances: Sequence[Utterance],
    *,
    normalizer: str = "basic",
    known: Sequence[Utterance] | None = None,
    headers: bool = False,
) -> CorpusStats:
    """Measure a corpus of at least one utterance; words and characters are those of normalised texts.

    `known` is the corpus whose words count as known. With `headers`, the header of each audio file is read; one that
    cannot be is listed under `unreadable`. TextError if there is no such normaliser.
    """
    texts = [normalize(row.text, normalizer) for row in utterances]
    words = Counter(word for text in texts for word in text.split())
    speaker_seconds: dict[str, float] = defaultdict(float)
    for row in utterances:
        if row.speaker is not None:
            speaker_seconds[row.speaker] += row.duration
    formats, unreadable = _formats(utterances) if headers else (None, [])
    return CorpusStats(
        normalizer=normalizer,
        seconds=np.array([row.duration for row in utterances]),
        num_words=np.array([len(text.split()) for text in texts]),
        num_characters=np.array([num_characters(text) for text in texts]),
        speaker_seconds=dict(sorted(speaker_seconds.items(), key=lambda item: (-item[1], item[0]))),
        num_without_speaker=sum(row.speaker is None for row in utterances),
        words=words,
        characters=_characters(words),
        languages=Counter(row.lang for row in utterances if row.lang is not None),
        num_texts=len(set(filter(None, texts))),
        num_empty=texts.count(""),
        formats=formats,
        unreadable=unreadable,
        unknown=_unknown(words, known, normalizer) if known is not None else None,
    )


def quantiles(values: np.ndarray) -> dict[str, float]:
    """The QUANTILES of at least one value."""
    found = np.quantile(values, list(QUANTILES.values()))
    return dict(zip(QUANTILES, map(float, found), strict=True))


def _characters(words: Counter[str]) -> Counter[str]:
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    return characters


def _unknown(words: Counter[str], known: Sequence[Utterance], normalizer: str) -> UnknownWords:
    vocabulary = {word for row in known for word in normalize(row.text, normalizer).split()}
    unknown = Counter({word: count for word, count in words.items() if word not in vocabulary})
    return UnknownWords(unknown, words.total(), len(words))


def _formats(utterances: Sequence[Utterance]) -> tuple[Counter[tuple[int, int]], list[str]]:
    """Utterances by rate and channels, and what kept headers from being read."""
    in_file = Counter(row.audio for row in utterances)
    formats: Counter[tuple[int, int]] = Counter()
    unreadable = []
    for path, count in in_file.items():
        try:
            info = audio_info(path)
        except AudioError as error:
            unreadable.append(str(error))
        else:
            formats[info.sample_rate, info.num_channels] += count
    return formats, unreadable
