"""What every encoder promises that can stream: pushed bit by bit it gives the frames of one masked pass."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from asr.decoding.base import build_search
from asr.decoding.ctc_greedy import CtcGreedyConfig
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.errors import ConfigError
from asr.models.asr_model import AsrModel
from asr.models.encoders import ENCODERS, EncoderConfig
from asr.models.encoders.base import Encoder
from asr.models.encoders.streaming import StreamingEncoder, StreamState
from asr.models.heads.ctc import CtcHeadConfig, IntermediateCtcConfig
from asr.nn.chunks import Chunking
from asr.types import EncoderOutput
from tests.tiny_models import tiny_model

NUM_FEATURES = 9
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def variant(name: str, **changes: object) -> EncoderConfig:
    """A registered encoder's tiny config with some values changed, validated again."""
    return TypeAdapter(EncoderConfig).validate_python(ENCODERS.config(name).tiny().model_dump() | changes)


CONFIGS = {
    **{
        name: variant(name)
        for name in ENCODERS.names()
        if ENCODERS.part(name)(ENCODERS.config(name).tiny(), NUM_FEATURES).streams
    },
    "conformer relative": variant("streaming_conformer", positions="relative"),
    "conformer x1": variant("streaming_conformer", subsampling={"factor": 1}),
    "conformer x2": variant("streaming_conformer", subsampling={"factor": 2, "channels": 3}),
    "conformer x8": variant("streaming_conformer", subsampling={"factor": 8, "channels": 3}),
    "conformer of single frames": variant("streaming_conformer", kernel_size=1),
    "lstm": variant("rnn", bidirectional=False),
    "gru": variant("rnn", bidirectional=False, cell="gru"),
    "plain rnn": variant("rnn", bidirectional=False, cell="rnn"),
}
BOTH_SIDES = variant("streaming_conformer", causal=False, right_context=4)
each_ahead = pytest.mark.parametrize("config", [*CONFIGS.values(), BOTH_SIDES], ids=[*CONFIGS, "both sides"])
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
CHUNKINGS = [Chunking(1, 4), Chunking(2, 1), Chunking(3, 0), Chunking(4, 2)]


def build(config: EncoderConfig) -> StreamingEncoder:
    torch.manual_seed(3)
    encoder = ENCODERS.part(config.name)(config, NUM_FEATURES).double().eval()
    assert isinstance(encoder, StreamingEncoder)
    return encoder


def features_of(*lens: int) -> list[Tensor]:
    torch.manual_seed(sum(lens))
    return [torch.randn(length, NUM_FEATURES, dtype=torch.float64) * 3 for length in lens]


def masked_pass(encoder: Encoder, rows: list[Tensor], chunking: Chunking) -> list[Tensor]:
    """The frames of each row by itself in one pass."""
    outputs = [encoder(row[None], torch.tensor([len(row)]), chunks=chunking) for row in rows]
    return [encoded.frames[0, : encoded.lens[0]] for encoded in outputs]


def push(
    encoder: StreamingEncoder, rows: list[Tensor], state: StreamState, is_last: list[bool]
) -> tuple[list[Tensor], StreamState]:
    """The frames of each stream for its next features; what lies beyond a length is noise."""
    lens = torch.tensor([len(row) for row in rows])
    padded = torch.full((len(rows), max(1, int(lens.max())), NUM_FEATURES), 99.0, dtype=torch.float64)
    for row, one in enumerate(rows):
        padded[row, : len(one)] = one
    encoded, state = encoder.step(padded, lens, state, is_last)
    return [frames[:length] for frames, length in zip(encoded.frames, encoded.lens, strict=True)], state


@each_config
@settings(deadline=None, max_examples=3)
@given(data=st.data())
@torch.no_grad()
def test_pushed_in_any_pieces_it_gives_the_frames_of_one_masked_pass(
    config: EncoderConfig, data: st.DataObject
) -> None:
    encoder, rows = build(config), features_of(45, 30, 1, 0)
    chunking = data.draw(st.sampled_from(CHUNKINGS))
    num_cuts = data.draw(st.integers(0, 5))
    cuts = [
        [0, *sorted(data.draw(st.lists(st.integers(0, len(row)), min_size=num_cuts, max_size=num_cuts))), len(row)]
        for row in rows
    ]
    state = encoder.init_state(len(rows), chunking.frames, chunking.left)
    outputs: list[list[Tensor]] = [[] for _ in rows]
    for part in range(num_cuts + 1):
        pieces = [row[places[part] : places[part + 1]] for row, places in zip(rows, cuts, strict=True)]
        frames, state = push(encoder, pieces, state, [part == num_cuts] * len(rows))
        for output, own in zip(outputs, frames, strict=True):
            output.append(own)
    for output, expected in zip(outputs, masked_pass(encoder, rows, chunking), strict=True):
        torch.testing.assert_close(torch.cat(output), expected, **EXACT)


@pytest.mark.parametrize("right", [1, 2, 5])
@each_ahead
@torch.no_grad()
def test_what_is_ahead_of_a_chunk_may_come_in_any_pieces(config: EncoderConfig, right: int) -> None:
    encoder, rows = build(config), features_of(45, 30)
    state = encoder.init_state(2, 2, 2, right)
    at_once, _ = push(encoder, rows, state, [True, True])
    bounds = [0, 1, 17, 18, 29, 45]
    outputs: list[list[Tensor]] = [[] for _ in rows]
    for first, end in pairwise(bounds):
        frames, state = push(encoder, [row[first:end] for row in rows], state, [end >= len(row) for row in rows])
        for output, own in zip(outputs, frames, strict=True):
            output.append(own)
    for output, expected, row in zip(outputs, at_once, rows, strict=True):
        assert len(expected) == int(encoder.output_lens(torch.tensor([len(row)])))
        torch.testing.assert_close(torch.cat(output), expected, **EXACT)


@each_ahead
@torch.no_grad()
def test_a_chunk_that_waits_for_everything_is_that_of_the_whole_utterance(config: EncoderConfig) -> None:
    encoder, rows = build(config), features_of(45, 30)
    frames, _ = push(encoder, rows, encoder.init_state(2, 2, 30, 60), [True, True])
    for row, own in zip(rows, frames, strict=True):
        whole = encoder(row[None], torch.tensor([len(row)])).frames[0]
        torch.testing.assert_close(own, whole, **EXACT)


@torch.no_grad()
def test_looking_ahead_delays_a_chunk_and_changes_what_attention_finds() -> None:
    encoder, (row,) = build(variant("streaming_conformer")), features_of(64)
    factor, chunking = encoder.subsampling_factor, Chunking(2, 1)
    state = encoder.init_state(1, 2, 1, 3)
    (frames,), state = push(encoder, [row[: 5 * factor - 1]], state, [False])
    assert not len(frames)
    (frames,), _ = push(encoder, [row[5 * factor - 1 : 5 * factor]], state, [False])
    assert len(frames) == 2
    (blind,) = masked_pass(encoder, [row], chunking)
    (wide,) = masked_pass(encoder, [row], Chunking(5, 0))
    assert not torch.allclose(frames, blind[:2])
    torch.testing.assert_close(frames, wide[:2], **EXACT)  # nothing lies before the first chunk


@each_config
@torch.no_grad()
def test_a_chunk_is_out_as_soon_as_its_features_are_known(config: EncoderConfig) -> None:
    encoder, (row,) = build(config), features_of(64)
    state = encoder.init_state(1, 2)
    size = 2 * encoder.subsampling_factor
    for first in range(0, 64 - size, size):
        (frames,), state = push(encoder, [row[first : first + size - 1]], state, [False])
        assert not len(frames)
        (frames,), state = push(encoder, [row[first + size - 1 : first + size]], state, [False])
        assert len(frames) == 2


@each_ahead
@torch.no_grad()
def test_streams_join_and_leave_and_each_is_as_if_alone(config: EncoderConfig) -> None:
    """The second stream begins later than the first, the third later still; the first leaves in the middle."""
    encoder, rows = build(config), features_of(70, 45, 30)
    first, second, third = rows

    def fresh() -> StreamState:
        return encoder.init_state(1, 2, 2)

    expected = [push(encoder, [row], fresh(), [True])[0][0] for row in rows]
    outputs: list[list[Tensor]] = [[], [], []]

    def advance(numbers: list[int], pieces: list[Tensor], state: StreamState, is_last: list[bool]) -> StreamState:
        frames, state = push(encoder, pieces, state, is_last)
        for number, own in zip(numbers, frames, strict=True):
            outputs[number].append(own)
        return state

    state = advance([0], [first[:37]], fresh(), [False])
    state = advance([0, 1], [first[37:50], second[:20]], StreamState.join([state, fresh()]), [False, False])
    state = StreamState.join([state.select(torch.tensor([1, 0])), fresh()])
    state = advance([1, 0, 2], [second[20:21], first[50:], third[:9]], state, [False, True, False])
    state = state.select(torch.tensor([2, 0]))
    advance([2, 1], [third[9:], second[21:]], state, [True, True])
    for output, own in zip(outputs, expected, strict=True):
        torch.testing.assert_close(torch.cat(output), own, **EXACT)


@each_ahead
@torch.no_grad()
def test_a_state_does_not_grow_with_the_time_and_is_never_changed_in_place(config: EncoderConfig) -> None:
    encoder, (row,) = build(config), features_of(200)
    state = encoder.init_state(1, 2, 2)
    sizes = set()
    for first in range(0, 200, 7):
        before = [part.clone() for part in (*state.pending, *state.caches)]
        _, following = push(encoder, [row[first : first + 7]], state, [False])
        assert all(map(torch.equal, before, (*state.pending, *state.caches)))
        state = following
        sizes.add(sum(cache.numel() for cache in state.caches))
        assert len(state.pending[0]) < (2 + encoder.default_right_frames) * encoder.subsampling_factor
        assert all(part.untyped_storage().nbytes() < 40_000 for part in (*state.pending, *state.caches))
    assert len(sizes) == 1


@each_config
@torch.no_grad()
def test_no_frame_sees_features_after_its_chunk_or_beyond_the_left_context(config: EncoderConfig) -> None:
    encoder, (row,) = build(config), features_of(64)
    chunking = Chunking(2, 1)
    size = 2 * encoder.subsampling_factor
    (whole,) = masked_pass(encoder, [row], chunking)
    changed = row.clone()
    changed[2 * size :] += 1.0
    (other,) = masked_pass(encoder, [changed], chunking)
    torch.testing.assert_close(other[:4], whole[:4], **EXACT)
    assert (other[4] - whole[4]).abs().max() > 1e-6


@torch.no_grad()
def test_chunks_matter_to_attention_and_the_left_context_is_limited() -> None:
    encoder = build(variant("streaming_conformer", num_layers=1, kernel_size=1, subsampling={"factor": 1}))
    (row,) = features_of(30)
    expected = encoder(row[None], torch.tensor([30])).frames[0]
    (chunked,) = masked_pass(encoder, [row], Chunking(3, 1))
    assert (chunked - expected).abs().max() > 1e-3
    changed = row.clone()
    changed[:3] += 1.0  # two chunks before frame 9
    (other,) = masked_pass(encoder, [changed], Chunking(3, 1))
    torch.testing.assert_close(other[6:], chunked[6:], **EXACT)
    assert (other[3:6] - chunked[3:6]).abs().max() > 1e-3


@torch.no_grad()
def test_one_chunk_as_long_as_the_utterance_is_the_whole_of_it() -> None:
    encoder, (row,) = build(variant("streaming_conformer")), features_of(61)
    (chunked,) = masked_pass(encoder, [row], Chunking(16, 0))
    torch.testing.assert_close(chunked, encoder(row[None], torch.tensor([61])).frames[0], **EXACT)


@torch.no_grad()
def test_masked_rows_of_a_batch_are_as_alone() -> None:
    encoder, rows = build(variant("streaming_conformer")), features_of(61, 23, 1, 0)
    lens = torch.tensor([61, 23, 1, 0])
    padded = torch.randn(4, 61, NUM_FEATURES, dtype=torch.float64) * 50
    for row, one in enumerate(rows):
        padded[row, : len(one)] = one
    chunking = Chunking(2, 1)
    batched = encoder(padded, lens, chunks=chunking)
    assert batched.frames.isfinite().all()
    for frames, length, expected in zip(
        batched.frames, batched.lens, masked_pass(encoder, rows, chunking), strict=True
    ):
        torch.testing.assert_close(frames[:length], expected, **EXACT)


def test_gradients_are_finite_with_chunks() -> None:
    encoder = build(variant("streaming_conformer")).train()
    features = torch.randn(3, 61, NUM_FEATURES, dtype=torch.float64)
    encoded = encoder(features, torch.tensor([61, 20, 0]), chunks=Chunking(2, 1))
    (encoded.frames[0].pow(3).sum() + encoded.frames[1, :5].pow(3).sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_what_cannot_stream_says_so() -> None:
    with pytest.raises(ValidationError, match="needs a right_context"):
        variant("streaming_conformer", causal=False)
    with pytest.raises(ConfigError, match="cannot stream"):
        build(variant("rnn")).init_state(1, 4)
    with pytest.raises(ConfigError, match="at least one"):
        build(variant("streaming_conformer")).init_state(1, 0)
    assert not ENCODERS.part("conformer")(variant("conformer"), NUM_FEATURES).streams


def model_with_ctc_between_layers() -> AsrModel:
    torch.manual_seed(0)
    head = CtcHeadConfig(intermediate=IntermediateCtcConfig(layers=(1,)))
    return tiny_model(head, num_features=NUM_FEATURES, vocab_size=12, encoder="streaming_conformer").double().eval()


@pytest.mark.parametrize(
    "search", [CtcGreedyConfig(), CtcPrefixBeamConfig(beam=4, kernel="tensor")], ids=lambda config: config.name
)
@torch.no_grad()
def test_texts_and_scores_are_those_of_the_masked_pass_also_with_ctc_between_layers(search: object) -> None:
    model, (row,) = model_with_ctc_between_layers(), features_of(160)
    chunking = Chunking(3, 2)
    searcher = build_search(search, model.heads)  # type: ignore[arg-type]
    whole = model.encode(row[None], torch.tensor([160]), chunking)
    ((best, *_),) = searcher.search(EncoderOutput(whole.frames, whole.lens))
    encoder = model.streaming_encoder
    assert encoder is not None
    state, found = encoder.init_state(1, chunking.frames, chunking.left), searcher.start(1)
    for first in range(0, 160, 11):
        piece = row[None, first : first + 11]
        encoded, state = model.encode_step(piece, torch.tensor([piece.shape[1]]), state, [first + 11 >= 160])
        found = searcher.advance(found, encoded)
    ((streamed, *_),) = searcher.finish(found)
    assert best.tokens
    assert streamed.tokens == best.tokens
    assert streamed.score == pytest.approx(best.score, abs=1e-9)
