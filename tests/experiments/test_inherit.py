"""A run that begins with another model takes over of its configuration what the file leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model
from asr.data.manifest import read_manifest, write_manifest
from asr.errors import BundleError, ConfigError
from asr.experiments import launch
from asr.experiments.inherit import TAKEN, load_training
from asr.experiments.prepare import prepare
from asr.training.metrics import WER
from asr.training.trainer import Trainer
from tests.bundle.foreign.ctc_files import write_ctc
from tests.bundle.foreign.whisper_files import multilingual_model

DATA = "data: {train: train.jsonl, dev: dev.jsonl, num_workers: 0}\nspec_augment: null\n"
SHORT = "optimizer: {lr: 1.0e-3}\ntraining: {epochs: 2, average_num: 1, checkpoint_every: 1}\n"


@pytest.fixture
def whisper(workspace: Path) -> Path:
    multilingual_model(workspace / "source", workspace / "whisper")
    return workspace


def write(text: str) -> Path:
    Path("fine.yaml").write_text(DATA + SHORT + text, encoding="utf-8")
    return Path("fine.yaml")


def weights(folder: str) -> bytes:
    return Path(folder, "model.safetensors").read_bytes()


def test_what_the_file_leaves_out_is_the_model_s(workspace: Path) -> None:
    config, trained = load_training(write("init_from: model\n")), Bundle.load("model")
    assert config.init_from is not None
    assert config.init_from.takes == TAKEN
    assert {key: getattr(config, key) for key in TAKEN} == {key: getattr(trained.spec, key) for key in TAKEN}
    (workspace / "train.jsonl").write_text((workspace / "train.jsonl").read_text().replace("one", "jazz"))
    bundle = prepare(config, lambda _: None).bundle
    assert bundle.tokenizer.vocabulary == trained.tokenizer.vocabulary  # no z there, so it is not trained anew


def test_a_tokenizer_in_the_file_is_trained_on_its_own_texts(workspace: Path) -> None:
    config = load_training(write("init_from: model\ntokenizer: {name: char}\n"))
    (workspace / "train.jsonl").write_text((workspace / "train.jsonl").read_text().replace("four", "jazz"))
    assert "z" in prepare(config, lambda _: None).bundle.tokenizer.vocabulary.pieces


def test_a_saved_experiment_reads_back_as_it_is(workspace: Path) -> None:
    config = load_training(write("init_from: model\nheads: [{name: ctc}]\n"))
    assert config.init_from is not None
    assert "heads" not in (config.init_from.takes or ())
    assert config.search.name == "ctc_greedy"
    Path("again.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert load_training(Path("again.yaml")) == config
    with pytest.raises(BundleError, match="modle"):
        load_training(write("init_from: modle\n"))


def test_whisper_learns_texts_as_written_and_resumes_bit_for_bit(whisper: Path) -> None:
    (whisper / "train.jsonl").write_text((whisper / "train.jsonl").read_text().replace("one two", "One, two"))
    file = write("init_from: whisper\n")
    config = load_training(file)
    assert (config.data.normalize, config.target_normalizer) == ("none", "none")
    loader = prepare(config, lambda _: None).train_loader
    tokenizer = Bundle.load("whisper").tokenizer
    texts = [
        tokenizer.decode(row[:length].tolist())
        for batch in loader.epoch(0)
        for row, length in zip(batch.tokens, batch.token_lens, strict=True)
    ]
    assert "One, two three" in texts

    def stop(trainer: Trainer) -> None:
        if trainer.progress.step == 1:
            raise KeyboardInterrupt

    launch.train(file, Path("whole"), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        launch.train(file, Path("parts"), device="cpu", on_step=stop)
    launch.train(file, Path("parts"), device="cpu", resume=True)
    assert weights("whole") == weights("parts")
    assert weights("whole") != weights("whisper")


def test_a_new_ctc_head_stands_on_the_frozen_encoder_of_whisper(whisper: Path) -> None:
    file = write("init_from: {folder: whisper, parts: [encoder]}\nfreeze: [encoder]\nheads: [{name: ctc}]\n")
    launch.train(file, Path("out"), device="cpu")
    trained, given = Bundle.load("out"), Bundle.load("whisper")
    assert trained.tokenizer.vocabulary.blank is not None
    own, theirs = (bundle.model.encoder.state_dict() for bundle in (trained, given))
    assert all((own[name] == theirs[name]).all() for name in theirs)
    assert list(trained.model.heads) == ["ctc"]


def test_wav2vec2_is_fine_tuned_whole_or_under_a_new_head(workspace: Path) -> None:
    import_model(write_ctc(workspace / "source", "wav2vec2", "layer"), workspace / "wav2vec2")
    rows = read_manifest(Path("train.jsonl"))
    write_manifest(workspace / "train.jsonl", [replace(row, text="a near sound") for row in rows])  # letters it has
    file = Path("fine.yaml")
    data = "data: {train: train.jsonl, dev: dev.jsonl, num_workers: 0}\ninit_from: wav2vec2\n"
    layers = "optimizer: {lr: 1.0e-3, layer_decay: 0.5}\ntraining: {epochs: 1, average_num: 1}\n"
    file.write_text(data + layers, encoding="utf-8")
    assert load_training(file).spec_augment is None
    launch.train(file, Path("whole"), device="cpu")
    assert Bundle.load("whole").tokenizer.vocabulary == Bundle.load("wav2vec2").tokenizer.vocabulary
    file.write_text(data + layers + "tokenizer: {name: char}\nheads: [{name: ctc}]\n", encoding="utf-8")
    launch.train(file, Path("new"), device="cpu")
    assert Bundle.load("new").tokenizer.vocabulary != Bundle.load("wav2vec2").tokenizer.vocabulary
    with pytest.raises(ConfigError, match="raw samples have none; set spec_augment: null"):
        load_training(file, ["spec_augment.num_freq_masks=1"])


def test_a_run_that_made_it_worse_says_so() -> None:
    assert WER.worse(None, {"wer": 0.5}) is None
    assert WER.worse({"wer": 0.5}, {"wer": 0.5}) is None
    said = WER.worse({"wer": 0.25}, {"wer": 0.5})
    assert said is not None
    assert said.startswith("training made it worse: dev WER 25.00 % before the first step, 50.00 % now")
