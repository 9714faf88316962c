"""Forced alignment: where in the audio a known text was spoken, by the best CTC path that collapses to it.

Viterbi search over the states blank, token 1, blank, token 2, ..., blank (Graves et al. 2006, "Connectionist temporal
classification", section 4.1, with the maximum in place of the sum), for a whole batch at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asr.lengths import padding_mask
from asr.text.vocabulary import BLANK


def forced_align(log_probs: Tensor, lens: Tensor, tokens: Tensor, token_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Frames of every token, and the log-probability of the path, for log-probabilities (B, S, V), tokens (B, U).

    Returns spans (B, U, 2) int64, the first frame of a token and the one after its last, and scores (B,) float64.
    Where no path exists (fewer frames than CTC needs, a token that is impossible) the score is -inf; such spans, and
    those of padding, are 0.
    """
    emissions, may_skip = _lattice(log_probs.double(), tokens)
    num_states = emissions.shape[2]
    no_way = torch.full_like(emissions[:, 0], float("-inf"))
    best = no_way.clone()
    best[:, :2] = emissions[:, 0, :2]
    steps = torch.zeros(emissions.shape, dtype=torch.int64, device=emissions.device)  # how many states back
    for frame in range(1, emissions.shape[1]):
        one_back = torch.cat([no_way[:, :1], best[:, :-1]], dim=1)
        two_back = torch.cat([no_way[:, :2], best[:, :-2]], dim=1)[:, :num_states].masked_fill(~may_skip, -torch.inf)
        reached, steps[:, frame] = torch.stack([best, one_back, two_back]).max(0)
        best = torch.where((frame < lens)[:, None], reached + emissions[:, frame], best)
    scores, states = _trace_back(best, steps, lens, token_lens)
    aligned = ~padding_mask(token_lens, tokens.shape[1]) & scores.isfinite()[:, None]
    return _spans(states, tokens.shape[1]) * aligned[..., None], scores


def _lattice(log_probs: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the states (B, S, 2U + 1), and where the blank before a state may be skipped (B, 2U + 1)."""
    states = torch.full((len(tokens), 2 * tokens.shape[1] + 1), BLANK, device=tokens.device)
    states[:, 1::2] = tokens
    may_skip = torch.zeros_like(states, dtype=torch.bool)
    may_skip[:, 3::2] = tokens[:, 1:] != tokens[:, :-1]
    return log_probs.gather(2, states[:, None].expand(-1, log_probs.shape[1], -1)), may_skip


def _trace_back(best: Tensor, steps: Tensor, lens: Tensor, token_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and the state of every frame (B, S) of the best paths; -1 stands beyond an utterance's end."""
    last_blank = 2 * token_lens[:, None]
    ends = torch.cat([last_blank, (last_blank - 1).clamp(min=0)], dim=1)
    scores, which = best.gather(1, ends).max(1)
    state = ends.gather(1, which[:, None])
    states = torch.full(steps.shape[:2], -1, device=steps.device)
    for frame in range(steps.shape[1] - 1, -1, -1):
        inside = (frame < lens)[:, None]
        states[:, frame] = torch.where(inside, state, -1)[:, 0]
        state = torch.where(inside, state - steps[:, frame].gather(1, state), state)
    return scores.masked_fill(lens == 0, -torch.inf), states


def _spans(states: Tensor, num_tokens: int) -> Tensor:
    """First and one past the last frame (B, U, 2) of states 1, 3, 5, ...; 0 for a token no frame stands for."""
    here = states[:, :, None] == 2 * torch.arange(num_tokens, device=states.device) + 1  # (B, S, U)
    starts = here.int().argmax(1) if here.shape[1] else here.new_zeros(len(here), num_tokens, dtype=torch.int64)
    return torch.stack([starts, starts + here.sum(1)], dim=-1)
