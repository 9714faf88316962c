"""Sets aside, before training, the rows of a manifest that cannot be trained on. Reads no audio and never aborts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from asr.features.frontend import Frontend
from asr.lengths import ctc_min_frames
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer
from asr.types import Utterance

CODES = ("empty_text", "unknown_token", "too_short", "too_long", "ctc_infeasible")


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside."""

    utterance: Utterance
    code: str  # one of CODES
    reason: str  # for people: what is wrong with this row


def check_rows(
    utterances: Iterable[Utterance],
    tokenizer: Tokenizer,
    normalizer: str,
    frontend: Frontend,
    output_len: Callable[[int], int] | None = None,
    max_duration: float = math.inf,
    min_duration: float = 0.0,
    max_speed: float = 1.0,
) -> tuple[list[Utterance], list[Rejected]]:
    """The rows to train on and the others, each with its first fault in the order of CODES.

    `output_len` maps feature frames to encoder frames; without it, alignment by CTC is not checked. Durations are
    limits in seconds, both included. `max_speed` is the fastest speed of augmentation, which leaves fewest frames.
    """
    utterances = list(utterances)
    shortest = [int(utterance.duration / max_speed * frontend.sample_rate) for utterance in utterances]
    feature_lens = frontend.output_lens(torch.tensor(shortest, dtype=torch.int64)).tolist()
    kept: list[Utterance] = []
    rejected: list[Rejected] = []
    for utterance, feature_len in zip(utterances, feature_lens, strict=True):
        fault = _text_fault(normalize(utterance.text, normalizer), tokenizer)
        fault = fault or _duration_fault(utterance.duration, feature_len, min_duration, max_duration)
        if fault is None and output_len is not None:
            tokens = tokenizer.encode(normalize(utterance.text, normalizer))
            fault = _alignment_fault(tokens, output_len(feature_len), max_speed)
        if fault is None:
            kept.append(utterance)
        else:
            rejected.append(Rejected(utterance, *fault))
    return kept, rejected


def summary(rejected: Sequence[Rejected]) -> str:
    """One line per code with its count and first row, in the order of CODES; empty if nothing was rejected."""
    lines = []
    for code in CODES:
        rows = [row for row in rejected if row.code == code]
        if rows:
            lines.append(f"{code}: {len(rows)} rejected, first '{rows[0].utterance.id}' ({rows[0].reason})")
    return "\n".join(lines)


def _text_fault(text: str, tokenizer: Tokenizer) -> tuple[str, str] | None:
    if not text:
        return "empty_text", "no text is left after normalisation"
    if unknown := tokenizer.unknown_characters(text):
        return "unknown_token", f"the tokenizer cannot spell {' '.join(map(repr, unknown))}"
    return None


def _duration_fault(duration: float, feature_len: int, shortest: float, longest: float) -> tuple[str, str] | None:
    if duration < shortest:
        return "too_short", f"{duration:.2f} s, at least {shortest:g} s are asked for"
    if feature_len == 0:
        return "too_short", f"{duration:.3f} s give no feature frame"
    if duration > longest:
        return "too_long", f"{duration:.2f} s, at most {longest:g} s are asked for"
    return None


def _alignment_fault(tokens: Sequence[int], encoder_len: int, max_speed: float) -> tuple[str, str] | None:
    needed = ctc_min_frames(tokens)
    if encoder_len >= needed:
        return None
    at_speed = f" at {max_speed:g} times the speed" if max_speed != 1 else ""
    return "ctc_infeasible", f"{len(tokens)} tokens need {needed} encoder frames, there are {encoder_len}{at_speed}"
