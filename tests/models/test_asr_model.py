"""The whole acoustic model: its parts, its losses and what it promises together."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr.decoding.base import ctc_of, decoder_of
from asr.errors import ConfigError
from asr.losses.consistency import consistency_loss
from asr.losses.ctc import ctc_loss
from asr.losses.label_smoothing import label_smoothing_loss
from asr.losses.weights import LossConfig, weighted_sum
from asr.models.asr_model import AsrModel, build_model
from asr.models.encoders import ENCODERS
from asr.models.encoders.conformer import ConformerConfig
from asr.models.heads import HEADS
from asr.models.heads.base import NamedHeadConfig
from asr.models.heads.ctc import CtcHeadConfig, IntermediateCtcConfig
from asr.models.heads.decoder import Decoder
from asr.text.vocabulary import Vocabulary
from asr.types import Batch, Targets

NUM_FEATURES = 10
BLANK, UNK, SOS, EOS = range(4)
VOCABULARY = Vocabulary(("<blank>", "<unk>", "<s>", "</s>", *"abcde"), BLANK, UNK, SOS, EOS)
DECODERS = [name for name in HEADS.names() if issubclass(HEADS.part(name), Decoder)]
INTERMEDIATE = CtcHeadConfig(intermediate=IntermediateCtcConfig(layers=(1,)))
JOINT = LossConfig(weights={"ctc": 0.3, "transformer": 0.7}, label_smoothing=0.1, intermediate_weight=0.25)


def build(encoder: str = "conformer", *heads: NamedHeadConfig) -> AsrModel:
    torch.manual_seed(0)
    chosen = heads or (INTERMEDIATE, HEADS.config("transformer").tiny())
    model = build_model(ENCODERS.config(encoder).tiny(), chosen, NUM_FEATURES, {"main": VOCABULARY})
    return model.double().eval()


def noisy_batch() -> Batch:
    torch.manual_seed(1)
    return Batch(
        ids=("a", "b", "c"),
        features=torch.randn(3, 50, NUM_FEATURES, dtype=torch.float64),
        feature_lens=torch.tensor([31, 50, 9]),
        tokens=torch.randint(4, len(VOCABULARY), (3, 5)),
        token_lens=torch.tensor([4, 3, 0]),
    )


def row_of(batch: Batch, row: int) -> Batch:
    num_frames, num_tokens = int(batch.feature_lens[row]), int(batch.token_lens[row])
    alone = batch.rows(torch.tensor([row]))
    return replace(alone, features=alone.features[:, :num_frames], tokens=alone.tokens[:, :num_tokens])


def named(losses: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{head}.{name}" if name else head: loss for head, parts in losses.items() for name, loss in parts.items()}


@pytest.mark.parametrize("encoder", ENCODERS.names())
@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_every_loss_of_an_utterance_is_the_same_alone_and_batched(encoder: str, decoder: str) -> None:
    model, batch = build(encoder, INTERMEDIATE, HEADS.config(decoder).tiny()), noisy_batch()
    together = named(model(batch, JOINT))
    assert list(together) == model.loss_names(JOINT) == ["ctc", "ctc.intermediate", decoder]
    for row in range(3):
        for name, loss in named(model(row_of(batch, row), JOINT)).items():
            torch.testing.assert_close(together[name][row], loss[0], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_losses_are_those_of_the_pure_functions() -> None:
    model, batch = build(), noisy_batch()
    encoded = model.encode(batch.features, batch.feature_lens)
    ctc, decoder = ctc_of(model.heads), decoder_of(model.heads)
    assert ctc is not None
    assert decoder is not None
    targets = (encoded.lens, batch.tokens, batch.token_lens)
    losses = model(batch, JOINT)
    torch.testing.assert_close(losses["ctc"][""], ctc_loss(ctc.log_probs(encoded), *targets, blank=BLANK))
    (layer,) = encoded.intermediate
    torch.testing.assert_close(losses["ctc"]["intermediate"], ctc_loss(layer, *targets, blank=BLANK))
    spelled = decoder(encoded, batch.tokens, batch.token_lens)
    expected = label_smoothing_loss(spelled, batch.tokens, batch.token_lens, 0.1, eos=EOS)
    torch.testing.assert_close(losses["transformer"][""], expected)


@torch.no_grad()
def test_consistency_compares_the_two_views_of_a_batch() -> None:
    model, batch = build("conformer", CtcHeadConfig()), noisy_batch()
    config = LossConfig(consistency_weight=0.2)
    views = replace(batch.rows(torch.tensor([0, 1, 0, 1])), num_views=2)
    views = replace(views, features=views.features + torch.randn_like(views.features))
    ctc = ctc_of(model.heads)
    assert ctc is not None
    encoded = model.encode(views.features, views.feature_lens)
    losses = model(views, config)["ctc"]
    torch.testing.assert_close(losses["consistency"], consistency_loss(ctc.log_probs(encoded), encoded.lens))
    assert views.num_utterances == 2
    with pytest.raises(AssertionError, match="two views"):
        model(batch, config)


@pytest.mark.parametrize("split", [[[0], [1, 2]], [[2, 1], [0]]])
def test_the_gradient_of_a_step_does_not_depend_on_its_split_into_batches(split: list[list[int]]) -> None:
    def gradients(batches: list[Batch]) -> list[Tensor]:
        model = build()
        for batch in batches:
            weighted_sum(model(batch, JOINT), JOINT).sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    whole = gradients([noisy_batch()])
    parts = gradients([noisy_batch().rows(torch.tensor(rows)) for rows in split])
    assert len(whole) == len(list(build().parameters()))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_row_that_cannot_be_aligned_is_visible() -> None:
    batch = replace(noisy_batch(), feature_lens=torch.tensor([31, 4, 9]))
    loss = build("conformer", CtcHeadConfig())(batch, LossConfig())["ctc"][""]
    assert loss.isfinite().tolist() == [True, False, True]


@torch.no_grad()
def test_ctc_never_writes_the_start_or_the_end_of_a_sentence() -> None:
    model, batch = build(), noisy_batch()
    encoded = model.encode(batch.features, batch.feature_lens)
    ctc = ctc_of(model.heads)
    assert ctc is not None
    for log_probs in (ctc.log_probs(encoded), *encoded.intermediate):
        assert (log_probs[..., [SOS, EOS]] == -math.inf).all()


@torch.no_grad()
def test_heads_are_found_by_what_they_are() -> None:
    assert decoder_of(build("conformer", CtcHeadConfig()).heads) is None
    assert ctc_of(build("conformer", HEADS.config("lstm").tiny()).heads) is None
    speller = HEADS.config("lstm").tiny().model_copy(update={"id": "speller"})
    model = build("conformer", CtcHeadConfig(), speller)
    found = decoder_of(model.heads)
    assert found is model.heads["speller"]


@torch.no_grad()
def test_heads_of_different_tokenizers_learn_from_their_own_targets() -> None:
    words = Vocabulary(("<pad>", "|", "x", "y"), 0, None, None, None)
    chars, spelling = CtcHeadConfig(id="words", tokenizer="words"), CtcHeadConfig()
    torch.manual_seed(0)
    vocabularies = {"main": VOCABULARY, "words": words}
    encoder = ENCODERS.config("conformer").tiny()
    model = build_model(encoder, [spelling, chars], NUM_FEATURES, vocabularies).double().eval()
    batch = noisy_batch()
    targets = Targets(torch.tensor([[2, 3], [3, 1], [2, 0]]), torch.tensor([2, 2, 1]))
    losses = model(replace(batch, further={"words": targets}), LossConfig(weights={"ctc": 1.0, "words": 1.0}))
    encoded = model.encode(batch.features, batch.feature_lens)
    log_probs = model.heads["words"].log_probs(encoded)
    assert log_probs.shape[-1] == 4
    assert log_probs.isfinite().all()
    torch.testing.assert_close(
        losses["words"][""], ctc_loss(log_probs, encoded.lens, targets.tokens, targets.lens, blank=0)
    )


@torch.no_grad()
def test_self_conditioning_feeds_posteriors_to_later_layers() -> None:
    model, batch = build("conformer", INTERMEDIATE), noisy_batch()
    before = model.encode(batch.features, batch.feature_lens)
    model.intermediate["ctc"].conditioning.weight.zero_()
    after = model.encode(batch.features, batch.feature_lens)
    torch.testing.assert_close(before.intermediate[0], after.intermediate[0])
    assert (before.frames - after.frames).abs().max() > 1e-3


def test_saved_weights_have_stable_readable_names_and_load(tmp_path: Path) -> None:
    model = build()
    assert {
        "encoder.subsampling.stages.0.weight",
        "encoder.layers.0.attention.query_key_value.weight",
        "encoder.layers.1.convolution.depthwise.weight",
        "heads.ctc.output.linear.weight",
        "heads.transformer.layers.0.cross_attention.key_value.weight",
        "heads.transformer.embedding.weight",
        "intermediate.ctc.conditioning.weight",
    } <= set(model.state_dict())
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.manual_seed(5)
    other = build_model(
        ENCODERS.config("conformer").tiny(),
        [INTERMEDIATE, HEADS.config("transformer").tiny()],
        NUM_FEATURES,
        {"main": VOCABULARY},
    )
    other.double().eval().load_state_dict(load_file(tmp_path / "model.safetensors"))
    batch = noisy_batch()
    for name, loss in named(model(batch, JOINT)).items():
        assert torch.equal(loss, named(other(batch, JOINT))[name])


@pytest.mark.parametrize("layers", [(0,), (2,), (1, 7)])
def test_intermediate_layers_must_lie_below_the_last(layers: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"must lie in 1\.\.1"):
        build("conformer", CtcHeadConfig(intermediate=IntermediateCtcConfig(layers=layers)))


def test_a_head_whose_vocabulary_lacks_its_roles_is_refused() -> None:
    encoder, bare = ENCODERS.config("conformer").tiny(), Vocabulary(("a", "b"), None, None, None, None)
    with pytest.raises(ConfigError, match="head 'ctc' needs a blank"):
        build_model(encoder, [CtcHeadConfig()], NUM_FEATURES, {"main": bare})
    with pytest.raises(ConfigError, match="head 'lstm' needs a start and an end"):
        build_model(encoder, [HEADS.config("lstm").tiny()], NUM_FEATURES, {"main": bare})


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"dim": 30}, "multiple of"), ({"kernel_size": 30}, "use 31"), ({"dropout": 1.0}, "less than 1")],
)
def test_sizes_that_do_not_fit_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ConformerConfig.model_validate(changes)


def test_the_default_conformer_has_the_size_it_is_known_by() -> None:
    pieces = tuple(map(str, range(32)))
    model = build_model(ConformerConfig(), [CtcHeadConfig()], 80, {"main": Vocabulary(pieces, 0, 1, 2, 3)})
    assert 3.9e6 < sum(parameter.numel() for parameter in model.parameters()) < 4.3e6
    assert model.subsampling_factor == 4
    assert model.output_lens(torch.tensor([0, 1, 100, 101])).tolist() == [0, 1, 25, 26]
