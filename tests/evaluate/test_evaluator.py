"""Evaluation: every utterance counts, both sides are normalised alike, seen and unseen texts are told apart."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jiwer
import pytest

from asr import Recognizer
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, SearchRequest, choose_decoding
from asr.bundle.training_texts import TrainingTexts
from asr.data.manifest import read_manifest, write_manifest
from asr.errors import AudioError, ManifestError, TextError
from asr.evaluate.evaluation import Evaluation
from asr.evaluate.evaluator import evaluate
from asr.evaluate.report import silence, table, without_text
from asr.experiments.summary import trained_steps
from asr.transcribe.segmentation import SegmentationConfig
from asr.types import Utterance


@pytest.fixture
def bundle(workspace: Path) -> Bundle:
    return Bundle.load(workspace / "model")


@pytest.fixture
def search(bundle: Bundle) -> Decoding:
    return Decoding(bundle.spec.search)


def everything(workspace: Path) -> list[Utterance]:
    return read_manifest(workspace / "train.jsonl") + read_manifest(workspace / "dev.jsonl")


def test_texts_are_those_of_the_recognizer_in_manifest_order(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    write_manifest(workspace / "all.jsonl", reversed(everything(workspace)))
    result = evaluate(bundle, workspace / "all.jsonl", search)
    recognizer = Recognizer.load(workspace / "model", "cpu", segmentation=SegmentationConfig(vad=None))
    expected = {f"u{n}": recognizer.transcribe(workspace / "audio" / f"{n}.wav").text for n in reversed(range(6))}
    assert list(result.hypotheses.items()) == list(expected.items())


@pytest.mark.parametrize("name", ["ctc_greedy", "attention_greedy"])
def test_results_do_not_depend_on_the_batch_size(workspace: Path, bundle: Bundle, name: str) -> None:
    write_manifest(workspace / "all.jsonl", everything(workspace))
    results = [
        evaluate(
            bundle,
            workspace / "all.jsonl",
            choose_decoding(bundle, workspace / "model", SearchRequest(name)),
            max_batch_seconds=seconds,
        )
        for seconds in (0.1, 5.0, 100.0)
    ]
    assert [result.num_batches for result in results] == [6, 3, 1]
    assert results[0].hypotheses == results[1].hypotheses == results[2].hypotheses
    first, last = results[0].to_json(), results[2].to_json()
    assert first.pop("confidence")["ece"] == pytest.approx(last.pop("confidence")["ece"], abs=1e-5)
    assert first == last


def test_saved_files_say_the_same_as_jiwer(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    evaluate(bundle, workspace / "train.jsonl", search).save(workspace / "out")
    rows = [json.loads(line) for line in (workspace / "out/hypotheses.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [["id", "text", "reference", "confidence"]] * 4
    result = json.loads((workspace / "out/wer.json").read_text())
    expected = jiwer.process_words([row["reference"] for row in rows], [row["text"] for row in rows])
    assert result["wer"] == expected.wer
    assert (result["substitutions"], result["deletions"], result["insertions"], result["hits"]) == (
        expected.substitutions,
        expected.deletions,
        expected.insertions,
        expected.hits,
    )
    keys = ["wer", "cer", "substitutions", "deletions", "insertions", "hits", "reference_words", "utterances", "ci95"]
    assert [key for key in result if key in keys] == keys
    assert {"align", "normalize", "strata", "search"} <= set(result)


def test_an_utterance_too_short_for_the_model_counts_as_deleted(
    workspace: Path, bundle: Bundle, search: Decoding
) -> None:
    first, second = read_manifest(workspace / "dev.jsonl")
    short = Utterance("short", first.audio, 0.01, "two words")
    write_manifest(workspace / "short.jsonl", [short, second])
    with pytest.warns(UserWarning, match="1 utterance is too short for the model and counted as not recognised: short"):
        result = evaluate(bundle, workspace / "short.jsonl", search)
    assert result.hypotheses["short"] == ""
    assert result.score.words.reference_length == 2 + len(second.text.split())
    assert result.score.counts(0).deletions == 2


def test_both_sides_are_normalised_as_in_training(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    text = evaluate(bundle, workspace / "dev.jsonl", search).hypotheses["u5"]
    row = next(row for row in everything(workspace) if row.id == "u5")
    write_manifest(workspace / "loud.jsonl", [Utterance(row.id, row.audio, row.duration, f"{text.upper()} !")])
    assert evaluate(bundle, workspace / "loud.jsonl", search).score.words.rate != 0
    config = bundle.spec.model_copy(update={"normalize": "basic"})
    basic = Bundle(config, bundle.frontend, bundle.tokenizers, bundle.model)
    result = evaluate(basic, workspace / "loud.jsonl", search)
    assert result.score.words.rate == 0
    assert result.to_json()["normalize"] == "basic"
    named = evaluate(bundle, workspace / "loud.jsonl", search, normalizer="basic")
    assert (named.score.words.rate, named.to_json()["normalize"]) == (0, "basic")


def test_seen_texts_are_those_of_training_under_any_normaliser(
    workspace: Path, bundle: Bundle, search: Decoding
) -> None:
    training_texts = TrainingTexts.load(workspace / "model")
    result = evaluate(bundle, workspace / "dev.jsonl", search, training_texts=training_texts, normalizer="upper")
    assert result.strata["seen"] is not None
    assert result.strata["seen"].ids == ("u5",)


def test_a_normaliser_that_is_unknown_is_named_before_any_work(
    workspace: Path, bundle: Bundle, search: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "with_dtype", None)  # what comes next
    with pytest.raises(TextError, match="unknown normaliser 'englisch'; did you mean 'english'"):
        evaluate(bundle, workspace / "dev.jsonl", search, normalizer="englisch")


def strata(workspace: Path, bundle: Bundle, search: Decoding) -> Evaluation:
    training_texts = TrainingTexts.load(workspace / "model")
    return evaluate(bundle, workspace / "dev.jsonl", search, training_texts=training_texts)


def test_texts_seen_in_training_are_scored_apart(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    result = strata(workspace, bundle, search)
    assert result.strata["seen"] is not None
    assert result.strata["unseen"] is not None
    assert result.strata["seen"].ids == ("u5",)  # "one two three" is u0's text, too
    assert result.strata["unseen"].ids == ("u4",)


def test_without_a_record_of_training_texts_there_are_no_strata(
    workspace: Path, bundle: Bundle, search: Decoding
) -> None:
    (workspace / "model/training_texts.bin").unlink()
    assert strata(workspace, bundle, search).to_json()["strata"] == {}


def test_a_stratum_without_utterances_is_null(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    write_manifest(workspace / "dev.jsonl", read_manifest(workspace / "train.jsonl"))
    assert strata(workspace, bundle, search).to_json()["strata"]["unseen"] is None


def test_the_table_has_a_row_for_all_and_for_each_stratum(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    *lines, confidence = table(strata(workspace, bundle, search)).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["all", "seen", "unseen"]
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"confidence: ECE \d+\.\d\d % over \d+ words", confidence)


def test_audio_that_cannot_be_read_stops_the_evaluation(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    (workspace / "audio/5.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="utterance 'u5'"):
        evaluate(bundle, workspace / "dev.jsonl", search)


def test_a_manifest_without_texts_is_refused_and_empty_ones_among_others_are_told(
    workspace: Path, bundle: Bundle, search: Decoding
) -> None:
    rows = read_manifest(workspace / "dev.jsonl")
    write_manifest(workspace / "untold.jsonl", [replace(row, text=" ") for row in rows])
    with pytest.raises(ManifestError, match=r"untold\.jsonl: no row has a text to compare with; `asr transcribe"):
        evaluate(bundle, workspace / "untold.jsonl", search)
    assert without_text(evaluate(bundle, workspace / "dev.jsonl", search)) is None
    write_manifest(workspace / "some.jsonl", [replace(rows[0], text=""), *rows[1:]])
    told = without_text(evaluate(bundle, workspace / "some.jsonl", search))
    assert told == "1 of 2 utterances without a text, 'u4' for one: every word recognised there counts as inserted"


def test_an_empty_manifest_is_refused(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    (workspace / "empty.jsonl").touch()
    with pytest.raises(ManifestError, match="empty"):
        evaluate(bundle, workspace / "empty.jsonl", search)


def test_progress_counts_up_to_all(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(bundle, workspace / "train.jsonl", search, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("name", ["ctc_greedy", "attention_greedy"])
def test_every_word_has_a_confidence_and_is_right_or_wrong(workspace: Path, bundle: Bundle, name: str) -> None:
    result = evaluate(
        bundle, workspace / "train.jsonl", choose_decoding(bundle, workspace / "model", SearchRequest(name))
    )
    assert result.calibration is not None
    assert result.calibration.words == sum(len(text.split()) for text in result.hypotheses.values())
    right = sum((bin.accuracy or 0) * bin.words for bin in result.calibration.bins)
    assert right == pytest.approx(result.score.words.hits)
    assert all(0 <= (confidence or 0) <= 1 for confidence in result.confidences.values())
    result.save(workspace / "out")
    rows = [json.loads(line) for line in (workspace / "out/hypotheses.jsonl").read_text().splitlines()]
    assert {row["id"]: row["confidence"] for row in rows} == result.confidences
    assert json.loads((workspace / "out/wer.json").read_text())["confidence"]["words"] == result.calibration.words


def test_an_utterance_without_words_has_no_confidence(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    first, second = read_manifest(workspace / "dev.jsonl")
    write_manifest(workspace / "short.jsonl", [Utterance("short", first.audio, 0.01, "two words"), second])
    with pytest.warns(UserWarning, match="too short"):
        result = evaluate(bundle, workspace / "short.jsonl", search)
    assert result.confidences["short"] is None
    assert result.confidences[second.id] is not None


def test_the_reliability_of_confidences_is_drawn(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    pytest.importorskip("matplotlib")
    evaluate(bundle, workspace / "dev.jsonl", search).save(workspace / "out")
    assert (workspace / "out/reliability.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_shows_the_worst_with_the_words_heard_where_they_are(
    workspace: Path, bundle: Bundle, search: Decoding
) -> None:
    result = evaluate(bundle, workspace / "dev.jsonl", search, num_worst=1)
    (name,) = result.worst
    assert " ".join(word.text for word in result.worst[name]) == result.hypotheses[name]
    duration = {utterance.id: utterance.duration for utterance in result.utterances}[name]
    moments = [moment for word in result.worst[name] for moment in (word.start, word.end)]
    assert moments == sorted(moments)
    assert 0 <= moments[0] <= moments[-1] <= duration
    assert result.save(workspace / "out", workspace / "model") == []
    page = (workspace / "out/report.html").read_text(encoding="utf-8")
    assert "<title>model on dev.jsonl</title>" in page
    assert page.count("data:image/png") == 1
    assert '"../audio/4.wav"' in page


@pytest.mark.parametrize(
    ("num_empty", "warning"),
    [
        (6, "the model writes nothing: trained for 2 steps"),
        (2, "2 of 6 utterances: no words recognised"),
        (0, None),
    ],
)
def test_many_hypotheses_without_a_word_are_worth_a_warning(
    workspace: Path, bundle: Bundle, search: Decoding, num_empty: int, warning: str | None
) -> None:
    write_manifest(workspace / "all.jsonl", everything(workspace))
    result = evaluate(bundle, workspace / "all.jsonl", search)
    texts = {id: "" if number < num_empty else "one" for number, id in enumerate(result.hypotheses)}
    assert silence(replace(result, hypotheses=texts), 2) == warning


def test_silence_that_is_transcribed_as_such_is_right(workspace: Path, bundle: Bundle, search: Decoding) -> None:
    spoken, *silent = everything(workspace)
    write_manifest(workspace / "all.jsonl", [spoken, *(replace(row, text="") for row in silent)])
    result = evaluate(bundle, workspace / "all.jsonl", search)
    right = {**dict.fromkeys(result.hypotheses, ""), spoken.id: spoken.text}
    assert silence(replace(result, hypotheses=right), 2) is None


def test_the_steps_of_a_model_are_those_of_its_log(workspace: Path) -> None:
    records = [json.loads(line) for line in (workspace / "model/training/train.jsonl").read_text("utf-8").splitlines()]
    assert trained_steps(workspace / "model") == max(record.get("step", 0) for record in records) > 0
    (workspace / "model/training/train.jsonl").unlink()
    assert trained_steps(workspace / "model") is None
