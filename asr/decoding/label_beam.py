"""Beam search that writes one token a step: what attention_beam and joint_beam have in common.

Each step asks the decoder, the scorers of the fusion and CTC what every token would add to every text, all at once:

    finished    the best ways to end so far: every step offers each unfinished text with EOS behind it
    unfinished  the best texts that may go on, all of the same length

An utterance is done when none of its unfinished texts scores higher than the worst of `beam` finished ones, or when it
is at its limit of tokens. Where no token raises a score (no length bonus, hotwords or length normalisation), no text
that is still to come could have entered the n-best list.

B utterances (those that are not done), W texts of each, U tokens, P parts of a score, V vocabulary; rows are B * W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from asr.decoding.base import StepDecoder
from asr.decoding.ctc_prefix_score import CtcPrefixState, ctc_prefix_scores, ctc_prefix_state, extend_ctc_prefixes
from asr.decoding.fusion import BeamConfig, FusedScorer, Fusion
from asr.text.vocabulary import BLANK, EOS, SOS, UNK
from asr.types import EncoderOutput, Hypothesis

NEVER_NEXT = [BLANK, SOS, EOS]  # tokens that no text goes on with


class LabelBeamConfig(BeamConfig):
    """Settings of searches that write one token a step."""

    max_tokens_per_frame: float = Field(1.0, gt=0.0)  # tokens per encoder frame at most: no loop outlasts the audio


@dataclass(frozen=True)
class Texts:
    """W texts of each of B utterances, in order of their scores; a score of -inf marks a place without a text."""

    scores: Tensor  # (B, W) float64
    parts: Tensor  # (B, W, P) float64, which sum to the scores
    tokens: Tensor  # (B, W, U)
    lens: Tensor  # (B, W) tokens

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

    def n_best(self, utterance: int, names: tuple[str, ...]) -> list[Hypothesis]:
        """The texts of one utterance as hypotheses."""
        return [
            Hypothesis(tuple(tokens[:length]), score, dict(zip(names, parts, strict=True)))
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


class LabelBeam:
    """Batched, with cached states; utterances leave the batch as they are done.

    The score of a hypothesis is the weighted sum of the log-probabilities of CTC (of the whole text, over all paths),
    of the decoder (tokens and EOS) and of the fusion, and of the length bonus. `length_normalisation` is the exponent a
    of Wu et al. 2016, "Google's neural machine translation system", section 7: a finished text of U tokens has score
    and parts divided by ((5 + U + 1) / 6) ** a. With `eos_threshold` c, a text may end only where EOS has at least
    the best token's probability to the power of c (Hannun et al. 2019, "Sequence-to-sequence speech recognition with
    time-depth separable convolutions", section 3.3), or at its limit.
    """

    def __init__(
        self,
        config: LabelBeamConfig,
        decoder: StepDecoder,
        fusion: Fusion,
        *,
        ctc_weight: float = 0.0,
        eos_threshold: float | None = None,
        length_normalisation: float = 0.0,
    ) -> None:
        self.config = config
        self.decoder = decoder
        self.fused = FusedScorer(fusion, config.lm_weight)
        self.ctc_weight = ctc_weight
        self.eos_threshold = eos_threshold
        self.length_normalisation = length_normalisation

    def search(self, encoded: EncoderOutput, ctc_log_probs: Tensor | None = None) -> list[list[Hypothesis]]:
        """N-best lists of up to `beam` hypotheses; "ctc" is among the parts with log-probabilities (B, S, V)."""
        names = ("attention", *self.fused.names, "length")
        if ctc_log_probs is not None:
            names = ("ctc", *names)
        answers = [[Hypothesis((), 0.0, dict.fromkeys(names, 0.0))] for _ in encoded.lens]
        rows = encoded.lens.nonzero().squeeze(1)
        if not len(rows):
            return answers
        limits = (encoded.lens[rows] * self.config.max_tokens_per_frame).ceil()
        states = self._init_states(EncoderOutput(encoded.frames[rows], encoded.lens[rows]), rows, ctc_log_probs)
        unfinished = _no_texts(len(rows), 1, len(names), rows.device)
        finished = _no_texts(len(rows), 0, len(names), rows.device)
        while True:
            added, states = self._step(unfinished, states)
            at_limit = limits <= unfinished.tokens.shape[2]
            finished = finished.merge(self._end(unfinished, added, at_limit), self.config.beam)
            width = unfinished.scores.shape[1]
            unfinished, parents = self._go_on(unfinished, added)
            done = at_limit | self._is_decided(unfinished, finished)
            for utterance in done.nonzero().squeeze(1).tolist():
                answers[int(rows[utterance])] = finished.n_best(utterance, names)
            going = (~done).nonzero().squeeze(1)
            if not len(going):
                return answers
            rows, limits, parents = rows[going], limits[going], parents[going]
            unfinished, finished = unfinished.take(going), finished.take(going)
            last = unfinished.tokens[..., -1]
            index = (going[:, None] * width + parents).flatten()
            states = ScorerStates(
                extend_ctc_prefixes(states.ctc, going, parents, last) if states.ctc is not None else None,
                self.decoder.reorder(states.decoder, index),
                self.fused.reorder(states.fused, index),
            )

    def _init_states(self, encoded: EncoderOutput, rows: Tensor, ctc_log_probs: Tensor | None) -> ScorerStates:
        return ScorerStates(
            ctc=ctc_prefix_state(ctc_log_probs[rows], encoded.lens) if ctc_log_probs is not None else None,
            decoder=self.decoder.init_state(encoded),
            fused=self.fused.init_state(len(rows), rows.device),
        )

    def _step(self, texts: Texts, states: ScorerStates) -> tuple[list[Tensor], ScorerStates]:
        """What each next token would add to the parts of the score but the length: (B, W, V) float64 each."""
        B, W, U = texts.tokens.shape
        last = texts.tokens[..., -1].flatten() if U else torch.full((B * W,), SOS, device=texts.tokens.device)
        log_probs, decoder_state = self.decoder.step(last, states.decoder)
        fused, fused_state = self.fused.step(last, states.fused)
        attention = _weighted(1.0 - self.ctc_weight, log_probs.double())
        added = [scores.double().view(B, W, -1) for scores in (attention, *fused)]
        if states.ctc is not None:
            added.insert(0, _weighted(self.ctc_weight, ctc_prefix_scores(states.ctc)))
        return added, ScorerStates(states.ctc, decoder_state, fused_state)

    def _end(self, texts: Texts, added: list[Tensor], at_limit: Tensor) -> Texts:
        """All texts with EOS behind them."""
        penalty = self._penalty(texts)
        ends = torch.stack([*(scores[..., EOS] for scores in added), torch.zeros_like(texts.scores)], dim=-1)
        scores = (texts.scores + ends.sum(-1)) / penalty
        if self.eos_threshold is not None:
            attention = added[-1 - len(self.fused.names)]
            too_early = attention[..., EOS] < self.eos_threshold * attention.amax(-1)
            scores = scores.masked_fill(too_early & ~at_limit[:, None], -math.inf)
        return Texts(scores, (texts.parts + ends) / penalty, texts.tokens, texts.lens)

    def _go_on(self, texts: Texts, added: list[Tensor]) -> tuple[Texts, Tensor]:
        """The best texts with one more token, and which texts (B, W) they come from."""
        bonus = self.config.length_bonus
        scores = texts.scores[..., None] + torch.stack(added).sum(0) + bonus
        scores[..., NEVER_NEXT] = -math.inf
        vocab_size = scores.shape[2]
        num_kept = min(self.config.beam, scores.shape[1] * (vocab_size - len(NEVER_NEXT)))
        scores, places = scores.flatten(1).topk(num_kept, dim=1)
        parents = places // vocab_size
        tokens = (places % vocab_size).masked_fill(scores == -math.inf, UNK)  # any token that scorers can read
        places = parents * vocab_size + tokens
        parts = [part.flatten(1).gather(1, places) for part in added]
        grown = torch.stack([*parts, torch.full_like(scores, bonus)], dim=-1)
        return (
            Texts(
                scores,
                _gather(texts.parts, parents) + grown,
                torch.cat([_gather(texts.tokens, parents), tokens[..., None]], dim=-1),
                texts.lens.gather(1, parents) + 1,
            ),
            parents,
        )

    def _is_decided(self, unfinished: Texts, finished: Texts) -> Tensor:
        """Whether no unfinished text would enter the n-best list if it ended now for nothing, (B,)."""
        best = unfinished.scores.amax(1) / self._penalty(unfinished)
        is_full = finished.scores.shape[1] == self.config.beam
        return best <= (finished.scores[:, -1] if is_full else -math.inf)

    def _penalty(self, texts: Texts) -> float:
        """What the scores of texts as long as these are divided by when they end; EOS counts as a token."""
        penalty: float = ((5 + texts.tokens.shape[2] + 1) / 6) ** self.length_normalisation
        return penalty


def _no_texts(num_utterances: int, num_texts: int, num_parts: int, device: torch.device) -> Texts:
    """So many empty texts of each utterance."""
    return Texts(
        torch.zeros(num_utterances, num_texts, dtype=torch.float64, device=device),
        torch.zeros(num_utterances, num_texts, num_parts, dtype=torch.float64, device=device),
        torch.zeros(num_utterances, num_texts, 0, dtype=torch.int64, device=device),
        torch.zeros(num_utterances, num_texts, dtype=torch.int64, device=device),
    )


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (B, W') of values (B, W, X)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _weighted(weight: float, scores: Tensor) -> Tensor:
    """Zeros for weight 0, also where a score is -inf."""
    return weight * scores if weight else torch.zeros_like(scores)
