"""Streams through a model that streams: text and scores of one masked pass, whatever the cuts and the company."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.recognition import DecodeOptions
from asr.bundle.streaming import DecodedStream, StreamingDecoder, can_stream
from asr.decoding.attention_rescoring import AttentionRescoringConfig
from asr.decoding.base import AnySearch, build_search
from asr.decoding.ctc_greedy import CtcGreedyConfig
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import Hotword, HotwordScorer
from asr.errors import ConfigError
from asr.models.encoders.conformer import ConformerConfig
from asr.models.encoders.rnn import RnnConfig
from asr.models.heads.ctc import CtcHeadConfig
from asr.models.heads.transformer import TransformerDecoderConfig
from asr.nn.chunks import Chunking
from asr.types import EncoderOutput, Hypothesis
from tests.conftest import melody
from tests.transcribe.streaming.tools import tiny_bundle

CHUNK = 0.16  # seconds: 4 encoder frames
SEARCHES = {
    "greedy": CtcGreedyConfig(),
    "beam": CtcPrefixBeamConfig(beam=4, kernel="tensor"),
    "beam with hotwords": CtcPrefixBeamConfig(beam=4, kernel="tensor"),
    "rescoring": AttentionRescoringConfig(beam=4),
}
each_search = pytest.mark.parametrize("name", SEARCHES)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    decoder = TransformerDecoderConfig(dim=16, num_layers=1, num_heads=2, ff_dim=24)
    return tiny_bundle(heads=[CtcHeadConfig(), decoder])


def searcher_of(bundle: Bundle, name: str) -> AnySearch:
    hotwords = HotwordScorer([Hotword("abc", 3.0)], bundle.tokenizer) if "hotwords" in name else None
    return build_search(SEARCHES[name], bundle.model.heads, Fusion(hotwords=hotwords))


def masked(bundle: Bundle, searcher: AnySearch, waveform: np.ndarray) -> list[Hypothesis]:
    """What one masked pass says."""
    with torch.inference_mode():
        samples = torch.from_numpy(waveform.astype(np.float64))[None]
        features, lens = bundle.frontend(samples, torch.tensor([len(waveform)]))
        encoded = bundle.model.encode(features, lens, Chunking(4, 2))
        return searcher.search(EncoderOutput(encoded.frames, encoded.lens))[0]


def decoder_of(bundle: Bundle) -> StreamingDecoder:
    return StreamingDecoder(bundle, CHUNK, 2 * CHUNK)


def same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-9)


@each_search
@pytest.mark.parametrize("cut", [800, 3333, 40_000])
def test_text_and_scores_are_those_of_one_masked_pass(bundle: Bundle, name: str, cut: int) -> None:
    searcher, waveform, decoder = searcher_of(bundle, name), melody(1, 1.43), decoder_of(bundle)
    stream = decoder.start(DecodeOptions(searcher))
    for first in range(0, len(waveform), cut):
        decoder.advance([stream], [waveform[first : first + cut]], [first + cut >= len(waveform)])
    decoded = decoder.finish(stream)
    expected = masked(bundle, searcher, waveform)
    assert expected[0].tokens
    same(decoded.n_best, expected)
    assert decoded.text == bundle.tokenizer.decode(expected[0].tokens)
    assert all(0 <= word.start <= word.end <= 1.43 for word in decoded.words)
    assert all(word.confidence is not None for word in decoded.words)


@each_search
def test_streams_share_batches_and_each_says_what_it_says_alone(bundle: Bundle, name: str) -> None:
    """The second begins when half of the first is over, and ends later."""
    searcher, decoder = searcher_of(bundle, name), decoder_of(bundle)
    one, other = melody(2, 1.2), melody(3, 1.0)
    first, second = (decoder.start(DecodeOptions(searcher)) for _ in range(2))
    decoder.advance([first], [one[:9000]], [False])
    decoder.advance([second, first], [other[:5000], one[9000:]], [False, True])
    decoder.advance([second], [other[5000:]], [True])
    same(decoder.finish(first).n_best, masked(bundle, searcher, one))
    same(decoder.finish(second).n_best, masked(bundle, searcher, other))


def test_words_grow_while_it_is_spoken_and_silence_is_counted(bundle: Bundle) -> None:
    decoder, waveform = decoder_of(bundle), melody(4, 1.6)
    stream = decoder.start(DecodeOptions(searcher_of(bundle, "greedy")))
    looks: list[DecodedStream | list[str]] = []
    for first in range(0, len(waveform), 1600):
        (is_new,) = decoder.advance([stream], [waveform[first : first + 1600]], [False])
        if is_new:
            looks.append(decoder.words(stream))
    assert len(looks) >= 8
    assert any(looks[-1])
    assert decoder.quiet_seconds(stream) >= 0.0
    found = stream.num_frames * 0.04
    assert math.isclose(decoder.quiet_seconds(stream), found - stream.changed_at * 0.04)


def test_an_utterance_too_short_for_the_model_says_nothing(bundle: Bundle) -> None:
    decoder = decoder_of(bundle)
    stream = decoder.start(DecodeOptions(searcher_of(bundle, "greedy")))
    decoder.advance([stream], [np.zeros(100, np.float32)], [True])
    assert decoder.finish(stream).text == ""


def test_one_way_recurrence_streams_too() -> None:
    bundle = tiny_bundle(RnnConfig.tiny().model_copy(update={"bidirectional": False}))
    assert can_stream(bundle)
    searcher, waveform, decoder = searcher_of(bundle, "greedy"), melody(5, 1.1), decoder_of(bundle)
    stream = decoder.start(DecodeOptions(searcher))
    for first in range(0, len(waveform), 2000):
        decoder.advance([stream], [waveform[first : first + 2000]], [first + 2000 >= len(waveform)])
    same(decoder.finish(stream).n_best, masked(bundle, searcher, waveform))


def test_models_that_need_the_whole_are_refused() -> None:
    for bundle in (tiny_bundle(ConformerConfig.tiny()), tiny_bundle(cmvn="utterance"), tiny_bundle(RnnConfig.tiny())):
        assert not can_stream(bundle)
        with pytest.raises(ConfigError, match="cannot stream"):
            StreamingDecoder(bundle, 0.32)
