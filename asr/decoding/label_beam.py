"""Beam search that writes one token a step: what attention_beam and joint_beam have in common.

Each step asks the decoder, the scorers of the fusion and CTC what every token would add to every text, all at once:

    finished    the best ways to end so far: every step offers each unfinished text with eos behind it
    unfinished  the best texts that may go on, all of the same length, prompts included

An utterance is done when none of its unfinished texts scores higher than the worst of `beam` finished ones, or when it
is at its limit of tokens. Where no token raises a score (no length bonus, hotwords or length normalisation), no text
that is still to come could have entered the n-best list. While an utterance is held inside its prompt, its one text
grows by the prompt's tokens, which count for nothing and which neither CTC nor the fusion sees.

B utterances (those that are not done), W texts of each, U tokens, P parts of a score, V vocabulary; rows are B * W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from asr.decoding.base import Prompt, StepDecoder, TokenFilter
from asr.decoding.ctc_prefix_score import CtcPrefixState, ctc_prefix_scores, ctc_prefix_state, extend_ctc_prefixes
from asr.decoding.fusion import BeamConfig, FusedScorer, Fusion
from asr.decoding.measures import Silence, of_all
from asr.decoding.prompts import Prompts
from asr.types import EncoderOutput, Hypothesis

Measure = Callable[[float, int], dict[str, float]]  # of a part "attention" and a number of tokens


class LabelBeamConfig(BeamConfig):
    """Settings of searches that write one token a step."""

    max_tokens_per_frame: float = Field(1.0, gt=0.0)  # tokens per encoder frame at most: no loop outlasts the audio


@dataclass(frozen=True)
class Texts:
    """W texts of each of B utterances, in order of their scores; a score of -inf marks a place without a text."""

    scores: Tensor  # (B, W) float64
    parts: Tensor  # (B, W, P) float64, which sum to the scores
    tokens: Tensor  # (B, W, U), the prompt first
    lens: Tensor  # (B, W) tokens without the prompt

    def take(self, utterances: Tensor) -> Texts:
        """The texts of some utterances."""
        return Texts(self.scores[utterances], self.parts[utterances], self.tokens[utterances], self.lens[utterances])

    def merge(self, others: Texts, num_kept: int) -> Texts:
        """The best of both; `others` may be longer."""
        tokens = F.pad(self.tokens, (0, others.tokens.shape[2] - self.tokens.shape[2]))
        scores = torch.cat([self.scores, others.scores], dim=1)
        scores, kept = scores.topk(min(num_kept, scores.shape[1]), dim=1)
        return Texts(
            scores,
            _gather(torch.cat([self.parts, others.parts], dim=1), kept),
            _gather(torch.cat([tokens, others.tokens], dim=1), kept),
            torch.cat([self.lens, others.lens], dim=1).gather(1, kept),
        )

    def n_best(self, utterance: int, prompt_len: int, names: tuple[str, ...], measure: Measure) -> list[Hypothesis]:
        """The texts of one utterance as hypotheses."""
        return [
            _hypothesis(tuple(tokens[prompt_len : prompt_len + length]), score, names, parts, measure)
            for score, parts, tokens, length in zip(
                self.scores[utterance].tolist(),
                self.parts[utterance].tolist(),
                self.tokens[utterance].tolist(),
                self.lens[utterance].tolist(),
                strict=True,
            )
            if score > -math.inf
        ]


@dataclass(frozen=True)
class ScorerStates:
    """What the scorers remember of all unfinished texts."""

    ctc: CtcPrefixState | None
    decoder: Any
    fused: tuple[Any, ...]


@dataclass(frozen=True)
class Ahead:
    """The utterances that are not done, and where they stand before a step."""

    position: int  # tokens so far, prompts included
    rows: Tensor  # (B,) their places in the batch
    limits: Tensor  # (B,) tokens that they may write at most
    prompts: Prompts
    forced: tuple[Tensor, Tensor] | None  # next tokens (B,) of prompts, and for whom they are meant (B,)
    written: Tensor  # (B,) tokens after the prompt, negative inside it
    at_limit: Tensor  # (B,) whether no token may follow

    @classmethod
    def at(cls, position: int, rows: Tensor, limits: Tensor, prompts: Prompts) -> Ahead:
        """Where all texts have so many tokens, prompts included."""
        written = position - prompts.lens
        return cls(position, rows, limits, prompts, prompts.forced(position), written, limits <= written)

    def after(self, going: Tensor) -> Ahead:
        """Where the utterances `going` (B',) stand one token on."""
        rows, limits, prompts = self.rows, self.limits, self.prompts
        if len(going) < len(rows):
            rows, limits, prompts = rows[going], limits[going], prompts.select(going)
        return Ahead.at(self.position + 1, rows, limits, prompts)

    @property
    def held(self) -> Tensor | None:
        """Whether an utterance is inside its prompt, (B,); None where none is."""
        return self.forced[1] if self.forced is not None else None


class LabelBeam:
    """Batched, with cached states; utterances leave the batch as they are done.

    The score of a hypothesis is the weighted sum of the log-probabilities of CTC (of the whole text, over all paths),
    of the decoder (tokens and eos) and of the fusion, and of the length bonus. `length_normalisation` is the exponent a
    of Wu et al. 2016, "Google's neural machine translation system", section 7: a finished text of U tokens has score
    and parts divided by ((5 + U + 1) / 6) ** a. With `eos_threshold` c, a text may end only where eos has at least
    the best token's probability to the power of c (Hannun et al. 2019, "Sequence-to-sequence speech recognition with
    time-depth separable convolutions", section 3.3), or at its limit. There it ends, filters or not.
    """

    def __init__(
        self,
        config: LabelBeamConfig,
        decoder: StepDecoder,
        fusion: Fusion,
        filters: Sequence[TokenFilter] = (),
        *,
        ctc_weight: float = 0.0,
        eos_threshold: float | None = None,
        length_normalisation: float = 0.0,
    ) -> None:
        vocabulary = decoder.vocabulary
        assert vocabulary.eos is not None
        self.config = config
        self.decoder = decoder
        self.fused = FusedScorer(fusion, config.lm_weight, vocabulary)
        self.filters = tuple(filters)
        self.ctc_weight = ctc_weight
        self.eos_threshold = eos_threshold
        self.length_normalisation = length_normalisation
        self.eos, self.blank = vocabulary.eos, vocabulary.blank
        roles = (vocabulary.blank, vocabulary.sos, vocabulary.eos)
        self.never_next = sorted({role for role in roles if role is not None})  # tokens that no text goes on with

    def search(
        self, encoded: EncoderOutput, prompts: Sequence[Prompt], ctc_log_probs: Tensor | None = None
    ) -> list[list[Hypothesis]]:
        """N-best lists of up to `beam` hypotheses; "ctc" is among the parts with log-probabilities (B, S, V)."""
        names = ("attention", *self.fused.names, "length")
        if ctc_log_probs is not None:
            names = ("ctc", *names)
        answers = [[Hypothesis((), 0.0, dict.fromkeys(names, 0.0))] for _ in encoded.lens]
        rows = encoded.lens.nonzero().squeeze(1)
        if not len(rows):
            return answers
        limits = (encoded.lens[rows] * self.config.max_tokens_per_frame).ceil()
        begun = Prompts.of(prompts, rows.device).select(rows)
        states = self._init_states(EncoderOutput(encoded.frames[rows], encoded.lens[rows]), rows, ctc_log_probs)
        unfinished = _no_texts(begun.first[:, None], 1, len(names))
        finished = _no_texts(begun.first[:, None], 0, len(names))
        penalties = self._penalties(int(encoded.frames.shape[1] * self.config.max_tokens_per_frame) + 4, rows.device)
        ahead = Ahead.at(unfinished.tokens.shape[2], rows, limits, begun)
        silence = Silence(self.decoder, len(encoded.lens))
        while True:
            penalty, penalty_after = (penalties[(ahead.written + more).clamp(min=0)] for more in (0, 1))
            added, states = self._step(unfinished, states, ahead, silence)
            finished = finished.merge(self._end(unfinished, added, ahead, penalty), self.config.beam)
            width = unfinished.scores.shape[1]
            unfinished, parents = self._go_on(unfinished, added, ahead)
            decided = self._is_decided(unfinished, finished, penalty_after)
            is_nan = unfinished.scores.isnan().any(1)
            done = ahead.at_limit | decided | is_nan
            for utterance in (done & ~is_nan).nonzero().squeeze(1).tolist():
                row = int(ahead.rows[utterance])
                measure = partial(self._measures, silence, row)
                answers[row] = finished.n_best(utterance, len(prompts[row]), names, measure) or answers[row]
            going = (~done).nonzero().squeeze(1)
            if not len(going):
                return answers
            if len(going) < len(done):
                unfinished, finished, parents = unfinished.take(going), finished.take(going), parents[going]
            last = unfinished.tokens[..., -1]
            held = ahead.held[going] if ahead.held is not None else None
            index = (going[:, None] * width + parents).flatten()
            states = ScorerStates(
                extend_ctc_prefixes(states.ctc, going, parents, last, held) if states.ctc is not None else None,
                self.decoder.reorder(states.decoder, index),
                self.fused.reorder(states.fused, index),
            )
            ahead = ahead.after(going)

    def _init_states(self, encoded: EncoderOutput, rows: Tensor, ctc_log_probs: Tensor | None) -> ScorerStates:
        ctc = None
        if ctc_log_probs is not None:
            assert self.blank is not None
            ctc = ctc_prefix_state(ctc_log_probs[rows], encoded.lens, self.blank)
        fused = self.fused.init_state(len(rows), rows.device)
        return ScorerStates(ctc, self.decoder.init_state(encoded), fused)

    def _measures(self, silence: Silence, row: int, attention: float, num_tokens: int) -> dict[str, float]:
        """See `Silence.measures`; `attention` is a weighted part of a score."""
        if self.ctc_weight == 1.0:
            return {}
        penalty = ((5 + num_tokens + 1) / 6) ** self.length_normalisation
        return silence.measures(row, attention * penalty / (1.0 - self.ctc_weight), num_tokens)

    def _step(
        self, texts: Texts, states: ScorerStates, ahead: Ahead, silence: Silence
    ) -> tuple[list[Tensor], ScorerStates]:
        """What each next token would add to the parts of the score but the length: (B, W, V) float64 each."""
        B, W, _ = texts.tokens.shape
        last = texts.tokens[..., -1].flatten()
        log_probs, decoder_state = self.decoder.step(last, states.decoder)
        if ahead.position <= ahead.prompts.ids.shape[1]:
            of_all(silence, log_probs, last, ahead.rows, W)
        log_probs = log_probs.double()
        attention = _weighted(1.0 - self.ctc_weight, log_probs)
        if self.filters:
            log_probs = self._filtered(log_probs, texts, ahead)
            attention = _weighted(1.0 - self.ctc_weight, log_probs).masked_fill(log_probs == -math.inf, -math.inf)
        fused, fused_state = self._step_fused(texts, states.fused, ahead)
        added = [scores.double().view(B, W, -1) for scores in (attention, *fused)]
        if states.ctc is not None:
            added.insert(0, _weighted(self.ctc_weight, ctc_prefix_scores(states.ctc, self.eos)))
        return added, ScorerStates(states.ctc, decoder_state, fused_state)

    def _filtered(self, log_probs: Tensor, texts: Texts, ahead: Ahead) -> Tensor:
        """Log-probabilities (N, V) as the filters leave them; eos keeps its own at the limit."""
        W = texts.tokens.shape[1]
        prompt_lens, rows = (each.repeat_interleave(W) for each in (ahead.prompts.lens, ahead.rows))
        tokens = texts.tokens.flatten(0, 1)
        allowed = log_probs
        for rule in self.filters:
            allowed = rule(allowed, tokens, prompt_lens, rows)
        allowed = allowed.clone()
        at_limit = ahead.at_limit.repeat_interleave(W)
        allowed[:, self.eos] = torch.where(at_limit, log_probs[:, self.eos], allowed[:, self.eos])
        return allowed

    def _step_fused(self, texts: Texts, state: tuple[Any, ...], ahead: Ahead) -> tuple[list[Tensor], tuple[Any, ...]]:
        """Scores (N, V) of the fusion for the next tokens; texts inside their prompt are not begun for it."""
        if not self.fused.names:
            return [], state
        written = ahead.written[:, None].expand(texts.scores.shape)
        tokens = texts.tokens[..., -1].masked_fill(written <= 0, self.fused.start).flatten()
        scores, after = self.fused.step(tokens, state)
        if ahead.held is not None:
            rows = torch.arange(len(tokens), device=tokens.device)
            begun = (written >= 0).flatten()
            after = self.fused.reorder(self.fused.concat(state, after), rows + begun.long() * len(tokens))
        return scores, after

    def _end(self, texts: Texts, added: list[Tensor], ahead: Ahead, penalty: Tensor) -> Texts:
        """All texts with eos behind them."""
        ends = torch.stack([*(scores[..., self.eos] for scores in added), torch.zeros_like(texts.scores)], dim=-1)
        scores = (texts.scores + ends.sum(-1)) / penalty[:, None]
        if self.eos_threshold is not None:
            attention = added[-1 - len(self.fused.names)]
            too_early = attention[..., self.eos] < self.eos_threshold * attention.amax(-1)
            scores = scores.masked_fill(too_early & ~ahead.at_limit[:, None], -math.inf)
        if ahead.held is not None:
            scores = scores.masked_fill(ahead.held[:, None], -math.inf)
        return replace(texts, scores=scores, parts=(texts.parts + ends) / penalty[:, None, None])

    def _go_on(self, texts: Texts, added: list[Tensor], ahead: Ahead) -> tuple[Texts, Tensor]:
        """The best texts with one more token, and which texts (B, W) they come from."""
        bonus = self.config.length_bonus
        scores = texts.scores[..., None] + torch.stack(added).sum(0) + bonus
        scores[..., self.never_next] = -math.inf
        if ahead.forced is not None:
            prompted, held = ahead.forced
            only = torch.full_like(scores, -math.inf)
            only.scatter_(2, prompted[:, None, None].expand(*texts.scores.shape, 1), texts.scores[..., None])
            scores = torch.where(held[:, None, None], only, scores)
        vocab_size = scores.shape[2]
        num_kept = min(self.config.beam, scores.shape[1] * (vocab_size - len(self.never_next)))
        scores, places = scores.flatten(1).topk(num_kept, dim=1)
        parents = places // vocab_size
        tokens = (places % vocab_size).masked_fill(scores == -math.inf, self.eos)  # any token that scorers can read
        if ahead.forced is not None:
            tokens = torch.where(ahead.forced[1][:, None], ahead.forced[0][:, None], tokens)
        places = parents * vocab_size + tokens
        parts = [part.flatten(1).gather(1, places) for part in added]
        grown = torch.stack([*parts, torch.full_like(scores, bonus)], dim=-1)
        is_written = torch.ones_like(parents)
        if ahead.held is not None:
            grown = grown.masked_fill(ahead.held[:, None, None], 0.0)
            is_written = is_written.masked_fill(ahead.held[:, None], 0)
        return (
            Texts(
                scores,
                _gather(texts.parts, parents) + grown,
                torch.cat([_gather(texts.tokens, parents), tokens[..., None]], dim=-1),
                texts.lens.gather(1, parents) + is_written,
            ),
            parents,
        )

    def _is_decided(self, unfinished: Texts, finished: Texts, penalty: Tensor) -> Tensor:
        """Whether no unfinished text would enter the n-best list if it ended now for nothing, (B,)."""
        best = unfinished.scores.amax(1) / penalty
        is_full = finished.scores.shape[1] == self.config.beam
        return best <= (finished.scores[:, -1] if is_full else -math.inf)

    def _penalties(self, num: int, device: torch.device) -> Tensor:
        """What the scores of texts of 0, 1, ... tokens are divided by when they end, (num,); eos counts as a token."""
        penalties = [((5 + length + 1) / 6) ** self.length_normalisation for length in range(num)]
        return torch.tensor(penalties, dtype=torch.float64, device=device)


def _hypothesis(
    tokens: tuple[int, ...], score: float, names: tuple[str, ...], parts: Sequence[float], measure: Measure
) -> Hypothesis:
    named = dict(zip(names, parts, strict=True))
    return Hypothesis(tokens, score, named, measures=measure(named["attention"], len(tokens)))


def _no_texts(tokens: Tensor, num_texts: int, num_parts: int) -> Texts:
    """So many texts of each utterance that begin with the prompt's first tokens (B, 1, U)."""
    B, device = len(tokens), tokens.device
    return Texts(
        torch.zeros(B, num_texts, dtype=torch.float64, device=device),
        torch.zeros(B, num_texts, num_parts, dtype=torch.float64, device=device),
        tokens.expand(-1, num_texts, -1),
        torch.zeros(B, num_texts, dtype=torch.int64, device=device),
    )


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (B, W') of values (B, W, X)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _weighted(weight: float, scores: Tensor) -> Tensor:
    """Zeros for weight 0, also where a score is -inf."""
    return weight * scores if weight else torch.zeros_like(scores)
