"""An example depends on its utterance, the seed and the epoch, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from asr.audio.io import load_audio
from asr.data.dataset import FRAME_MULTIPLE, TOKEN_MULTIPLE, SpeechDataset, collate
from asr.errors import AudioError
from asr.types import Example


def test_without_augmentation_an_example_is_the_frontend_of_the_audio_and_the_normalised_text(
    utterances, frontend, tokenizer
):
    example = SpeechDataset(utterances, frontend, tokenizer, "basic").load(4, epoch=9)
    waveform = load_audio(utterances[4].audio, frontend.sample_rate)
    assert example.id == "u04"
    assert torch.equal(example.features, frontend.extract(waveform, frontend.sample_rate))
    assert tokenizer.decode(example.tokens.tolist()) == "word 1"
    assert example.tokens.dtype == torch.int64


def test_start_and_duration_cut_a_stretch_out_of_the_file(utterances, frontend, tokenizer):
    stretch = replace(utterances[0], start=0.05, duration=0.1)
    example = SpeechDataset([stretch], frontend, tokenizer, "basic").load(0, 0)
    waveform = load_audio(stretch.audio, frontend.sample_rate)[400:1200]
    assert torch.equal(example.features, frontend.extract(waveform, frontend.sample_rate))


def test_augmentation_changes_with_epoch_and_seed_but_not_with_place_or_time_of_loading(dataset, utterances):
    def loaded(index: int, epoch: int) -> torch.Tensor:
        return dataset.load(index, epoch).features

    first = loaded(3, epoch=0)
    others = [loaded(3, epoch) for epoch in range(1, 6)]
    assert not any(torch.equal(first, other) for other in others)
    assert torch.equal(loaded(3, epoch=0), first)
    dataset.utterances = utterances[3:]
    assert torch.equal(loaded(0, epoch=0), first)
    dataset.seed = 2
    assert not torch.equal(loaded(0, epoch=0), first)


def test_each_kind_of_augmentation_has_draws_of_its_own(dataset):
    masked = dataset.load(5, 2).features
    dataset.spec_augment = None
    plain = dataset.load(5, 2).features
    kept = masked != 0
    assert masked.shape == plain.shape
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(masked[kept], plain[kept])


def test_views_share_the_waveform_and_differ_in_their_masks(dataset):
    first, second = dataset.load_views(5, 0, 2)
    both = (first.features != 0) & (second.features != 0)
    assert torch.equal(first.features[both], second.features[both])
    assert not torch.equal(first.features, second.features)
    assert torch.equal(first.features, dataset.load(5, 0).features)


def test_raw_features_are_neither_normalised_nor_masked(utterances, frontend, tokenizer):
    waveform = load_audio(utterances[0].audio, frontend.sample_rate)
    raw = SpeechDataset(utterances, frontend, tokenizer, "basic").raw_features(0)
    assert torch.equal(raw, frontend.extract(waveform, frontend.sample_rate, normalize=False))


def test_unreadable_audio_is_an_error_that_names_the_utterance(utterances, frontend, tokenizer, tmp_path):
    missing = replace(utterances[0], audio=tmp_path / "gone.wav")
    with pytest.raises(AudioError, match=r"^utterance 'u00': .*gone\.wav"):
        SpeechDataset([missing], frontend, tokenizer, "basic").load(0, 0)


def test_audio_without_a_single_frame_is_an_error_that_names_the_utterance(utterances, frontend, tokenizer):
    short = replace(utterances[0], duration=0.01)
    with pytest.raises(AudioError, match=r"^utterance 'u00': 0\.010 s are too short for one feature frame"):
        SpeechDataset([short], frontend, tokenizer, "basic").load(0, 0)


def test_loading_uses_one_thread_and_gives_the_others_back(utterances, frontend, tokenizer, monkeypatch):
    dataset = SpeechDataset(utterances, frontend, tokenizer, "basic")
    seen = []
    extract = frontend.extract

    def observed(*args: object, **kwargs: object) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return extract(*args, **kwargs)

    monkeypatch.setattr(frontend, "extract", observed)
    torch.set_num_threads(2)
    try:
        dataset.load(0, 0)
        dataset.raw_features(0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [1, 1]


def test_examples_are_padded_to_the_longest_and_keep_their_order():
    examples = [
        Example("b", torch.ones(2, 3), torch.tensor([5, 6, 7])),
        Example("a", torch.full((4, 3), 2.0), torch.tensor([], dtype=torch.int64)),
    ]
    batch = collate(examples)
    assert batch.ids == ("b", "a")
    assert batch.features.shape == (2, FRAME_MULTIPLE, 3)
    assert batch.features[:, :4].tolist() == [[[1.0] * 3] * 2 + [[0.0] * 3] * 2, [[2.0] * 3] * 4]
    assert not batch.features[:, 4:].any()
    assert batch.feature_lens.tolist() == [2, 4]
    assert (batch.tokens.shape[1] + 1) % TOKEN_MULTIPLE == 0
    assert batch.tokens[:, :3].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert not batch.tokens[:, 3:].any()
    assert batch.token_lens.tolist() == [3, 0]
    assert {batch.tokens.dtype, batch.token_lens.dtype, batch.feature_lens.dtype} == {torch.int64}
