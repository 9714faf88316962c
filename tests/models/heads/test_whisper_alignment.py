"""Times of tokens from the attention of Whisper's decoder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from asr.alignment.dtw import warp
from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model
from asr.models.heads.alignment_heads import PUBLISHED, SIZES, AlignmentHead, alignment_heads, default_heads
from asr.models.heads.whisper import WhisperDecoder, WhisperHeadConfig
from asr.models.heads.whisper_alignment import _likeness
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput
from tests.bundle.foreign.whisper_files import random_variables, write_model

PIECES = (
    *"abcdefgh",
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|transcribe|>",
    "<|notimestamps|>",
)
VOCABULARY = Vocabulary(PIECES, sos=9, eos=8, control=frozenset(range(8, 14)))
TEXTS = [[0, 3, 5], [1, 2, 3, 4, 6], []]


@pytest.fixture
def head() -> WhisperDecoder:
    torch.manual_seed(0)
    config = WhisperHeadConfig.tiny().model_copy(update={"language": "en", "task": "transcribe"})
    return WhisperDecoder(config, 12, VOCABULARY).double().eval()


@pytest.fixture
def encoded() -> EncoderOutput:
    frames = torch.randn(3, 25, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    return EncoderOutput(frames, torch.tensor([25, 20, 9]))


@torch.no_grad()
def test_silence_that_was_added_has_no_tokens_and_does_not_matter(head: WhisperDecoder, encoded: EncoderOutput) -> None:
    for lens in ([25, 20, 9], [11, 7, 5]):
        for (frames, _), text, length in zip(head.place(encoded, TEXTS, None, lens), TEXTS, lens, strict=True):
            assert frames is not None
            assert frames.shape == (len(text), 2)
            assert (np.diff(frames.flatten()) >= 0).all()
            assert (frames[:, 1] > frames[:, 0]).all()
            assert (frames < length).all(), "the end has a frame of its own"


@torch.no_grad()
def test_a_row_is_placed_alone_as_beside_others(head: WhisperDecoder, encoded: EncoderOutput) -> None:
    together = head.place(encoded, TEXTS, ["en", "de", None], [20, 15, 5])
    for row, length in enumerate([25, 20, 9]):
        alone = EncoderOutput(encoded.frames[row : row + 1, :length], encoded.lens[row : row + 1])
        ((frames, likely),) = head.place(alone, TEXTS[row : row + 1], [["en", "de", None][row]], [[20, 15, 5][row]])
        assert frames is not None
        assert together[row][0] is not None
        assert frames.tolist() == together[row][0].tolist()
        np.testing.assert_allclose(likely, together[row][1], rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_probabilities_are_those_of_writing_the_text_token_by_token(
    head: WhisperDecoder, encoded: EncoderOutput
) -> None:
    likely = head.place(encoded, TEXTS, [None, "de", None])[1][1]
    one = EncoderOutput(encoded.frames[1:2], encoded.lens[1:2])
    state, expected = head.init_state(one), []
    for token, following in zip([9, 11, 12, 13, *TEXTS[1]], [None, None, None, *TEXTS[1]], strict=False):
        log_probs, state = head.step(torch.tensor([token]), state)
        if following is not None:
            expected.append(float(log_probs[0, following].exp()))
    np.testing.assert_allclose(likely, expected, rtol=1e-9)


def test_heads_that_look_past_their_words_are_moved_back_by_their_delays() -> None:
    centres = torch.tensor([3.5, 9.0, 14.0, 22.0])  # of three tokens and the end
    distance = torch.arange(30.0) - centres[:, None]
    on_time, late = -(distance**2), -((distance - 4.0) ** 2)
    expected = warp(_likeness(on_time[None], [0]))
    assert expected is not None
    assert expected.tolist() == [0, 7, 12, 18]
    for scores, delays in ((late[None], [4]), (torch.stack([on_time, late]), [0, 4])):
        found = warp(_likeness(scores, delays))
        assert found is not None
        assert found.tolist() == expected.tolist()


@torch.no_grad()
def test_the_order_of_the_heads_does_not_matter(head: WhisperDecoder, encoded: EncoderOutput) -> None:
    heads = [AlignmentHead(layer=1, head=0, delay=0.1), AlignmentHead(layer=0, head=1, delay=-0.1)]
    found = []
    for order in (heads, heads[::-1]):
        head.config = head.config.model_copy(update={"alignment": tuple(order)})
        found.append([None if frames is None else frames.tolist() for frames, _ in head.place(encoded, TEXTS)])
    assert found[0] == found[1]


@torch.no_grad()
def test_more_tokens_than_frames_have_no_place(head: WhisperDecoder, encoded: EncoderOutput) -> None:
    placed = head.place(encoded, [[0] * 4] * 3, None, [5, 4, 3])
    assert [frames is None for frames, _ in placed] == [False, True, True]


def test_published_heads_are_found_by_the_sizes_of_a_model_and_by_its_own_list() -> None:
    for (num_layers, num_heads, num_tokens), name in SIZES.items():
        found = alignment_heads(None, num_layers, num_heads, num_tokens)
        assert tuple((one.layer, one.head) for one in found) == PUBLISHED[name]
    assert [one.delay for one in alignment_heads(PUBLISHED["base"], 6, 8, 51865)][5] < -0.5
    assert [one.head for one in alignment_heads([[0, 1]], 4, 6, 51864)] == [1]
    assert alignment_heads(None, 2, 12, 51864) == ()
    assert [(one.layer, one.head) for one in default_heads(3, 2)] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_an_imported_model_keeps_the_heads_that_came_with_it(tmp_path) -> None:
    write_model(tmp_path / "source", random_variables())
    settings = tmp_path / "source" / "config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "alignment_heads": [[1, 0], [0, 1]]}))
    import_model(tmp_path / "source", tmp_path / "model")
    head = Bundle.load(tmp_path / "model").model.heads["whisper"]
    assert [(one.layer, one.head) for one in head.config.alignment] == [(1, 0), (0, 1)]
