"""CTC prefix scores: the probability that a text begins in a given way, for many beginnings at once.

Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech recognition", algorithm 2. Two sums over
time follow from it in closed form, so nothing here walks through the frames: the scores of all next tokens are one
matrix product, and the recursions of the paper are cumulative sums.

B utterances, W texts of each, S encoder frames, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.lengths import padding_mask

LOWEST = -500.0  # a lower log-probability of a token in a frame counts as this one: sums over time stay finite


@dataclass(frozen=True)
class CtcPrefixState:
    """All ways to speak W texts of each of B utterances in the first 0, 1, ..., S frames; natural logarithms."""

    probs: Tensor  # (B, V, S) of every token in every frame, not logarithms
    blanks: Tensor  # (B, S + 1) probability that all frames so far are blank
    lens: Tensor  # (B,) frames
    last: Tensor  # (B, W) last token of each text; the blank if it has none
    ends_spoken: Tensor  # (B, W, S + 1) the text was spoken, and the last frame belongs to its last token
    ends_blank: Tensor  # (B, W, S + 1) the text was spoken, and the last frame is a blank
    prefix: Tensor  # (B, W) score of the text as a beginning


def ctc_prefix_state(log_probs: Tensor, lens: Tensor, blank: int) -> CtcPrefixState:
    """The state of the empty text, W = 1, of utterances with log-probabilities (B, S, V) and frames (B,)."""
    padding = padding_mask(lens, log_probs.shape[1])
    # What stands in padding does not count, but has to be a number.
    floored = log_probs.double().clamp(min=LOWEST).masked_fill(padding[..., None], 0.0).transpose(1, 2).contiguous()
    blanks = F.pad(floored[:, blank].cumsum(1), (1, 0))
    return CtcPrefixState(
        probs=floored.exp_(),
        blanks=blanks,
        lens=lens,
        last=torch.full((len(lens), 1), blank, device=lens.device),
        ends_spoken=torch.full_like(blanks, -math.inf)[:, None],
        ends_blank=blanks[:, None],
        prefix=blanks[:, :1],
    )


def ctc_prefix_scores(state: CtcPrefixState, eos: int) -> Tensor:
    """What each next token adds to the score of its text, (B, W, V) float64, never above 0.

    The sum over a text's tokens is the log-probability that the speech begins with it. Column `eos` is what is to be
    added for the text to be all of the speech; the sum is then the log-probability of the text. The column of the
    blank means nothing. A token for which no frames are left gets -inf.
    """
    either = torch.logaddexp(state.ends_spoken, state.ends_blank)
    weights, scale = _weights(either, state.lens)
    scores = (weights @ state.probs.transpose(1, 2)).log_() + scale[..., None]
    # Between two equal tokens there must be a blank.
    weights, scale = _weights(state.ends_blank, state.lens)
    again = (weights * _of_tokens(state.probs, state.last)).sum(-1).log() + scale
    scores.scatter_(2, state.last[..., None], again[..., None])
    scores[..., eos] = either.gather(2, state.lens[:, None, None].expand(*again.shape, 1)).squeeze(2)
    return (scores - state.prefix[..., None]).masked_fill_(scores == -math.inf, -math.inf).clamp_(max=0.0)


def extend_ctc_prefixes(
    state: CtcPrefixState, utterances: Tensor, parents: Tensor, tokens: Tensor, held: Tensor | None = None
) -> CtcPrefixState:
    """The state of texts that are one token (B', W') longer than texts `parents` (B', W') of `utterances` (B',).

    Utterances may be left out, but keep their order. The texts of those that are `held` (B',) stay as they are.
    """
    state = _of_utterances(state, utterances)
    one_way = parents[..., None].expand(-1, -1, state.blanks.shape[1])
    spoken, blank = state.ends_spoken.gather(1, one_way), state.ends_blank.gather(1, one_way)
    repeats = tokens == state.last.gather(1, parents)
    before = torch.where(repeats[..., None], blank, torch.logaddexp(spoken, blank))[..., :-1]
    log_probs = _of_tokens(state.probs, tokens).log()
    starts = (before + log_probs).masked_fill(padding_mask(state.lens, before.shape[-1])[:, None], -math.inf)
    spoken = _flow(before, F.pad(log_probs.cumsum(-1), (1, 0)))
    after_blank = _flow(spoken[..., :-1], state.blanks[:, None])
    prefix = starts.logsumexp(-1)
    if held is not None:
        tokens = torch.where(held[:, None], state.last.gather(1, parents), tokens)
        spoken = torch.where(held[:, None, None], state.ends_spoken.gather(1, one_way), spoken)
        after_blank = torch.where(held[:, None, None], blank, after_blank)
        prefix = torch.where(held[:, None], state.prefix.gather(1, parents), prefix)
    return CtcPrefixState(
        probs=state.probs,
        blanks=state.blanks,
        lens=state.lens,
        last=tokens,
        ends_spoken=spoken,
        ends_blank=after_blank,
        prefix=prefix,
    )


def _flow(inflow: Tensor, cumulative: Tensor) -> Tensor:
    """Solves x[0] = 0, x[t] = (x[t - 1] + inflow[t - 1]) * p[t]; all in logarithms, `cumulative` those of p summed up.

    Divided by the product of p so far, x is the cumulative sum of what flows in.
    """
    sums = torch.logcumsumexp(inflow - cumulative[..., :-1], dim=-1)
    return F.pad(sums + cumulative[..., 1:], (1, 0), value=-math.inf)


def _weights(ways: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """exp(ways - scale) (B, W, S) of the frames after which another token can start, and scale (B, W)."""
    ways = ways[..., :-1].masked_fill(padding_mask(lens, ways.shape[-1] - 1)[:, None], -math.inf)
    scale = ways.amax(-1)
    scale = scale.masked_fill(scale == -math.inf, 0.0)
    return (ways - scale[..., None]).exp_(), scale


def _of_tokens(probs: Tensor, tokens: Tensor) -> Tensor:
    """Probabilities (B, W, S) of tokens (B, W) in every frame."""
    return probs.gather(1, tokens[..., None].expand(-1, -1, probs.shape[2]))


def _of_utterances(state: CtcPrefixState, utterances: Tensor) -> CtcPrefixState:
    if len(utterances) == len(state.lens):
        return state  # utterances leave, but never change places
    return CtcPrefixState(*(getattr(state, field.name)[utterances] for field in fields(state)))
