"""One experiment, or the training of one language model, as one strict YAML file.

Each part owns its configuration next to its code; this file only puts them together. There are no includes, tags or
expressions, unknown keys stop the run, and nothing that follows from something else (vocabulary size, input
dimension) is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from asr.audio.augment import AugmentConfig
from asr.config_errors import validate
from asr.config_overrides import with_overrides
from asr.data.splice import SpliceConfig
from asr.data.split import By, parse_share
from asr.decoding import SearchConfig
from asr.decoding.ctc_greedy import CtcGreedyConfig
from asr.errors import ConfigError
from asr.features import FrontendConfig
from asr.features.fbank import FbankConfig
from asr.features.spec_augment import SpecAugmentConfig
from asr.lm.neural import LanguageModelConfig
from asr.lm.neural.lstm import LstmLmConfig
from asr.losses.weights import LossConfig
from asr.models.encoders import EncoderConfig
from asr.models.encoders.conformer import ConformerConfig
from asr.models.heads import HEADS, HeadConfig
from asr.models.heads.ctc import CtcHeadConfig
from asr.nn.lora import LoraConfig
from asr.optim.optimizers import OptimizerConfig
from asr.optim.optimizers.adamw import AdamWConfig
from asr.optim.schedule import OneCycleConfig, ScheduleConfig
from asr.registry import Config, NamedConfig, did_you_mean
from asr.system.text_files import read_text
from asr.text.normalize import NORMALIZERS
from asr.text.tokenizer import CharConfig, TokenizerConfig
from asr.types import MAIN_TOKENIZER
from asr.upgrade import FORMAT_VERSION, upgrade_config

DECODE_FILE = "decode.yaml"


def _seconds_or_auto(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 0 < float(value) < math.inf):  # type: ignore[arg-type]
        raise ValueError("a number of seconds above 0 is needed, or auto")
    return value


class ReplayConfig(Config):
    """General speech among the training rows of a fine-tuning run, so that the model does not forget it."""

    manifest: str  # relative to the working directory
    share: float = Field(0.2, gt=0, le=0.9)  # of the seconds of an epoch; rows are drawn once, by the seed


class DataConfig(Config):
    """Which manifests to train on, and how utterances become batches."""

    train: str  # manifest, relative to the working directory, or a shards.jsonl, which may also be an http address
    dev: str  # manifest; or a share of `train` to hold out, as 10%
    dev_by: By = "auto"  # what a share holds out whole: speaker, recording, utterance; auto: speakers if all are known
    canary: str | None = None  # manifest of general speech whose error rate is shown beside that of dev
    replay: ReplayConfig | None = None
    # longest utterance times batch size, padding included; auto: what memory allows and learning likes, found and saved
    max_batch_seconds: Annotated[float | Literal["auto"], BeforeValidator(_seconds_or_auto)] = 100.0
    normalize: str | None = None  # of texts to learn, where other than that of scoring; with `none` case is learnt, too
    num_buckets: int = Field(16, ge=1)  # of lengths; a batch is of one
    curriculum_epochs: int = Field(0, ge=0)  # so many first epochs go from short utterances to long ones
    num_workers: int = Field(1, ge=0)  # processes that load and augment; batches are the same whatever the number
    min_duration: float = Field(0.05, ge=0)  # seconds; shorter rows are set aside
    max_duration: float = Field(40.0, gt=0)  # seconds; longer rows are set aside
    shuffle_shards: int = Field(4, ge=1)  # shards whose utterances are mixed, and held on disk when they are remote
    shard_cache: str | None = None  # folder where remote shards stay; by default only those in use, and temporarily

    @field_validator("dev")
    @classmethod
    def _is_no_absurd_share(cls, value: str) -> str:
        parse_share(value)
        return value

    @property
    def dev_share(self) -> float | None:
        """The fraction of `train` to hold out; None where `dev` is a manifest."""
        return parse_share(self.dev)

    @property
    def batch_seconds(self) -> float:
        """`max_batch_seconds` once it is a number, as it is in every saved experiment."""
        assert self.max_batch_seconds != "auto", "settle_batch_seconds comes first"
        return self.max_batch_seconds


class TrainingConfig(Config):
    """How long to train, what to keep, when to stop."""

    epochs: int = Field(50, ge=1)  # times that every utterance is learnt from
    accumulation: int = Field(1, ge=1)  # batches per optimiser step
    max_grad_norm: float = Field(5.0, gt=0)  # longer gradients are scaled down to it
    # bfloat16: autocast, weights and losses stay float32; auto: bfloat16 where hardware has it. The choice is saved.
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    memory_limit_gb: float | None = Field(None, gt=0)  # what `data.max_batch_seconds: auto` may use; None: see there
    compile: bool = False  # the layers by torch.compile: faster after minutes of compiling, equal up to rounding
    ema_decay: float | None = Field(None, gt=0, lt=1)  # of a running mean of the weights, which is the model then
    average: Literal["best", "last"] = "best"  # which epochs make the final model
    average_num: int = Field(5, ge=1)  # how many of them; 1 takes the single best or last
    validate_every: int = Field(1, ge=1)  # epochs
    patience: int | None = Field(None, ge=1)  # validations without a better dev score before stopping early
    checkpoint_every: int = Field(200, ge=1)  # optimiser steps; every epoch ends with one besides
    log_every: int = Field(20, ge=1)  # optimiser steps between lines of train.jsonl
    max_skipped_in_a_row: int = Field(20, ge=1)  # steps with a non-finite loss or gradient before the run stops


class InitConfig(Config):
    """Another model's weights to begin with; a folder alone may stand for the whole."""

    folder: str  # relative to the working directory, or the name of a model
    parts: tuple[str, ...] = ()  # names that weights start with: encoder, encoder.layers.0; none: all that both have
    # settings that come from that model; unset: those that the file leaves out. The saved experiment names them.
    takes: tuple[str, ...] | None = None
    partial: bool = False  # let the encoders differ, in depth for one: what fits is copied, the rest begins at random

    @model_validator(mode="before")
    @classmethod
    def _accept_folder(cls, value: Any) -> Any:
        return {"folder": value} if isinstance(value, str) else value


class FreezeConfig(Config):
    """Parts of the model that keep the weights they begin with; a list of parts alone may stand for the whole."""

    parts: tuple[str, ...] = Field(min_length=1)  # names that weights start with, as in `init_from.parts`
    steps: int | None = Field(None, ge=1)  # optimiser steps after which they learn, too; none: never

    @model_validator(mode="before")
    @classmethod
    def _accept_parts(cls, value: Any) -> Any:
        return {"parts": value} if isinstance(value, list | tuple) else value


class Continuation(Config):
    """One time that a run was resumed."""

    started: str  # UTC
    step: int  # of the newest checkpoint then
    command: str
    changed: dict[str, Any]  # what of the environment was other than at the start of the run


class Provenance(Config):
    """Where a trained model comes from; written by the commands that make it, never by hand."""

    command: str
    data_hash: str
    environment: dict[str, Any]  # versions (asr, torch, ...), git commit, threads, machine, device
    started: str | None = None  # UTC; None of models made by asr 0.1
    continued: list[Continuation] = Field(default_factory=list)  # every `--resume`
    averaged: list[int] | None = None  # the epochs that `asr average` made the weights of

    def with_continuation(self, continuation: Continuation) -> Provenance:
        """The same record with one more continuation."""
        return self.model_copy(update={"continued": [*self.continued, continuation]})


class ModelSpec(Config):
    """All that a model folder needs to be loaded: what the parts are, and how they decode unless told otherwise."""

    format_version: int = FORMAT_VERSION
    frontend: FrontendConfig = FbankConfig()  # from samples to features
    normalize: str = "none"  # applied to training texts, and to both sides when scoring
    tokenizer: TokenizerConfig = CharConfig()  # the main one
    tokenizers: dict[str, TokenizerConfig] = Field(default_factory=dict)  # further ones, for heads that name them
    encoder: EncoderConfig = ConformerConfig()  # from features to encoder frames
    heads: tuple[HeadConfig, ...] = Field((CtcHeadConfig(),), min_length=1)  # from encoder frames to text
    search: SearchConfig = CtcGreedyConfig()  # used to validate, evaluate and transcribe; the first head's own if unset
    provenance: Provenance | None = None

    @model_validator(mode="before")
    @classmethod
    def _search_of_first_head(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("search") is not None or not data.get("heads"):
            return data
        first = data["heads"][0] if isinstance(data["heads"], list | tuple) else None
        name = first.get("name") if isinstance(first, dict) else getattr(first, "name", None)
        return data if name not in HEADS.names() else {**data, "search": {"name": HEADS.part(name).default_search}}

    @property
    def tokenizer_configs(self) -> dict[str, NamedConfig]:
        """All tokenizers by name, the main one first."""
        return {MAIN_TOKENIZER: self.tokenizer, **self.tokenizers}

    @model_validator(mode="after")
    def _parts_of_the_model_fit(self) -> Self:
        if self.normalize not in NORMALIZERS:
            raise ValueError(
                f"normalize: unknown normaliser '{self.normalize}'{did_you_mean(self.normalize, NORMALIZERS)}"
            )
        ids = [head.head_id for head in self.heads]
        if repeated := [id for id in ids if ids.count(id) > 1]:
            raise ValueError(f"heads: two are called '{repeated[0]}'; give each an id of its own")
        for head in self.heads:
            if head.tokenizer not in self.tokenizer_configs:
                known = did_you_mean(head.tokenizer, self.tokenizer_configs)
                raise ValueError(f"heads: '{head.head_id}' names an unknown tokenizer '{head.tokenizer}'{known}")
        if MAIN_TOKENIZER in self.tokenizers:
            raise ValueError(f"tokenizers: '{MAIN_TOKENIZER}' is the name of `tokenizer`; choose another")
        if sum(isinstance(head, CtcHeadConfig) and head.intermediate is not None for head in self.heads) > 1:
            raise ValueError("heads: only one CTC head can have intermediate layers")
        return self


class Experiment(ModelSpec):
    """Everything that decides what a training run does."""

    seed: int = Field(1, ge=0)
    data: DataConfig
    init_from: InitConfig | None = None
    freeze: FreezeConfig | None = None
    lora: LoraConfig | None = None
    splice: SpliceConfig | None = None
    augment: AugmentConfig | None = None
    spec_augment: SpecAugmentConfig | None = SpecAugmentConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = AdamWConfig()  # how gradients move weights
    schedule: ScheduleConfig = OneCycleConfig()  # the learning rate over the steps, as a factor on `optimizer.lr`
    training: TrainingConfig = TrainingConfig()

    @property
    def target_normalizer(self) -> str:
        """Of the texts that are learnt."""
        return self.data.normalize or self.normalize

    @model_validator(mode="after")
    def _parts_of_the_training_fit(self) -> Self:
        if self.target_normalizer not in NORMALIZERS:
            known = did_you_mean(self.target_normalizer, NORMALIZERS)
            raise ValueError(f"data.normalize: unknown normaliser '{self.target_normalizer}'{known}")
        if self.spec_augment is not None and self.frontend.name == "raw":
            raise ValueError("spec_augment: it hides bands, and raw samples have none; set spec_augment: null")
        if self.lora is not None and self.init_from is None:
            raise ValueError("lora: without init_from it would change random weights; set init_from")
        if self.freeze is not None and self.init_from is None:
            raise ValueError("freeze: without init_from it would keep random weights; set init_from")
        has_ctc = any(isinstance(head, CtcHeadConfig) for head in self.heads)
        self.loss.check([head.head_id for head in self.heads], has_ctc=has_ctc)
        return self


class TuneRecord(Config):
    """What the settings of a `DecodeConfig` were chosen by; written by `asr tune`."""

    command: str
    manifest: str
    data_hash: str
    utterances: int
    wer: float | None
    environment: dict[str, Any]


class DecodeConfig(Config):
    """How a model folder decodes unless told otherwise: its `decode.yaml`."""

    format_version: int = FORMAT_VERSION
    search: SearchConfig
    lm: str | None = None  # relative to the model folder, which holds it
    lm_mode: Literal["fusion", "rescore"] = "fusion"
    tuned_on: TuneRecord | None = None


class LmDataConfig(Config):
    """Which texts a language model learns from, and how sentences become batches.

    A file is a manifest if it ends in .jsonl, and holds one sentence a line otherwise, gzipped if it ends in .gz.
    """

    train: list[str] = Field(min_length=1)  # relative to the working directory
    dev: list[str] = Field(min_length=1)
    max_batch_tokens: int = Field(2000, ge=1)  # longest sentence times batch size, padding included
    num_buckets: int = Field(16, ge=1)
    max_tokens: int = Field(1000, ge=1)  # of a sentence, its end included; longer ones are set aside


class TextConfig(Config):
    """How a text becomes tokens; written by `asr lm train`, which takes it from the acoustic model, never by hand."""

    normalize: str
    tokenizer: TokenizerConfig


class LmExperiment(Config):
    """Everything that decides what a neural language model learns."""

    format_version: int = FORMAT_VERSION
    seed: int = Field(1, ge=0)
    model: str  # folder or name of the acoustic model whose tokens and normaliser it shares
    data: LmDataConfig
    language_model: LanguageModelConfig = LstmLmConfig()
    optimizer: OptimizerConfig = AdamWConfig()
    schedule: ScheduleConfig = OneCycleConfig()
    training: TrainingConfig = TrainingConfig()
    text: TextConfig | None = None
    provenance: Provenance | None = None


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a YAML experiment, apply `key.path=value` overrides, validate.

    Raises ConfigError naming the file and key: unreadable YAML, an unknown key (with the nearest right one), a value
    out of range, or a file written by a newer version. Files of earlier versions are upgraded.
    """
    return parse_experiment(read_yaml(path), overrides, source=str(path))


def load_lm_experiment(path: Path, overrides: Sequence[str] = ()) -> LmExperiment:
    """As `load_experiment`, for the training of a language model."""
    return parse_lm_experiment(read_yaml(path), overrides, source=str(path))


def load_spec(path: Path) -> ModelSpec:
    """What a model folder's `config.yaml` says of the model: an Experiment where it was trained, else a ModelSpec."""
    data = read_yaml(path)
    if data.get("format_version") == FORMAT_VERSION and not path.read_text(encoding="utf-8").rstrip().endswith("\n..."):
        raise ConfigError(f"{path}: the file ends too early; copy the whole folder again")
    if "data" in data:
        return parse_experiment(data, source=str(path))
    return validate(ModelSpec, upgrade_config(data, str(path)), str(path))


def parse_experiment(data: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> Experiment:
    """Validate an experiment given as nested dictionaries; `source` names it in errors.

    Overrides use the keys of the file's own version.
    """
    return validate(Experiment, upgrade_config(with_overrides(data, overrides, Experiment), source), source)


def parse_lm_experiment(data: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> LmExperiment:
    """As `parse_experiment`, for the training of a language model."""
    return validate(LmExperiment, upgrade_config(with_overrides(data, overrides, LmExperiment), source), source)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; ConfigError if the file is missing or is not one."""
    try:
        data = yaml.safe_load(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ConfigError(f"{path}: expected 'key: value' lines, found {found}")
    return data


def dump_yaml(config: Config) -> str:
    """The configuration in full, in field order, ready to be read back; YAML's `...` says that nothing is cut off."""
    data = config.model_dump(mode="json")
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120, explicit_end=True)
    return text
