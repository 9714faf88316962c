"""One pass over a corpus finds what checking and hashing every row find, and its outcome is kept for the same needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.training_texts import TrainingTexts
from asr.config import Experiment, load_experiment
from asr.data.manifest import line_files, open_manifest, read_manifest, write_manifest
from asr.data.manifest.table import Table
from asr.data.requirements import check_rows
from asr.experiments import survey as survey_module
from asr.experiments.requirements import requirements, requirements_key
from asr.experiments.survey import survey
from asr.text.normalize import normalize
from asr.text.tokenizer import train_tokenizer
from asr.types import Utterance


@pytest.fixture
def bundle(workspace: Path) -> Bundle:
    return Bundle.load("model")


@pytest.fixture
def manifest(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 rows, every seventh without text and every eleventh too short, too many to hold and in chunks of eight."""
    monkeypatch.setattr(line_files, "HELD_BYTES", 0)
    monkeypatch.setattr(survey_module, "CHUNK_ROWS", 8)
    path = workspace / "many.jsonl"
    write_manifest(path, rows(workspace))
    return path


def rows(folder: Path) -> Iterator[Utterance]:
    for number in range(60):
        text = "" if number % 7 == 0 else "one two" if number % 2 else f"{'three ' * (number % 5)}four"
        seconds = 0.01 if number % 11 == 10 else 2.0
        yield Utterance(f"u{number}", folder / "a.wav", seconds, text, speaker=f"s{number % 4}" if number % 3 else None)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_finds_what_a_look_at_each_row_finds(
    workers: int, bundle: Bundle, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "num_cores", lambda: workers)
    monkeypatch.setattr(survey_module, "POOLED_CHUNKS", 2)
    table, listed = open_manifest(manifest), read_manifest(manifest)
    needs = requirements(bundle.experiment, bundle)
    found = survey(table, needs, key="a", texts_as=needs.normalizer)
    expected = check_rows(listed, needs)
    assert found.set_aside.counts == expected.counts == {"empty_text": 9, "too_short": 4}
    assert list(found.set_aside.others(table)) == list(expected.others(listed))
    assert found.set_aside.examples == expected.examples
    texts = TrainingTexts.collect(
        (normalize(row.text, needs.normalizer) for row in listed), (row.speaker for row in listed if row.speaker)
    )
    assert found.texts is not None
    assert found.texts.hashes.tolist() == texts.hashes.tolist() == sorted(set(texts.hashes.tolist()))


def test_the_outcome_is_kept_for_the_same_needs_only(
    bundle: Bundle, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = requirements(bundle.experiment, bundle)
    first = survey(open_manifest(manifest), needs, key="a", texts_as=needs.normalizer)
    read: list[int] = []
    listed = Table._listed
    monkeypatch.setattr(Table, "_listed", lambda self, numbers: read.append(len(numbers)) or listed(self, numbers))
    again = survey(open_manifest(manifest), needs, key="a", texts_as=None)
    assert read == []
    assert again.texts is None
    assert again.set_aside.found.tolist() == first.set_aside.found.tolist()
    assert again.set_aside.examples == first.set_aside.examples
    survey(open_manifest(manifest), needs, key="b", texts_as=None)
    assert sum(read) == 60


def test_needs_have_a_key_of_their_own(bundle: Bundle) -> None:
    def key(*overrides: str, of: Bundle = bundle) -> str:
        config: Experiment = load_experiment(Path("experiment.yaml"), overrides)
        return requirements_key(config, of)

    assert key() == key("optimizer.lr=1.0", "data.num_workers=3", "training.epochs=9")
    changes = (
        "normalize=basic",
        "data.max_duration=3.0",
        "data.min_duration=0.2",
        "augment={speed_range: [0.5, 2.0]}",
        "heads.ctc.intermediate={layers: [1]}",
        "frontend.features={name: fbank, num_mel_bins: 40}",
        "encoder.subsampling.factor=2",
    )
    keys = [key(), *(key(change) for change in changes)]
    other = replace(bundle, tokenizers={"main": train_tokenizer(bundle.experiment.tokenizer, ["abc"])})
    assert len({*keys, key(of=other)}) == len(changes) + 2


def test_rows_in_memory_leave_nothing_behind(bundle: Bundle, manifest: Path) -> None:
    listed = read_manifest(manifest)
    found = survey(listed, requirements(bundle.experiment, bundle), key="a", texts_as=None)
    assert len(found.set_aside) == 13
    assert list(found.set_aside.others(listed)) == [
        row for number, row in enumerate(listed) if number % 7 and number % 11 != 10
    ]
    assert replace(listed[0]) == found.set_aside.examples[0].utterance
