"""What `asr lm train --neural` does: from a configuration file to the folder of a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from asr.bundle.bundle import Bundle
from asr.bundle.folder import CONFIG_FILE
from asr.bundle.lm import LmBundle
from asr.config import LmExperiment, TextConfig, dump_yaml, load_lm_experiment
from asr.data.sentences import Sentence, read_sentences, texts_hash
from asr.errors import TrainingError
from asr.experiments.card import write_lm_card
from asr.experiments.claim import claimed
from asr.experiments.lm_task import LmTask
from asr.experiments.start import (
    Launch,
    build_trainer,
    num_parameters,
    open_folder,
    open_training_folder,
    refuse_other_experiment,
    settle_dtype,
    steps_per_epoch,
    with_continuation,
    with_provenance,
)
from asr.system.display import Display, clock
from asr.system.runtime import write_text_atomic
from asr.text.vocabulary import UNK
from asr.training.checkpoint import Progress
from asr.training.compile import compile_layers
from asr.training.distributed import World
from asr.training.trainer import Trainer


def train_lm(
    config_file: Path,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    on_step: Callable[[Trainer[Any]], None] = lambda _trainer: None,
) -> Progress:
    """Train the language model of a YAML file into the folder `out`.

    Tokenizer and normaliser are those of the acoustic model it names. Resuming and ranks are as in
    `asr.experiments.run.train`; resuming needs the acoustic model no more.
    """
    words = ["asr", "lm", "train", "--neural", str(config_file), *(f"--set={override}" for override in overrides)]
    launch = Launch(words, out, resume, device, threads, tensorboard, on_step=on_step)
    with launch.joined() as world:
        return train_lm_experiment(load_lm_experiment(config_file, overrides), launch, world)


def train_lm_experiment(
    config: LmExperiment, launch: Launch, world: World, replay_halved: Sequence[dict[str, Any]] = ()
) -> Progress:
    """As `train_lm`, for an experiment at hand; `replay_halved` is `Progress.halved_steps` of a run to be repeated."""
    display = world.display()
    with claimed(launch.out) if world.is_main else nullcontext():
        with world.main_first("model folder"):
            checkpoints, started = open_folder(launch.out, launch.resume, world)
            if started:
                bundle = _go_on(config, launch, world, checkpoints.newest_step(), display)
            else:
                bundle = _begin(config, launch, world, display)
            train, dev = _read(bundle, display.say)
            if not started:
                bundle.save(launch.out)
            if world.is_main:
                open_training_folder(checkpoints.folder, launch)
        task = LmTask(bundle, train, dev, launch.out, world.device, world)
        display.say(_describe(task, train, dev))
        if bundle.config.training.compile:
            batch = next(iter(task.batches(0, 0)))
            compile_layers(task.model, lambda: task.loss(batch).total, bundle.config.training.dtype, display.say)
        progress = build_trainer(task, bundle.config, checkpoints, display, world, on_step=launch.on_step).run(
            replay_halved
        )
        if world.is_main:
            write_lm_card(launch.out)
    display.say(f"done in {clock(progress.seconds)}: language model in {launch.out}")
    return progress


def lm_data_hash(config: LmExperiment) -> str:
    """A hash of all texts, the same on every machine."""
    return texts_hash([Path(file) for file in (*config.data.train, *config.data.dev)])[:16]


def _begin(config: LmExperiment, launch: Launch, world: World, display: Display) -> LmBundle:
    """A network with fresh weights, in the tokens of the acoustic model."""
    config = settle_dtype(config, world.device, None, display.say)
    acoustic = Bundle.load(config.model)
    text = TextConfig(normalize=acoustic.spec.normalize, tokenizer=acoustic.spec.tokenizer)
    config = with_provenance(config, launch, lm_data_hash(config), world)
    return LmBundle.build(config.model_copy(update={"text": text}), acoustic.tokenizer)


def _go_on(config: LmExperiment, launch: Launch, world: World, step: int, display: Display) -> LmBundle:
    """The network of the run that the model folder holds. Rank 0 checks and records that the run goes on."""
    saved = LmBundle.load(launch.out).config
    config = settle_dtype(config, world.device, saved, display.say)
    if world.is_main:
        refuse_other_experiment(config, saved, lm_data_hash(config), launch.out)
        going_on = with_continuation(saved, launch, step, world, display.say)
        write_text_atomic(launch.out / CONFIG_FILE, dump_yaml(going_on))
    return LmBundle.load(launch.out)


def _read(bundle: LmBundle, say: Callable[[str], None]) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences to learn from and those to measure perplexity with; too long ones are left out of the former."""
    config, text = bundle.config, bundle.config.text
    assert text is not None
    sentences, dev = (
        read_sentences([Path(file) for file in files], bundle.tokenizer, text.normalize)
        for files in (config.data.train, config.data.dev)
    )
    train = [sentence for sentence in sentences if len(sentence.tokens) < config.data.max_tokens]
    if len(train) < len(sentences):
        say(f"set aside {len(sentences) - len(train)} sentences longer than data.max_tokens {config.data.max_tokens}")
    if not train:
        raise TrainingError(f"all sentences are longer than data.max_tokens {config.data.max_tokens}; raise it")
    unknown = sum(int((sentence.tokens == UNK).sum()) for sentence in train)
    if unknown:
        say(f"warning: {unknown} tokens of the training texts are unknown to the tokenizer of {config.model}")
    return train, dev


def _describe(task: LmTask, train: Sequence[Sentence], dev: Sequence[Sentence]) -> str:
    """Sentences, tokens, parameters and steps in one line."""
    config = task.bundle.config
    assert config.text is not None
    return (
        f"{len(train)} sentences with {sum(len(sentence.tokens) for sentence in train)} tokens, {len(dev)} dev; "
        f"{task.bundle.tokenizer.vocab_size} different tokens ({config.text.tokenizer.name}); "
        f"{num_parameters(task.model) / 1e6:.2f} M parameters; "
        f"{steps_per_epoch(task.num_batches(0), config)} steps an epoch"
    )
