"""Configurations and weights of asr 0.1 are read as what is written today, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from asr.bundle.bundle import Bundle
from asr.bundle.tensors import load_tensors, save_tensors
from asr.config import Experiment, parse_experiment, read_yaml
from asr.errors import ConfigError
from asr.experiments import launch
from asr.training.trainer import Trainer
from asr.upgrade import upgrade_config, upgrade_tensors

DATA = {"train": "train.jsonl", "dev": "dev.jsonl"}


def upgraded(**keys: object) -> Experiment:
    return parse_experiment({"format_version": 1, "data": DATA, **keys}, source="old.yaml")


def test_a_joint_model_of_version_1_becomes_two_heads_with_weights() -> None:
    decoder = {"name": "lstm", "dim": 32}
    config = upgraded(decoder=decoder, intermediate_ctc={"layers": [2]}, loss={"ctc_weight": 0.7, "label_smoothing": 0})
    ctc, lstm = config.heads
    assert (ctc.head_id, ctc.model_dump()["intermediate"]["layers"]) == ("ctc", (2,))
    assert (lstm.head_id, lstm.model_dump()["dim"]) == ("lstm", 32)
    assert config.loss.weights == {"ctc": 0.7, "lstm": 1 - 0.7}
    assert config.loss.label_smoothing == 0
    assert config.format_version == 2


def test_models_of_one_output_need_no_weights() -> None:
    assert [head.head_id for head in upgraded().heads] == ["ctc"]
    attention = upgraded(decoder={"name": "transformer"}, loss={"ctc_weight": 0.0}, search={"name": "attention_greedy"})
    assert [head.head_id for head in attention.heads] == ["transformer"]
    assert attention.loss.weights == {}


def test_a_yaml_without_a_version_is_known_by_its_keys() -> None:
    config = parse_experiment({"data": DATA, "decoder": {"name": "lstm"}, "loss": {"ctc_weight": 0.5}}, source="x")
    assert [head.head_id for head in config.heads] == ["ctc", "lstm"]


def test_parts_named_in_init_from_and_freeze_are_renamed() -> None:
    config = upgraded(
        decoder={"name": "lstm"},
        loss={"ctc_weight": 0.5},
        start_from={"folder": "exp/x", "parts": ["encoder", "ctc_head", "decoder.cells.0"]},
        freeze={"parts": ["encoder.layers.0", "intermediate_ctc"]},
    )
    assert config.init_from is not None
    assert config.init_from.parts == ("encoder", "heads.ctc.output", "heads.lstm.cells.0")
    assert config.freeze is not None
    assert config.freeze.parts == ("encoder.layers.0", "intermediate.ctc")


def test_todays_configuration_is_left_alone() -> None:
    data = {"format_version": 2, "data": DATA, "heads": [{"name": "ctc"}]}
    assert upgrade_config(data, "x") is data


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"loss": {"ctc_weight": 0.3}}, "old.yaml: loss.ctc_weight is 0.3 but the model has no decoder"),
        ({"decoder": {"name": "lstm"}}, "loss.ctc_weight is 1.0 but the model has a decoder"),
        (
            {"decoder": {"name": "lstm"}, "loss": {"ctc_weight": 0}, "intermediate_ctc": {"layers": [1]}},
            "intermediate_ctc needs a CTC loss",
        ),
        ({"format_version": 3}, "format_version 3 is newer than the 2 known here"),
    ],
)
def test_what_made_no_sense_in_version_1_is_refused_as_it_was(keys: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        upgraded(**keys)


def test_tensors_get_todays_names_below_any_prefix() -> None:
    names = ["encoder.x", "ctc_head.linear.bias", "decoder.output.linear.bias", "intermediate_ctc.norm.bias"]
    today = ["encoder.x", "heads.ctc.output.linear.bias", "heads.lstm.output.linear.bias", "intermediate.ctc.norm.bias"]
    assert list(upgrade_tensors(dict.fromkeys(names, 0), ["ctc", "lstm"])) == today
    assert list(upgrade_tensors(dict.fromkeys(today, 0), ["ctc", "lstm"])) == today
    prefixed = upgrade_tensors({f"ema.weights.{name}": 0 for name in names}, ["ctc", "lstm"], "ema.weights.")
    assert list(prefixed) == [f"ema.weights.{name}" for name in today]
    assert list(upgrade_tensors({"optimizer.3.exp_avg": 0}, ["ctc"], "model.")) == ["optimizer.3.exp_avg"]


def former_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the tiny workspace's model under the names of version 1."""
    table = {"heads.ctc.output.": "ctc_head.", "heads.transformer.": "decoder."}
    renamed = {}
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in ("model.", "ema.weights.") if name.startswith(prefix)), "")
        own = name.removeprefix(prefix)
        for today, former in table.items():
            own = former + own.removeprefix(today) if own.startswith(today) else own
        renamed[prefix + own] = tensor
    return renamed


def make_version_1(folder: Path) -> None:
    """Turn a model folder, with its training state if there is any, into what asr 0.1 would have written."""
    data = read_yaml(folder / "config.yaml")
    decoder = next(head for head in data.pop("heads") if head["name"] == "transformer")
    data |= {"format_version": 1, "decoder": {key: decoder[key] for key in decoder if key not in ("id", "tokenizer")}}
    data["loss"] = {"ctc_weight": data["loss"].pop("weights")["ctc"], **data["loss"]}
    data.pop("tokenizers")
    (folder / "config.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    for path in folder.rglob("*.safetensors"):
        save_tensors(path, former_names(load_tensors(path)))


def test_a_model_folder_of_version_1_loads_with_the_same_weights(workspace: Path) -> None:
    today = Bundle.load("model")
    make_version_1(Path("model"))
    former = Bundle.load("model")
    assert former.spec.heads == today.spec.heads
    assert former.experiment.loss.weights == {"ctc": 0.3, "transformer": 0.7}
    for name, tensor in today.weights().items():
        assert torch.equal(former.weights()[name], tensor)


def test_a_run_begun_by_version_1_is_resumed_as_if_nothing_had_changed(workspace: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(trainer: Trainer) -> None:
        if trainer.progress.step == 3:
            raise Killed

    settings = ["training.checkpoint_every=2", "training.ema_decay=0.9", "optimizer.lr=0.001", "training.epochs=2"]
    settings.append("data.max_batch_seconds=1.5")
    launch.train(Path("experiment.yaml"), Path("straight"), overrides=settings, device="cpu")
    with pytest.raises(Killed):
        launch.train(Path("experiment.yaml"), Path("cut"), overrides=settings, device="cpu", on_step=kill)
    make_version_1(Path("cut"))
    launch.train(Path("experiment.yaml"), Path("cut"), overrides=settings, device="cpu", resume=True)
    straight, resumed = Bundle.load("straight").weights(), Bundle.load("cut").weights()
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in straight.items())
