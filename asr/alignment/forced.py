"""Forced alignment: where in the audio a known text was spoken, by the best CTC path that collapses to it.

Viterbi search over the states blank, token 1, blank, token 2, ..., blank (Graves et al. 2006, "Connectionist temporal
classification", section 4.1, with the maximum in place of the sum). On the CPU a compiled loop does it where numba is
installed; the same in torch, for a whole batch at once, does it everywhere else.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.lengths import pad_stack, padding_mask
from asr.system.threads import off_main_thread
from asr.text.vocabulary import Vocabulary

# Natural log. On AN4's dev set a word or two replaced by wildcards stays within 80 ms of its place in 91 of 100 cases
# with 0.5, and in 85 where a wildcard cannot pass over blanks; on the digits' dev set always, and in 92.
WILDCARD_GAP = 0.5


def forced_align(
    log_probs: Tensor, lens: Tensor, tokens: Tensor, token_lens: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """Frames of every token, and the log-probability of the path, for log-probabilities (B, S, V), tokens (B, U).

    Returns spans (B, U, 2) int64, the first frame of a token and the one after its last, and scores (B,) float64.
    Where no path exists (fewer frames than CTC needs, a token that is impossible) the score is -inf; such spans, and
    those of padding, are 0.
    """
    spans = torch.zeros(*tokens.shape, 2, dtype=torch.int64, device=tokens.device)
    scores = torch.full((len(tokens),), -torch.inf, dtype=torch.float64, device=tokens.device)
    if log_probs.shape[1] == 0:
        return spans, scores
    kernel = _compiled() if log_probs.device.type == "cpu" else None
    if kernel is None:
        return align_batch(log_probs, lens, tokens, token_lens, blank)
    emissions, ids, found, values = log_probs.detach().numpy(), tokens.numpy(), spans.numpy(), scores.numpy()

    def align_all() -> None:
        for row, (num_frames, num_tokens) in enumerate(zip(lens.tolist(), token_lens.tolist(), strict=True)):
            num_states = 2 * num_tokens + 1
            best = np.full(num_states + 2, -np.inf)
            steps = np.zeros((num_frames, num_states), np.int8)
            values[row] = kernel(emissions[row, :num_frames], ids[row, :num_tokens], blank, found[row], best, steps)

    off_main_thread(align_all)
    return spans, scores


def align_texts(
    log_probs: Tensor, lens: Tensor, texts: Sequence[Sequence[int]], vocabulary: Vocabulary
) -> list[np.ndarray | None]:
    """Frames (U, 2) of the tokens of one text for each row of log-probabilities (B, S, V); None where it cannot fit.

    The unknown token stands for anything: see `with_wildcard`.
    """
    tokens, token_lens = pad_stack([torch.tensor(text, dtype=torch.int64) for text in texts])
    if (tokens == wildcard(vocabulary)).any():
        log_probs = with_wildcard(log_probs, vocabulary)
    assert vocabulary.blank is not None
    spans, scores = forced_align(log_probs, lens, tokens, token_lens, vocabulary.blank)
    return [spans[row, : len(text)].numpy() if scores[row].isfinite() else None for row, text in enumerate(texts)]


def align_scored(log_probs: Tensor, tokens: Sequence[int], blank: int) -> tuple[np.ndarray, float]:
    """Frames (U, 2) of the tokens of one text in log-probabilities (S, V), and the score; see `forced_align`."""
    ids = torch.tensor([tokens], dtype=torch.int64)
    lens, token_lens = torch.tensor([len(log_probs)]), torch.tensor([len(tokens)])
    spans, scores = forced_align(log_probs[None], lens, ids, token_lens, blank)
    return spans[0].numpy(), float(scores[0])


def wildcard(vocabulary: Vocabulary) -> int:
    """The token that `with_wildcard` makes one: the unknown one, or one past the last where there is none."""
    return vocabulary.unk if vocabulary.unk is not None else len(vocabulary)


def with_wildcard(log_probs: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Log-probabilities (..., V) with a token that stands for anything, see `wildcard`; (..., V + 1) if it is new.

    It is as likely as the best token of the frame that writes text. Where that is the blank it costs `WILDCARD_GAP`:
    the wildcard passes over the blanks inside what it stands for, which may take several tokens, and leaves those
    around it alone.
    """
    assert vocabulary.blank is not None
    silent = torch.zeros(log_probs.shape[-1], dtype=torch.bool, device=log_probs.device)
    silent[sorted(vocabulary.control - {vocabulary.unk})] = True
    written = log_probs.masked_fill(silent, -torch.inf).amax(-1)
    best = torch.maximum(written, log_probs[..., vocabulary.blank] - WILDCARD_GAP)[..., None]
    if vocabulary.unk is None:
        return torch.cat([log_probs, best], dim=-1)
    return log_probs.index_copy(-1, torch.tensor([vocabulary.unk], device=log_probs.device), best)


@cache
def _compiled() -> Callable[..., float] | None:
    """`_align_one` as machine code; None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from asr.system.jit import compiled

    return compiled(_align_one)


def _align_one(log_probs: Any, tokens: Any, blank: Any, spans: Any, best: Any, steps: Any) -> Any:
    """Fill spans (U, 2) of one utterance from (S, V) and (U,), and return the score; written for numba.

    `best` is for the scores of states, all -inf, and two states more in front, so that looking back needs no bounds;
    `steps` (S, states) for how many states back a path came from, all 0. Only states that the first frame reaches and
    that reach the end are visited; the others stay at -inf.
    """
    num_frames, num_tokens = len(log_probs), len(tokens)
    num_states = 2 * num_tokens + 1
    if num_frames == 0:
        return -np.inf
    best[2] = log_probs[0, blank]
    if num_tokens:
        best[3] = log_probs[0, tokens[0]]
    for frame in range(1, num_frames):
        silence = np.float64(log_probs[frame, blank])
        first = max(0, num_states - 2 * (num_frames - frame))
        for state in range(min(num_states, 2 * frame + 2) - 1, first - 1, -1):
            here, step = best[state + 2], 0
            if best[state + 1] > here:
                here, step = best[state + 1], 1
            if state % 2 == 0:
                best[state + 2] = here + silence
            else:
                token = tokens[state // 2]
                if state > 1 and token != tokens[state // 2 - 1] and best[state] > here:
                    here, step = best[state], 2
                best[state + 2] = here + log_probs[frame, token]
            steps[frame, state] = step
    state = num_states - 1
    if num_tokens and best[state + 1] > best[state + 2]:
        state -= 1
    score = best[state + 2]
    if score == -np.inf:
        return score
    for frame in range(num_frames - 1, -1, -1):
        if state % 2 == 1:
            spans[state // 2, 0] = frame
            if spans[state // 2, 1] == 0:
                spans[state // 2, 1] = frame + 1
        state -= steps[frame, state]
    return score


def align_batch(
    log_probs: Tensor, lens: Tensor, tokens: Tensor, token_lens: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """`forced_align` in torch, on any device."""
    emissions, may_skip = _lattice(log_probs.double(), tokens, blank)
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


def _lattice(log_probs: Tensor, tokens: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the states (B, S, 2U + 1), and where the blank before a state may be skipped (B, 2U + 1)."""
    states = torch.full((len(tokens), 2 * tokens.shape[1] + 1), blank, device=tokens.device)
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
