"""Whisper's decoder (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from asr.errors import ConfigError
from asr.losses.label_smoothing import label_smoothing_loss
from asr.losses.weights import LossConfig
from asr.models.heads.alignment_heads import AlignmentHead, default_heads
from asr.models.heads.base import HEADS, TOTAL, NamedHeadConfig
from asr.models.heads.decoder import Decoder
from asr.models.heads.transformer import (
    TransformerDecoder,
    TransformerDecoderConfig,
    TransformerDecoderLayer,
    TransformerState,
)
from asr.models.heads.whisper_alignment import place_tokens
from asr.models.heads.whisper_rules import Timestamps, WhisperRules, control_id
from asr.nn.dropout import Dropout
from asr.nn.feed_forward import FeedForward
from asr.nn.kernels import is_traced, project_few
from asr.nn.token_embedding import token_embedding
from asr.text.vocabulary import Vocabulary
from asr.types import Batch, EncoderOutput, Hypothesis

LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")  # the piece of a language
TASKS = ("translate", "transcribe")
BEFORE = "<|startofprev|>"  # what was said before the text follows
ENGLISH = "en"  # the one language of models that have no choice
MAX_BEFORE = 223  # tokens of it


class WhisperHeadConfig(NamedHeadConfig):
    """Sizes of a Whisper decoder, and what it writes unless told otherwise: those of tiny.en by default."""

    name: Literal["whisper"] = "whisper"
    dim: PositiveInt = 384
    num_layers: PositiveInt = 4
    num_heads: PositiveInt = 6
    ff_dim: PositiveInt = 1536
    max_tokens: PositiveInt = 448  # positions, the prompt's included
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    language: str | None = None  # code of the default prompt; None of a model of one language
    task: Literal["transcribe", "translate"] | None = None  # likewise
    suppress: tuple[int, ...] = ()  # ids that are never written
    suppress_first: tuple[int, ...] = ()  # ids that do not come first
    alignment: tuple[AlignmentHead, ...] = ()  # heads that tell where words are; () is all of the upper layers
    search_defaults: ClassVar[Mapping[str, Any]] = {"beam": 5, "length_normalisation": 1.0}  # of Whisper's own program

    @model_validator(mode="after")
    def _fits(self) -> WhisperHeadConfig:
        if self.dim % 2 or self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} must be even and a multiple of num_heads {self.num_heads}")
        if any(one.layer >= self.num_layers or one.head >= self.num_heads for one in self.alignment):
            raise ValueError(f"alignment: there are {self.num_layers} layers of {self.num_heads} heads, from 0")
        return self

    @classmethod
    def tiny(cls) -> WhisperHeadConfig:
        return cls(dim=16, num_layers=2, num_heads=2, ff_dim=24, max_tokens=40)


class WhisperDecoderLayer(TransformerDecoderLayer):
    """As its parent, with Whisper's feed-forward branch."""

    def __init__(self, config: TransformerDecoderConfig, encoder_dim: int) -> None:
        super().__init__(config, encoder_dim)
        self.feed_forward = FeedForward(config.dim, config.ff_dim, config.dropout, F.gelu)


@HEADS.register(WhisperHeadConfig)
class WhisperDecoder(TransformerDecoder):
    """A Transformer decoder with learned positions, whose output layer is its embedding.

    Beyond `max_tokens` the last position is used again; its filters end every text before that.
    """

    positions: nn.Parameter
    boosts_tokens = True  # hotwords are boosted token by token: it writes case, and by bytes
    temperatures = (0.2, 0.4, 0.6, 0.8, 1.0)  # tried where a text cannot be trusted

    def __init__(self, config: WhisperHeadConfig, encoder_dim: int, vocabulary: Vocabulary) -> None:
        Decoder.__init__(self, config, vocabulary)  # the parent's own has other positions and another output
        sizes = TransformerDecoderConfig(
            dim=config.dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            ff_dim=config.ff_dim,
            dropout=config.dropout,
        )
        self.config = config
        self.embedding = token_embedding(len(vocabulary), config.dim)
        self.projection: nn.Module | None = None  # the output layer where it is not the embedding itself
        self.positions = nn.Parameter(torch.randn(config.max_tokens, config.dim) * 0.01)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(WhisperDecoderLayer(sizes, encoder_dim) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)
        mask = torch.zeros(len(vocabulary), dtype=torch.bool)
        mask[list(vocabulary.never_predicted)] = True
        self.forbidden: Tensor
        self.register_buffer("forbidden", mask, persistent=False)
        self.forbidden_ids: Tensor
        self.register_buffer(
            "forbidden_ids", torch.tensor(vocabulary.never_predicted, dtype=torch.int64), persistent=False
        )

    @property
    def default_prompt(self) -> tuple[int, ...]:
        """What is read before a text where nobody gives a prompt."""
        return self.build_prompt()

    @cached_property
    def languages(self) -> dict[str, int]:
        """The ids of the languages among which the model tells apart, by code; none of a model of one language."""
        if self.config.language is None:
            return {}
        known = ((LANGUAGE.fullmatch(self.vocabulary.piece(token)), token) for token in sorted(self.vocabulary.control))
        return {match[1]: token for match, token in known if match is not None}

    @cached_property
    def no_speech_token(self) -> int | None:
        """The id that is likely after the start where nobody speaks; it stands before that of no timestamps."""
        none = Timestamps.of(self.vocabulary).none
        return None if none is None else none - 1

    def losses(self, encoded: EncoderOutput, batch: Batch, config: LossConfig) -> dict[str, Tensor]:
        """Cross entropy of the text and its end, behind language, task and "no timestamps" as in Whisper's training."""
        targets = batch.targets(self.tokenizer)
        rest = torch.tensor(self.build_prompt(timestamps=False)[1:], dtype=torch.int64, device=targets.tokens.device)
        tokens = torch.cat((rest.expand(len(targets.tokens), -1), targets.tokens), dim=1)
        log_probs = self(encoded, tokens, targets.lens + len(rest))[:, len(rest) :]
        loss = label_smoothing_loss(log_probs, targets.tokens, targets.lens, config.label_smoothing, eos=self.eos)
        return {TOTAL: loss}

    def build_prompt(
        self,
        language: str | None = None,
        before: Sequence[int] = (),
        task: str | None = None,
        *,
        timestamps: bool = True,
    ) -> tuple[int, ...]:
        """What is read before a text: the end of what was said before, start, language, task.

        ConfigError for a language or a task that the model does not know.
        """
        pieces = [self.vocabulary.start]
        code = language or self.config.language or ENGLISH
        if self.languages or code != ENGLISH:
            pieces.append(self._language(code))
        task = task or self.config.task
        if task is not None and (self.languages or task != "transcribe"):
            pieces.append(self._task(task))
        none = Timestamps.of(self.vocabulary).none
        if not timestamps and none is not None:
            pieces.append(none)
        mark = control_id(self.vocabulary, BEFORE)
        prompt = tuple(pieces)
        return (mark, *before[-MAX_BEFORE:], *prompt) if before and mark is not None else prompt

    def _language(self, code: str) -> int:
        if code in self.languages:
            return self.languages[code]
        if not self.languages:
            raise ConfigError(f"the model does not know a language '{code}': it writes English alone; leave it out")
        known = ", ".join(sorted(self.languages))
        raise ConfigError(f"the model does not know a language '{code}'; use auto or one of {known}")

    def _task(self, task: str) -> int:
        token = control_id(self.vocabulary, f"<|{task}|>")
        if task not in TASKS or token is None or not self.languages:
            raise ConfigError(f"the model does not know a task '{task}'; it writes down what is said, in its language")
        return token

    def keep_memory(self, dtype: torch.dtype) -> None:
        """Have searches keep keys and values of frames in a type, half of what they read in each step."""
        for layer in self._layers:
            layer.cross_attention.kept_dtype = dtype

    def detect_language(self, encoded: EncoderOutput) -> Tensor:
        """Probabilities (B, L) of the languages, in the order of `languages`; ConfigError for a model of one."""
        if not self.languages:
            raise ConfigError("the model knows one language and cannot tell languages apart")
        state = self.init_state(encoded)
        start = torch.full((len(encoded.lens),), self.vocabulary.start, device=encoded.frames.device)
        log_probs, _ = self.step(start, state)
        index = torch.tensor(list(self.languages.values()), device=log_probs.device)
        return log_probs[:, index].softmax(dim=1)

    def read(self, hypothesis: Hypothesis, prompt: Sequence[int], num_frames: int) -> Hypothesis:
        """A hypothesis of a search less its timestamps, with the segments that they mark and the prompt's language."""
        tokens, segments = Timestamps.of(self.vocabulary).segments(hypothesis.tokens, num_frames)
        language = next((code for code, token in self.languages.items() if token in prompt), None)
        if not self.languages:
            language = ENGLISH
        return replace(hypothesis, tokens=tokens, segments=segments, language=language)

    def filters(self) -> tuple[WhisperRules, ...]:
        """The rules that every search over this head keeps."""
        config = self.config
        return (WhisperRules(self.vocabulary, config.suppress, config.suppress_first, config.max_tokens),)

    def align(self, encoded: EncoderOutput, texts: Sequence[Sequence[int]]) -> list[np.ndarray | None]:
        return [frames for frames, _ in self.place(encoded, texts)]

    def place(
        self,
        encoded: EncoderOutput,
        texts: Sequence[Sequence[int]],
        languages: Sequence[str | None] | None = None,
        audio_lens: Sequence[int] | None = None,
    ) -> list[tuple[np.ndarray | None, np.ndarray]]:
        """As `whisper_alignment.place_tokens`, with languages by code; None for the model's own."""
        codes = languages or [None] * len(texts)
        prompts = [self.build_prompt(code, timestamps=False) for code in codes]
        heads = self.config.alignment or default_heads(self.config.num_layers, self.config.num_heads)
        return place_tokens(self, heads, encoded, prompts, texts, audio_lens)

    def _embed(self, tokens: Tensor, position: int) -> Tensor:
        places = torch.arange(position, position + tokens.shape[1], device=tokens.device)
        embedded: Tensor = self.dropout(
            self.embedding(tokens) + self.positions[places.clamp(max=len(self.positions) - 1)]
        )
        return embedded

    def step_logits(self, tokens: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """As `step`, with log-probabilities (N, V) that lack a number for each row, which nobody else holds."""
        x, state = self._advance(tokens, state)
        return self._logits(x)[:, 0], state

    def _predict(self, x: Tensor) -> Tensor:
        return self._logits(x).log_softmax(dim=-1)

    def _logits(self, x: Tensor) -> Tensor:
        """(..., V), at least float32 and -inf for tokens that are never predicted."""
        hidden = self.norm(x)
        logits = project_few(hidden, self.embedding.weight) if self.projection is None else self.projection(hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if torch.is_grad_enabled() or is_traced():
            return logits.masked_fill(self.forbidden, -math.inf)
        return logits.index_fill_(-1, self.forbidden_ids, -math.inf)
