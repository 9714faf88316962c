"""The examination of a manifest: its lines, one pass over the audio, the texts, then rows compared with each other."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.corpora.doctor.audio import AudioFault, Measurement, audio_files
from asr.corpora.doctor.codes import Finding
from asr.corpora.doctor.corpus import (
    common_scripts,
    most_common,
    num_characters,
    repeats,
    scripts_of,
    unusual_durations,
)
from asr.corpora.doctor.pool import examine_all
from asr.corpora.doctor.report import CheckReport
from asr.corpora.doctor.settings import CheckSettings
from asr.data.manifest import ManifestLine, read_lines
from asr.data.requirements import Requirements
from asr.errors import ManifestError
from asr.system.display import counted
from asr.text.normalize import normalize
from asr.types import Utterance

QUIET = -60.0  # dB of full scale; no frame of 20 ms above it is silence
STEADY = 6.0  # dB; audio that never rises further above its quiet moments is noise, speech rises by 10 to 60
STEADY_SECONDS = 0.5  # shorter audio may be one vowel
CLIPPED = 0.0005  # share of samples in flat tops; none in four corpora of clean speech
CLIPPED_SAMPLES = 10  # a short file of few levels has a flat top or two
FLAT_LEVEL = 0.1  # of full scale; the peaks of quieter audio are flat because it has few levels


@dataclass(frozen=True)
class _Row:
    """A line that is an utterance, and what its audio turned out to be."""

    line: int
    utterance: Utterance
    measured: Measurement | AudioFault

    @property
    def seconds(self) -> float:
        """Length of the audio: as the manifest says, unless the file ends before; as it says if nothing can be read."""
        if isinstance(self.measured, AudioFault) or not self.measured.num_samples:
            return self.utterance.duration
        return min(self.utterance.duration, self.measured.seconds)


def check(
    manifest: Path,
    settings: CheckSettings | None = None,
    requirements: Requirements | None = None,
    *,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """Examine every row of a manifest and every sample it names; each audio file is decoded once.

    `on_progress` gets the number of rows examined and of all rows. The result does not depend on `workers`, the
    number of processes. Nothing stops it but a manifest that cannot be read or is empty (ManifestError) and a
    normaliser that does not exist (TextError).
    """
    settings, requirements = settings or CheckSettings(), requirements or Requirements()
    lines = list(read_lines(manifest))
    if not lines:
        raise ManifestError(f"{manifest}: the manifest is empty; prepare the corpus again")
    began = time.monotonic()
    normalize("", requirements.normalizer)  # rather now than after hours of audio
    findings = list(_line_findings(lines))
    utterances = [(line.number, line.utterance) for line in lines if line.utterance and _writable(line.utterance)]
    measurements: dict[int, Measurement | AudioFault] = {}
    for results in examine_all(audio_files(utterances), workers):
        measurements.update(results)
        on_progress(len(measurements), len(utterances))
    rows = [_Row(number, utterance, measurements[number]) for number, utterance in utterances]
    for row in rows:
        findings += _findings(row, _audio_faults(row, settings))
        findings += _findings(row, requirements.faults(row.utterance.text, row.seconds))
    severity = settings.judgement.severity
    lost = {finding.line for finding in findings if severity(finding.code) == "reject"}
    usable_rows = [row for row in rows if row.line not in lost]
    settings = _expectations(usable_rows, settings)
    for row in usable_rows:
        findings += _findings(row, _format_faults(row, settings))
    findings += _corpus_findings(usable_rows, requirements.normalizer)
    report = CheckReport.collect(manifest, lines, findings, requirements, settings)
    return replace(report, workers=workers, seconds=time.monotonic() - began)


def _line_findings(lines: Sequence[ManifestLine]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for line in lines:
        if line.utterance is None:
            yield Finding(line.number, None, "bad_row", str(line.error).encode(errors="replace").decode())
        elif not _writable(line.utterance):
            yield Finding(line.number, None, "bad_row", "holds half a character (a lone surrogate); write it again")
        elif (origin := first.setdefault(line.utterance.id, line.number)) != line.number:
            yield Finding(line.number, line.utterance.id, "duplicate_id", f"the same id stands in line {origin}")


def _writable(utterance: Utterance) -> bool:
    """Whether its strings are whole characters: JSON can spell halves, which no file can hold."""
    try:
        "".join(
            (utterance.id, str(utterance.audio), utterance.text, utterance.speaker or "", utterance.lang or "")
        ).encode()
    except UnicodeEncodeError:
        return False
    return True


def _findings(row: _Row, faults: Iterator[tuple[str, str]]) -> Iterator[Finding]:
    for code, reason in faults:
        yield Finding(row.line, row.utterance.id, code, reason)


def _audio_faults(row: _Row, settings: CheckSettings) -> Iterator[tuple[str, str]]:
    """Everything wrong with a row's samples, format aside."""
    measured, utterance = row.measured, row.utterance
    if isinstance(measured, AudioFault):
        yield measured.code, measured.reason
        return
    if not measured.num_samples:
        yield "start_beyond_end", f"starts at {utterance.start:.2f} s, the audio has {measured.file_seconds:.2f} s"
        return
    if abs(measured.seconds - utterance.duration) > settings.tolerance:
        there = f"{measured.seconds:.2f} s" if utterance.start == 0 else f"{measured.seconds:.2f} s from there on"
        yield "duration_mismatch", f"{utterance.duration:.2f} s in the manifest, the audio has {there}"
    yield from measured.doubts
    if measured.peak == 0:
        yield "all_zero", f"all {measured.num_samples} samples are 0"
    elif measured.loudest < QUIET:
        yield "silent", f"nothing is louder than {measured.loudest:.0f} dB of full scale"
    elif measured.seconds >= STEADY_SECONDS and measured.rise < STEADY:
        yield "silent", f"steady noise, nothing rises more than {measured.rise:.1f} dB above it"
    is_scaled = "unscaled" not in dict(measured.doubts)  # or all above full scale would count as cut off there
    if (
        is_scaled
        and measured.peak >= FLAT_LEVEL
        and measured.clipped * measured.num_samples > max(CLIPPED_SAMPLES, CLIPPED * measured.num_samples)
    ):
        yield "clipped", f"{100 * measured.clipped:.2f} % of the samples are cut off at the peaks"


def _expectations(rows: Sequence[_Row], settings: CheckSettings) -> CheckSettings:
    """The settings, with what was left open taken from the corpus."""
    measurements = [row.measured for row in rows if isinstance(row.measured, Measurement)]
    return replace(
        settings,
        sample_rate=settings.sample_rate or most_common(measured.sample_rate for measured in measurements),
        num_channels=settings.num_channels or most_common(measured.num_channels for measured in measurements),
        scripts=settings.scripts or common_scripts(row.utterance.text for row in rows),
    )


def _format_faults(row: _Row, settings: CheckSettings) -> Iterator[tuple[str, str]]:
    """How a row differs from what is expected of all."""
    if isinstance(row.measured, Measurement):
        if row.measured.sample_rate != settings.sample_rate:
            yield "sample_rate", f"{row.measured.sample_rate} Hz, {settings.sample_rate} Hz are expected"
        if row.measured.num_channels != settings.num_channels:
            yield "channels", f"{row.measured.num_channels} channels, expected: {settings.num_channels}"
    if strange := scripts_of(row.utterance.text) - settings.scripts:
        letters = dict.fromkeys(letter for letter in row.utterance.text if scripts_of(letter) & strange)
        yield "script", f"{', '.join(sorted(strange))}: {' '.join(list(letters)[:10])}"


def _corpus_findings(rows: Sequence[_Row], normalizer: str) -> Iterator[Finding]:
    """Duplicates, which are those after the first, and rows far from the corpus's rate of speech."""
    readable = [(row, row.measured.digest) for row in rows if isinstance(row.measured, Measurement)]
    for position, origin in repeats(digest for _, digest in readable):
        yield _duplicate(readable[position][0], readable[origin][0], "duplicate_audio", "samples")
    texts = [normalize(row.utterance.text, normalizer) for row in rows]
    spoken = [(row, text) for row, text in zip(rows, texts, strict=True) if text]
    for position, origin in repeats(text for _, text in spoken):
        yield _duplicate(spoken[position][0], spoken[origin][0], "duplicate_text", "text")
    by_language: dict[str | None, list[tuple[_Row, int]]] = defaultdict(list)
    for row, text in spoken:
        by_language[row.utterance.lang].append((row, num_characters(text)))
    for group in by_language.values():
        unusual = unusual_durations([count for _, count in group], [row.seconds for row, _ in group])
        for position, usual in unusual.items():
            row, count = group[position]
            reason = f"{counted(count, 'character')} in {row.seconds:.2f} s; {usual:.1f} s would be usual here"
            yield Finding(row.line, row.utterance.id, "speech_rate", reason)


def _duplicate(row: _Row, original: _Row, code: str, what: str) -> Finding:
    reason = f"the same {what} as '{original.utterance.id}' in line {original.line}"
    return Finding(row.line, row.utterance.id, code, reason)
