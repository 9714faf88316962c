"""What `asr lm train --neural` does: from a configuration file to the folder of a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from asr.bundle import Bundle, LmBundle
from asr.config import LmConfig, TextConfig, load_lm_config
from asr.data.sentences import Sentence, read_sentences, texts_hash
from asr.display import clock
from asr.errors import TrainingError
from asr.text.vocabulary import UNK
from asr.training.card import write_lm_card
from asr.training.checkpoint import Progress
from asr.training.compile import compile_layers
from asr.training.distributed import joined
from asr.training.lm_task import LmTask
from asr.training.start import (
    build_trainer,
    num_parameters,
    open_folder,
    refuse_other_config,
    settle_dtype,
    steps_per_epoch,
    with_provenance,
)


def train_lm(
    config_file: Path,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> Progress:
    """Train the language model of a YAML file into the folder `out`.

    Tokenizer and normaliser are those of the acoustic model it names. Resuming and ranks are as in
    `asr.training.run.train`; resuming needs the acoustic model no more.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    with joined(device) as world:
        display = world.display()
        config = load_lm_config(config_file, overrides)
        with world.main_first("model folder"):
            checkpoints, started = open_folder(out, resume, world)
            if started:
                bundle = LmBundle.load(out)
                config = settle_dtype(config, world.device, bundle.config, display.say)
                refuse_other_config(config, bundle.config, out, display)
            else:
                config = settle_dtype(config, world.device, None, display.say)
                bundle = _new_bundle(config, config_file, overrides, out)
            train, dev = _read(bundle, display.say)
            if not started:
                bundle.save(out)
        task = LmTask(bundle, train, dev, out, world.device, world)
        display.say(_describe(task, train, dev))
        if bundle.config.training.compile:
            batch = next(iter(task.batches(0, 0)))
            compile_layers(task.model, lambda: task.loss(batch).total, bundle.config.training.dtype, display.say)
        progress = build_trainer(task, bundle.config, checkpoints, display, world).run()
        if world.is_main:
            write_lm_card(out)
        display.say(f"done in {clock(progress.seconds)}: language model in {out}")
        return progress


def _new_bundle(config: LmConfig, config_file: Path, overrides: Sequence[str], out: Path) -> LmBundle:
    """A network with fresh weights, in the tokens of the acoustic model."""
    acoustic = Bundle.load(config.model)
    text = TextConfig(normalize=acoustic.config.normalize, tokenizer=acoustic.config.tokenizer)
    files = [Path(file) for file in (*config.data.train, *config.data.dev)]
    command = ["asr", "lm", "train", "--neural", str(config_file)]
    config = with_provenance(config, command, overrides, out, texts_hash(files)[:16])
    return LmBundle.build(config.model_copy(update={"text": text}), acoustic.tokenizer)


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
