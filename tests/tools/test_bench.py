"""Benchmarks: their inputs are the same for a seed, their exact scores are exact, their workers answer."""

from __future__ import annotations

import itertools
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.data.manifest import read_manifest
from asr.scoring.alignment import ErrorCounts, count_operations, levenshtein
from tools.benchmarks import common, exact, manifest, posteriors, score
from tools.benchmarks.whisper_random import WRITTEN, random_variables

ROOT = Path(__file__).resolve().parents[2]


def _utterance(seed, num_frames=120):
    rng = np.random.default_rng(seed)
    language = posteriors.Language.generate(rng, vocabulary_size=100, num_words=300)
    return language, posteriors.hear(rng, language, num_frames)


def test_a_seed_makes_the_same_language_and_posteriors_and_another_seed_does_not():
    language, heard = _utterance(3)
    again, heard_again = _utterance(3)
    assert language.words == again.words
    assert heard.tokens == heard_again.tokens
    np.testing.assert_array_equal(heard.log_probs, heard_again.log_probs)
    assert not np.array_equal(heard.log_probs, _utterance(4)[1].log_probs)


def test_posteriors_sum_to_one_and_leave_nothing_to_the_ends_of_sentences():
    _, heard = _utterance(3)
    assert heard.log_probs.shape == (120, 100)
    np.testing.assert_allclose(np.exp(heard.log_probs.astype(np.float64)).sum(1), 1.0, atol=1e-6)
    assert np.isneginf(heard.log_probs[:, 2:4]).all()


def test_a_text_is_spelled_in_one_way():
    language, heard = _utterance(3)
    pairs = [piece.removeprefix("▁") for piece in language.pieces[4:]]
    assert len(set(pairs)) == len(pairs)
    assert {len(pair) for pair in pairs} == {2}
    assert language.tokens(heard.text) == heard.tokens
    assert language.write(heard.tokens) == heard.text


def test_a_text_may_begin_with_a_piece_that_starts_no_word():
    language, heard = _utterance(3)
    tokens = (len(language.pieces) - 1, *heard.tokens)
    assert language.tokens(language.write(tokens)) == tokens


def test_the_exact_score_sums_all_paths_of_a_text():
    log_probs = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    for tokens in ((), (1,), (1, 1), (2, 3, 2)):
        paths = (
            path
            for path in itertools.product(range(4), repeat=5)
            if tuple(token for token, _ in itertools.groupby(path) if token != 0) == tokens
        )
        total = math.fsum(math.exp(sum(log_probs[t, token].item() for t, token in enumerate(path))) for path in paths)
        assert exact.ctc_log_prob(log_probs, tokens) == pytest.approx(math.log(total), abs=1e-12)


def test_tokens_that_do_not_fit_into_the_frames_are_impossible():
    assert exact.ctc_log_prob(torch.zeros(3, 4).log_softmax(-1), (1, 1, 1)) == -math.inf


def test_a_better_text_is_counted_as_higher():
    language, heard = _utterance(3)
    texts = {"ours": [heard.text], "peer": [language.write(heard.tokens[:-3])], "twin": [heard.text]}
    quality = exact.compare_texts([heard], language, texts, exact.ExactScorer())
    assert quality["beside"]["peer"] == {"higher": 1, "same": 0, "lower": 0}
    assert quality["beside"]["twin"] == {"higher": 0, "same": 1, "lower": 0}
    assert quality["token_errors"]["peer"] == pytest.approx(3 / len(heard.tokens))


def test_sides_take_turns_and_the_first_one_changes():
    order = []
    answers = common.alternate([lambda: order.append("a") or 1, lambda: order.append("b") or 2], rounds=2)
    assert order == ["a", "b", "b", "a"]
    assert answers == [[1, 1], [2, 2]]


def test_pairs_to_score_have_the_errors_asked_for_and_a_seed_makes_them_again():
    pairs = list(score.make_pairs(300, 0.1, seed=2))
    assert pairs == list(score.make_pairs(300, 0.1, seed=2))
    assert pairs != list(score.make_pairs(300, 0.1, seed=3))
    assert {len(reference.split()) for reference, _ in pairs} == {score.WORDS}
    counts = sum((count_operations(levenshtein(*map(str.split, pair))) for pair in pairs), ErrorCounts())
    assert counts.rate == pytest.approx(0.1, abs=0.015)


def test_a_simulated_manifest_has_the_hours_asked_for_and_a_seed_makes_it_again(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        manifest.write_rows(tmp_path / name, 2000, seed)
    rows = read_manifest(tmp_path / "a")
    assert len(rows) == 2000
    assert sum(row.duration for row in rows) / 2000 == pytest.approx(manifest.MEAN_SECONDS, rel=0.1)
    assert all(row.text.strip() == row.text for row in rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_worker_that_dies_is_an_error_and_shows_why(capfd):
    with pytest.raises(common.BenchError, match="stopped during 'load'"), common.Worker("no.such.module") as worker:
        worker.ask("load")
    assert "No module named" in capfd.readouterr().err


def test_the_launcher_lists_what_it_can_measure_and_refuses_the_rest():
    listed = subprocess.run([ROOT / "tools" / "bench"], capture_output=True, text=True)
    assert listed.returncode == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert names == [
        "alignment",
        "decode",
        "encoder",
        "features",
        "gpu",
        "manifest",
        "score",
        "search",
        "serve",
        "train",
        "transcribe",
        "vad",
        "whisper",
        "whisper_agreement",
        "whisper_noise",
        "whisper_sets",
        "whisper_times",
    ]
    refused = subprocess.run([ROOT / "tools" / "bench", "common"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: no benchmark 'common'")


def test_random_whisper_models_write_the_text_that_their_positions_say():
    pieces = [*"abc", *(f"\u0120{chr(97 + one)}{chr(97 + two)}" for one in range(26) for two in range(4))]
    pieces += ["<|endoftext|>"]
    variables = random_variables(pieces, dim=64, layers=1)
    scores = (
        variables["decoder/position_encodings/encodings"].astype(np.float32)
        @ variables["decoder/embeddings/weight"].astype(np.float32).T
    )
    written = scores.argmax(1)
    assert len(set(written[:WRITTEN])) == WRITTEN
    assert (written[WRITTEN:] == len(pieces) - 1).all()
    assert all(pieces[token].startswith("\u0120") for token in written[:WRITTEN])
