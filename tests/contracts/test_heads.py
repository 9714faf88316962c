"""What every registered head promises, whatever its vocabulary: in float64, where a leak shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asr.decoding import SEARCHES
from asr.decoding.base import build_search
from asr.losses.weights import LossConfig
from asr.models.heads import HEADS, Head
from asr.models.heads.base import TOTAL, NamedHeadConfig
from asr.models.heads.ctc import CtcHead
from asr.text.vocabulary import Vocabulary
from asr.types import Batch, EncoderOutput, Targets
from tests.foreign_vocabularies import FOREIGN, ours

ENCODER_DIM = 10
LOSS = LossConfig()
VOCABULARIES = {name: make().vocabulary for name, make in {"ours": ours, **FOREIGN}.items()}


def fits(name: str, vocabulary: Vocabulary) -> bool:
    """Whether the vocabulary has the roles that the head needs: a blank for CTC, start and end for decoders."""
    if HEADS.part(name) is CtcHead:
        return vocabulary.blank is not None
    return vocabulary.sos is not None and vocabulary.eos is not None


each_head = pytest.mark.parametrize(
    ("name", "vocabulary"),
    [
        pytest.param(name, vocabulary, id=f"{name}-{kind}")
        for name in HEADS.names()
        for kind, vocabulary in VOCABULARIES.items()
        if fits(name, vocabulary)
    ],
)


def build(name: str, vocabulary: Vocabulary) -> Head:
    torch.manual_seed(3)
    config: NamedHeadConfig = HEADS.config(name).tiny()
    head: Head = HEADS.part(name)(config, ENCODER_DIM, vocabulary)
    return head.double().eval()


def texts_of(vocabulary: Vocabulary) -> Tensor:
    """Three texts of five tokens that a text can hold."""
    torch.manual_seed(5)
    letters = torch.tensor(sorted(set(range(len(vocabulary))) - vocabulary.control))
    return letters[torch.randint(len(letters), (3, 5))]


def noisy(vocabulary: Vocabulary) -> tuple[EncoderOutput, Batch]:
    """Frames and tokens whose padding is noise; the last row says nothing."""
    torch.manual_seed(4)
    encoded = EncoderOutput(torch.randn(3, 19, ENCODER_DIM, dtype=torch.float64) * 3, torch.tensor([19, 14, 6]))
    lens = torch.tensor([5, 3, 0])
    return encoded, Batch(("a", "b", "c"), torch.zeros(3, 0, 0), torch.zeros(3).long(), texts_of(vocabulary), lens)


@each_head
@torch.no_grad()
def test_the_losses_of_an_utterance_are_the_same_alone_and_among_noise(name: str, vocabulary: Vocabulary) -> None:
    head, (encoded, batch) = build(name, vocabulary), noisy(vocabulary)
    together = head.losses(encoded, batch, LOSS)
    assert list(together) == head.loss_names(LOSS, has_intermediate=False)
    for row in range(3):
        num_frames, num_tokens = int(encoded.lens[row]), int(batch.token_lens[row])
        alone = EncoderOutput(encoded.frames[row : row + 1, :num_frames], encoded.lens[row : row + 1])
        one = batch.rows(torch.tensor([row]))
        losses = head.losses(alone, replace(one, tokens=one.tokens[:, :num_tokens]), LOSS)
        for kind, loss in losses.items():
            torch.testing.assert_close(together[kind][row], loss[0], rtol=1e-9, atol=1e-9)


@each_head
def test_a_head_learns_a_text_as_soon_as_it_has_the_frames_it_asks_for(name: str, vocabulary: Vocabulary) -> None:
    head, text = build(name, vocabulary), texts_of(vocabulary)[0]
    text = torch.cat([text, text[-1:]])  # the last token twice
    needed = head.min_frames(text.tolist())
    targets = (text[None], torch.tensor([len(text)]))
    for num_frames in (needed, needed + 3):
        encoded = EncoderOutput(torch.randn(1, num_frames, ENCODER_DIM).double(), torch.tensor([num_frames]))
        batch = Batch(("a",), torch.zeros(1, 0, 0), torch.zeros(1).long(), *targets)
        assert head.losses(encoded, batch, LOSS)[TOTAL].isfinite().all()


@each_head
@torch.no_grad()
def test_the_tokens_of_another_tokenizer_are_found_by_its_name(name: str, vocabulary: Vocabulary) -> None:
    head, (encoded, batch) = build(name, vocabulary), noisy(vocabulary)
    expected = head.losses(encoded, batch, LOSS)
    head.tokenizer = "second"
    moved = replace(batch, tokens=batch.tokens * 0, further={"second": Targets(batch.tokens, batch.token_lens)})
    for kind, loss in head.losses(encoded, moved, LOSS).items():
        assert torch.equal(loss, expected[kind])


@each_head
@torch.no_grad()
def test_alignment_places_every_token_in_order_inside_the_audio(name: str, vocabulary: Vocabulary) -> None:
    head, (encoded, batch) = build(name, vocabulary), noisy(vocabulary)
    texts = [row[:length].tolist() for row, length in zip(batch.tokens, batch.token_lens, strict=True)]
    spans = head.align(encoded, texts)
    if spans is None:
        return  # it cannot tell
    for text, found, length in zip(texts, spans, encoded.lens.tolist(), strict=True):
        assert found is not None
        moments = [0, *found.flatten().tolist(), length]
        assert len(found) == len(text)
        assert moments == sorted(moments)
    assert head.align(encoded, [[text[0]] * 20 for text in batch.tokens.tolist()]) == [None] * 3


@each_head
@torch.no_grad()
def test_its_default_search_decodes_with_the_head_alone(name: str, vocabulary: Vocabulary) -> None:
    head, (encoded, _) = build(name, vocabulary), noisy(vocabulary)
    search = build_search(SEARCHES.config(head.default_search).model_validate({}), {head.id: head})
    n_best = search.search(encoded)
    assert len(n_best) == 3
    assert all(set(one.tokens) <= set(range(len(vocabulary))) for hypotheses in n_best for one in hypotheses)
