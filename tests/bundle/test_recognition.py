"""From audio to decoded words: rows do not know each other, features and audio give the same, words have times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.alignment.confidence import entropy
from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.decode import SearchRequest, choose_decoding
from asr.bundle.recognition import Decoded, DecodeOptions, decode_encoded
from asr.decoding.hotwords import Hotword
from asr.models.encoders.conformer import ConformerConfig
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput, Hypothesis
from tests.tiny_models import tiny_model


@pytest.fixture(scope="module")
def bundle(tiny_workspace: Path) -> Bundle:
    return Bundle.load(tiny_workspace / "model")


@pytest.fixture(scope="module")
def waveforms(tiny_workspace: Path) -> list[np.ndarray]:
    return [load_audio(tiny_workspace / "audio" / f"{number}.wav", 16000) for number in range(4)]


def options(bundle: Bundle, request: SearchRequest) -> DecodeOptions:
    decoding = choose_decoding(bundle, "nowhere", request)
    return DecodeOptions(decoding.build(bundle, decoding.load_lm(bundle)))


def in_seconds(decoded: Decoded) -> list[float]:
    return [moment for word in decoded.words for moment in (word.start, word.end)]


def test_rows_of_different_requests_share_a_batch_and_answer_as_alone(
    bundle: Bundle, waveforms: Sequence[np.ndarray]
) -> None:
    greedy = options(bundle, SearchRequest("ctc_greedy"))
    attention = options(bundle, SearchRequest("attention_greedy"))
    boosted = options(bundle, SearchRequest("ctc_prefix_beam", hotwords=(Hotword("nine", 300.0),)))
    by_row = [greedy, attention, boosted, replace(greedy, measure=entropy)]
    together = bundle.decode(waveforms, by_row)
    assert "nine" in together[2].text
    for waveform, chosen, decoded in zip(waveforms, by_row, together, strict=True):
        (alone,) = bundle.decode([waveform], [chosen])
        assert [hypothesis.tokens for hypothesis in decoded.n_best] == [
            hypothesis.tokens for hypothesis in alone.n_best
        ]
        assert in_seconds(decoded) == pytest.approx(in_seconds(alone))
        assert decoded.placed.confidences == pytest.approx(alone.placed.confidences, abs=1e-4)


def test_the_encoder_runs_once_for_all_requests_of_a_batch(
    bundle: Bundle, waveforms: Sequence[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = bundle.model.encode

    def counted(features: torch.Tensor, lens: torch.Tensor) -> EncoderOutput:
        sizes.append(len(lens))
        return encode(features, lens)

    monkeypatch.setattr(bundle.model, "encode", counted)
    names = ("ctc_greedy", "attention_greedy", "ctc_prefix_beam", "joint_beam")
    bundle.decode(waveforms, [options(bundle, SearchRequest(name)) for name in names])
    assert sizes == [4]


def test_features_and_audio_give_the_same_hypotheses(bundle: Bundle, waveforms: Sequence[np.ndarray]) -> None:
    chosen = options(bundle, SearchRequest("joint_beam"))
    for waveform, decoded in zip(waveforms, bundle.decode(waveforms, [chosen] * 4), strict=True):
        features = bundle.frontend.extract(waveform, 16000)[None]
        encoded = bundle.model.encode(features, torch.tensor([features.shape[1]]))
        (other,) = decode_encoded(bundle, encoded, [chosen])
        assert (other.text, other.words) == (decoded.text, ())
        timed = replace(other, words=other.placed.timed(waveform, 16000, bundle.frame_seconds))
        assert in_seconds(timed) == in_seconds(decoded)


def test_audio_too_short_for_the_model_has_no_text_and_does_not_disturb(
    bundle: Bundle, waveforms: Sequence[np.ndarray]
) -> None:
    chosen = options(bundle, SearchRequest())
    short = waveforms[0][:399]
    empty, whole = bundle.decode([short, waveforms[1]], [chosen] * 2)
    assert (empty.text, empty.words, empty.n_best[0].tokens) == ("", (), ())
    assert whole.text == bundle.decode([waveforms[1]], [chosen])[0].text
    assert bundle.decode([], []) == []


def test_tokens_are_placed_where_the_greedy_path_has_them(bundle: Bundle, waveforms: Sequence[np.ndarray]) -> None:
    features = bundle.frontend.extract(waveforms[0], 16000)[None]
    with torch.inference_mode():
        encoded = bundle.model.encode(features, torch.tensor([features.shape[1]]))
        path = bundle.model.heads["ctc"].log_probs(encoded)[0].argmax(-1)
    (decoded,) = decode_encoded(bundle, encoded, [options(bundle, SearchRequest("ctc_greedy"))])
    frames = decoded.placed.token_frames
    assert frames is not None
    assert len(frames)
    for token, (first, last) in zip(decoded.n_best[0].tokens, frames, strict=True):
        assert (path[first:last] == token).all()  # the greedy path is the best path of its own text


def test_a_model_that_cannot_align_gives_text_without_times(bundle: Bundle, waveforms: Sequence[np.ndarray]) -> None:
    torch.manual_seed(6)  # weights that say something
    model = tiny_model("lstm", num_features=80, vocab_size=20, encoder=ConformerConfig()).eval()
    without = replace(bundle, model=model)
    (decoded,) = without.decode(waveforms[:1], [options(without, SearchRequest("attention_greedy"))])
    assert decoded.text
    assert (decoded.words, decoded.placed.confidences, decoded.placed.confidence) == ((), None, None)


class Fixed:
    """Finds the same in everything."""

    def __init__(self, vocabulary: Vocabulary, hypothesis: Hypothesis) -> None:
        self.vocabulary = vocabulary
        self.hypothesis = hypothesis

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        return [[self.hypothesis] for _ in encoded.lens]


def test_without_an_alignment_words_are_where_the_search_says(bundle: Bundle, waveforms: Sequence[np.ndarray]) -> None:
    model = tiny_model("lstm", num_features=80, vocab_size=20, encoder=ConformerConfig()).eval()
    without = replace(bundle, model=model)
    tokens = tuple(bundle.tokenizer.encode("one two"))
    spans = tuple((2 * place, 2 * place + 1) for place in range(len(tokens)))
    searcher = Fixed(bundle.tokenizer.vocabulary, Hypothesis(tokens, 0.0, spans=spans))
    (decoded,) = without.decode(waveforms[:1], [DecodeOptions(searcher)])  # type: ignore[arg-type]
    one, two = decoded.words
    assert (one.text, two.text, one.confidence, decoded.placed.confidence) == ("one", "two", None, None)
    assert one.start <= spans[0][0] * bundle.frame_seconds
    assert spans[2][1] * bundle.frame_seconds <= one.end <= two.start <= spans[4][0] * bundle.frame_seconds


def test_rows_of_one_search_may_have_prompts_of_their_own(bundle: Bundle, waveforms: Sequence[np.ndarray]) -> None:
    chosen = options(bundle, SearchRequest("attention_beam"))
    vocabulary = bundle.tokenizer.vocabulary
    prompts = [None, (vocabulary.start,), (vocabulary.start, *bundle.tokenizer.encode("nine")), None]
    by_row = [replace(chosen, prompt=prompt) for prompt in prompts]
    together = bundle.decode(waveforms, by_row)
    for row, waveform in enumerate(waveforms):
        (alone,) = bundle.decode([waveform], [by_row[row]])
        assert alone.n_best[0].tokens == together[row].n_best[0].tokens
        assert alone.n_best[0].score == pytest.approx(together[row].n_best[0].score, abs=1e-4)
    (plain,) = bundle.decode([waveforms[1]], [chosen])
    (prompted,) = bundle.decode([waveforms[1]], [by_row[2]])
    assert plain.n_best[0].score == pytest.approx(together[1].n_best[0].score, abs=1e-4)
    assert prompted.n_best[0].score != pytest.approx(plain.n_best[0].score, abs=1e-4)


def test_loops_without_anything_in_the_audio_are_dropped_on_request(
    bundle: Bundle, waveforms: Sequence[np.ndarray]
) -> None:
    tokens = tuple(bundle.tokenizer.encode("nine " * 12))
    searcher = Fixed(bundle.tokenizer.vocabulary, Hypothesis(tokens, 0.0))
    looping = DecodeOptions(searcher)  # type: ignore[arg-type]
    kept, dropped = bundle.decode([waveforms[0]] * 2, [looping, replace(looping, drop_loops=True)])
    assert kept.text.split() == ["nine"] * 12
    assert dropped.text == "nine"
    assert len(dropped.words) == 1


def test_encoder_frames_are_those_of_the_encoder(bundle: Bundle, waveforms: Sequence[np.ndarray]) -> None:
    for waveform in waveforms:
        features = bundle.frontend.extract(waveform, 16000)[None]
        encoded = bundle.model.encode(features, torch.tensor([features.shape[1]]))
        assert bundle.encoder_frames(len(waveform)) == encoded.lens[0] == encoded.frames.shape[1]
        assert bundle.encoder_frames(len(waveform)) * bundle.frame_seconds == pytest.approx(
            len(waveform) / 16000, abs=0.1
        )
    assert bundle.encoder_frames(0) == 0
