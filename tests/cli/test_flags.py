"""Every flag of every command does something one can see.

Each case is a command line with the flag and one without it (or with another value), run in copies of the same tiny
workspace, and what to look at. `test_every_flag_has_a_case` finds flags that nobody wrote a case for.
"""

from __future__ import annotations

import json
import re
import resource
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from starlette.testclient import TestClient
from torch.nn.modules.module import register_module_forward_hook

from asr.cli.main import app, main
from tests.bundle.foreign.whisper_files import multilingual_model


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: object
    out: str
    err: str
    folder: Path  # its working directory
    threads: int  # torch's, after the command
    dtypes: frozenset[torch.dtype]  # of what the layers of the model computed
    num_layers: int  # that computed something
    started_processes: bool

    def read(self, path: str) -> str | None:
        file = self.folder / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def exists(self, path: str) -> bool:
        return (self.folder / path).exists()


@dataclass(frozen=True)
class Case:
    """Two command lines that differ in one flag, and what shows the difference; `before` prepares both."""

    without: str
    flag: str
    look: Callable[[Outcome], object]
    before: str = ""


def out(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return outcome.out


def works(outcome: Outcome) -> object:
    assert outcome.status in (0, 1), outcome.err  # 2 would be a mistake in this test
    return outcome.status == 0


def error(outcome: Outcome) -> object:
    assert outcome.status == 1
    return outcome.err.splitlines()[-1]


def has_traceback(outcome: Outcome) -> object:
    return "Traceback" in outcome.err


def batches(outcome: Outcome) -> object:
    return re.findall(r"in \d+ batches", outcome.err)


def threads(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return outcome.threads


def dtypes(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return outcome.dtypes


def layers(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return outcome.num_layers


def processes(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return outcome.started_processes


def err(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return re.sub(r"\d+\.\d s .*", "", outcome.err)  # without times


def num_processes(outcome: Outcome) -> object:
    assert outcome.status == 0, outcome.err
    return re.findall(r"processes: \d+", outcome.err)


def has(path: str) -> Callable[[Outcome], object]:
    return lambda outcome: outcome.exists(path)


def says(words: str) -> Callable[[Outcome], object]:
    return lambda outcome: words in outcome.err


def says_out(words: str) -> Callable[[Outcome], object]:
    return lambda outcome: words in str(out(outcome))


def content(path: str) -> Callable[[Outcome], object]:
    return lambda outcome: outcome.read(path)


def pictures(path: str) -> Callable[[Outcome], object]:
    """How many pictures a page holds."""
    return lambda outcome: (outcome.read(path) or "").count("data:image/png")


def size(path: str) -> Callable[[Outcome], object]:
    return lambda outcome: (outcome.folder / path).stat().st_size


def steps(path: str) -> Callable[[Outcome], object]:
    """How many epochs a training log tells of."""

    def count(outcome: Outcome) -> object:
        lines = (outcome.read(path) or "").splitlines()
        return [json.loads(line)["epoch"] for line in lines if json.loads(line)["kind"] == "epoch"]

    return count


TRAIN = "asr train experiment.yaml --out exp --device cpu"
LONGER = "asr train experiment.yaml --out a --device cpu --set training.epochs=3"
EVALUATE = "asr evaluate model dev.jsonl --device cpu --out results"
TRANSCRIBE = "asr transcribe audio/5.wav --model model --device cpu --vad none"
FOLDER = "asr transcribe audio --model model --device cpu --vad none"
SRT = f"{TRANSCRIBE} --format srt"
WORDS = f"{SRT} --search ctc_prefix_beam --hotword 'e t:100'"
BROKEN = "asr transcribe broken.wav --model model --device cpu --vad none --output-dir texts"
RAW = "asr transcribe model/model.safetensors --model model --device cpu --vad none"
TUNE = "asr tune model dev.jsonl --device cpu --trials 2"
LM_FILE = "asr lm train train.jsonl --order 2 --out words.arpa"
NEURAL_LM = "asr lm train --neural lm.yaml --out lm --device cpu"
ALIGN = "asr align audio/5.wav hyp.txt --model model --device cpu"
SUBTITLES = "asr align audio/5.wav ref.jsonl --model model --device cpu --format srt"
SPLIT = "asr data split train.jsonl --dev 25% --out parts"
CUT = "asr data cut model dev.jsonl --out pieces.jsonl"
CHECK = "asr data check train.jsonl --workers 1"
SHORT = f"{CHECK} --max-duration 1.2"  # some are longer
STATS = "asr data stats train.jsonl"
LEAKS = "asr data leaks train.jsonl dev.jsonl --workers 1"
IMPORT = "asr data import table.csv --out new.jsonl"
KALDI = "asr data export dev.jsonl --format kaldi --out kaldi"
SHARD = "asr data shard train.jsonl --out shards"
LM = "asr lm train ref.txt --order 2 --out lm.arpa"
SCORE = "asr score ref.txt hyp.txt"
SCORE_MARKS = "asr score marks.txt hyp.txt --format kaldi"
PAGE = "asr score dev.jsonl results/hypotheses.jsonl --html page.html"
RUNS = "asr runs ."
HYPOTHESES = content("results/hypotheses.jsonl")
ATTENTION = " --search attention_greedy"
BEAM = " --search ctc_prefix_beam"

WHISPER = "asr transcribe audio --model whisper --device cpu --vad none --max-span 2 --format json"
WHISPER_SET = "asr evaluate whisper dev.jsonl --device cpu --out results"
WHISPER_TUNE = "asr tune whisper dev.jsonl --device cpu --trials 1 --dry-run"

LISTEN = "asr listen --model model --device cpu --vad none --simulate audio/0.wav --speed 60"
SERVE = "asr serve --model model --device cpu --port 0 --set segmentation.vad=null"

CASES = {
    "train CONFIG": Case(TRAIN, "asr train missing.yaml --out exp", works),
    "train --out": Case(TRAIN, f"{TRAIN} --out other", has("other/model.safetensors")),
    "train --from": Case(
        TRAIN,
        "asr train train.jsonl --from model --out exp --device cpu --set training.epochs=1",
        has("exp.data/experiment.yaml"),
    ),
    "train --set": Case(TRAIN, f"{TRAIN} --set training.epochs=1", steps("exp/training/train.jsonl")),
    "train --resume": Case(TRAIN, f"{TRAIN} --resume", works, before=TRAIN),
    "train --reproduce": Case(TRAIN, "asr train --reproduce model --out exp", says("reproduced: the weights")),
    "train --tensorboard": Case(TRAIN, f"{TRAIN} --tensorboard", has("exp/training/tensorboard")),
    "train --dry-run": Case(TRAIN, f"{TRAIN} --dry-run", has("exp")),
    "train --profile": Case(
        TRAIN,
        f"{TRAIN} --set data.max_batch_seconds=1.5 --set training.epochs=1 --profile",
        has("exp/training/profile/trace.json.gz"),
    ),
    "train --device": Case(TRAIN, f"{TRAIN} --device nowhere", works),
    "train --threads": Case(TRAIN, f"{TRAIN} --threads 2", threads),
    "evaluate EXP": Case(EVALUATE, "asr evaluate elsewhere dev.jsonl", works),
    "evaluate MANIFEST": Case(EVALUATE, "asr evaluate model train.jsonl", has("model/results/train")),
    "evaluate --out": Case(EVALUATE, f"{EVALUATE} --out here", has("here/wer.json")),
    "evaluate --search": Case(EVALUATE, EVALUATE + ATTENTION, HYPOTHESES),
    "evaluate --set": Case(
        EVALUATE + ATTENTION, f"{EVALUATE}{ATTENTION} --set search.max_tokens_per_frame=0.1", HYPOTHESES
    ),
    "evaluate --device": Case(EVALUATE, f"{EVALUATE} --device nowhere", works),
    "evaluate --threads": Case(EVALUATE, f"{EVALUATE} --threads 2", threads),
    "evaluate --dtype": Case(EVALUATE, f"{EVALUATE} --dtype bfloat16", dtypes),
    "evaluate --adapter": Case(EVALUATE, f"{EVALUATE} --adapter audio", works),
    "evaluate --confidence": Case(EVALUATE, f"{EVALUATE} --confidence entropy", HYPOTHESES),
    "evaluate --batch-seconds": Case(EVALUATE, f"{EVALUATE} --batch-seconds 1", batches),
    "evaluate --stream": Case(EVALUATE, f"{EVALUATE} --stream", has("results.stream-0.32/stream.json")),
    "evaluate --chunk": Case(f"{EVALUATE} --stream", f"{EVALUATE} --stream --chunk 0.64", has("results.stream-0.64")),
    "evaluate --parallel": Case(f"{EVALUATE} --stream", f"{EVALUATE} --stream --parallel 1,2", says_out("2 at once")),
    "evaluate --normalize": Case(EVALUATE, f"{EVALUATE} --normalize upper", content("results/wer.json")),
    "evaluate --worst": Case(EVALUATE, f"{EVALUATE} --worst 1", pictures("results/report.html")),
    "transcribe FILE_OR_DIR": Case(TRANSCRIBE, "asr transcribe audio/0.wav --model model", out),
    "transcribe --model": Case(TRANSCRIBE, f"{TRANSCRIBE} --model elsewhere", works),
    "transcribe --format": Case(TRANSCRIBE, f"{TRANSCRIBE} --format json", out),
    "transcribe --output-dir": Case(TRANSCRIBE, f"{TRANSCRIBE} --output-dir texts", content("texts/5.txt")),
    "transcribe --overwrite": Case(
        f"{TRANSCRIBE} --output-dir texts{ATTENTION}",
        f"{TRANSCRIBE} --output-dir texts{ATTENTION} --overwrite",
        content("texts/5.txt"),
        before=f"{TRANSCRIBE} --output-dir texts",
    ),
    "transcribe --partial": Case(
        f"{BROKEN} --output-dir texts", f"{BROKEN} --output-dir texts --partial", has("texts")
    ),
    "transcribe --search": Case(TRANSCRIBE, TRANSCRIBE + ATTENTION, out),
    "transcribe --set": Case(
        TRANSCRIBE + ATTENTION, f"{TRANSCRIBE}{ATTENTION} --set search.max_tokens_per_frame=0.1", out
    ),
    "transcribe --device": Case(TRANSCRIBE, f"{TRANSCRIBE} --device nowhere", works),
    "transcribe --threads": Case(TRANSCRIBE, f"{TRANSCRIBE} --threads 2", threads),
    "transcribe --dtype": Case(TRANSCRIBE, f"{TRANSCRIBE} --dtype bfloat16", dtypes),
    "transcribe --adapter": Case(TRANSCRIBE, f"{TRANSCRIBE} --adapter audio", works),
    "transcribe --confidence": Case(
        f"{TRANSCRIBE} --format json", f"{TRANSCRIBE} --format json --confidence entropy", out
    ),
    "transcribe --max-span": Case(TRANSCRIBE, f"{TRANSCRIBE} --max-span 1", out),
    "transcribe --vad": Case("asr transcribe audio/5.wav --model model --device cpu", TRANSCRIBE, out),
    "transcribe --min-confidence": Case(TRANSCRIBE, f"{TRANSCRIBE} --min-confidence 1", out),
    "transcribe --channel": Case(TRANSCRIBE, f"{TRANSCRIBE} --channel 1", works),
    "transcribe --raw": Case(RAW, f"{RAW} --raw 16000", works),
    "transcribe --workers": Case(TRANSCRIBE, f"{TRANSCRIBE} --workers 2", processes),
    "transcribe --batch-seconds": Case(FOLDER, f"{FOLDER} --batch-seconds 1", layers),
    "transcribe --verbose": Case(TRANSCRIBE, f"{TRANSCRIBE} --verbose", err),
    "transcribe --max-line-length": Case(SRT, f"{SRT} --max-line-length 10", out),
    "transcribe --max-lines": Case(f"{SRT} --max-line-length 10", f"{SRT} --max-line-length 10 --max-lines 1", out),
    "transcribe --max-cue-seconds": Case(SRT, f"{SRT} --max-cue-seconds 1", out),
    "transcribe --cue-pause": Case(WORDS, f"{WORDS} --cue-pause 0", out),
    "transcribe --lm": Case(TRANSCRIBE, f"{TRANSCRIBE} --lm words.arpa", out, before=LM_FILE),
    "transcribe --lm-mode": Case(
        f"{TRANSCRIBE} --lm words.arpa",
        f"{TRANSCRIBE} --lm words.arpa --lm-mode other",
        works,
        before=LM_FILE,
    ),
    "transcribe --hotwords": Case(TRANSCRIBE, f"{TRANSCRIBE} --hotwords hot.txt", out),
    "transcribe --hotword": Case(TRANSCRIBE, f"{TRANSCRIBE} --hotword nine:200", out),
    "transcribe --replace": Case(TRANSCRIBE, f"{TRANSCRIBE} --replace missing.tsv", works),
    "transcribe --language": Case(f"{WHISPER} --language en", f"{WHISPER} --language de", out),
    "transcribe --each-language": Case(f"{WHISPER} --language de", f"{WHISPER} --language de --each-language", works),
    "transcribe --task": Case(WHISPER, f"{WHISPER} --task translate", out),
    "transcribe --prompt": Case(WHISPER, f"{WHISPER} --prompt the", out),
    "transcribe --exact": Case(WHISPER, f"{WHISPER} --exact", out),
    "evaluate --language": Case(
        f"{WHISPER_SET} --language en", f"{WHISPER_SET} --language de", content("results/wer.json")
    ),
    "evaluate --task": Case(WHISPER_SET, f"{WHISPER_SET} --task translate", HYPOTHESES),
    "evaluate --prompt": Case(WHISPER_SET, f"{WHISPER_SET} --prompt the", HYPOTHESES),
    "evaluate --exact": Case(WHISPER_SET, f"{WHISPER_SET} --exact", HYPOTHESES),
    "tune --language": Case(f"{WHISPER_TUNE} --language en", f"{WHISPER_TUNE} --language de", out),
    "tune --task": Case(WHISPER_TUNE, f"{WHISPER_TUNE} --task other", works),
    "tune --prompt": Case(WHISPER_TUNE, f"{WHISPER_TUNE} --prompt the", out),
    "tune --exact": Case(WHISPER_TUNE, f"{WHISPER_TUNE} --exact", out),
    "evaluate --lm": Case(EVALUATE, f"{EVALUATE} --lm words.arpa", HYPOTHESES, before=LM_FILE),
    "evaluate --lm-mode": Case(
        f"{EVALUATE} --lm words.arpa --nbest 3",
        f"{EVALUATE} --lm words.arpa --nbest 3 --lm-mode rescore",
        HYPOTHESES,
        before=LM_FILE,
    ),
    "evaluate --hotwords": Case(EVALUATE, f"{EVALUATE} --hotwords hot.txt", out),
    "evaluate --hotword": Case(EVALUATE, f"{EVALUATE} --hotword nine:200", out),
    "evaluate --nbest": Case(f"{EVALUATE}{BEAM}", f"{EVALUATE}{BEAM} --nbest 3", HYPOTHESES),
    "tune EXP": Case(TUNE, "asr tune elsewhere dev.jsonl", works),
    "tune DEV_MANIFEST": Case(TUNE, "asr tune model train.jsonl --trials 2", content("model/decode.yaml")),
    "tune --search": Case(TUNE, f"{TUNE}{BEAM}", content("model/decode.yaml")),
    "tune --lm": Case(TUNE, f"{TUNE} --lm words.arpa", out, before=LM_FILE),
    "tune --lm-mode": Case(f"{TUNE} --lm words.arpa", f"{TUNE} --lm words.arpa --lm-mode other", works, before=LM_FILE),
    "tune --set": Case(TUNE, f"{TUNE} --set search.beam=3", out),
    "tune --trials": Case(TUNE, f"{TUNE} --trials 4", out),
    "tune --dry-run": Case(TUNE, f"{TUNE} --dry-run", has("model/decode.yaml")),
    "tune --device": Case(TUNE, f"{TUNE} --device nowhere", works),
    "tune --threads": Case(TUNE, f"{TUNE} --threads 2", threads),
    "listen --model": Case(LISTEN, f"{LISTEN} --model elsewhere", works),
    "listen --simulate": Case(LISTEN, f"{LISTEN} --simulate audio/5.wav", out),
    "listen --speed": Case(LISTEN, f"{LISTEN} --speed 0", lambda outcome: outcome.status),
    "listen --raw": Case(LISTEN, f"{LISTEN} --raw 16000", lambda outcome: outcome.status),
    "listen --input": Case(LISTEN, f"{LISTEN} --input mic", lambda outcome: outcome.status),
    "listen --list-inputs": Case(LISTEN, f"{LISTEN} --list-inputs", lambda outcome: outcome.out),
    "listen --format": Case(LISTEN, f"{LISTEN} --format jsonl", out),
    "listen --output": Case(LISTEN, f"{LISTEN} --output talk.srt", has("talk.srt")),
    "listen --chunk": Case(LISTEN, f"{LISTEN} --chunk 0", lambda outcome: outcome.status),
    "listen --vad": Case(LISTEN, f"{LISTEN} --vad silero --simulate audio/5.wav", out),
    "listen --search": Case(LISTEN, LISTEN + ATTENTION, out),
    "listen --set": Case(LISTEN + ATTENTION, f"{LISTEN}{ATTENTION} --set search.max_tokens_per_frame=0.1", out),
    "listen --lm": Case(LISTEN, f"{LISTEN} --lm words.arpa", out, before=LM_FILE),
    "listen --lm-mode": Case(
        f"{LISTEN} --lm words.arpa", f"{LISTEN} --lm words.arpa --lm-mode other", works, before=LM_FILE
    ),
    "listen --hotwords": Case(LISTEN, f"{LISTEN} --hotwords hot.txt", out),
    "listen --hotword": Case(LISTEN, f"{LISTEN} --hotword nine:200", out),
    "listen --language": Case(LISTEN, f"{LISTEN} --language en", works),
    "listen --device": Case(LISTEN, f"{LISTEN} --device nowhere", works),
    "listen --dtype": Case(LISTEN, f"{LISTEN} --dtype bfloat16", dtypes),
    "listen --threads": Case(LISTEN, f"{LISTEN} --threads 2", threads),
    "serve --model": Case(SERVE, SERVE.replace("--model model", "--model tiny=model"), out),
    "serve --host": Case(SERVE, f"{SERVE} --host nowhere.invalid", works),
    "serve --port": Case(SERVE, f"{SERVE} --port 70000", lambda outcome: outcome.status),
    "serve --api-keys": Case(SERVE, f"{SERVE} --api-keys keys.txt", out),
    "serve --allow-host": Case(SERVE, f"{SERVE} --allow-host asr", out),
    "serve --allow-origin": Case(SERVE, f"{SERVE} --allow-origin https://example.org", out),
    "serve --wyoming-port": Case(SERVE, f"{SERVE} --wyoming-port 0", says("Wyoming")),
    "serve --set": Case(SERVE, f"{SERVE} --set serve.max_upload_mb=0.001", out),
    "serve --device": Case(SERVE, f"{SERVE} --device nowhere", works),
    "serve --dtype": Case(SERVE, f"{SERVE} --dtype bfloat16", dtypes),
    "serve --threads": Case(SERVE, f"{SERVE} --threads 2", threads),
    "align AUDIO": Case(ALIGN, "asr align audio/4.wav hyp.txt --model model", out),
    "align TEXT_FILE": Case(ALIGN, "asr align audio/5.wav ref.txt --model model", out),
    "align --model": Case(ALIGN, "asr align audio/5.wav hyp.txt --model elsewhere", works),
    "align --format": Case(ALIGN, f"{ALIGN} --format ctm", out),
    "align --language": Case(ALIGN, f"{ALIGN} --language de", works),
    "align --level": Case(ALIGN, f"{ALIGN} --level words", out),
    "align --output-dir": Case(ALIGN, f"{ALIGN} --output-dir times", has("times/5.json")),
    "align --overwrite": Case(
        f"{ALIGN} --output-dir times --confidence entropy",
        f"{ALIGN} --output-dir times --confidence entropy --overwrite",
        content("times/5.json"),
        before=f"{ALIGN} --output-dir times",
    ),
    "align --device": Case(ALIGN, f"{ALIGN} --device nowhere", works),
    "align --threads": Case(ALIGN, f"{ALIGN} --threads 2", threads),
    "align --confidence": Case(ALIGN, f"{ALIGN} --confidence entropy", out),
    "align --max-line-length": Case(SUBTITLES, f"{SUBTITLES} --max-line-length 20", out),
    "align --max-lines": Case(
        f"{SUBTITLES} --max-line-length 20", f"{SUBTITLES} --max-line-length 20 --max-lines 1", out
    ),
    "align --max-cue-seconds": Case(SUBTITLES, f"{SUBTITLES} --max-cue-seconds 1", out),
    "align --cue-pause": Case(SUBTITLES, f"{SUBTITLES} --cue-pause 0", out),
    "score REF": Case("asr score train.jsonl train.jsonl", "asr score dev.jsonl train.jsonl", works),
    "score HYP": Case("asr score dev.jsonl dev.jsonl", "asr score dev.jsonl train.jsonl", works),
    "score --cer": Case("asr score dev.jsonl dev.jsonl", "asr score dev.jsonl dev.jsonl --cer", out),
    "score --normalize": Case("asr score ref.txt hyp.txt", "asr score ref.txt hyp.txt --normalize basic", out),
    "score --compare": Case(SCORE, f"{SCORE} --compare ref.txt", out),
    "score --align": Case(SCORE_MARKS, f"{SCORE_MARKS} --align sclite", out),
    "score --markup": Case(SCORE_MARKS, f"{SCORE_MARKS} --markup", out),
    "score --hesitations": Case(SCORE_MARKS, f"{SCORE_MARKS} --hesitations uh", out),
    "score --split-hyphens": Case(SCORE_MARKS, f"{SCORE_MARKS} --split-hyphens", out),
    "score --merge-compounds": Case(SCORE_MARKS, f"{SCORE_MARKS} --merge-compounds", out),
    "score --speakers": Case(SCORE, f"{SCORE} --speakers ref.txt", works),
    "score --speaker-from-id": Case(SCORE, f"{SCORE} --speaker-from-id", works),
    "score --by": Case(SCORE, f"{SCORE} --by length", out),
    "score --top": Case(SCORE, f"{SCORE} --top 1", out),
    "score --alignments": Case(SCORE, f"{SCORE} --alignments -", out),
    "score --allow-missing": Case(
        "asr score ref.jsonl part.jsonl", "asr score ref.jsonl part.jsonl --allow-missing", works
    ),
    "score --format": Case("asr score ref.txt hyp.txt", "asr score ref.txt hyp.txt --format kaldi", out),
    "score --json": Case("asr score ref.txt hyp.txt", "asr score ref.txt hyp.txt --json score.json", has("score.json")),
    "score --html": Case("asr score ref.txt hyp.txt", "asr score ref.txt hyp.txt --html page.html", has("page.html")),
    "score --manifest": Case(PAGE, f"{PAGE} --manifest dev.jsonl", content("page.html"), before=EVALUATE),
    "score --worst": Case(
        f"{PAGE} --manifest dev.jsonl",
        f"{PAGE} --manifest dev.jsonl --worst 1",
        pictures("page.html"),
        before=EVALUATE,
    ),
    "models pull NAME": Case("asr models pull an4", "asr models pull digits", out),
    "models path NAME": Case("asr models path an4", "asr models path digits", out),
    "models remove NAME": Case("asr models remove an4", "asr models remove nowhere", error),
    "models import PATH": Case("asr models import nowhere --out mean", "asr models import model --out mean", error),
    "models import --out": Case(
        "asr models import nowhere --out mean", "asr models import nowhere --out train.jsonl", error
    ),
    "average EXP": Case("asr average model --last 1 --out mean", "asr average elsewhere --last 1 --out mean", works),
    "average --out": Case(
        "asr average model --last 1 --out mean", "asr average model --last 1 --out other", has("other/config.yaml")
    ),
    "average --best": Case("asr average model --best 1 --out mean", "asr average model --best 2 --out mean", out),
    "average --last": Case("asr average model --last 1 --out mean", "asr average model --last 2 --out mean", out),
    "average --weights": Case(
        "asr average model --last 1 --out mean",
        "asr average model --last 1 --out mean --weights bfloat16",
        size("mean/model.safetensors"),
    ),
    "runs DIR": Case(RUNS, "asr runs audio", works),
    "runs --sort": Case(RUNS, f"{RUNS} --sort epochs", out, before=LONGER),
    "runs --json": Case(RUNS, f"{RUNS} --json", out),
    "runs --plot": Case(RUNS, f"{RUNS} --plot runs.png", has("runs.png")),
    "info EXP": Case("asr info model", "asr info elsewhere", works),
    "config KEY": Case("asr config", "asr config training", out),
    "config --markdown": Case("asr config training", "asr config training --markdown", out),
    "data split MANIFEST": Case(SPLIT, SPLIT.replace("train.jsonl", "gone.jsonl"), works),
    "data split --dev": Case(SPLIT, SPLIT.replace("25%", "50%"), content("parts/dev.jsonl")),
    "data split --test": Case(SPLIT, f"{SPLIT} --test 25%", has("parts/test.jsonl")),
    "data split --by": Case(SPLIT, f"{SPLIT} --by speaker", works),  # no row has one
    "data split --out": Case(SPLIT, SPLIT.removesuffix(" --out parts"), has("train/dev.jsonl")),
    "data split --seed": Case(SPLIT, f"{SPLIT} --seed 2", content("parts/dev.jsonl")),
    "data cut EXP": Case(CUT, "asr data cut elsewhere dev.jsonl --out pieces.jsonl", works),
    "data cut MANIFEST": Case(CUT, "asr data cut model train.jsonl --out pieces.jsonl", content("pieces.jsonl")),
    "data cut --out": Case(CUT, "asr data cut model dev.jsonl --out other.jsonl", has("other.jsonl")),
    "data cut --pause-db": Case(f"{CUT} --pause-db 0", f"{CUT} --pause-db 200", content("pieces.jsonl")),
    "data cut --threads": Case(CUT, f"{CUT} --threads 2", threads),
    "data check MANIFEST": Case(CHECK, "asr data check dev.jsonl --workers 1", out),
    "data check --out": Case(CHECK, f"{CHECK} --out good/clean.jsonl", has("good/rejected.jsonl")),
    "data check --rejected": Case(
        f"{CHECK} --out clean.jsonl", f"{CHECK} --out clean.jsonl --rejected bad.jsonl", has("bad.jsonl")
    ),
    "data check --model": Case(CHECK, f"{CHECK} --model model", out),
    "data check --config": Case(CHECK, f"{CHECK} --config experiment.yaml", out),
    "data check --reject": Case(SHORT, f"{SHORT} --reject too_long", out),
    "data check --ignore": Case(SHORT, f"{SHORT} --ignore too_long", out),
    "data check --strict": Case(f"{SHORT} --reject too_long", f"{SHORT} --reject too_long --strict", works),
    "data check --json": Case(CHECK, f"{CHECK} --json check.json", has("check.json")),
    "data check --min-duration": Case(CHECK, f"{CHECK} --min-duration 1.2", out),
    "data check --max-duration": Case(CHECK, SHORT, out),
    "data check --tolerance": Case(
        f"{CHECK} --json check.json", f"{CHECK} --json check.json --tolerance 9", content("check.json")
    ),
    "data check --sample-rate": Case(CHECK, f"{CHECK} --sample-rate 8000", out),
    "data check --channels": Case(CHECK, f"{CHECK} --channels 2", out),
    "data check --script": Case(CHECK, f"{CHECK} --script greek", out),
    "data check --normalize": Case(
        f"{CHECK} --json check.json", f"{CHECK} --json check.json --normalize none", content("check.json")
    ),
    "data check --workers": Case(CHECK, "asr data check train.jsonl --workers 2", num_processes),
    "data stats MANIFEST": Case(STATS, "asr data stats dev.jsonl", out),
    "data stats --against": Case(STATS, f"{STATS} --against dev.jsonl", out),
    "data stats --headers": Case(STATS, f"{STATS} --headers", out),
    "data stats --normalize": Case(STATS, f"{STATS} --normalize none", out),
    "data stats --plots": Case(STATS, f"{STATS} --plots plots", has("plots/durations.png")),
    "data stats --json": Case(STATS, f"{STATS} --json stats.json", has("stats.json")),
    "data leaks TRAIN": Case(LEAKS, "asr data leaks dev.jsonl dev.jsonl", out),
    "data leaks TEST": Case(LEAKS, "asr data leaks train.jsonl train.jsonl", out),
    "data leaks --audio": Case(LEAKS, f"{LEAKS} --no-audio", out),
    "data leaks --normalize": Case(
        f"{LEAKS} --json leaks.json", f"{LEAKS} --json leaks.json --normalize none", content("leaks.json")
    ),
    "data leaks --threshold": Case(
        f"{LEAKS} --json leaks.json", f"{LEAKS} --json leaks.json --threshold 0.5", content("leaks.json")
    ),
    "data leaks --examples": Case(LEAKS, f"{LEAKS} --examples 0", out),
    "data leaks --strict": Case(LEAKS, f"{LEAKS} --strict", works),
    "data leaks --json": Case(LEAKS, f"{LEAKS} --json leaks.json", has("leaks.json")),
    "data leaks --workers": Case(LEAKS, "asr data leaks train.jsonl dev.jsonl --workers 2", num_processes),
    "data import SOURCE": Case(IMPORT, "asr data import missing.csv --out new.jsonl", works),
    "data import DIR": Case(
        "asr data import lhotse:yesno audio --out new", "asr data import lhotse:yesno missing --out new", error
    ),
    "data import --out": Case(IMPORT, "asr data import table.csv --out other.jsonl", has("other.jsonl")),
    "data import --format": Case(IMPORT, f"{IMPORT} --format kaldi", works),
    "data import --root": Case(IMPORT, f"{IMPORT} --root elsewhere", works),
    "data import --audio-column": Case(IMPORT, f"{IMPORT} --audio-column other", content("new.jsonl")),
    "data import --text-column": Case(IMPORT, f"{IMPORT} --text-column note", content("new.jsonl")),
    "data import --id-column": Case(IMPORT, f"{IMPORT} --id-column note", content("new.jsonl")),
    "data import --speaker-column": Case(IMPORT, f"{IMPORT} --speaker-column note", content("new.jsonl")),
    "data import --lang-column": Case(IMPORT, f"{IMPORT} --lang-column note", content("new.jsonl")),
    "data import --start-column": Case(IMPORT, f"{IMPORT} --start-column number", content("new.jsonl")),
    "data import --end-column": Case(
        f"{IMPORT} --start-column number", f"{IMPORT} --start-column number --end-column number", works
    ),
    "data import --duration-column": Case(IMPORT, f"{IMPORT} --duration-column number", content("new.jsonl")),
    "data import --set": Case(
        "asr data import lhotse:yesno audio --out new", "asr data import lhotse:yesno audio --out new --set a=1", error
    ),
    "data import --skip-bad": Case(
        "asr data import half.csv --out new.jsonl", "asr data import half.csv --out new.jsonl --skip-bad", works
    ),
    "data export MANIFEST": Case(
        KALDI, "asr data export train.jsonl --format kaldi --out kaldi", content("kaldi/text")
    ),
    "data export --format": Case(KALDI, "asr data export dev.jsonl --format nemo --out kaldi", has("kaldi/text")),
    "data export --out": Case(KALDI, "asr data export dev.jsonl --format kaldi --out other", has("other/text")),
    "data export --root": Case(KALDI, f"{KALDI} --root .", content("kaldi/wav.scp")),
    "data shard MANIFEST": Case(SHARD, "asr data shard dev.jsonl --out shards", content("shards/shard-000000.jsonl")),
    "data shard --out": Case(SHARD, "asr data shard train.jsonl --out other", has("other/shards.jsonl")),
    "data shard --shard-size": Case(SHARD, f"{SHARD} --shard-size 100kB", content("shards/shards.jsonl")),
    "data shard --utterances": Case(SHARD, f"{SHARD} --utterances 3", content("shards/shards.jsonl")),
    "data shard --shuffle": Case(f"{SHARD} --keep-order", f"{SHARD} --shuffle", content("shards/shard-000000.jsonl")),
    "lm train TEXT...": Case(LM, "asr lm train train.jsonl --order 2 --out lm.arpa", content("lm.arpa")),
    "lm train --out": Case(LM, f"{LM} --out other.arpa.gz", has("other.arpa.gz")),
    "lm train --order": Case(LM, f"{LM} --order 1", content("lm.arpa")),
    "lm train --prune": Case(f"{LM} ref.txt train.jsonl", f"{LM} ref.txt train.jsonl --prune 0,1", content("lm.arpa")),
    "lm train --vocab-size": Case(LM, f"{LM} --vocab-size 2", content("lm.arpa")),
    "lm train --vocab": Case(LM, f"{LM} --vocab words.txt", content("lm.arpa")),
    "lm train --tokens": Case(LM, f"{LM} --tokens model", content("lm.arpa")),
    "lm train --normalize": Case(f"{LM} hyp.txt", f"{LM} hyp.txt --normalize basic", content("lm.arpa")),
    "lm train --dev": Case(LM, f"{LM} --dev dev.jsonl", out),
    "lm train --neural": Case("asr lm train train.jsonl --out lm.arpa", NEURAL_LM, has("lm/model.safetensors")),
    "lm train --set": Case(NEURAL_LM, f"{NEURAL_LM} --set training.epochs=1", steps("lm/training/train.jsonl")),
    "lm train --resume": Case(NEURAL_LM, f"{NEURAL_LM} --resume", works, before=NEURAL_LM),
    "lm train --tensorboard": Case(NEURAL_LM, f"{NEURAL_LM} --tensorboard", has("lm/training/tensorboard")),
    "lm train --device": Case(NEURAL_LM, f"{NEURAL_LM} --device nowhere", works),
    "lm train --threads": Case(NEURAL_LM, f"{NEURAL_LM} --threads 2", threads),
    " --version": Case("asr info model", "asr --version", out),
    " --debug": Case("asr info elsewhere", "asr info elsewhere --debug", has_traceback),
}


def all_flags() -> list[str]:
    """`command --flag` or `command ARGUMENT` for everything the command line takes but --help."""

    def flags(name: str, command: Any) -> Iterator[str]:
        for parameter in command.params:
            if parameter.name not in ("help", "install_completion", "show_completion"):  # click's and typer's own
                yield f"{name} {parameter.opts[0] if parameter.param_type_name == 'option' else parameter.metavar}"
        for below, inner in getattr(command, "commands", {}).items():
            yield from flags(f"{name} {below}".strip(), inner)

    return list(flags("", typer.main.get_command(app)))


def test_every_flag_has_a_case() -> None:
    assert sorted(all_flags()) == sorted(CASES)


def serve_once(app: Any, _socket: socket.socket, _limits: object) -> bool:
    """Stands for a server: answers a request for the models and one for a transcription, prints both and ends."""
    with TestClient(app, base_url="http://127.0.0.1") as client:
        models = client.get("/v1/models").json().get("data", [])
        reply = client.post("/v1/audio/transcriptions", files={"file": Path("audio/5.wav").read_bytes()})
        elsewhere = client.get("/health", headers={"host": "asr"})
        from_page = client.post("/v1/audio/transcriptions", headers={"origin": "https://example.org"})
        print([model["id"] for model in models], reply.text, elsewhere.status_code, from_page.status_code)
    return False


@pytest.fixture(scope="session")
def ran() -> dict[tuple[str, str], Outcome]:
    """What ran before, by the line that prepared it and its own: many cases share a line. It is only looked at."""
    return {}


@pytest.mark.parametrize("name", CASES)
def test_a_flag_makes_a_visible_difference(
    name: str,
    tiny_workspace: Path,
    ran: dict[tuple[str, str], Outcome],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def after(before: str, line: str) -> Outcome:
        if (before, line) not in ran:
            start = tiny_workspace
            if before:
                prepared = after("", before)
                assert prepared.status == 0
                start = prepared.folder
            folder = tmp_path_factory.mktemp("run") / "workspace"
            shutil.copytree(start, folder)
            if " whisper " in line:
                multilingual_model(folder / "source", folder / "whisper")
            monkeypatch.chdir(folder)
            ran[before, line] = run(line, folder, capsys)
        return ran[before, line]

    case = CASES[name]
    monkeypatch.setattr("asr.serve.server.serve", serve_once)
    assert case.look(after(case.before, case.without)) != case.look(after(case.before, case.flag))


def run(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """Run a command line in this process."""
    capsys.readouterr()
    threads_before = torch.get_num_threads()
    dtypes_seen: list[torch.dtype] = []
    children_before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    def note_dtype(_module: torch.nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            dtypes_seen.append(output.dtype)

    hook = register_module_forward_hook(note_dtype)
    try:
        with pytest.raises(SystemExit) as leaving:
            main(shlex.split(line)[1:])
        captured = capsys.readouterr()
        num_threads = torch.get_num_threads()
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - children_before
        return Outcome(
            status=leaving.value.code,
            out=captured.out,
            err=captured.err,
            folder=folder,
            threads=num_threads,
            dtypes=frozenset(dtypes_seen),
            num_layers=len(dtypes_seen),
            started_processes=children > 0.5,  # seconds; git and the like take less
        )
    finally:
        hook.remove()
        torch.set_num_threads(threads_before)
