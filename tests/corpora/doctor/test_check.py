"""A corpus with one of every defect: each is found under its code, and nothing else is."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpora.doctor.check import check
from asr.corpora.doctor.codes import CODES, REJECTED
from asr.corpora.doctor.report import CheckReport
from asr.corpora.doctor.settings import CheckSettings, Judgement
from asr.data.manifest import read_manifest
from asr.data.manifest.rows import KEYS
from asr.data.requirements import ModelNeeds, Requirements
from asr.errors import ConfigError, ManifestError, TextError
from asr.features import Frontend
from asr.lengths import ctc_min_frames
from asr.text.tokenizer import Tokenizer

RATE = 8000  # Hz; the front-end's, too
TEXTS = [f"word {n % 10} word {n // 10}" for n in range(40)]  # 10 letters each
SECONDS = 1.4


def voice(seed: int, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Bursts of noise with pauses between, loud and quiet as speech is."""
    rng = np.random.default_rng(seed)
    num_samples = round(seconds * rate)
    loudness = np.repeat(rng.choice([0.002, 0.2], -(-num_samples // 400)), 400)[:num_samples]
    loudness[: rate // 50], loudness[rate // 50 : 3 * rate // 50] = 0.2, 0.002  # something of both in the shortest
    return (loudness * rng.uniform(-1, 1, num_samples)).astype(np.float32)


class Corpus:
    """A folder that fills with audio, and the manifest's lines with the codes each must get."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[bytes] = []
        self.expected: dict[int, list[str]] = {}

    def add(
        self, id: str, *codes: str, samples: np.ndarray | None = None, name: str = "", rate: int = RATE, **row: Any
    ):
        """One row, by default good; `samples` become its file, `name`."""
        name = name or f"{id}.wav"
        seconds = SECONDS
        if samples is not None:
            subtype = {".wav": "FLOAT", ".flac": "PCM_16"}[Path(name).suffix]
            soundfile.write(self.folder / name, samples, rate, subtype=subtype)
            seconds = len(samples) / rate
        full = {"id": id, "audio": name, "duration": seconds, "text": f"word 1 {id}"[:11].ljust(11, "w"), **row}
        self.add_line(json.dumps(full), *codes)

    def add_line(self, line: str | bytes, *codes: str) -> None:
        """Any line."""
        self.lines.append(line if isinstance(line, bytes) else line.encode())
        if codes:
            self.expected[len(self.lines)] = list(codes)

    @property
    def manifest(self) -> Path:
        path = self.folder / "raw.jsonl"
        path.write_bytes(b"\n".join(self.lines) + b"\n")
        return path


def cut(path: Path) -> None:
    """Lose the last third of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: 2 * len(content) // 3])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("planted")
    corpus = Corpus(folder)
    for number, text in enumerate(TEXTS):
        corpus.add(f"good{number}", samples=voice(number), text=text)
    plant_bad_lines(corpus)
    plant_bad_files(corpus)
    plant_bad_samples(corpus)
    plant_bad_texts(corpus)
    return corpus


def plant_bad_lines(corpus: Corpus) -> None:
    row = {"id": "x", "audio": "good1.wav", "duration": 1.4}
    corpus.add_line('{"id": "x", "audio"', "bad_row")
    corpus.add_line(b'{"id": "\xff"}', "bad_row")
    corpus.add_line(json.dumps({**row, "duration": "1.4"}), "bad_row")
    corpus.add_line(json.dumps({**row, "txet": "hi"}), "bad_row")
    corpus.add_line(json.dumps({**row, "text": "half \ud800"}), "bad_row")
    corpus.add_line(json.dumps({**row, "half \ud800": 1}), "bad_row")
    corpus.add_line("")
    corpus.add("good0", "duplicate_id", name="again.wav", samples=voice(90), text="word 5 wor1")


def plant_bad_files(corpus: Corpus) -> None:
    folder = corpus.folder
    corpus.add("missing", "missing")
    corpus.add("empty", "unreadable")
    (folder / "empty.wav").touch()
    corpus.add("notes", "unreadable")
    (folder / "notes.wav").write_text("buy milk", encoding="utf-8")
    corpus.add("folder", "unreadable")
    (folder / "folder.wav").mkdir()
    for number, (name, options) in enumerate(
        {"cut.wav": {}, "cut.flac": {}, "cut.ogg": {}, "cut.aiff": {}, "cut.mp3": {}}.items()
    ):
        soundfile.write(folder / name, voice(50 + number, 12.0), RATE, **options)
        cut(folder / name)
        corpus.add(f"cut{number}", "truncated", name=name, duration=12.0)


def plant_bad_samples(corpus: Corpus) -> None:
    rng = np.random.default_rng(1)
    with_nan = voice(60)
    with_nan[-1] = np.nan
    corpus.add("nan", "not_finite", samples=with_nan)
    with_spike = voice(60)
    with_spike[-1] = 3e38
    corpus.add("spike", "out_of_range", samples=with_spike)
    corpus.add("integers", "unscaled", samples=32768 * voice(57))
    opposed = np.stack([voice(58), -0.9 * voice(58)], axis=1)
    corpus.add("opposed", "opposite_phases", "channels", samples=opposed)
    corpus.add("zero", "all_zero", samples=np.zeros(11200, dtype=np.float32))
    corpus.add("late", "start_beyond_end", samples=voice(61), start=7.0)
    corpus.add("longer", "duration_mismatch", samples=voice(62), duration=1.6)
    corpus.add("shorter", "duration_mismatch", samples=voice(63), duration=1.2)
    corpus.add("near", samples=voice(64), duration=1.45)
    corpus.add("short", "too_short", "ctc_infeasible", samples=voice(65, 0.04))
    corpus.add("quiet", "silent", samples=1e-4 * voice(66))
    corpus.add("hiss", "silent", samples=rng.normal(0, 0.05, 11200).astype(np.float32))
    corpus.add("loud", "clipped", samples=np.clip(10 * voice(67), -1, 1))
    corpus.add("low", "clipped", samples=np.clip(10 * voice(68), -1, 1) * np.float32(0.3))
    corpus.add("fast", "sample_rate", samples=voice(69, rate=16000), rate=16000)
    corpus.add("stereo", "channels", samples=np.stack([voice(70), voice(71)], axis=1))
    corpus.add("long", "too_long", "speech_rate", samples=voice(72, 20.0))
    sixteen_bit = np.round(voice(73) * 32768).astype(np.float32) / 32768
    corpus.add("first", samples=sixteen_bit)
    corpus.add("second", "duplicate_audio", samples=sixteen_bit, name="second.flac")
    corpus.add("slow", "speech_rate", samples=voice(74, 8.0))
    soundfile.write(corpus.folder / "shared.wav", voice(75, 3.0), RATE, subtype="FLOAT")
    corpus.add("left", name="shared.wav")
    corpus.add("right", name="shared.wav", start=1.5)
    corpus.add("beyond", "duration_mismatch", name="shared.wav", start=2.0)


def plant_bad_texts(corpus: Corpus) -> None:
    corpus.add("mute", "empty_text", samples=voice(80), text=" ?! ")
    corpus.add("dense", "ctc_infeasible", samples=voice(81, 0.5), text="word 1 word 22")
    corpus.add("greek", "script", "unknown_token", samples=voice(82), text="word 1 w\N{GREEK SMALL LETTER OMICRON}rds")
    corpus.add("umlaut", "unknown_token", samples=voice(83), text="word 1 wörds")
    corpus.add("echo", "duplicate_text", samples=voice(84), text="WORD 3, word 0!")


@pytest.fixture(scope="session")
def requirements(frontend: Frontend) -> Requirements:
    from asr.text.tokenizer import CharConfig, train_tokenizer

    tokenizer: Tokenizer = train_tokenizer(CharConfig(), ["abcdefghijklmnopqrstuvwxyz 0123456789"])
    needs = ModelNeeds(
        tokenizer,
        frontend.sample_rate,
        feature_len=lambda num_samples: int(frontend.output_lens(torch.tensor(num_samples))),
        output_len=lambda frames: frames // 4,
        min_frames=((tokenizer, ctc_min_frames),),
    )
    return Requirements(max_duration=15.0, model=needs)


@pytest.fixture(scope="session")
def report(corpus: Corpus, requirements: Requirements) -> CheckReport:
    return check(corpus.manifest, requirements=requirements)


def codes_by_line(report: CheckReport) -> dict[int, list[str]]:
    found = defaultdict(list)
    for finding in report.findings:
        found[finding.line].append(finding.code)
    return dict(found)


def test_every_planted_defect_is_found_and_nothing_else(corpus: Corpus, report: CheckReport) -> None:
    assert codes_by_line(report) == corpus.expected
    assert {code for codes in corpus.expected.values() for code in codes} == set(CODES)


def test_rows_are_rejected_for_faults_and_kept_with_oddities(corpus: Corpus, report: CheckReport) -> None:
    wrong = {line for line, codes in corpus.expected.items() if REJECTED.keys() & set(codes)}
    assert set(report.rejected) == wrong
    assert len(report.kept) == len(report.lines) - len(wrong)


def test_processes_find_the_same(corpus: Corpus, requirements: Requirements, report: CheckReport) -> None:
    assert check(corpus.manifest, requirements=requirements, workers=2).findings == report.findings


def test_the_clean_manifest_holds_the_good_rows_and_rejected_rows_stand_beside_it(
    report: CheckReport, tmp_path: Path
) -> None:
    clean = tmp_path / "clean.jsonl"
    report.save(clean=clean)
    assert read_manifest(clean) == report.kept
    assert check(clean).rejected == {}
    rows = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["line"] for row in rows] == list(report.rejected)
    mute = next(row for row in rows if row["code"] == "empty_text")
    assert mute["reason"] == "no text is left after normalisation"
    assert (tmp_path / mute["row"]["audio"]).exists()
    assert next(row["row"] for row in rows if row["code"] == "bad_row") == '{"id": "x", "audio"'


def test_a_row_tells_all_it_is_rejected_for(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav", "duration": 1}\n', encoding="utf-8")
    report = check(tmp_path / "m.jsonl")
    with pytest.raises(ManifestError, match="no row is left"):
        report.save(clean=tmp_path / "clean.jsonl")
    row = json.loads((tmp_path / "rejected.jsonl").read_text(encoding="utf-8"))
    assert (row["code"], row["also"]) == ("missing", ["empty_text"])
    assert not (tmp_path / "clean.jsonl").exists()


def test_a_code_can_be_promoted_or_ignored(corpus: Corpus, requirements: Requirements) -> None:
    judgement = Judgement.parse(reject=["duplicate_audio"], ignore=["truncated", "script"])
    found = check(corpus.manifest, CheckSettings(judgement=judgement), requirements)
    rejected = {finding.id for findings in found.rejected.values() for finding in findings}
    kept = {utterance.id for utterance in found.kept}
    assert "second" in rejected
    assert {"cut0", "greek"} <= kept
    assert not {"truncated", "script"} & {finding.code for finding in found.findings}


@pytest.mark.parametrize(
    ("reject", "ignore", "message"),
    [
        (["silnt"], [], "unknown code 'silnt'; did you mean 'silent'?"),
        ([], ["bad_row"], "cannot be ignored"),
        (["silent"], ["silent"], "both rejected and ignored"),
    ],
)
def test_a_judgement_that_makes_no_sense_is_refused(reject: list[str], ignore: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Judgement.parse(reject, ignore)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        (CheckSettings(sample_rate=16000), "sample_rate"),
        (CheckSettings(num_channels=2), "channels"),
        (CheckSettings(scripts=frozenset({"greek"})), "script"),
        (CheckSettings(tolerance=0.01), "duration_mismatch"),
    ],
)
def test_what_is_expected_can_be_said(corpus: Corpus, report: CheckReport, expected: CheckSettings, code: str) -> None:
    def count(found: CheckReport) -> int:
        return sum(finding.code == code for finding in found.findings)

    assert count(check(corpus.manifest, expected)) > count(report)


def test_the_table_has_a_line_for_every_code_and_json_the_counts(report: CheckReport) -> None:
    told = report.to_json()
    assert list(report.table().columns[0].cells) == list(CODES)
    assert {code: entry["count"] for code, entry in told["codes"].items()} == {
        code: sum(finding.code == code for finding in report.findings) for code in CODES
    }
    assert told["kept"] + told["rejected"] == told["rows"] == len(report.lines)
    assert json.loads(json.dumps(told, ensure_ascii=False).encode()) == told
    first = told["codes"]["missing"]["first"]
    assert first["id"] == "missing"
    assert "missing.wav does not exist" in first["reason"]


def test_without_a_model_its_codes_are_said_to_be_unchecked(corpus: Corpus) -> None:
    found = check(corpus.manifest)
    assert "not checked without --model or --config: ctc_infeasible, unknown_token" in found.summary()
    assert not {"ctc_infeasible", "unknown_token"} & found.to_json()["codes"].keys()


def test_what_cannot_work_is_refused_before_the_audio_is_heard(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(TextError, match="did you mean 'basic'"):
        check(corpus.manifest, requirements=Requirements(normalizer="basics"))
    with pytest.raises(ManifestError, match="cannot read the manifest"):
        check(tmp_path / "missing.jsonl")
    (tmp_path / "blank.jsonl").write_text("\n\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="empty"):
        check(tmp_path / "blank.jsonl")


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(["a.wav", "\0", "x" * 5000]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
rows = st.fixed_dictionaries(
    {"id": st.just("a") | values, "audio": st.just("a.wav") | values, "duration": st.floats(0) | values},
    optional=dict.fromkeys(KEYS[3:], values),
)
lines = st.lists(st.binary(max_size=40) | rows.map(lambda row: json.dumps(row).encode()), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(lines, st.booleans())
def test_any_line_is_kept_or_rejected_and_never_stops_the_pass(
    corpus: Corpus, content: list[bytes], audio_matters: bool
) -> None:
    folder = corpus.folder / "any"
    folder.mkdir(exist_ok=True)
    path = folder / "m.jsonl"
    path.write_bytes(b'{"id": "good", "audio": "../good0.wav", "duration": 1.4}\n' + b"\n".join(content))
    ignored = ("empty_text",) if audio_matters else ("missing", "unreadable", "empty_text")
    report = check(path, CheckSettings(judgement=Judgement.parse((), ignored)))
    assert len(report.kept) + len(report.rejected) == len(report.lines)
    report.save(clean=folder / "clean.jsonl")
    assert read_manifest(folder / "clean.jsonl") == report.kept


def test_progress_counts_every_row(corpus: Corpus) -> None:
    seen: list[tuple[int, int]] = []
    check(corpus.manifest, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_nothing_is_rejected_of_a_clean_public_corpus(corpora: Path, tmp_path: Path) -> None:
    rows = []
    for path in sorted((corpora / "an4").rglob("*.sph"))[:40]:
        duration = soundfile.info(path).duration
        rows.append({"id": path.stem, "audio": str(path), "duration": duration, "text": path.stem.replace("-", " ")})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = check(tmp_path / "m.jsonl")
    assert len(report.kept) == 40
    assert not {"silent", "clipped", "duplicate_audio"} & {finding.code for finding in report.findings}
