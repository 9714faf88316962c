"""CTC prefix beam search by the compiled kernel: one utterance at a time on each of torch's CPU threads."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.decoding.base import SearchState
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotwordScorer
from asr.decoding.prefix.settings import PrefixBeamSettings
from asr.lm.ngram.model import NgramModel
from asr.lm.ngram.token_scorer import TokenNgramScorer
from asr.lm.ngram.word_scorer import WordNgramScorer
from asr.system.threads import map_off_main_thread, off_main_thread
from asr.text.vocabulary import Vocabulary
from asr.types import Hypothesis

if TYPE_CHECKING:
    from asr.decoding.prefix.text_scores import TextScores


def why_not_compiled(fusion: Fusion) -> str | None:
    """What keeps the compiled kernel from running, or None if it can."""
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed; it is the extra 'fast', and comes with 'plots'"
    if not isinstance(fusion.lm, WordNgramScorer | TokenNgramScorer | None):
        return "the language model is no n-gram"
    if not isinstance(fusion.hotwords, HotwordScorer | None):
        return "the hotwords are scored by something else"
    return None


class _Beam(NamedTuple):
    """The prefixes of one utterance."""

    tree: np.ndarray  # NODE (N,)
    prefixes: np.ndarray  # PREFIX (W,)
    last_frame: np.ndarray | None  # (V,) log-probabilities


@dataclass(frozen=True)
class CompiledState(SearchState):
    """A beam for each utterance."""

    beams: tuple[_Beam, ...]

    def select(self, index: Tensor) -> CompiledState:
        """See `SearchState`."""
        return CompiledState(tuple(self.beams[row] for row in index.tolist()))

    @staticmethod
    def join(states: Sequence[CompiledState]) -> CompiledState:
        """See `SearchState`."""
        return CompiledState(tuple(beam for state in states for beam in state.beams))


class CompiledPrefixBeam:
    """The search over arrays laid out once for its language model and hotwords."""

    def __init__(self, settings: PrefixBeamSettings, fusion: Fusion, vocabulary: Vocabulary) -> None:
        from asr.decoding.prefix.kernel import Settings

        assert vocabulary.blank is not None
        self.text = _text_scores(settings, fusion, vocabulary)
        self.names = (*(["lm"] if self.text.kind else []), *(["hotwords"] if fusion.hotwords is not None else []))
        self.settings = Settings(settings.width, settings.length_bonus, settings.beam_threshold, vocabulary.blank)
        self._beam = settings.beam
        self._token_threshold = settings.token_threshold
        self._empty = _empty_prefix(fusion, self.text)
        self._no_labels = [role for role in (vocabulary.sos, vocabulary.eos) if role is not None]

    def start(self, rows: int, device: torch.device) -> CompiledState:
        """The empty prefix of every utterance; `device` is the CPU."""
        from asr.decoding.prefix.tree import new_tree

        return CompiledState((_Beam(new_tree(self.text, self.settings.blank), self._empty, None),) * rows)

    def advance(self, state: CompiledState, log_probs: Tensor, lens: Tensor) -> CompiledState:
        """The beams after log-probabilities (B, S, V) on the CPU, of lengths (B,)."""
        values = log_probs.detach().contiguous().numpy()
        utterances = [values[row, :length] for row, length in enumerate(lens.tolist())]
        jobs = zip(state.beams, utterances, strict=True)
        num_threads = min(torch.get_num_threads(), len(utterances))  # the kernel runs without Python's lock
        return CompiledState(tuple(map_off_main_thread(lambda job: self._advance_one(*job), jobs, num_threads)))

    def partial(self, state: CompiledState) -> list[tuple[int, ...]]:
        """The best text of every utterance so far, () where none is possible."""
        return off_main_thread(lambda: [self._best_text(beam) for beam in state.beams])

    def finish(self, state: CompiledState) -> list[list[Hypothesis]]:
        """N-best lists, best first."""
        return off_main_thread(lambda: [self._finish_one(beam) for beam in state.beams])

    def _advance_one(self, beam: _Beam, log_probs: np.ndarray) -> _Beam:
        from asr.decoding.prefix.kernel import PREFIX, Scratch, prefix_beam_search
        from asr.decoding.prefix.tree import CANDIDATE, regrown

        size, width = len(beam.prefixes), self.settings.width
        if not len(log_probs) or not size:
            return beam
        tries, begins = tokens_to_try(log_probs, self.settings.blank, self._no_labels, self._token_threshold)
        room = max(size, width) * (1 + int(np.diff(begins).max()))
        scratch = Scratch(
            np.empty(room, CANDIDATE),
            np.empty(width, np.int32),
            np.empty(2 ** (2 * room).bit_length(), np.int32),
            np.empty(room),
        )
        previous = log_probs[0] if beam.last_frame is None else beam.last_frame
        beams = np.empty((2, max(size, width)), PREFIX)
        beams[0, :size] = beam.prefixes
        tree, beams[0, :size]["node"], num_nodes = regrown(beam.tree, beam.prefixes["node"], len(log_probs) * width)
        num_nodes, size = prefix_beam_search(
            log_probs, previous, tries, begins, self.settings, self.text, tree, num_nodes, beams, size, scratch
        )
        return _Beam(tree[:num_nodes], beams[len(log_probs) % 2, :size], log_probs[-1].copy())

    def _best_text(self, beam: _Beam) -> tuple[int, ...]:
        nodes = beam.prefixes["node"]
        worth = beam.prefixes["total"] + beam.tree["text"][nodes]
        (tokens,) = _spelled(beam.tree, nodes[np.argsort(-worth, kind="stable")[:1]]) or [()]
        return tokens

    def _finish_one(self, beam: _Beam) -> list[Hypothesis]:
        tree, prefixes, _ = beam
        nodes = tree[prefixes["node"]]
        columns = {
            "ctc": prefixes["total"],
            "lm": nodes["lm"] + prefixes["end_lm"],
            "hotwords": nodes["hot"] + prefixes["end_hot"],
        }
        names = ("ctc", *self.names)
        parts = [columns[name].tolist() for name in names]
        hypotheses = []
        for tokens, *values in zip(_spelled(tree, prefixes["node"]), *parts, strict=True):
            named = dict(zip(names, values, strict=True)) | {"length": self.settings.length_bonus * len(tokens)}
            hypotheses.append(Hypothesis(tokens, sum(named.values()), named))
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)[: self._beam]


def tokens_to_try(
    log_probs: np.ndarray, blank: int, no_labels: Sequence[int], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of each frame (S, V) that are likely enough, the best one in any case, but never blank.

    Where blank is the best one there may be none. Returns those of all frames on end, int32, and where each frame's
    begin (S + 1,) int64.
    """
    num_frames, vocab_size = log_probs.shape
    likely = log_probs >= max(threshold, np.finfo(log_probs.dtype).min)  # -inf is never tried
    likely[:, [blank, *no_labels]] = False
    unsure = np.flatnonzero(~likely.any(1))  # most likely those where blank is the best
    if len(unsure):
        labels = log_probs[unsure]
        labels[:, [blank, *no_labels]] = -np.inf
        best = labels.argmax(1)
        better = labels[np.arange(len(unsure)), best] > log_probs[unsure, blank]
        likely[unsure[better], best[better]] = True
    places = np.flatnonzero(likely)
    begins = np.searchsorted(places, np.arange(0, vocab_size * num_frames + 1, vocab_size))
    return (places % vocab_size).astype(np.int32), begins


def _empty_prefix(fusion: Fusion, text: TextScores) -> np.ndarray:
    """The beam (1,) before the first frame."""
    from asr.decoding.prefix.kernel import PREFIX

    prefix = np.zeros(1, PREFIX)
    prefix["spoken"] = prefix["earlier_total"] = prefix["earlier_blank"] = -np.inf
    if text.kind:
        assert isinstance(fusion.lm, WordNgramScorer | TokenNgramScorer)
        prefix["end_lm"] = text.weight * fusion.lm.model.score(text.start_state, text.eos)[0]
    if text.has_hotwords:
        prefix["end_hot"] = text.hot_ends[text.hot_start]
    return prefix


def _spelled(tree: np.ndarray, nodes: np.ndarray) -> list[tuple[int, ...]]:
    """The tokens of prefixes (W,)."""
    from asr.decoding.prefix.tree import write_tokens

    ends = np.cumsum(tree["length"][nodes])
    tokens = np.empty(ends[-1] if len(ends) else 0, np.int32)
    write_tokens(tree, np.ascontiguousarray(nodes), tokens)
    flat, ends = tokens.tolist(), ends.tolist()
    return [tuple(flat[begin:end]) for begin, end in pairwise([0, *ends])]


def _text_scores(settings: PrefixBeamSettings, fusion: Fusion, vocabulary: Vocabulary) -> TextScores:
    """The arrays of a fusion; a language model without weight is left out."""
    from asr.decoding.prefix.text_scores import TOKENS, WORDS

    text = _hotwords_alone(fusion.hotwords, vocabulary.end)._replace(weight=settings.lm_weight)
    lm = fusion.lm
    if settings.lm_weight == 0.0 or lm is None:
        return text
    assert isinstance(lm, WordNgramScorer | TokenNgramScorer)
    text = text._replace(**_ngram_arrays(lm.model))
    if isinstance(lm, TokenNgramScorer):
        return text._replace(kind=TOKENS, token_words=lm.token_words.astype(np.int64))
    lexicon = lm.lexicon
    return text._replace(
        kind=WORDS,
        child_begins=lexicon.child_begins,
        child_letters=lexicon.child_letters,
        child_nodes=lexicon.child_nodes,
        word_ids=lexicon.word_ids,
        lookahead=lexicon.lookahead,
        sink_lookahead=float(lm.model.log_probs[lm.model.unk_id]) + lm.unk_score,
        unk_score=lm.unk_score,
        letter_begins=lexicon.token_begins,
        letters=lexicon.token_letters.astype(np.int64),
        opens_word=lexicon.opens_word,
    )


def _ngram_arrays(model: NgramModel) -> dict[str, Any]:
    return {
        "begins": model.begins,
        "labels": model.labels,
        "log_probs": model.log_probs,
        "targets": model.targets,
        "backoffs": model.backoffs,
        "shorter": model.shorter,
        "start_state": model.start_state,
        "unk": model.unk_id,
        "eos": model.eos_id,
    }


def _hotwords_alone(hotwords: object, end: int) -> TextScores:
    """Arrays without a language model: empty ones, but of the right types, for which the kernel was compiled."""
    from asr.decoding.prefix.text_scores import NONE, TextScores

    assert isinstance(hotwords, HotwordScorer | None)
    int32, int64, float32 = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    return TextScores(
        kind=NONE,
        weight=0.0,
        begins=int64,
        labels=int32,
        log_probs=float32,
        targets=int32,
        backoffs=float32,
        shorter=int32,
        start_state=0,
        unk=0,
        eos=0,
        token_words=int64,
        child_begins=int64,
        child_letters=int32,
        child_nodes=int32,
        word_ids=int32,
        lookahead=float32,
        sink_lookahead=0.0,
        unk_score=0.0,
        letter_begins=int64,
        letters=int64,
        opens_word=np.zeros(0, np.bool_),
        has_hotwords=hotwords is not None,
        hot_start=hotwords.start if hotwords is not None else 0,
        hot_next=hotwords.next if hotwords is not None else np.zeros((0, 0), np.int64),
        hot_scores=hotwords.scores if hotwords is not None else np.zeros((0, 0)),
        hot_ends=hotwords.scores[:, end].copy() if hotwords is not None else np.zeros(0),
        hot_best=hotwords.scores.max(axis=1).clip(min=0.0) if hotwords is not None else np.zeros(0),
    )
