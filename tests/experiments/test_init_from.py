"""A run that starts from a trained model: which weights it takes over, and which models it refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.import_record import CARD_FILE, ImportRecord
from asr.config import load_experiment
from asr.errors import BundleError, ConfigError
from asr.experiments import launch
from asr.experiments.average import average_epochs
from asr.experiments.init_from import KERNEL, REPORT_FILE
from asr.experiments.prepare import prepare
from asr.experiments.summary import summarize

KINDS = ("copied", "resized", "made_causal", "missing_there", "other_shape", "not_asked")  # of a new model's weights


def fresh(overrides: Sequence[str] = (), said: list[str] | None = None) -> Bundle:
    """What a run with other random weights than the model's starts from."""
    config = load_experiment(Path("experiment.yaml"), ["seed=11", *overrides])
    return prepare(config, (said if said is not None else []).append).bundle


def differing(one: Bundle, other: Bundle, prefix: str = "") -> set[str]:
    """The top-level parts, or the one of a prefix, in which two models that share it have other weights."""
    own, others = (bundle.model.state_dict() for bundle in (one, other))
    names = [name for name in own if name.startswith(prefix)]
    assert names
    return {name.split(".")[0] for name in names if not torch.equal(own[name], others[name])}


def test_with_the_same_tokens_every_weight_is_the_model_s(workspace: Path) -> None:
    trained = Bundle.load("model")
    assert {"encoder", "heads"} <= differing(fresh(), trained)
    said: list[str] = []
    started = fresh(["init_from=model"], said)
    assert differing(started, trained) == set()
    number = f"{sum(weight.numel() for weight in trained.model.state_dict().values()) / 1e6:.2f}"
    assert said == [f"{number} of {number} M weights from model; tensors: {len(trained.model.state_dict())} copied"]


def test_a_name_does_for_a_folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_HOME", str(workspace))
    shutil.copytree("model", "models/mine")
    assert differing(fresh(["init_from=mine"]), Bundle.load("model")) == set()
    with pytest.raises(BundleError, match="did you mean 'mine'"):
        fresh(["init_from=mime"])


def test_with_other_tokens_those_of_the_same_name_keep_their_outputs(workspace: Path) -> None:
    trained = Bundle.load("model")
    (workspace / "train.jsonl").write_text(
        (workspace / "train.jsonl").read_text().replace("four", "jazz").replace("eight", "quay")
    )
    started, cold = (fresh(more) for more in (["init_from=model"], []))
    pieces, known = started.tokenizer.vocabulary.pieces, trained.tokenizer.vocabulary.pieces
    assert set(pieces) - set(known)  # some letters are new
    assert set(known) - set(pieces)  # and some no longer there
    rows, trained_rows, cold_rows = (
        bundle.model.state_dict()["heads.ctc.output.linear.weight"] for bundle in (started, trained, cold)
    )
    for token, piece in enumerate(pieces):
        assert torch.equal(rows[token], trained_rows[known.index(piece)] if piece in known else cold_rows[token])
    assert "encoder" not in differing(started, trained, "encoder.")


def test_a_part_the_model_lacks_keeps_its_random_weights(workspace: Path) -> None:
    intermediate = ["heads.ctc.intermediate.layers=[1]"]
    started, cold = (fresh([*intermediate, *more]) for more in (["init_from=model"], []))
    assert "intermediate.ctc.norm.weight" not in Bundle.load("model").model.state_dict()
    assert not differing(started, cold, "intermediate.")
    assert differing(started, cold, "encoder.")


def test_statistics_are_those_of_the_new_data(workspace: Path) -> None:
    started, cold = (fresh(["frontend.cmvn=global", *more]) for more in (["init_from=model"], []))
    for name, statistics in cold.frontend.state_dict().items():
        assert torch.equal(started.frontend.state_dict()[name], statistics)


def test_another_encoder_is_refused_with_the_weight_that_differs(workspace: Path) -> None:
    with pytest.raises(ConfigError, match=r"init_from: model has another encoder: 'encoder\..*' is .*32.* here and"):
        fresh(["encoder.ff_dim=32", "init_from=model"])
    with pytest.raises(ConfigError, match=r"'encoder\.layers\.1\..*' is missing here and .* there"):
        fresh(["encoder.num_layers=1", "init_from=model"])


def test_a_deeper_encoder_takes_the_layers_there_are_where_that_is_wanted(workspace: Path) -> None:
    deeper = ["encoder.num_layers=3", "init_from={folder: model, partial: true}"]
    started, cold, trained = fresh(deeper), fresh(deeper[:1]), Bundle.load("model")
    for part in ("encoder.subsampling.", "encoder.layers.0.", "encoder.layers.1."):
        assert not differing(trained, started, part)
        assert differing(cold, started, part)
    assert not differing(cold, started, "encoder.layers.2.")


def test_a_streaming_encoder_takes_present_and_past_of_kernels_that_see_both_sides(workspace: Path) -> None:
    sizes = "dim: 16, num_layers: 2, num_heads: 2, ff_dim: 24, subsampling: {channels: 4}"
    whole = f"encoder={{name: conformer, kernel_size: 9, {sizes}}}"
    fresh([whole]).save(Path("whole"))
    trained = Bundle.load("whole")
    for kernel, kept in ((3, 3), (7, 5)):
        said: list[str] = []
        started = fresh(
            [f"encoder={{name: streaming_conformer, kernel_size: {kernel}, {sizes}}}", "init_from=whole"], said
        )
        assert "2 made causal" in said[-1]
        names = [name for name in started.model.state_dict() if name.endswith(KERNEL)]
        assert len(names) == 2
        for name in names:
            own, given = started.model.state_dict()[name], trained.model.state_dict()[name]
            assert torch.equal(own[..., -kept:], given[..., 5 - kept : 5])
            assert not own[..., :-kept].any()
        others = set(started.model.state_dict()) - set(names)
        assert all(torch.equal(started.model.state_dict()[one], trained.model.state_dict()[one]) for one in others)


def test_only_the_parts_asked_for_are_taken(workspace: Path) -> None:
    parts = "init_from={folder: model, parts: [encoder.layers.0, heads.ctc]}"
    started, cold, trained = fresh([parts]), fresh(), Bundle.load("model")
    assert not differing(started, trained, "encoder.layers.0.")
    assert not differing(started, trained, "heads.ctc.")
    for part in ("encoder.layers.1.", "encoder.subsampling.", "heads.transformer."):
        assert not differing(started, cold, part)
        assert differing(started, trained, part)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("[encodr]", "init_from.parts: 'encodr' is no part of this model; did you mean 'encoder'?"),
        ("[encoder.layer.0]", "'encoder.layer.0' is no part of this model; did you mean 'encoder.layers'?"),
        ("[encoder.layers.2]", "'encoder.layers.2' is no part of model; did you mean 'encoder.layers.1'?"),
        ("[encoder, intermediate]", "'intermediate' is no part of model; known: encoder, heads"),
    ],
)
def test_a_part_that_one_of_the_models_lacks_is_an_error_with_the_nearest_name(
    parts: str, message: str, workspace: Path
) -> None:
    more = ["encoder.num_layers=3", "heads.ctc.intermediate.layers=[1]"]
    with pytest.raises(ConfigError, match=re.escape(message)):
        fresh([*more, f"init_from={{folder: model, parts: {parts}, partial: true}}"])


def test_a_model_of_which_nothing_fits_is_refused(workspace: Path) -> None:
    embedding = "init_from={folder: model, parts: [heads.transformer.embedding]}"
    with pytest.raises(ConfigError, match="no weight of model fits this model"):
        fresh(["heads.transformer.dim=24", "heads.transformer.num_heads=3", embedding])


def test_the_report_tells_what_became_of_every_weight(workspace: Path) -> None:
    (workspace / "train.jsonl").write_text((workspace / "train.jsonl").read_text().replace("four", "jazz"))
    settings = ["seed=11", "init_from={folder: model, partial: true}", "encoder.num_layers=3"]
    settings.append("heads.transformer.ff_dim=32")
    launch.train(Path("experiment.yaml"), Path("out"), overrides=settings, device="cpu")
    report = json.loads(Path("out", "training", REPORT_FILE).read_text(encoding="utf-8"))
    own, given = Bundle.load("out"), Bundle.load("model")
    names = own.model.state_dict().keys()
    assert sorted(name for key in KINDS for name in report[key]) == sorted(names)
    assert report["missing_there"] == [name for name in names if name.startswith("encoder.layers.2.")]
    assert "heads.ctc.output.linear.weight" in report["resized"]
    assert report["missing_here"] == []
    assert {tuple(shapes["here"]) for shapes in report["other_shape"].values()} == {(32, 16), (32,), (16, 32)}
    pieces, known = (bundle.tokenizer.vocabulary.pieces for bundle in (own, given))
    assert report["new_tokens"] == [piece for piece in pieces if piece not in known]
    assert 0 < report["num_copied"] < report["num_weights"]


def test_the_licence_of_the_weights_goes_along(workspace: Path) -> None:
    shutil.copytree("model", "base")
    ImportRecord("their-model", "them/theirs", "hub", "0123456789abcdef", "MIT", {}).save(Path("base"))
    launch.train(Path("experiment.yaml"), Path("tuned"), overrides=["init_from=base"], device="cpu")
    average_epochs(Path("tuned"), Path("averaged"), last=1)
    for folder in (Path("tuned"), Path("averaged")):
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
        assert (
            "weights of their-model, other people's work, from them/theirs, revision 0123456789ab: licence MIT." in card
        )
        facts = dict(summarize(folder))
        assert facts["began with"] == "them/theirs, revision 0123456789ab"
        assert facts["licence"] == "MIT"


def test_features_of_another_kind_draw_a_warning(workspace: Path) -> None:
    said: list[str] = []
    fresh(["init_from=model", "frontend.features={name: fbank, low_freq: 50}"], said)
    assert said[0] == "warning: model was trained on other features than this model: low_freq 50.0, not 20.0"


def test_a_square_matrix_as_wide_as_the_vocabulary_is_not_taken_for_one_of_tokens(workspace: Path) -> None:
    rows = (workspace / "train.jsonl").read_text()
    (workspace / "train.jsonl").write_text(rows.replace("four", "fouz"))
    wide = ["heads.transformer.dim=20", "heads.transformer.ff_dim=20"]
    launch.train(Path("experiment.yaml"), Path("wide"), overrides=wide, device="cpu")
    (workspace / "train.jsonl").write_text(rows.replace("four", "fouj"))
    started, trained = fresh(["init_from=wide", *wide]), Bundle.load("wide")
    assert started.tokenizer.vocab_size == trained.tokenizer.vocab_size == 20
    assert started.tokenizer.vocabulary.pieces != trained.tokenizer.vocabulary.pieces
    assert any(weight.shape == (20, 20) for weight in trained.model.heads["transformer"].layers.state_dict().values())
    assert not differing(started, trained, "heads.transformer.layers.")
    assert differing(started, trained, "heads.transformer.embedding.")


def test_a_folder_without_a_model_is_refused(workspace: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such model folder"):
        fresh(["init_from=nowhere"])
