"""CTC beam search: ctc_prefix_beam beside pyctcdecode with KenLM; ratios of speed, and whose texts score higher."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from asr.text.vocabulary import BLANK
from tools.benchmarks.common import PEER_PYTHON, BenchError, Worker, alternate, finish, machine, say, table
from tools.benchmarks.posteriors import Heard, Language, hear

PEERS = ("pyctcdecode", "kenlm")  # tells tools/bench to set them up

UNK_SCORE = -10.0 * math.log(10.0)  # pyctcdecode's default, as a natural logarithm
BEAM_100_AT_MOST = 4.0  # times the time of beam 10
AT_LEAST = {False: 3.0, True: 2.0}  # times as fast as pyctcdecode, by "with a language model"
LOWER_BY = 1e-6  # a score that much lower is lower
LM_TOLERANCE = 1e-4  # between our language model and KenLM, per sentence


@dataclass(frozen=True)
class Settings:
    """One comparison. Thresholds are natural logarithms; both sides prune with the same."""

    utterances: int
    rounds: int
    seed: int
    frames: int = 500
    vocabulary: int = 500
    words: int = 5000
    lm_sentences: int = 20000
    lm_order: int = 3
    lm_weight: float = 0.5
    unk_score: float = UNK_SCORE
    token_threshold: float = -5.0
    beam_threshold: float = -10.0
    processors: int = 2  # threads or processes where a whole batch is decoded at once


@dataclass(frozen=True)
class Case:
    """One way to decode all utterances, timed once a round."""

    side: str  # "ours" or "peer"
    with_lm: bool
    beam: int = 10
    batched: bool = False
    prune_history: bool = True  # the peer's trick for the best text alone: forget what no language model looks back to

    @property
    def name(self) -> str:
        """What tells it from the others."""
        parts = [f"beam {self.beam}", "with LM" if self.with_lm else "without LM"]
        parts += ["all at once"] if self.batched else []
        parts += [] if self.prune_history else ["n-best"]
        return f"{'asr' if self.side == 'ours' else 'pyctcdecode'}, {', '.join(parts)}"


def cases(with_lm: bool) -> list[Case]:
    """What is timed, with or without a language model."""
    return [
        Case("ours", with_lm),
        Case("peer", with_lm),
        Case("peer", with_lm, prune_history=False),
        Case("ours", with_lm, beam=100),
        Case("ours", with_lm, batched=True),
        Case("peer", with_lm, batched=True),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="tools/bench decode", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    settings = Settings(arguments.utterances, arguments.rounds, arguments.seed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = compare(settings, Path(folder))
    except BenchError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish([line for line, target in report["targets"].items() if not target["met"]], arguments.check)


def compare(settings: Settings, folder: Path) -> dict[str, Any]:
    """Everything that is measured, as JSON."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(settings.seed)
    language = Language.generate(rng, settings.vocabulary, settings.words)
    heard = [hear(rng, language, settings.frames) for _ in range(settings.utterances)]
    inputs, arpa = folder / "inputs.npz", folder / "lm.arpa"
    np.savez(inputs, log_probs=np.stack([one.log_probs for one in heard]), pieces=np.array(language.pieces))
    train_lm(rng, language, settings, arpa)
    shared = {"inputs": str(inputs), "arpa": str(arpa)}
    weights = {"lm_weight": settings.lm_weight, "unk_score": settings.unk_score}
    with ExitStack() as workers:
        # A cache of its own, so that compiling is measured, not found done.
        cache = {"NUMBA_CACHE_DIR": str(folder / "numba")}
        ours = workers.enter_context(Worker("tools.benchmarks.decode_ours", env=cache))
        peer = workers.enter_context(Worker("tools.benchmarks.decode_peer", PEER_PYTHON))
        texts = [language.text([word]) for word in range(len(language.words))]
        found_versions = {
            "asr": ours.ask("load", **shared, **weights),
            "peers": peer.ask("load", **shared, **weights, words=texts, processes=settings.processors),
        }
        say("first calls, which compile")
        first = {"without LM": ours.ask("first_call", with_lm=False), "with LM": ours.ask("first_call", with_lm=True)}
        answers = {}
        for with_lm in (False, True):
            say(f"{settings.rounds} rounds {'with' if with_lm else 'without'} language model")
            answers.update(time_cases(cases(with_lm), {"ours": ours, "peer": peer}, settings))
        judge = Judge(settings, language, heard, arpa)
        qualities = {lm: judge.compare({c: a[-1] for c, a in answers.items() if c.with_lm is lm}) for lm in AT_LEAST}
        difference = judge.lm_difference(peer)
    return {
        "benchmark": "decode",
        "settings": asdict(settings),
        "machine": machine(),
        "versions": found_versions,
        "first_call_seconds": first,
        **summarise(answers, qualities, difference, settings),
    }
