"""Greedy attention search: the decoder's best token, again and again, until it ends the sentence."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from asr.decoding.base import SEARCHES, SearchModel, require_decoder
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.registry import NamedConfig
from asr.text.vocabulary import EOS, SOS
from asr.types import EncoderOutput, Hypothesis


class AttentionGreedyConfig(NamedConfig):
    """Settings of the greedy attention search."""

    name: Literal["attention_greedy"] = "attention_greedy"
    max_tokens_per_frame: float = Field(1.0, gt=0.0)  # tokens per encoder frame at most: no loop outlasts the audio


@SEARCHES.register(AttentionGreedyConfig)
class AttentionGreedy:
    """Batched, with the decoder's cache; utterances leave the batch as they end.

    The score is the log-probability of the tokens and EOS. An utterance at its limit of tokens is made to end there.
    """

    def __init__(self, config: AttentionGreedyConfig, model: SearchModel, fusion: Fusion = NO_FUSION) -> None:
        fusion.refuse(config.name)
        self.config = config
        self.decoder = require_decoder(config.name, model)

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """One hypothesis per utterance; attention cannot tell where a token starts."""
        sentences: list[list[int]] = [[] for _ in encoded.lens]
        scores = [0.0] * len(sentences)
        rows = encoded.lens.nonzero().squeeze(1)
        limits = (encoded.lens[rows] * self.config.max_tokens_per_frame).ceil()
        tokens = torch.full_like(rows, SOS)
        state = self.decoder.init_state(EncoderOutput(encoded.frames[rows], encoded.lens[rows])) if len(rows) else None
        num_tokens = 0
        while len(rows):
            log_probs, state = self.decoder.step(tokens, state)
            tokens = log_probs.argmax(-1).masked_fill(limits <= num_tokens, EOS)
            token_scores = log_probs.gather(1, tokens[:, None]).squeeze(1)
            for row, token, score in zip(rows.tolist(), tokens.tolist(), token_scores.tolist(), strict=True):
                scores[row] += score
                if token != EOS:
                    sentences[row].append(token)
            going = (tokens != EOS).nonzero().squeeze(1)
            if len(going) < len(rows):
                rows, limits, tokens = rows[going], limits[going], tokens[going]
                state = self.decoder.reorder(state, going) if len(going) else None
            num_tokens += 1
        return [
            [Hypothesis(tuple(sentence), score, {"attention": score})]
            for sentence, score in zip(sentences, scores, strict=True)
        ]
