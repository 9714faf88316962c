"""What searches over a decoder note beside a text: how likely its tokens are, and how likely it is that nobody speaks.

`avg_logprob` is the mean log-probability of the tokens and the end. `no_speech` is the probability of the token that
stands for silence right after the start of the transcript, for decoders with a `no_speech_token`; what a language
model or a prompt says does not change it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

AVG_LOGPROB = "avg_logprob"
NO_SPEECH = "no_speech"
COMPRESSION = "compression_ratio"


class Silence:
    """Watches for the step after the start of B utterances' transcripts."""

    def __init__(self, decoder: Any, num_utterances: int) -> None:
        self._token: int | None = getattr(decoder, "no_speech_token", None)
        self._start: int | None = decoder.vocabulary.sos
        self._found: list[float | None] = [None] * num_utterances

    def see(self, log_probs: Tensor, last: Tensor, rows: Tensor) -> None:
        """Log-probabilities (N, V) as the decoder gives them after tokens (N,) of the utterances `rows` (N,)."""
        if self._token is None or self._start is None:
            return
        begun = last.eq(self._start).nonzero().squeeze(1)
        values = log_probs[begun, self._token].exp().tolist()
        for row, value in zip(rows[begun].tolist(), values, strict=True):
            self._found[row] = value

    def measures(self, row: int, score: float, num_tokens: int) -> dict[str, float]:
        """Those of a text of so many tokens whose log-probability, that of its end included, is `score`."""
        found = {AVG_LOGPROB: score / (num_tokens + 1)} if math.isfinite(score) else {}
        silence = self._found[row]
        return found if silence is None or not math.isfinite(silence) else found | {NO_SPEECH: silence}


def of_all(watch: Silence, log_probs: Tensor, last: Tensor, rows: Tensor, width: int) -> None:
    """`Silence.see` for a beam: (B * W, V) and (B * W,), of which the first of each W speaks for its utterance."""
    index = torch.arange(len(rows), device=rows.device) * width
    watch.see(log_probs[index], last[index], rows)
