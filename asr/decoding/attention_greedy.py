"""Greedy attention search: the decoder's best token, again and again, until it ends the sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from asr.decoding.base import SEARCHES, Heads, Prompt, Temperatures, TokenFilter, require_decoder
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.measures import Silence
from asr.decoding.prompts import Prompts
from asr.decoding.whole import WholeSearch
from asr.registry import NamedConfig
from asr.types import EncoderOutput, Hypothesis

SHARE_ALIVE = 0.75  # of a batch at most, when those that have ended leave it: it copies the frames of those that stay


class AttentionGreedyConfig(NamedConfig):
    """Settings of the greedy attention search."""

    name: Literal["attention_greedy"] = "attention_greedy"
    max_tokens_per_frame: float = Field(1.0, gt=0.0)  # tokens per encoder frame at most: no loop outlasts the audio
    temperatures: Temperatures = None  # of draws, rising, for texts that cannot be trusted
    seed: int = 0  # of draws with these temperatures


@SEARCHES.register(AttentionGreedyConfig)
class AttentionGreedy(WholeSearch):
    """Batched, with the decoder's cache, once utterances are whole; they leave the batch soon after they end.

    One hypothesis per utterance; its score is the log-probability of the tokens and eos. An utterance at its limit of
    tokens is made to end there, as is one for which the filters leave no token. Attention cannot tell where a token
    starts.
    """

    needs: ClassVar = frozenset({"decoder"})

    def __init__(
        self,
        config: AttentionGreedyConfig,
        heads: Heads,
        fusion: Fusion = NO_FUSION,
        filters: Sequence[TokenFilter] = (),
    ) -> None:
        fusion.refuse(config.name)
        self.config = config
        self.decoder = require_decoder(config.name, heads)
        self.vocabulary = self.decoder.vocabulary
        self.filters = tuple(filters)
        only = self.filters[0] if len(self.filters) == 1 else None
        self._choose = getattr(only, "choose", None) if hasattr(self.decoder, "step_logits") else None
        assert self.vocabulary.eos is not None
        self._eos = self.vocabulary.eos

    def decode(self, encoded: EncoderOutput, prompts: Sequence[Prompt]) -> list[list[Hypothesis]]:
        """See `WholeSearch`."""
        answers = [[Hypothesis((), 0.0, {"attention": 0.0})] for _ in encoded.lens]
        rows = encoded.lens.nonzero().squeeze(1)
        if not len(rows):
            return answers
        limits = (encoded.lens[rows] * self.config.max_tokens_per_frame).ceil()
        begun = Prompts.of(prompts, rows.device).select(rows)
        texts = begun.first
        silence = Silence(self.decoder, len(encoded.lens))
        scores = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        alive = torch.ones_like(rows, dtype=torch.bool)
        if len(rows) < len(encoded.lens):
            encoded = EncoderOutput(encoded.frames[rows], encoded.lens[rows])
        state = self.decoder.init_state(encoded)
        while True:
            scored, state = self._step(texts[:, -1], state)
            if texts.shape[1] <= begun.ids.shape[1]:
                silence.see(scored.log_softmax(1), texts[:, -1], rows)
            at_limit = limits <= texts.shape[1] - begun.lens
            tokens, gained = self._best(scored, texts, begun, rows, at_limit)
            forced = begun.forced(texts.shape[1])
            if forced is not None:
                tokens = torch.where(forced[1], forced[0], tokens)
                gained = gained.masked_fill(forced[1] & ~gained.isnan(), 0.0)
            scores = scores + gained.double()
            ended = tokens == self._eos
            if forced is not None:
                ended &= ~forced[1]
            ended |= ~scores.isfinite()
            ended &= alive
            alive = alive & ~ended
            done = ended.nonzero().squeeze(1).tolist()
            for place in done:
                row, score = int(rows[place]), float(scores[place])
                if math.isfinite(score):
                    text = tuple(texts[place].tolist()[len(prompts[row]) :])
                    measures = silence.measures(row, score, len(text))
                    answers[row] = [Hypothesis(text, score, {"attention": score}, measures=measures)]
            num_alive = int(alive.sum())
            if num_alive == 0:
                return answers
            texts = torch.cat([texts, tokens[:, None]], dim=1)
            if num_alive <= SHARE_ALIVE * len(rows):
                going = alive.nonzero().squeeze(1)
                rows, limits, texts, scores = rows[going], limits[going], texts[going], scores[going]
                begun, state, alive = begun.select(going), self.decoder.reorder(state, going), alive[going]

    def _step(self, last: Tensor, state: Any) -> tuple[Tensor, Any]:
        """A step of the decoder; where the filter chooses, log-probabilities lack a number for each row."""
        if self._choose is None:
            return self.decoder.step(last, state)
        decoder: Any = self.decoder
        scored, state = decoder.step_logits(last, state)
        return scored, state

    def _best(
        self, scored: Tensor, texts: Tensor, prompts: Prompts, rows: Tensor, at_limit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next tokens (N,) and their log-probabilities; where the decoder gives no numbers, neither are these."""
        if self._choose is not None:
            tokens, gained = self._choose(scored, texts, prompts.lens)
            must_end = at_limit | (gained == -math.inf)
            if bool(must_end.any()):
                tokens = tokens.masked_fill(must_end, self._eos)
                gained = torch.where(must_end, scored.log_softmax(1)[:, self._eos], gained)
            return tokens, gained
        allowed = scored
        for rule in self.filters:
            allowed = rule(allowed, texts, prompts.lens, rows)
        best, tokens = allowed.max(-1)
        must_end = at_limit | (best == -math.inf) if self.filters else at_limit
        tokens = tokens.masked_fill(must_end, self._eos)
        gained = allowed.gather(1, tokens[:, None]).squeeze(1)
        if self.filters:
            gained = torch.where(must_end, scored[:, self._eos], gained)
            gained = gained.masked_fill(scored.amax(-1).isnan(), math.nan)
        return tokens, gained
