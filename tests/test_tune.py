"""Tuning: the best trial wins, the folder stays whole, later commands decode with what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, SearchRequest, choose_decoding, read_decode_config
from asr.config import DECODE_FILE
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.decoding.joint_beam import JointBeamConfig
from asr.errors import ConfigError
from asr.lm.ngram.arpa import write_arpa
from asr.lm.ngram.counts import IdCorpus
from asr.lm.ngram.kneser_ney import estimate
from asr.scoring.wer import score
from asr.tune import GRIDS, Trial, Tuner, Value, keep_the_best, tune, write_decode_config


class Landscape(Tuner):
    """Dev data on which the number of errors is a known function of the settings."""

    def __init__(self, bundle: Bundle, best: Mapping[str, Value]) -> None:
        self.bundle = bundle
        self.utterances = []
        self.target = best

    def measure(self, decoding: Decoding, lm: object, settings: Mapping[str, Value]) -> Trial:
        # places on the grids, since language model and length pull against each other: a valley along their diagonal
        lm_step, length_step = (
            GRIDS[name].index(getattr(decoding.search, name)) - GRIDS[name].index(value)
            for name, value in self.target.items()
        )
        errors = min(99, 5 * (lm_step - length_step) ** 2 + 2 * abs(lm_step) + abs(length_step))
        result = score({"a": "x " * 100}, {"a": "x " * (100 - errors)})
        return Trial(settings, result, 0.0)


@pytest.fixture
def bundle(workspace: Path) -> Bundle:
    return Bundle.load(workspace / "model")


@pytest.fixture
def lm(workspace: Path) -> Path:
    with IdCorpus([["one", "two"], ["zero"], ["eight", "nine"]] * 20) as corpus:
        write_arpa(workspace / "words.arpa.gz", estimate(corpus.count(2)).model)
    return workspace / "words.arpa.gz"


def test_language_model_and_length_are_followed_along_their_valley(bundle: Bundle, lm: Path) -> None:
    tuner = Landscape(bundle, {"lm_weight": 1.0, "length_bonus": 1.5})
    tuned = tune(tuner, Decoding(CtcPrefixBeamConfig(lm_weight=0.4, length_bonus=0.25), lm))
    assert (tuned.best.settings["lm_weight"], tuned.best.settings["length_bonus"]) == (1.0, 1.5)
    assert tuned.best.score.words.errors == min(trial.score.words.errors for trial in tuned.trials)


def test_no_more_trials_than_allowed(bundle: Bundle, lm: Path) -> None:
    tuner = Landscape(bundle, {"lm_weight": 1.0, "length_bonus": 2.0})
    assert len(tune(tuner, Decoding(CtcPrefixBeamConfig(), lm), max_trials=7).trials) == 7


def test_a_language_model_that_does_not_help_is_left_out(bundle: Bundle, lm: Path) -> None:
    tuner = Landscape(bundle, {"lm_weight": 0.0, "length_bonus": 0.0})
    assert tune(tuner, Decoding(CtcPrefixBeamConfig(), lm)).decoding.lm is None


def test_settings_of_a_search_decide_what_is_tuned(bundle: Bundle, workspace: Path) -> None:
    tuner = Tuner(bundle, workspace / "dev.jsonl", torch.device("cpu"))
    tuned = tune(tuner, Decoding(JointBeamConfig(beam=2)), max_trials=4)
    assert list(tuned.best.settings) == ["length_bonus", "ctc_weight", "beam"]
    assert all(value in GRIDS["length_bonus"] for value in {trial.settings["length_bonus"] for trial in tuned.trials})


def test_a_greedy_search_has_nothing_to_tune(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="nothing to tune"):
        tune(Landscape(bundle, {}), Decoding(bundle.spec.search))


def test_what_was_found_is_written_with_its_language_model_and_used(bundle: Bundle, workspace: Path, lm: Path) -> None:
    tuner = Landscape(bundle, {"lm_weight": 0.3, "length_bonus": 1.0})
    tuned = tune(tuner, Decoding(CtcPrefixBeamConfig(), lm))
    tuned = replace(tuned, utterances=[])
    write_decode_config(workspace / "model", tuned, workspace / "dev.jsonl", "asr tune model dev.jsonl")
    lm.unlink()  # the folder is whole without it
    config = read_decode_config(workspace / "model")
    assert config is not None
    assert config.tuned_on is not None
    assert (config.lm, config.tuned_on.manifest) == ("lm.arpa.gz", "dev.jsonl")
    chosen = choose_decoding(bundle, workspace / "model", SearchRequest())
    assert chosen.search == tuned.decoding.search
    chosen.build(bundle, chosen.load_lm(bundle))
    assert not list((workspace / "model").glob("*.tmp"))
    assert (workspace / "model" / DECODE_FILE).is_file()


def test_a_language_model_that_the_folder_only_links_to_is_left_alone(
    bundle: Bundle, workspace: Path, lm: Path
) -> None:
    (workspace / "shared").mkdir()
    (workspace / "shared" / "lm.arpa.gz").write_bytes(b"somebody else's")
    (workspace / "model" / "lm.arpa.gz").symlink_to(workspace / "shared" / "lm.arpa.gz")
    tuned = tune(Landscape(bundle, {"lm_weight": 0.3, "length_bonus": 1.0}), Decoding(CtcPrefixBeamConfig(), lm))
    write_decode_config(workspace / "model", replace(tuned, utterances=[]), workspace / "dev.jsonl", "asr tune")
    assert (workspace / "shared" / "lm.arpa.gz").read_bytes() == b"somebody else's"
    assert (workspace / "model" / "lm.arpa.gz").read_bytes() == lm.read_bytes()


class Impatient(Landscape):
    """Ctrl-C arrives after so many trials."""

    def __init__(self, bundle: Bundle, best: Mapping[str, Value], trials: int) -> None:
        super().__init__(bundle, best)
        self.left = trials

    def measure(self, decoding: Decoding, lm: object, settings: Mapping[str, Value]) -> Trial:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().measure(decoding, lm, settings)


def interrupted(bundle: Bundle, folder: Path, lm: Path, trials: int, dry_run: bool = False) -> str:
    tuner = Impatient(bundle, {"lm_weight": 0.3, "length_bonus": 1.0}, trials)
    tuned = tune(tuner, Decoding(CtcPrefixBeamConfig(lm_weight=0.5), lm))
    assert tuned.is_interrupted
    assert len(tuned.trials) == trials
    return str(keep_the_best(folder, tuned, folder.parent / "dev.jsonl", "asr tune model dev.jsonl", dry_run))


def test_ctrl_c_keeps_the_best_trial_so_far(bundle: Bundle, workspace: Path, lm: Path) -> None:
    line = interrupted(bundle, workspace / "model", lm, 12)
    assert line.startswith("interrupted after 12 trials; best so far, written to ")
    config = read_decode_config(workspace / "model")
    assert config is not None
    assert f"lm_weight {config.search.model_dump()['lm_weight']:g}" in line


@pytest.mark.parametrize(("trials", "dry_run", "says"), [(1, False, "nothing is written"), (12, True, "not written")])
def test_ctrl_c_writes_nothing_where_nothing_better_was_found_or_wanted(
    bundle: Bundle, workspace: Path, lm: Path, trials: int, dry_run: bool, says: str
) -> None:
    assert says in interrupted(bundle, workspace / "model", lm, trials, dry_run)
    assert read_decode_config(workspace / "model") is None


def test_ctrl_c_before_the_first_trial_ends_goes_on_to_the_caller(bundle: Bundle, lm: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tune(Impatient(bundle, {"lm_weight": 0.3, "length_bonus": 1.0}, 0), Decoding(CtcPrefixBeamConfig(), lm))
