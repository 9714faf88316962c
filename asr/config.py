"""One experiment, or the training of one language model, as one strict YAML file.

Each part owns its configuration next to its code; this file only puts them together. There are no includes, tags or
expressions, unknown keys stop the run, and nothing that follows from something else (vocabulary size, input
dimension) is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from asr.audio.augment import AugmentConfig
from asr.data.splice import SpliceConfig
from asr.decoding import SearchConfig
from asr.decoding.ctc_greedy import CtcGreedyConfig
from asr.errors import ConfigError
from asr.features import FrontendConfig
from asr.features.fbank import FbankConfig
from asr.features.spec_augment import SpecAugmentConfig
from asr.lm.neural import LanguageModelConfig
from asr.lm.neural.lstm import LstmLmConfig
from asr.losses.joint import LossConfig
from asr.models.asr_model import ModelConfig
from asr.models.ctc_head import IntermediateCtcConfig
from asr.models.decoders import DecoderConfig
from asr.models.encoders import EncoderConfig
from asr.models.encoders.conformer import ConformerConfig
from asr.optim.optimizers import OptimizerConfig
from asr.optim.optimizers.adamw import AdamWConfig
from asr.optim.schedule import OneCycleConfig, ScheduleConfig
from asr.registry import Config, did_you_mean
from asr.system.text_files import read_text
from asr.text.normalize import NORMALIZERS
from asr.text.tokenizer import CharConfig, TokenizerConfig

FORMAT_VERSION = 1
FORMER_KEYS = {"start_from": "init_from"}  # in the configurations that earlier models are saved with
DECODE_FILE = "decode.yaml"

AnyConfig = TypeVar("AnyConfig", bound=Config)


def _seconds_or_auto(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 0 < float(value) < math.inf):  # type: ignore[arg-type]
        raise ValueError("a number of seconds above 0 is needed, or auto")
    return value


class DataConfig(Config):
    """Which manifests to train on, and how utterances become batches."""

    train: str  # manifest, relative to the working directory, or a shards.jsonl, which may also be an http address
    dev: str
    # longest utterance times batch size, padding included; auto: what memory allows and learning likes, found and saved
    max_batch_seconds: Annotated[float | Literal["auto"], BeforeValidator(_seconds_or_auto)] = 100.0
    num_buckets: int = Field(16, ge=1)
    curriculum_epochs: int = Field(0, ge=0)  # so many first epochs go from short utterances to long ones
    num_workers: int = Field(1, ge=0)  # processes that load and augment; batches are the same whatever the number
    min_duration: float = Field(0.05, ge=0)  # seconds; shorter rows are set aside
    max_duration: float = Field(40.0, gt=0)  # seconds; longer rows are set aside
    shuffle_shards: int = Field(4, ge=1)  # shards whose utterances are mixed, and held on disk when they are remote
    shard_cache: str | None = None  # folder where remote shards stay; by default only those in use, and temporarily

    @property
    def batch_seconds(self) -> float:
        """`max_batch_seconds` once it is a number, as it is in every saved experiment."""
        assert self.max_batch_seconds != "auto", "settle_batch_seconds comes first"
        return self.max_batch_seconds


class TrainingConfig(Config):
    """How long to train, what to keep, when to stop."""

    epochs: int = Field(50, ge=1)
    accumulation: int = Field(1, ge=1)  # batches per optimiser step
    max_grad_norm: float = Field(5.0, gt=0)
    # bfloat16: autocast, weights and losses stay float32; auto: bfloat16 where hardware has it. The choice is saved.
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    memory_limit_gb: float | None = Field(None, gt=0)  # what `data.max_batch_seconds: auto` may use; None: see there
    compile: bool = False  # the layers by torch.compile: faster after minutes of compiling, equal up to rounding
    ema_decay: float | None = Field(None, gt=0, lt=1)
    average: Literal["best", "last"] = "best"  # which epochs make the final model
    average_num: int = Field(5, ge=1)  # how many of them; 1 takes the single best or last
    validate_every: int = Field(1, ge=1)  # epochs
    patience: int | None = Field(None, ge=1)  # validations without a better dev score before stopping early
    checkpoint_every: int = Field(200, ge=1)  # optimiser steps; every epoch ends with one besides
    log_every: int = Field(20, ge=1)  # optimiser steps between lines of train.jsonl
    max_skipped_in_a_row: int = Field(20, ge=1)  # steps with a non-finite loss or gradient before the run stops


class InitConfig(Config):
    """Another model's weights to begin with; a folder alone may stand for the whole."""

    folder: str  # relative to the working directory
    parts: tuple[str, ...] = ()  # names that weights start with: encoder, encoder.layers.0; none: all that both have
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
    """One time that a run was gone on with."""

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

    def gone_on_with(self, continuation: Continuation) -> Provenance:
        """The same record with one more continuation."""
        return self.model_copy(update={"continued": [*self.continued, continuation]})


class ExperimentConfig(Config):
    """Everything that decides what a training run does."""

    format_version: int = FORMAT_VERSION
    seed: int = Field(1, ge=0)
    data: DataConfig
    init_from: InitConfig | None = None
    freeze: FreezeConfig | None = None
    frontend: FrontendConfig = FbankConfig()
    splice: SpliceConfig | None = None
    augment: AugmentConfig | None = None
    spec_augment: SpecAugmentConfig | None = SpecAugmentConfig()
    normalize: str = "none"  # applied to training texts, and to both sides when scoring
    tokenizer: TokenizerConfig = CharConfig()
    encoder: EncoderConfig = ConformerConfig()
    decoder: DecoderConfig | None = None
    intermediate_ctc: IntermediateCtcConfig | None = None
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = AdamWConfig()
    schedule: ScheduleConfig = OneCycleConfig()
    training: TrainingConfig = TrainingConfig()
    search: SearchConfig = CtcGreedyConfig()  # used to validate, and by default to evaluate and transcribe
    provenance: Provenance | None = None

    @property
    def model(self) -> ModelConfig:
        """The parts that make the network; a CTC head exists where a loss uses it."""
        return ModelConfig(
            encoder=self.encoder,
            decoder=self.decoder,
            ctc=self.loss.ctc_weight > 0,
            intermediate_ctc=self.intermediate_ctc,
        )

    @model_validator(mode="after")
    def _parts_fit(self) -> ExperimentConfig:
        if self.normalize not in NORMALIZERS:
            raise ValueError(
                f"normalize: unknown normaliser '{self.normalize}'{did_you_mean(self.normalize, NORMALIZERS)}"
            )
        if self.freeze is not None and self.init_from is None:
            raise ValueError("freeze: without init_from it would keep random weights; set init_from")
        self.loss.check(has_ctc=self.loss.ctc_weight > 0, has_decoder=self.decoder is not None)
        if self.intermediate_ctc is not None and self.loss.ctc_weight == 0:
            raise ValueError("intermediate_ctc needs a CTC loss; set loss.ctc_weight above 0")
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


class LmConfig(Config):
    """Everything that decides what a neural language model learns."""

    format_version: int = FORMAT_VERSION
    seed: int = Field(1, ge=0)
    model: str  # folder of the acoustic model whose tokens and normaliser it shares
    data: LmDataConfig
    language_model: LanguageModelConfig = LstmLmConfig()
    optimizer: OptimizerConfig = AdamWConfig()
    schedule: ScheduleConfig = OneCycleConfig()
    training: TrainingConfig = TrainingConfig()
    text: TextConfig | None = None
    provenance: Provenance | None = None


def load_config(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a YAML experiment, apply `key.path=value` overrides, validate.

    Raises ConfigError naming the file and key: unreadable YAML, an unknown key (with the nearest right one), a value
    out of range, or a file written by a newer version.
    """
    return parse_config(read_yaml(path), overrides, source=str(path))


def load_lm_config(path: Path, overrides: Sequence[str] = ()) -> LmConfig:
    """As `load_config`, for the training of a language model."""
    return parse_lm_config(read_yaml(path), overrides, source=str(path))


def parse_config(data: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> ExperimentConfig:
    """Validate an experiment given as nested dictionaries; `source` names it in errors."""
    for former, name in FORMER_KEYS.items():
        if former in data:
            data.setdefault(name, data.pop(former))
    return _parse(ExperimentConfig, data, overrides, source)


def parse_lm_config(data: dict[str, Any], overrides: Sequence[str] = (), *, source: str) -> LmConfig:
    """As `parse_config`, for the training of a language model."""
    return _parse(LmConfig, data, overrides, source)


def _parse(config_class: type[AnyConfig], data: dict[str, Any], overrides: Sequence[str], source: str) -> AnyConfig:
    for override in overrides:
        apply_override(data, override)
    version = data.get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ConfigError(
            f"{source}: format_version {version} is newer than the {FORMAT_VERSION} known here; upgrade asr-toolkit"
        )
    return validate(config_class, data, source)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; ConfigError if the file is missing or is not one."""
    try:
        data = yaml.safe_load(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {type(data).__name__}")
    return data


def dump_yaml(config: Config) -> str:
    """The configuration in full, in field order, ready to be read back."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    return text


def apply_override(data: dict[str, Any], override: str) -> None:
    """Put `a.b=value` (value is YAML) into nested dictionaries, creating levels on the way."""
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override}: expected key.path=value")
    *parents, last = path.split(".")
    for parent in parents:
        if not isinstance(data.get(parent), dict):
            data[parent] = {}
        data = data[parent]
    try:
        data[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error


def validate(config_class: type[AnyConfig], data: dict[str, Any], source: str) -> AnyConfig:
    """Validate into `config_class`; ConfigError lists every problem in one line, each with the path to its key."""
    try:
        return config_class.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_describe(config_class, detail) for detail in error.errors(include_url=False))
        raise ConfigError(f"{source}: {problems}") from error


def _describe(root: type[BaseModel], detail: Any) -> str:
    """One problem in words. A location may hold the tag of a union (`encoder`, `conformer`, `dim`): it is no key."""
    keys, model = _walk(root, detail["loc"])
    path = ".".join(keys)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        *parents, key = keys
        return f"unknown key '{path}'{_nearest_key(root, model, parents, key)}"
    if kind == "union_tag_invalid":
        known = [name.strip(" '") for name in context["expected_tags"].split(",")]
        return f"unknown {path} name '{context['tag']}'{did_you_mean(context['tag'], known)}"
    if kind == "union_tag_not_found":
        return f"{path}: 'name' is missing"
    if kind == "missing":
        return f"{path} is missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{path}: {message[0].lower()}{message[1:]} (got {detail['input']!r})" if keys else message


def _walk(root: type[BaseModel], location: Iterable[Any]) -> tuple[list[str], type[BaseModel] | None]:
    """The keys of an error location without union tags, and the model that holds the last key."""
    keys: list[str] = []
    holder: type[BaseModel] | None = root
    candidates = [root]
    for part in location:
        tagged = [
            model
            for model in candidates
            if model.model_fields.get("name") and model.model_fields["name"].default == part
        ]
        if len(candidates) > 1 and tagged:
            candidates = tagged
            continue
        keys.append(str(part))
        holder = candidates[0] if len(candidates) == 1 else None
        field = holder.model_fields.get(str(part)) if holder else None
        candidates = _models_in(field.annotation) if field else []
    return keys, holder


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _nearest_key(root: type[BaseModel], model: type[BaseModel] | None, parents: list[str], key: str) -> str:
    """A hint: a like-named key of the same block, else the place where exactly this key belongs."""
    for path in _paths(root):
        if path.rpartition(".")[2] == key and path != ".".join([*parents, key]):
            return f"; did you mean '{path}'?"
    return did_you_mean(key, model.model_fields) if model else ""


def _paths(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _paths(inner, f"{prefix}{name}.")
