"""The numbers of a corpus are those one counts by hand."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from asr.corpora.stats import CorpusStats, measure
from asr.corpora.stats_report import draw, tables
from asr.errors import AsrError
from asr.types import Utterance


def corpus(folder: Path = Path("/nowhere")) -> list[Utterance]:
    return [
        Utterance("a", folder / "a.wav", 2.0, "One two!", speaker="ann", lang="en"),
        Utterance("b", folder / "b.wav", 4.0, "one two three", speaker="ann", lang="en"),
        Utterance("c", folder / "c.wav", 6.0, "vier", speaker="bob", lang="de"),
        Utterance("d", folder / "c.wav", 8.0, " ", start=6.0),
    ]


def shown(stats: CorpusStats) -> str:
    console = Console(width=300)
    with console.capture() as capture:
        for table in tables(stats):
            console.print(table)
    return capture.get()


def test_everything_is_counted():
    told = measure(corpus()).to_json()
    assert told["utterances"] == 4
    assert told["hours"] == pytest.approx(20 / 3600)
    assert told["speaker_hours"] == pytest.approx({"ann": 6 / 3600, "bob": 6 / 3600})
    assert told["utterances_without_speaker"] == 1
    assert told["languages"] == {"en": 2, "de": 1}
    assert (told["texts"], told["empty_texts"], told["words"], told["vocabulary"]) == (3, 1, 6, 4)
    assert told["characters"] == 6 + 11 + 4
    assert told["alphabet"]["e"] == 2 + 2 + 1
    assert told["formats"] is None
    assert told["oov"] is None
    assert json.loads(json.dumps(told)) == told


def test_quantiles_are_those_of_numpy_and_rates_leave_out_empty_texts():
    found = measure(corpus()).to_json()["distributions"]
    assert found["duration_seconds"]["p25"] == pytest.approx(np.quantile([2, 4, 6, 8], 0.25))
    assert found["words_per_second"]["min"] == pytest.approx(1 / 6)
    assert found["characters_per_second"]["mean"] == pytest.approx(np.mean([6 / 2, 11 / 4, 4 / 6]))
    assert found["minutes_per_speaker"]["max"] == pytest.approx(0.1)


def test_words_that_another_corpus_lacks_are_counted():
    known = [Utterance("k", Path("/k.wav"), 1.0, "ONE")]
    told = measure(corpus(), known=known).to_json()["oov"]
    assert told["rate"] == pytest.approx(4 / 6)
    assert told["type_rate"] == pytest.approx(3 / 4)
    assert told["words"] == {"two": 2, "three": 1, "vier": 1}
    assert measure(corpus(), known=known, normalizer="none").unknown.counts["One"] == 1


def test_headers_tell_formats_by_utterance_and_what_could_not_be_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((800, 2)), 8000)
    soundfile.write(tmp_path / "c.wav", np.zeros(1600), 16000)
    told = measure(corpus(tmp_path), headers=True).to_json()
    assert told["formats"] == [
        {"sample_rate": 16000, "channels": 1, "utterances": 2},
        {"sample_rate": 8000, "channels": 2, "utterances": 1},
    ]
    (reason,) = told["unreadable"]
    assert "b.wav" in reason


def test_tables_show_numbers_and_a_histogram_whose_bars_sum_up():
    stats = measure([Utterance(str(n), Path("/a"), 1 + n / 100, "hi") for n in range(200)], known=corpus())
    histogram = list(tables(stats))[2]
    assert sum(map(int, histogram.columns[1].cells)) == 200
    assert "100.00 % of the words" in shown(stats)
    assert "duration seconds" in shown(stats)


def test_a_corpus_of_one_row_without_anything_can_be_shown_and_drawn(tmp_path):
    stats = measure([Utterance("[/b]", Path("/a.wav"), 0.0, speaker="[bold]x")], known=[])
    assert "[bold]x" in shown(stats)
    assert stats.to_json()["oov"]["rate"] is None
    assert len(draw(stats, tmp_path)) == 4


def test_pictures_are_drawn_and_without_matplotlib_one_line_says_so(tmp_path, monkeypatch):
    paths = draw(measure(corpus()), tmp_path / "plots")
    assert [path.name for path in paths] == ["durations.png", "speakers.png", "speech_rate.png", "words.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    original = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AsrError, match="asr-toolkit\\[plots\\]"):
        draw(measure(corpus()), tmp_path / "none")
    assert not (tmp_path / "none").exists()
