"""CTC prefix beam search on tensors, all utterances and hypotheses at once, for any device and any scorer.

B utterances, W hypotheses of each (the beam), N = B * W rows of the scorers, V vocabulary, P parts of a text's score.
On CUDA nothing in the loop over frames waits for the device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.decoding.base import SearchState
from asr.decoding.fusion import MIX, FusedScorer, Fusion
from asr.decoding.prefix.settings import PrefixBeamSettings
from asr.text.vocabulary import Vocabulary
from asr.types import Hypothesis

HASH_FACTOR = 6364136223846793005  # Knuth's multiplier; a prefix's hash is a polynomial in it, modulo 2 ** 64
NO_HASH = -1


@dataclass(frozen=True)
class Beams:
    """The hypotheses of all utterances after some frames. Rows that no hypothesis fills yet have probability 0."""

    blank: Tensor  # (B, W) float64 log-probability of the paths that end in a blank
    token: Tensor  # (B, W) float64 of those that end in the last token
    earlier_blank: Tensor  # (B, W) `blank` a frame before, -inf if it was not in the beam then
    earlier_total: Tensor  # (B, W) `total` likewise
    previous: Tensor  # (B, V) the last frame
    last: Tensor  # (B, W) the last token, blank of the empty prefix
    hashes: Tensor  # (B, W) of the prefix
    parent_hashes: Tensor  # (B, W) of the prefix without its last token
    lengths: Tensor  # (B, W)
    parts: Tensor  # (P, B, W) float64 the scores so far, weighted
    next_parts: Tensor  # (P, B, W, V) the scores of every next token
    futures: Tensor  # (B, W) equal where two prefixes have the same scores whatever follows
    next_futures: Tensor | None  # (B, W, V) what the scorers know of the futures; None if they cannot tell
    state: Any  # of the scorers, N rows

    @property
    def total(self) -> Tensor:
        """Log-probability (B, W) of all paths."""
        return torch.logaddexp(self.blank, self.token)


PER_SCORE = ("parts", "next_parts")  # fields of `Beams` whose second dimension is that of utterances


@dataclass(frozen=True)
class TensorState(SearchState):
    """The beams, and the texts of their hypotheses."""

    beams: Beams
    texts: Tensor  # (B, W, T) for each frame what it added to the text, blank for nothing
    scorer: FusedScorer
    no_token: int  # the blank

    def select(self, index: Tensor) -> TensorState:
        """See `SearchState`."""
        width = self.texts.shape[1]
        rows = (index[:, None] * width + torch.arange(width, device=index.device)).flatten()
        chosen: dict[str, Any] = {"state": self.scorer.reorder(self.beams.state, rows)}
        for name, values in vars(self.beams).items():
            if isinstance(values, Tensor) and name != "state":
                chosen[name] = values[:, index] if name in PER_SCORE else values[index]
        return replace(self, beams=replace(self.beams, **chosen), texts=self.texts[index])

    @staticmethod
    def join(states: Sequence[TensorState]) -> TensorState:
        """See `SearchState`."""
        first = states[0]
        scorer_states = [state.beams.state for state in states]
        joined: dict[str, Any] = {"state": functools.reduce(first.scorer.concat, scorer_states)}
        for name, values in vars(first.beams).items():
            if isinstance(values, Tensor) and name != "state":
                all_values = [getattr(state.beams, name) for state in states]
                joined[name] = torch.cat(all_values, dim=1 if name in PER_SCORE else 0)
        longest = max(state.texts.shape[2] for state in states)
        texts = [F.pad(one.texts, (0, longest - one.texts.shape[2]), value=one.no_token) for one in states]
        return replace(first, beams=replace(first.beams, **joined), texts=torch.cat(texts))


class TensorPrefixBeam:
    """The search."""

    def __init__(self, settings: PrefixBeamSettings, fusion: Fusion, vocabulary: Vocabulary) -> None:
        assert vocabulary.blank is not None
        self.settings = settings
        self.scorer = FusedScorer(fusion, settings.lm_weight, vocabulary)
        self.blank = vocabulary.blank
        self.no_labels = sorted({role for role in (vocabulary.sos, vocabulary.eos) if role is not None} - {self.blank})
        self.vocab_size = len(vocabulary)
        self.never_predicted = list(vocabulary.never_predicted)

    def start(self, rows: int, device: torch.device) -> TensorState:
        """The empty prefix of every utterance."""
        width, scorer = self.settings.width, self.scorer
        nothing = torch.full((rows, width), -math.inf, dtype=torch.float64, device=device)
        zeros = torch.zeros((rows, width), dtype=torch.int64, device=device)
        blank = nothing.clone()
        blank[:, 0] = 0.0
        scores, state = scorer.step(zeros.flatten() + scorer.start, scorer.init_state(rows * width, device))
        parts = nothing.new_zeros((len(scores), rows, width))
        next_parts = parts.new_zeros((*parts.shape, self.vocab_size))
        for part, score in zip(next_parts, scores, strict=True):
            part.copy_(self._without_meaningless(score).view_as(part))
        beams = Beams(
            blank=blank,
            token=nothing,
            earlier_blank=nothing,
            earlier_total=nothing,
            previous=nothing.new_zeros((rows, self.vocab_size)),
            last=zeros + self.blank,
            hashes=zeros,
            parent_hashes=zeros + NO_HASH,
            lengths=zeros,
            parts=parts,
            next_parts=next_parts,
            futures=zeros + NO_HASH,
            next_futures=_next_futures(scorer, state, (rows, width, self.vocab_size), device),
            state=state,
        )
        return TensorState(beams, zeros[..., None][..., :0], scorer, self.blank)

    def advance(self, state: TensorState, log_probs: Tensor, lens: Tensor) -> TensorState:
        """The beams after log-probabilities (B, S, V) of lengths (B,)."""
        log_probs = log_probs.double()
        beams = state.beams
        parents: list[Tensor] = []  # of each frame (B, W): which hypothesis it was before
        tokens: list[Tensor] = []  # of each frame (B, W): what it was made longer by; blank for nothing
        for frame in range(log_probs.shape[1]):
            beams, parent, token = self._advance(beams, log_probs[:, frame], frame < lens)
            parents.append(parent)
            tokens.append(token)
        return replace(state, beams=beams, texts=_written(state.texts, parents, tokens))

    def partial(self, state: TensorState) -> list[tuple[int, ...]]:
        """The best text of every utterance so far."""
        best = (state.beams.total + self._text_scores(state.beams)).argmax(1)
        rows = state.texts[torch.arange(len(best), device=best.device), best].tolist()
        return [self._without_blanks(row) for row in rows]

    def finish(self, state: TensorState) -> list[list[Hypothesis]]:
        """End all sentences and sort; n-best lists, best first."""
        beams = state.beams
        parts = beams.parts + beams.next_parts[..., self.scorer.end]
        length = self.settings.length_bonus * beams.lengths.double()
        ctc = beams.total
        order = (ctc + parts.sum(0) + length).sort(dim=1, descending=True, stable=True).indices
        texts = state.texts.gather(1, order[..., None].expand(-1, -1, state.texts.shape[2])).tolist()
        columns = [ctc, *parts, length]
        values = torch.stack([column.gather(1, order) for column in columns], dim=-1).tolist()
        results = []
        for utterance_texts, utterance_values in zip(texts, values, strict=True):
            n_best = []
            both = zip(utterance_texts, utterance_values, strict=True)
            for text, numbers in islice(both, self.settings.beam):
                if numbers[0] > -math.inf:
                    named = dict(zip(("ctc", *self.scorer.names, "length"), numbers, strict=True))
                    n_best.append(Hypothesis(self._without_blanks(text), sum(numbers), named))
            results.append(n_best)
        return results

    def _advance(self, beams: Beams, frame: Tensor, active: Tensor) -> tuple[Beams, Tensor, Tensor]:
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
        token = torch.where(grown, (chosen - width) % vocab_size, self.blank)
        source = {
            name: torch.where(active[:, None], getattr(stayed, name), getattr(beams, name))
            for name in ("blank", "token", "earlier_blank", "earlier_total", "previous")
        }
        picked = self._pick(replace(stayed, **source), longer, parent, token, grown, dead)
        return self._score_next(picked, parent, token, grown, beams), parent, token

    def _stay_and_extend(self, beams: Beams, frame: Tensor) -> tuple[Beams, Tensor]:
        """Prefixes as they were after a frame (B, V), and log-probabilities (B, W, V) of those one token longer.

        Where a longer prefix is in the beam already, its probability goes there. Where it is not, paths count, too, on
        which its last token began in the frame before, in which it was not tried or not kept.
        """
        emitted = frame[:, None, :].expand(-1, beams.last.shape[1], -1)
        stay_token = beams.token + emitted.gather(2, beams.last[..., None])[..., 0]
        is_last = torch.arange(frame.shape[1], device=frame.device) == beams.last[..., None]
        # a token right after itself is a repetition unless a blank stands between
        before = torch.where(is_last, beams.blank[..., None], beams.total[..., None])
        missed = torch.where(is_last, beams.earlier_blank[..., None], beams.earlier_total[..., None])
        longer = torch.logaddexp(before, missed + beams.previous[:, None]) + emitted
        tried = frame >= self.settings.token_threshold
        spoken = frame.clone()
        spoken[:, self.no_labels] = -math.inf
        tried |= spoken == spoken.max(1, keepdim=True).values  # the best one in any case, should it be no blank
        tried[:, [self.blank, *self.no_labels]] = False
        alive = beams.total > -math.inf
        same = (beams.hashes[:, :, None] == beams.parent_hashes[:, None, :]) & alive[:, None, :] & alive[:, :, None]
        last = beams.last[:, None, :].expand_as(same)  # same[b, i, j]: hypothesis j is i and one token more
        gained = (before + emitted).gather(2, last).masked_fill(~same, -math.inf).logsumexp(1)
        taken_over = torch.zeros_like(last, dtype=longer.dtype).masked_fill(same, -math.inf)
        longer = longer.scatter_add(2, last, taken_over).masked_fill(~tried[:, None], -math.inf)
        stayed = replace(
            beams,
            blank=beams.total + frame[:, self.blank, None],
            token=torch.logaddexp(stay_token, gained),
            earlier_blank=beams.blank,
            earlier_total=beams.total,
            previous=frame,
        )
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
            earlier_blank=taken(stayed.earlier_blank).masked_fill(grown | dead, -math.inf),
            earlier_total=taken(stayed.earlier_total).masked_fill(grown | dead, -math.inf),
            last=torch.where(grown, token, taken(stayed.last)),
            hashes=torch.where(grown, hashes * HASH_FACTOR + token + 1, hashes),
            parent_hashes=torch.where(grown, hashes, taken(stayed.parent_hashes)),
            lengths=taken(stayed.lengths) + grown.long(),
            futures=futures,
            parts=stayed.parts.gather(2, parent.expand_as(stayed.parts)) + added.masked_fill(~grown, 0.0),
        )

    def _score_next(self, picked: Beams, parent: Tensor, token: Tensor, grown: Tensor, before: Beams) -> Beams:
        """The same hypotheses with the scorers' state after them, and the scores of the next token.

        On CPU only the longer ones are asked; on CUDA all are, since counting them would mean waiting for the device.
        """
        scorer = self.scorer
        if not scorer.names:
            return picked  # without scorers, every next token is worth the same
        num_utterances, width = parent.shape
        offsets = torch.arange(num_utterances, device=parent.device)[:, None] * width
        rows = (parent + offsets).flatten()
        flat_token, flat_grown = token.flatten(), grown.flatten()
        asked = flat_grown.nonzero()[:, 0] if rows.device.type == "cpu" else torch.arange(len(rows), device=rows.device)
        next_parts = before.next_parts.flatten(1, 2)[:, rows]
        state = scorer.reorder(before.state, rows)
        if len(asked):
            added = torch.where(flat_grown, flat_token, scorer.end)[asked]  # eos: any legal one, its answer is not used
            scores, after = scorer.step(added, scorer.reorder(state, asked))
            answer = torch.arange(len(rows), device=rows.device)
            answer[asked] = torch.where(
                flat_grown[asked], torch.arange(len(asked), device=rows.device) + len(rows), asked
            )
            state = scorer.reorder(scorer.concat(state, after), answer)
            stacked = torch.stack([self._without_meaningless(score).to(next_parts.dtype) for score in scores])
            next_parts = torch.cat([next_parts, stacked], dim=1)[:, answer]
        next_futures = _next_futures(scorer, state, before.next_parts.shape[1:], rows.device)
        return replace(picked, next_parts=next_parts.view_as(before.next_parts), next_futures=next_futures, state=state)

    def _without_meaningless(self, scores: Tensor) -> Tensor:
        """Scores (N, V) with 0 in the columns that mean nothing, where there may be any number or none."""
        scores = scores.clone()
        scores[:, self.never_predicted] = 0.0
        return scores

    def _without_blanks(self, text: list[int]) -> tuple[int, ...]:
        return tuple(token for token in text if token != self.blank)


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
    is_best &= is_best.cumsum(1) <= width - width // 10
    penalty = num_candidates * ((~is_best).long() + 2 * (ranked == -math.inf).long())
    rank = torch.arange(num_candidates, device=scores.device) + penalty
    places = rank.topk(width, dim=1, largest=False).indices
    return ranked.gather(1, places), order.gather(1, places)


def _written(texts: Tensor, parents: list[Tensor], tokens: list[Tensor]) -> Tensor:
    """Texts (B, W, T) with the decisions (B, W) of each of S more frames behind them, (B, W, T + S)."""
    if not parents:
        return texts
    place = torch.arange(texts.shape[1], device=texts.device).expand_as(parents[0])
    written = []
    for parent, token in zip(reversed(parents), reversed(tokens), strict=True):
        written.append(token.gather(1, place))
        place = parent.gather(1, place)
    before = texts.gather(1, place[..., None].expand(-1, -1, texts.shape[2]))
    return torch.cat([before, torch.stack(written[::-1], dim=-1)], dim=-1)
