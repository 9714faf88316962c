"""Texts of faster-whisper for whisper_agreement: JSON lines in and out. Runs in a Python that has faster_whisper.

one window   audio padded to 30 s, decoded once, greedily, with timestamps: what our --exact does
stock        `WhisperModel.transcribe` as it comes, with beam 1
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

WINDOW = 480000


def one_window(model: WhisperModel, audio: np.ndarray, language: str) -> str:
    """The text of a clip of at most 30 s."""
    tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language)
    features = model.feature_extractor(np.pad(audio, (0, WINDOW - len(audio))), padding=0)[:, :3000]
    (found,) = model.model.generate(
        model.encode(features),
        [tokenizer.sot_sequence],
        beam_size=1,
        max_length=448,
        suppress_blank=True,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        max_initial_timestamp_index=50,
    )
    return str(tokenizer.decode([token for token in found.sequences_ids[0] if token < tokenizer.eot]))


def stock(model: WhisperModel, audio: np.ndarray, language: str, **options: Any) -> str:
    """The text as people get it."""
    segments, _ = model.transcribe(audio, language=language, beam_size=1, vad_filter=False, **options)
    return "".join(segment.text for segment in segments)


def answer_all() -> None:
    weights, compute_type, mode = sys.argv[1:4]
    model = WhisperModel(weights, device="cpu", compute_type=compute_type, cpu_threads=1)
    for line in sys.stdin:
        job = json.loads(line)
        audio = np.load(job["audio"])
        text = (one_window if mode == "window" else stock)(model, audio, job["language"])
        print(json.dumps({"id": job["id"], "text": text.strip()}), flush=True)


if __name__ == "__main__":
    answer_all()
