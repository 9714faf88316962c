"""CTC prefix beam search on tensors, all utterances and hypotheses at once, for any device and any scorer.

B utterances, W hypotheses of each (the beam), N = B * W rows of the scorers, V vocabulary, P parts of a text's score.
On CUDA nothing in the loop over frames waits for the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asr.decoding.fusion import MIX, FusedScorer, Fusion
from asr.decoding.prefix.settings import PrefixBeamSettings
from asr.text.vocabulary import BLANK, EOS, SOS
from asr.types import Hypothesis

HASH_FACTOR = 6364136223846793005  # Knuth's multiplier; a prefix's hash is a polynomial in it, modulo 2 ** 64
NO_HASH = -1


@dataclass(frozen=True)
class Beams:
    """The hypotheses of all utterances after some frames. Rows that no hypothesis fills yet have probability 0."""

    blank: Tensor  # (B, W) float64 log-probability of the paths that end in a blank
    token: Tensor  # (B, W) float64 of those that end in the last token
    last: Tensor  # (B, W) the last token, BLANK of the empty prefix
    hashes: Tensor  # (B, W) of the prefix
    parent_hashes: Tensor  # (B, W) of the prefix without its last token
    lengths: Tensor  # (B, W)
    parts: Tensor  # (P, B, W) float64 what the scorers have said so far, weighted
    next_parts: Tensor  # (P, B, W, V) what they say of every next token
    futures: Tensor  # (B, W) equal where two prefixes will never be told apart again
    next_futures: Tensor | None  # (B, W, V) what the scorers know of the futures; None if they cannot tell
    state: Any  # of the scorers, N rows

    @property
    def total(self) -> Tensor:
        """Log-probability (B, W) of all paths."""
        return torch.logaddexp(self.blank, self.token)


@dataclass(frozen=True)
class TensorPrefixBeam:
    """The search; `search` keeps nothing between calls."""

    settings: PrefixBeamSettings
    fusion: Fusion

    def search(self, log_probs: Tensor, lens: Tensor) -> list[list[Hypothesis]]:
        """N-best lists for log-probabilities (B, S, V) of lengths (B,)."""
        scorer = FusedScorer(self.fusion, self.settings.lm_weight)
        log_probs = log_probs.double()
        beams = self._start(log_probs, scorer)
        parents: list[Tensor] = []  # of each frame (B, W): which hypothesis it was before
        tokens: list[Tensor] = []  # of each frame (B, W): what it was made longer by; BLANK for nothing
        for frame in range(log_probs.shape[1]):
            beams, parent, token = self._advance(beams, log_probs[:, frame], frame < lens, scorer)
            parents.append(parent)
            tokens.append(token)
        return self._finish(beams, parents, tokens, scorer.names)

    def _start(self, log_probs: Tensor, scorer: FusedScorer) -> Beams:
        """The empty prefix of every utterance."""
        num_utterances, width, device = len(log_probs), self.settings.beam, log_probs.device
        nothing = torch.full((num_utterances, width), -math.inf, dtype=torch.float64, device=device)
        zeros = torch.zeros((num_utterances, width), dtype=torch.int64, device=device)
        blank = nothing.clone()
        blank[:, 0] = 0.0
        state = scorer.init_state(num_utterances * width, device)
        scores, state = scorer.step(zeros.flatten() + SOS, state)
        parts = nothing.new_zeros((len(scores), num_utterances, width))
        next_parts = parts.new_zeros((*parts.shape, log_probs.shape[2]))
        for part, score in zip(next_parts, scores, strict=True):
            part.copy_(_without_meaningless(score).view_as(part))
        return Beams(
            blank=blank,
            token=nothing,
            last=zeros,
            hashes=zeros,
            parent_hashes=zeros + NO_HASH,
            lengths=zeros,
            parts=parts,
            next_parts=next_parts,
            futures=zeros + NO_HASH,
            next_futures=_next_futures(scorer, state, (num_utterances, width, log_probs.shape[2]), device),
            state=state,
        )

    def _advance(
        self, beams: Beams, frame: Tensor, active: Tensor, scorer: FusedScorer
    ) -> tuple[Beams, Tensor, Tensor]:
        """One frame (B, V) on; utterances that have ended, where `active` (B,) is False, stay as they are."""
        stayed, longer = self._stay_and_extend(beams, frame)
        text = self._text_scores(beams)
        next_text = beams.next_parts.sum(0) + self.settings.length_bonus
        stay_scores = stayed.total + text
        scores = torch.cat([stay_scores, (longer + text[..., None] + next_text).flatten(1)], dim=1)
        scores = scores.masked_fill(
            scores < scores.max(1, keepdim=True).values + self.settings.beam_threshold, -math.inf
        )
        width, vocab_size = beams.last.shape[1], frame.shape[1]
        best, chosen = _choose(scores, self._candidate_futures(beams, vocab_size), width)
        identity = torch.arange(width, device=frame.device).expand_as(chosen)
        chosen = torch.where(active[:, None], chosen, identity)
        dead = active[:, None] & (best == -math.inf)
        grown = (chosen >= width) & ~dead
        parent = torch.where(grown, (chosen - width) // vocab_size, chosen.clamp(max=width - 1))
        token = torch.where(grown, (chosen - width) % vocab_size, BLANK)
        source = replace(stayed, blank=torch.where(active[:, None], stayed.blank, beams.blank),
                         token=torch.where(active[:, None], stayed.token, beams.token))  # fmt: skip
        picked = self._pick(source, longer, parent, token, grown, dead)
        return self._score_next(picked, parent, token, grown, beams, scorer), parent, token

    def _stay_and_extend(self, beams: Beams, frame: Tensor) -> tuple[Beams, Tensor]:
        """Prefixes as they were after a frame (B, V), and log-probabilities (B, W, V) of those one token longer.

        Where a longer prefix is in the beam already, its probability goes there.
        """
        emitted = frame[:, None, :].expand(-1, beams.last.shape[1], -1)
        stay_token = beams.token + emitted.gather(2, beams.last[..., None])[..., 0]
        is_last = torch.arange(frame.shape[1], device=frame.device) == beams.last[..., None]
        # a token right after itself is a repetition unless a blank stands between
        longer = torch.where(is_last, beams.blank[..., None], beams.total[..., None]) + emitted
        tried = frame >= self.settings.token_threshold
        spoken = frame.clone()
        spoken[:, [SOS, EOS]] = -math.inf
        tried |= spoken == spoken.max(1, keepdim=True).values  # the best one in any case, should it be no blank
        tried[:, [BLANK, SOS, EOS]] = False
        alive = beams.total > -math.inf
        same = (beams.hashes[:, :, None] == beams.parent_hashes[:, None, :]) & alive[:, None, :] & alive[:, :, None]
        last = beams.last[:, None, :].expand_as(same)  # same[b, i, j]: hypothesis j is i and one token more
        gained = longer.gather(2, last).masked_fill(~same, -math.inf).logsumexp(1)
        taken_over = torch.zeros_like(last, dtype=longer.dtype).masked_fill(same, -math.inf)
        longer = longer.scatter_add(2, last, taken_over).masked_fill(~tried[:, None], -math.inf)
        stayed = replace(beams, blank=beams.total + frame[:, BLANK, None], token=torch.logaddexp(stay_token, gained))
        return stayed, longer

    def _candidate_futures(self, beams: Beams, vocab_size: int) -> Tensor | None:
        """Futures (B, W + W * V) of the prefixes as they are, and of those one token longer; None where none merge."""
        if beams.next_futures is None:
            return None
        tokens = torch.arange(vocab_size, device=beams.last.device)
        longer = beams.next_futures * MIX + tokens + 1
        return torch.cat([beams.futures, longer.flatten(1)], dim=1)

    def _text_scores(self, beams: Beams) -> Tensor:
        """What the text alone is worth (B, W): language model, hotwords, length."""
        return beams.parts.sum(0) + self.settings.length_bonus * beams.lengths.double()

    def _pick(self, stayed: Beams, longer: Tensor, parent: Tensor, token: Tensor, grown: Tensor, dead: Tensor) -> Beams:
        """The chosen hypotheses (B, W): `parent` as it stayed or, where `grown`, longer by `token`."""

        def taken(values: Tensor) -> Tensor:
            return values.gather(1, parent)

        grown_score = longer.flatten(1).gather(1, parent * longer.shape[2] + token)
        hashes = taken(stayed.hashes)
        futures = stayed.futures
        if (candidates := self._candidate_futures(stayed, longer.shape[2])) is not None:
            width = parent.shape[1]
            places = torch.where(grown, width + parent * longer.shape[2] + token, parent)
            futures = candidates.gather(1, places)
        added = stayed.next_parts.flatten(2).gather(2, (parent * longer.shape[2] + token).expand_as(stayed.parts))
        return replace(
            stayed,
            blank=torch.where(grown | dead, -math.inf, taken(stayed.blank)),
            token=torch.where(grown, grown_score, taken(stayed.token)).masked_fill(dead, -math.inf),
            last=torch.where(grown, token, taken(stayed.last)),
            hashes=torch.where(grown, hashes * HASH_FACTOR + token + 1, hashes),
            parent_hashes=torch.where(grown, hashes, taken(stayed.parent_hashes)),
            lengths=taken(stayed.lengths) + grown.long(),
            futures=futures,
            parts=stayed.parts.gather(2, parent.expand_as(stayed.parts)) + added.masked_fill(~grown, 0.0),
        )

    def _score_next(
        self, picked: Beams, parent: Tensor, token: Tensor, grown: Tensor, before: Beams, scorer: FusedScorer
    ) -> Beams:
        """The same hypotheses with the scorers' state after them, and what they say of the next token.

        On CPU only the longer ones are asked; on CUDA all are, since counting them would mean waiting for the device.
        """
        if not scorer.names:
            return picked  # what no scorer says of the next token is the same everywhere
        num_utterances, width = parent.shape
        offsets = torch.arange(num_utterances, device=parent.device)[:, None] * width
        rows = (parent + offsets).flatten()
        flat_token, flat_grown = token.flatten(), grown.flatten()
        asked = flat_grown.nonzero()[:, 0] if rows.device.type == "cpu" else torch.arange(len(rows), device=rows.device)
        next_parts = before.next_parts.flatten(1, 2)[:, rows]
        state = scorer.reorder(before.state, rows)
        if len(asked):
            heard = torch.where(flat_grown, flat_token, EOS)[asked]  # EOS: any legal token, its answer is not used
            scores, after = scorer.step(heard, scorer.reorder(state, asked))
            answer = torch.arange(len(rows), device=rows.device)
            answer[asked] = torch.where(
                flat_grown[asked], torch.arange(len(asked), device=rows.device) + len(rows), asked
            )
            state = scorer.reorder(scorer.concat(state, after), answer)
            stacked = torch.stack([_without_meaningless(score).to(next_parts.dtype) for score in scores])
            next_parts = torch.cat([next_parts, stacked], dim=1)[:, answer]
        next_futures = _next_futures(scorer, state, before.next_parts.shape[1:], rows.device)
        return replace(picked, next_parts=next_parts.view_as(before.next_parts), next_futures=next_futures, state=state)

    def _finish(
        self, beams: Beams, parents: list[Tensor], tokens: list[Tensor], names: tuple[str, ...]
    ) -> list[list[Hypothesis]]:
        """End all sentences, sort, and read the texts off the way back."""
        parts = beams.parts + beams.next_parts[..., EOS]
        length = self.settings.length_bonus * beams.lengths.double()
        ctc = beams.total
        order = (ctc + parts.sum(0) + length).sort(dim=1, descending=True, stable=True).indices
        texts = _trace_back(order, parents, tokens)
        columns = [ctc, *parts, length]
        values = torch.stack([column.gather(1, order) for column in columns], dim=-1).tolist()
        results = []
        for utterance_texts, utterance_values in zip(texts, values, strict=True):
            n_best = []
            for text, numbers in zip(utterance_texts, utterance_values, strict=True):
                if numbers[0] > -math.inf:
                    named = dict(zip(("ctc", *names, "length"), numbers, strict=True))
                    n_best.append(Hypothesis(text, sum(numbers), named))
            results.append(n_best)
        return results


def _next_futures(scorer: FusedScorer, state: Any, shape: tuple[int, ...], device: torch.device) -> Tensor | None:
    """What the scorers know of the futures (B, W, V); without scorers, all are alike."""
    if scorer.names:
        futures = scorer.futures(state)
        return futures.view(shape) if futures is not None else None
    return torch.zeros(1, dtype=torch.int64, device=device).expand(shape)


def _choose(scores: Tensor, futures: Tensor | None, width: int) -> tuple[Tensor, Tensor]:
    """Scores and places (B, W) of the candidates (B, M) to keep, most of different futures.

    Of prefixes with the same future one will most likely stay the best, and the others should not crowd out what may
    win yet. But they have paths to give to each other, so that some of them are worth a place.
    """
    if futures is None:
        return scores.topk(width, dim=1)
    num_candidates = scores.shape[1]
    ranked, order = scores.sort(dim=1, descending=True, stable=True)
    # sorted by future and, among equals, by score, the first of each future is its best
    same, by_future = futures.gather(1, order).sort(dim=1, stable=True)
    is_first = torch.ones_like(same, dtype=torch.bool)
    is_first[:, 1:] = same[:, 1:] != same[:, :-1]
    is_best = torch.zeros_like(is_first).scatter(1, by_future, is_first)
    is_best &= is_best.cumsum(1) <= width - width // 5
    penalty = num_candidates * ((~is_best).long() + 2 * (ranked == -math.inf).long())
    rank = torch.arange(num_candidates, device=scores.device) + penalty
    places = rank.topk(width, dim=1, largest=False).indices
    return ranked.gather(1, places), order.gather(1, places)


def _without_meaningless(scores: Tensor) -> Tensor:
    """Scores (N, V) with 0 in the columns that mean nothing, where there may be any number or none."""
    scores = scores.clone()
    scores[:, [BLANK, SOS]] = 0.0
    return scores


def _trace_back(order: Tensor, parents: list[Tensor], tokens: list[Tensor]) -> list[list[tuple[int, ...]]]:
    """The texts of the hypotheses `order` (B, W) from the decisions of each frame."""
    written = []
    place = order
    for parent, token in zip(reversed(parents), reversed(tokens), strict=True):
        written.append(token.gather(1, place))
        place = parent.gather(1, place)
    if not written:
        return [[()] * order.shape[1] for _ in order]
    rows = torch.stack(written[::-1], dim=-1).tolist()
    return [[tuple(token for token in text if token != BLANK) for text in utterance] for utterance in rows]
