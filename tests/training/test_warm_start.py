"""A run that starts from a trained model: which weights it takes over, and which models it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from asr.bundle import Bundle
from asr.config import load_config
from asr.errors import BundleError, ConfigError
from asr.training.prepare import prepare
from asr.training.warm_start import warm_start


def fresh(overrides: Sequence[str] = (), said: list[str] | None = None) -> Bundle:
    """What a run with other random weights than the model's starts from."""
    config = load_config(Path("experiment.yaml"), ["seed=11", *overrides])
    return prepare(config, (said if said is not None else []).append).bundle


def differing(one: Bundle, other: Bundle, prefix: str = "") -> set[str]:
    """The top-level parts, or the one of a prefix, in which two models that share it have other weights."""
    own, others = (bundle.model.state_dict() for bundle in (one, other))
    names = [name for name in own if name.startswith(prefix)]
    assert names
    return {name.split(".")[0] for name in names if not torch.equal(own[name], others[name])}


def test_with_the_same_tokens_every_weight_is_the_model_s(workspace: Path) -> None:
    trained = Bundle.load("model")
    assert {"encoder", "decoder", "ctc_head"} <= differing(fresh(), trained)
    said: list[str] = []
    started = fresh(["start_from=model"], said)
    assert differing(started, trained) == set()
    assert said == [f"{sum(weight.numel() for weight in trained.model.parameters()) / 1e6:.2f} M weights from model"]


def test_with_other_tokens_those_of_the_same_name_keep_their_outputs(workspace: Path) -> None:
    trained = Bundle.load("model")
    (workspace / "train.jsonl").write_text(
        (workspace / "train.jsonl").read_text().replace("four", "jazz").replace("eight", "quay")
    )
    started, cold = (fresh(more) for more in (["start_from=model"], []))
    pieces, known = started.tokenizer.vocabulary.pieces, trained.tokenizer.vocabulary.pieces
    assert set(pieces) - set(known)  # some letters are new
    assert set(known) - set(pieces)  # and some no longer there
    rows, trained_rows, cold_rows = (
        bundle.model.state_dict()["ctc_head.linear.weight"] for bundle in (started, trained, cold)
    )
    for token, piece in enumerate(pieces):
        assert torch.equal(rows[token], trained_rows[known.index(piece)] if piece in known else cold_rows[token])
    assert "encoder" not in differing(started, trained, "encoder.")


def test_a_part_the_model_lacks_keeps_its_random_weights(workspace: Path) -> None:
    intermediate = ["intermediate_ctc.layers=[1]"]
    started, cold = (fresh([*intermediate, *more]) for more in (["start_from=model"], []))
    assert "intermediate_ctc.norm.weight" not in Bundle.load("model").model.state_dict()
    assert not differing(started, cold, "intermediate_ctc.")
    assert differing(started, cold, "encoder.")


def test_statistics_are_those_of_the_new_data(workspace: Path) -> None:
    started, cold = (fresh(["frontend.cmvn=global", *more]) for more in (["start_from=model"], []))
    for name, statistics in cold.frontend.state_dict().items():
        assert torch.equal(started.frontend.state_dict()[name], statistics)


def test_another_encoder_is_refused_with_the_weight_that_differs(workspace: Path) -> None:
    bundle = fresh(["encoder.ff_dim=32"])
    with pytest.raises(ConfigError, match=r"start_from: model has another encoder: 'encoder\..*' is .*32.* here and"):
        warm_start(bundle, Path("model"))


def test_a_folder_without_a_model_is_refused(workspace: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such model folder"):
        fresh(["start_from=nowhere"])
