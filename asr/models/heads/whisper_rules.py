"""What Whisper must not write: a filter for searches over its decoder (Radford et al. 2022, section 4.5).

A text with timestamps is <|0.00|> words <|2.40|><|2.40|> words <|5.00|>: each stretch of words between two of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.nn.kernels import largest_of_many
from asr.text.vocabulary import Vocabulary
from asr.types import TokenSegment

NO_TIMESTAMPS = "<|notimestamps|>"
FRAMES_A_STAMP = 1  # encoder frames from one timestamp to the next: 0.02 s both
MAX_FIRST = 50  # the place of the latest timestamp that may come first: 1 s


@dataclass(frozen=True)
class Timestamps:
    """The ids of <|0.00|>, <|0.02|>, ..., and the one that says at the end of a prompt that there will be none."""

    first: int
    none: int | None

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Timestamps:
        """They are the last ids of Whisper's vocabularies; `first` is the vocabulary's size where there are none."""
        none = control_id(vocabulary, NO_TIMESTAMPS)
        return cls(len(vocabulary), None) if none is None else cls(none + 1, none)

    def segments(self, tokens: Sequence[int], num_frames: int) -> tuple[tuple[int, ...], tuple[TokenSegment, ...]]:
        """The tokens (U,) of a text less its timestamps, and the segments between these.

        One that is not closed ends with the audio, of so many encoder frames. No segments without timestamps.
        """
        text: list[int] = []
        found: list[TokenSegment] = []
        opened: int | None = None  # frame
        begun = 0  # place in `text`
        for token in tokens:
            if token < self.first:
                text.append(token)
                continue
            frame = min((token - self.first) * FRAMES_A_STAMP, num_frames)
            if len(text) > begun:
                found.append(TokenSegment(begun, len(text), opened or 0, frame))
            opened, begun = frame, len(text)
        if opened is not None and len(text) > begun:
            found.append(TokenSegment(begun, len(text), opened, max(opened, num_frames)))
        return tuple(text), tuple(found)


def control_id(vocabulary: Vocabulary, piece: str) -> int | None:
    """The id of a piece that is no text; None where there is none."""
    token = vocabulary.id(piece)
    return token if token is not None and vocabulary.piece(token) == piece and token in vocabulary.control else None


class WhisperRules:
    """A `TokenFilter`; what it leaves is normalised again, so that scores are those of the allowed tokens.

    Ids of `suppress` and control ids but the end never come, those of `suppress_first` do not come first, and a text
    of `max_tokens` tokens with its prompt, or of half as many without it, ends. Timestamps, unless the prompt's last
    token forbids them: the first token is one up to 1 s; they come in pairs but before the end; they never decrease,
    and a segment does not end where it begins; one comes where all together are more likely than any other token.
    """

    def __init__(
        self, vocabulary: Vocabulary, suppress: Sequence[int], suppress_first: Sequence[int], max_tokens: int
    ) -> None:
        self._end = vocabulary.end
        self._max_tokens = max_tokens
        self._stamps = Timestamps.of(vocabulary)
        first = self._stamps.first
        never = (vocabulary.control | set(suppress)) - {vocabulary.end}
        self._never = _penalty(first, [token for token in never if token < first])
        self._not_first = _penalty(first, [token for token in suppress_first if token < first])

    def __call__(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor:
        if self._never.device != log_probs.device:
            self._never, self._not_first = (each.to(log_probs.device) for each in (self._never, self._not_first))
        written = tokens.shape[1] - prompt_lens
        first = self._stamps.first
        allowed = log_probs.clone()
        text, stamps = allowed[:, :first], allowed[:, first:]
        text += self._never.to(text.dtype)
        begins = written.eq(0).nonzero().squeeze(1)
        if len(begins):
            text[begins] += self._not_first.to(text.dtype)
        self._rule_stamps(text, stamps, tokens, prompt_lens, written)
        too_long = (written >= self._max_tokens // 2) | (written + prompt_lens >= self._max_tokens)
        ends = too_long.nonzero().squeeze(1)
        if len(ends):
            allowed[ends] = -math.inf
            allowed[ends, self._end] = log_probs[ends, self._end]
        total = allowed.logsumexp(1, keepdim=True)
        allowed -= total.masked_fill(total == -math.inf, 0.0)
        return allowed

    def choose(self, logits: Tensor, tokens: Tensor, prompt_lens: Tensor) -> tuple[Tensor, Tensor]:
        """The best token (N,) that is left and its log-probability (N,), -inf where none is: as of `__call__`.

        From log-probabilities (N, V) that may lack a number for each row, and without a copy of them all.
        """
        if self._never.device != logits.device:
            self._never, self._not_first = (each.to(logits.device) for each in (self._never, self._not_first))
        written = tokens.shape[1] - prompt_lens
        first = self._stamps.first
        text, stamps = logits[:, :first] + self._never, logits[:, first:].clone()
        begins = written.eq(0).nonzero().squeeze(1)
        if len(begins):
            text[begins] += self._not_first
        self._rule_stamps(text, stamps, tokens, prompt_lens, written)
        too_long = (written >= self._max_tokens // 2) | (written + prompt_lens >= self._max_tokens)
        ends = too_long.nonzero().squeeze(1)
        if len(ends):
            stamps[ends], text[ends] = -math.inf, -math.inf
            text[ends, self._end] = logits[ends, self._end]
        best, chosen = largest_of_many(text)
        total = text.logsumexp(1)
        if stamps.shape[1]:
            total = torch.logaddexp(total, stamps.logsumexp(1))
            best_stamp, stamp = stamps.max(1)
            chosen = torch.where(best_stamp > best, stamp + first, chosen)
            best = torch.maximum(best, best_stamp)
        return chosen, best - total.masked_fill(total == -math.inf, 0.0)

    def _rule_stamps(self, text: Tensor, stamps: Tensor, tokens: Tensor, prompt_lens: Tensor, written: Tensor) -> None:
        """Take away what timestamps forbid, in place: of text (N, T) and timestamps (N, S)."""
        if not stamps.shape[1]:
            return
        first = self._stamps.first
        places = torch.arange(tokens.shape[1], device=tokens.device)
        is_stamp = (tokens >= first) & (places >= prompt_lens[:, None])
        latest = (tokens - first).masked_fill(~is_stamp, -1).amax(1)  # they never decrease
        is_last = is_stamp[:, -1]
        is_opening = is_last & ((written < 2) | is_stamp[:, max(0, tokens.shape[1] - 2)])
        is_closing = is_last & ~is_opening
        low = latest + (~is_closing).long()
        high = torch.full_like(low, stamps.shape[1] - 1)
        high = torch.where(written.eq(0), high.clamp(max=MAX_FIRST), high)
        high = high.masked_fill(is_opening, -1)
        before = tokens.gather(1, (prompt_lens - 1).clamp(max=tokens.shape[1] - 1)[:, None])[:, 0]
        is_plain = before.eq(first - 1)  # the prompt ends by saying that there will be none
        high = high.masked_fill(is_plain, -1)
        ranks = torch.arange(stamps.shape[1], device=stamps.device)
        stamps.masked_fill_((ranks < low[:, None]) | (ranks > high[:, None]), -math.inf)
        closing = is_closing.nonzero().squeeze(1)
        if len(closing):
            end = text[closing, self._end]
            text[closing] = -math.inf
            text[closing, self._end] = end
        forced = ((stamps.logsumexp(1) > text.amax(1)) | (written.eq(0) & ~is_plain)).nonzero().squeeze(1)
        if len(forced):
            text[forced] = -math.inf


def _penalty(size: int, ids: Sequence[int]) -> Tensor:
    """0, and -inf for ids, (size,)."""
    penalty = torch.zeros(size)
    penalty[sorted(ids)] = -math.inf
    return penalty
