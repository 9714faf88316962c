"""speechocean762: official sets, balanced dev speakers, a strict test set without texts of training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asr.corpora.recipe import read_table
from asr.data.manifest import read_manifest
from asr.errors import AsrError

SPLITS = ("train", "dev", "test", "test_strict")
SPEAKERS = [f"{number:04d}" for number in range(24)]  # half women, half of each children


def write_table(path: Path, rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}\t{value}\n" for key, value in rows.items()))


@pytest.fixture
def corpus(tmp_path: Path, make_audio: Any) -> Path:
    """24 training speakers and one for test in the official layout, two utterances each."""
    root = tmp_path / "speechocean762"
    for name, speakers in (("train", SPEAKERS), ("test", ["9999"])):
        ids = {f"{speaker}{number}": speaker for speaker in speakers for number in "12"}
        texts = (
            {id: f"WE CALL IT {id}" for id in ids}
            if name == "train"
            else {"99991": "IT'S NEW", "99992": "WE CALL IT 00011"}
        )
        audio = {id: f"WAVE/SPEAKER{speaker}/{id}.WAV" for id, speaker in ids.items()}
        write_table(root / name / "text", texts)
        write_table(root / name / "utt2spk", ids)
        write_table(root / name / "wav.scp", audio)
        write_table(root / name / "spk2gender", {speaker: "fm"[int(speaker) % 2] for speaker in speakers})
        write_table(root / name / "spk2age", {speaker: "8" if int(speaker) % 4 < 2 else "30" for speaker in speakers})
        for path in audio.values():
            make_audio(root / path)
    return root


def test_sets_texts_and_speakers_are_the_official_ones(corpus: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("speechocean762").prepare(corpus, tmp_path)
    train, dev, test, strict = (read_manifest(tmp_path / f"{name}.jsonl") for name in SPLITS)
    assert [len(rows) for rows in (train, dev, test, strict)] == [24, 24, 2, 1]
    assert {row.speaker for row in train} ^ {row.speaker for row in dev} == set(SPEAKERS)
    assert [(row.id, row.text, row.speaker, row.lang, row.duration) for row in test] == [
        ("99991", "IT'S NEW", "9999", "en", 0.5),
        ("99992", "WE CALL IT 00011", "9999", "en", 0.5),
    ]
    assert [row.id for row in strict] == ["99991"]


def test_dev_speakers_have_every_gender_and_age_in_proportion(corpus: Path, load_recipe: Any):
    genders, ages = (read_table(corpus / "train" / name) for name in ("spk2gender", "spk2age"))
    held_out = load_recipe("speechocean762").dev_speakers(corpus)
    assert Counter((genders[speaker], ages[speaker]) for speaker in held_out) == dict.fromkeys(
        [("f", "8"), ("f", "30"), ("m", "8"), ("m", "30")], 3
    )


def test_lists_that_disagree_are_named_with_the_utterance(corpus: Path, tmp_path: Path, load_recipe: Any):
    path = corpus / "train" / "utt2spk"
    path.write_text(path.read_text().replace("00031\t0003\n", ""))
    with pytest.raises(AsrError, match=r"train: text, utt2spk and wav\.scp disagree about '00031'"):
        load_recipe("speechocean762").prepare(corpus, tmp_path)


def test_the_real_corpus_has_2500_training_utterances_and_twelve_dev_speakers(
    corpora: Path, tmp_path: Path, load_recipe: Any
):
    load_recipe("speechocean762").prepare(corpora / "speechocean762", tmp_path)
    train, dev, test, strict = (read_manifest(tmp_path / f"{name}.jsonl") for name in SPLITS)
    assert len(train) + len(dev) == 2500
    assert [len({row.speaker for row in rows}) for rows in (train, dev)] == [113, 12]
    assert not {row.speaker for row in test} & {row.speaker for row in [*train, *dev]}
    known = {row.text for row in [*train, *dev]}
    assert [row.id for row in strict] == [row.id for row in test if row.text not in known]
    assert 0 < len(strict) < len(test)
