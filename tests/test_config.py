"""Experiments are read strictly: what is wrong is named, with the nearest thing that would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.config import (
    Experiment,
    dump_yaml,
    load_experiment,
    load_lm_experiment,
    parse_experiment,
    parse_lm_experiment,
    read_yaml,
)
from asr.errors import ConfigError

MINIMAL = "data: {train: train.jsonl, dev: dev.jsonl}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Experiment:
    path = tmp_path / "experiment.yaml"
    path.write_text(MINIMAL + text, encoding="utf-8")
    return load_experiment(path, overrides)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("encoder: {name: conformer, dimm: 8}", "unknown key 'encoder.dimm'; did you mean 'dim'?"),
        ("frontend: {features: {name: fbank, num_mels_bins: 40}}", "did you mean 'num_mel_bins'?"),
        ("lr: 0.1", "unknown key 'lr'; did you mean 'optimizer.lr'?"),
        ("encoder: {name: conformr}", "unknown encoder name 'conformr'; did you mean 'conformer'?"),
        ("encoder: {dim: 8}", "encoder: 'name' is missing"),
        ("heads: [{name: ctcc}]", "unknown heads.0 name 'ctcc'; did you mean 'ctc'?"),
        ("heads: [{name: ctc}, {name: ctc}]", "two are called 'ctc'"),
        ("heads: [{name: ctc}, {name: lstm}]", "loss.weights: head 'ctc' has none"),
        ("heads: [{name: ctc, tokenizer: words}]", "'ctc' names an unknown tokenizer 'words'"),
        ("heads: [{name: lstm}]\nloss: {consistency_weight: 0.2}", "needs a CTC head"),
        ("loss: {weights: {ctcc: 1}}", "no head is called so; did you mean 'ctc'?"),
        (
            "heads: [{name: ctc}]\ndecoder: {name: lstm}",
            "with heads, 'decoder' is called heads.transformer or heads.lstm",
        ),
        ("training: {epochs: 0}", "training.epochs: input should be greater than or equal to 1 (got 0)"),
        ("training: {epochs: many}", "training.epochs"),
        ("normalize: englsh", "did you mean 'english'?"),
        ("loss: {ctc_weight: 0.3}", "the model has no decoder"),
        ("augment: {noise: {files: rain.wav}}", "augment.noise.files: must be a list, as in [rain.wav]"),
        ("format_version: 99", "format_version 99 is newer"),
    ],
)
def test_a_mistake_is_named_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert complaint in message
    assert message.startswith(str(tmp_path / "experiment.yaml"))
    assert "\n" not in message


def test_a_missing_block_is_named(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("seed: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="data is missing"):
        load_experiment(path)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", ""])
def test_what_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"experiment\.yaml"):
        load_experiment(path)


def test_overrides_reach_any_depth_and_are_validated(tmp_path: Path) -> None:
    config = load(tmp_path, "", "encoder={name: rnn, num_layers: 2}", "training.epochs=7", "freeze=null")
    assert (config.encoder.name, config.training.epochs, config.freeze) == ("rnn", 7, None)
    with pytest.raises(ConfigError, match=r"unknown key 'training\.epoch'"):
        load(tmp_path, "", "training.epoch=7")
    with pytest.raises(ConfigError, match=r"expected key\.path=value"):
        load(tmp_path, "", "training.epochs")


def test_a_setting_of_a_part_that_the_file_does_not_name_is_one_of_the_default_part(tmp_path: Path) -> None:
    config = load(tmp_path, "", "encoder.dim=32", "heads.ctc.intermediate.layers=[2]", "optimizer.lr=0.5")
    default = load(tmp_path, "")
    assert config.encoder == default.encoder.model_copy(update={"dim": 32})
    assert [head.name for head in config.heads] == [head.name for head in default.heads] == ["ctc"]
    assert config.heads[0].model_dump()["intermediate"]["layers"] == (2,)
    assert config.optimizer.name == default.optimizer.name
    with pytest.raises(ConfigError, match=r"encoder: 'name' is missing"):
        load(tmp_path, "encoder: {num_layers: 2}", "encoder.dim=32")


def test_an_override_finds_a_head_by_its_name(tmp_path: Path) -> None:
    heads = "heads: [{name: ctc}, {name: lstm, id: speller}]\nloss: {weights: {ctc: 0.5, speller: 0.5}}\n"
    config = load(tmp_path, heads, "heads.speller.dim=32", "loss.weights.ctc=0.25")
    assert config.heads[1].model_dump()["dim"] == 32
    assert config.loss.weights == {"ctc": 0.25, "speller": 0.5}
    with pytest.raises(ConfigError, match=r"heads has no 'spelle'; did you mean 'speller'\?"):
        load(tmp_path, heads, "heads.spelle.dim=32")
    with pytest.raises(ConfigError, match="name a setting of that part"):
        load(tmp_path, heads, "heads.speller=null")


def test_without_a_search_a_model_is_decoded_by_that_of_its_first_head(tmp_path: Path) -> None:
    assert load(tmp_path, "").search.name == "ctc_greedy"
    assert load(tmp_path, "heads: [{name: lstm}]").search.name == "attention_greedy"
    assert load(tmp_path, "heads: [{name: lstm}]\nsearch: {name: attention_beam}").search.name == "attention_beam"


def test_a_config_written_back_in_full_reads_as_itself(tmp_path: Path) -> None:
    config = load(tmp_path, "encoder: {name: rnn, cell: gru}\nschedule: {name: noam, warmup: 100}\n")
    path = tmp_path / "again.yaml"
    path.write_text(dump_yaml(config), encoding="utf-8")
    assert parse_experiment(read_yaml(path), source=str(path)) == config


MINIMAL_LM = "model: exp/an4\ndata: {train: [a.txt], dev: [b.jsonl]}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("language_model: {name: lstm, num_heads: 8}", "unknown key 'language_model.num_heads'"),
        ("language_model: {name: gpt}", "unknown language_model name 'gpt'"),
        ("language_model: {name: transformer, dim: 12, num_heads: 4}", "dim 12 must be an even multiple of num_heads"),
        ("encoder: {name: conformer}", "unknown key 'encoder'"),
        ("max_batch_tokens: 3", "did you mean 'data.max_batch_tokens'?"),
        ("training: {epochs: 0}", "training.epochs: input should be greater than or equal to 1 (got 0)"),
        ("format_version: 99", "format_version 99 is newer"),
    ],
)
def test_a_mistake_in_a_language_model_is_named_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "lm.yaml"
    path.write_text(MINIMAL_LM + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_lm_experiment(path)
    message = str(caught.value)
    assert complaint in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_the_configuration_of_a_language_model_written_back_in_full_reads_as_itself(tmp_path: Path) -> None:
    path = tmp_path / "lm.yaml"
    path.write_text(MINIMAL_LM + "language_model: {name: transformer, dim: 64}\n", encoding="utf-8")
    config = load_lm_experiment(path, ["optimizer.lr=0.5"])
    assert (config.language_model.name, config.optimizer.lr) == ("transformer", 0.5)
    path.write_text(dump_yaml(config), encoding="utf-8")
    assert parse_lm_experiment(read_yaml(path), source=str(path)) == config


def test_an_override_of_the_version_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format_version 99 is newer"):
        load(tmp_path, "", "format_version=99")


def test_a_key_of_an_earlier_version_is_read_under_its_name_of_today(tmp_path: Path) -> None:
    config = load(tmp_path, "start_from: exp/other")
    assert config.init_from is not None
    assert config.init_from.folder == "exp/other"
    assert load(tmp_path, "start_from: null").init_from is None


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("- a\n", "a list"), ("word", "a str")])
def test_a_file_without_settings_says_what_was_found(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"expected 'key: value' lines, found {found}"):
        load_experiment(tmp_path / "e.yaml")
