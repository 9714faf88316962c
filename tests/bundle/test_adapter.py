"""LoRA: what was learnt, added to its base, is the model that was saved; PEFT reads it; others are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from asr.bundle.adapter import ADAPTER_FOLDER, PREFIX, TENSORS_FILE, load_adapted, read_adapter
from asr.bundle.bundle import Bundle
from asr.bundle.tensors import load_tensors
from asr.cli.main import main
from asr.errors import BundleError, ConfigError
from asr.experiments import launch
from asr.experiments.average import average_epochs
from asr.nn.lora import LoraConfig, add_lora, merged_state
from asr.training.trainer import Trainer

SETTINGS = (
    "init_from=model",
    "lora={rank: 2, alpha: 8, dropout: 0.1, parts: [heads.ctc]}",
    "optimizer.lr=0.01",
    "training.checkpoint_every=1",
    "training.average_num=1",
    "data.max_batch_seconds=3",
)


def train(out: str, resume: bool = False, on_step=lambda _trainer: None) -> None:
    launch.train(Path("experiment.yaml"), Path(out), overrides=SETTINGS, resume=resume, device="cpu", on_step=on_step)


@pytest.fixture
def adapted(workspace: Path) -> Path:
    train("out")
    return workspace


def test_the_base_with_the_adapter_is_the_merged_model(adapted: Path) -> None:
    merged, base = Bundle.load("out"), Bundle.load("model")
    both = load_adapted(Path("model"), Path("out") / ADAPTER_FOLDER)
    own = both.model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in merged.model.state_dict().items())
    changed = {name for name, tensor in base.model.state_dict().items() if not torch.equal(own[name], tensor)}
    assert any(name.startswith("heads.ctc.") for name in changed)
    assert any(name.endswith("query_key_value.weight") for name in changed)
    assert not any("norm" in name or "subsampling" in name for name in changed)


def test_another_base_is_refused(adapted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("out", "other")
    with pytest.raises(BundleError, match=r"is an adapter of another model \(model\), not of other"):
        load_adapted(Path("other"), Path("out") / ADAPTER_FOLDER)
    with pytest.raises(BundleError, match="name an adapter's folder"):
        load_adapted(Path("model"), Path("audio"))
    with pytest.raises(ConfigError, match="weights of 8 bits"):
        load_adapted(Path("model"), Path("out") / ADAPTER_FOLDER, dtype="int8")
    with pytest.raises(SystemExit) as leaving:
        main(["transcribe", "audio/0.wav", "--model", "model", "--adapter", "out/adapter", "--device", "cpu"])
    assert not leaving.value.code
    alone = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["transcribe", "audio/0.wav", "--model", "out", "--device", "cpu"])
    assert capsys.readouterr().out == alone


def test_a_resumed_run_ends_with_the_same_weights_and_adapter(adapted: Path) -> None:
    def stop(trainer: Trainer) -> None:
        if trainer.progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("parts", on_step=stop)
    train("parts", resume=True)
    for name in ("model.safetensors", f"{ADAPTER_FOLDER}/{TENSORS_FILE}", f"{ADAPTER_FOLDER}/adapter.yaml"):
        assert Path("out", name).read_bytes() == Path("parts", name).read_bytes()
    average_epochs(Path("out"), Path("mean"), best=1)
    own, mean = (Bundle.load(folder).model.state_dict() for folder in ("out", "mean"))
    assert all(torch.equal(own[name], mean[name]) for name in own)


def test_peft_reads_what_was_learnt(adapted: Path) -> None:
    peft = pytest.importorskip("peft")
    settings, tensors = read_adapter(Path("out/adapter")), load_tensors(Path("out/adapter") / TENSORS_FILE)
    model = Bundle.load("model").model
    lora = settings.lora
    config = peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), lora_dropout=0.0)
    wrapped = peft.get_peft_model(model, config)
    learnt = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    found = peft.set_peft_model_state_dict(wrapped, learnt)
    assert not found.unexpected_keys
    assert set(peft.get_peft_model_state_dict(wrapped)) == set(learnt)
    theirs = wrapped.merge_and_unload().state_dict()
    own = Bundle.load("out").model.state_dict()
    names = [name for name in own if not name.startswith("heads.ctc.")]
    assert names
    assert all(torch.allclose(own[name], theirs[name], atol=1e-6) for name in names)
    assert all(name.startswith(PREFIX) for name in tensors)


def test_targets_and_parts_are_those_of_the_model(workspace: Path) -> None:
    model = Bundle.load("model").model
    with pytest.raises(
        ConfigError, match=r"lora\.targets: 'widenn' is no linear layer of the model; did you mean 'widen'"
    ):
        add_lora(model, LoraConfig(targets=("widenn",)), 1)
    with pytest.raises(ConfigError, match=r"lora\.parts: 'heads\.ctcc' is no part of the model"):
        add_lora(model, LoraConfig(parts=("heads.ctcc",)), 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    add_lora(model, LoraConfig(), 1)
    after = merged_state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name.split(".")[-2] for name, weight in model.named_parameters() if weight.requires_grad} == {
        "lora_A",
        "lora_B",
    }
