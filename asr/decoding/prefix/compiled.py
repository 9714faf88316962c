"""CTC prefix beam search by the compiled kernel: one utterance at a time on each of torch's CPU threads."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from asr.system.threads import off_main_thread, takes_signals
from asr.text.vocabulary import Vocabulary
from asr.types import Hypothesis

if TYPE_CHECKING:
    from asr.decoding.prefix.text_scores import TextScores
    from asr.decoding.prefix.tree import Tree


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

    tree: Tree
    nodes: np.ndarray  # (W,) of the prefixes
    ctc: np.ndarray  # (W, 3) log-probabilities, see `stay`


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
        sos, eos = (-1 if role is None else role for role in (vocabulary.sos, vocabulary.eos))
        self.settings = Settings(
            settings.beam,
            settings.length_bonus,
            settings.token_threshold,
            settings.beam_threshold,
            vocabulary.blank,
            sos,
            eos,
        )

    def start(self, rows: int, device: torch.device) -> CompiledState:
        """The empty prefix of every utterance; `device` is the CPU."""
        from asr.decoding.prefix.tree import new_tree

        nodes, ctc = np.zeros(1, np.int32), np.array([[0.0, 0.0, -np.inf]])
        return CompiledState((_Beam(new_tree(self.text, self.settings.blank), nodes, ctc),) * rows)

    def advance(self, state: CompiledState, log_probs: Tensor, lens: Tensor) -> CompiledState:
        """The beams after log-probabilities (B, S, V) on the CPU, of lengths (B,)."""
        values = log_probs.detach().double().numpy()
        utterances = [values[row, :length] for row, length in enumerate(lens.tolist())]
        num_threads = min(torch.get_num_threads(), len(utterances))
        if num_threads <= 1 and not takes_signals():
            return CompiledState(tuple(map(self._advance_one, state.beams, utterances)))
        # The kernel runs without Python's lock, and never on the main thread: see `asr.system.threads`.
        with ThreadPoolExecutor(max(1, num_threads)) as pool:
            return CompiledState(tuple(pool.map(self._advance_one, state.beams, utterances)))

    def partial(self, state: CompiledState) -> list[tuple[int, ...]]:
        """The best text of every utterance so far, () where none is possible."""
        return off_main_thread(lambda: [self._best_text(beam) for beam in state.beams])

    def finish(self, state: CompiledState) -> list[list[Hypothesis]]:
        """N-best lists, best first."""
        return off_main_thread(lambda: [self._finish_one(beam) for beam in state.beams])

    def _advance_one(self, beam: _Beam, log_probs: np.ndarray) -> _Beam:
        from asr.decoding.prefix.kernel import prefix_beam_search
        from asr.decoding.prefix.tree import regrown

        if not len(log_probs):
            return beam
        tree, nodes, num_nodes = regrown(beam.tree, beam.nodes, len(log_probs) * self.settings.beam)
        nodes, ctc = prefix_beam_search(log_probs, self.settings, self.text, tree, num_nodes, nodes, beam.ctc)
        return _Beam(tree, nodes, ctc)

    def _best_text(self, beam: _Beam) -> tuple[int, ...]:
        from asr.decoding.prefix.tree import spelled

        worth = beam.ctc[:, 0] + beam.tree.text[beam.nodes]
        best = beam.nodes[np.argsort(-worth, kind="stable")[:1]]
        return tuple(spelled(beam.tree.parent, beam.tree.token, beam.tree.length, best)[0].tolist())

    def _finish_one(self, beam: _Beam) -> list[Hypothesis]:
        from asr.decoding.prefix.tree import ends, spelled

        tree, nodes, ctc = beam
        states = (tree.ngram_state[nodes], tree.trie_node[nodes], tree.hot_state[nodes])
        end_lm, end_hot = ends(self.text, *states)
        tokens, lengths = spelled(tree.parent, tree.token, tree.length, nodes)
        flat = tokens.tolist()
        columns = {"ctc": ctc[:, 0], "lm": tree.lm[nodes] + end_lm, "hotwords": tree.hot[nodes] + end_hot}
        names = ("ctc", *self.names)
        parts = [columns[name].tolist() for name in names]
        hypotheses = []
        begin = 0
        for length, *values in zip(lengths.tolist(), *parts, strict=True):
            named = dict(zip(names, values, strict=True)) | {"length": self.settings.length_bonus * length}
            hypotheses.append(Hypothesis(tuple(flat[begin : begin + length]), sum(named.values()), named))
            begin += length
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


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
        return text._replace(kind=TOKENS, token_words=lm.token_words.astype(np.int32))
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
        letters=lexicon.token_letters,
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
        token_words=int32,
        child_begins=int64,
        child_letters=int32,
        child_nodes=int32,
        word_ids=int32,
        lookahead=float32,
        sink_lookahead=0.0,
        unk_score=0.0,
        letter_begins=int64,
        letters=int32,
        opens_word=np.zeros(0, np.bool_),
        has_hotwords=hotwords is not None,
        hot_start=hotwords.start if hotwords is not None else 0,
        hot_next=hotwords.next if hotwords is not None else np.zeros((0, 0), np.int64),
        hot_scores=hotwords.scores if hotwords is not None else np.zeros((0, 0)),
        hot_ends=hotwords.scores[:, end].copy() if hotwords is not None else np.zeros(0),
        hot_best=hotwords.scores.max(axis=1).clip(min=0.0) if hotwords is not None else np.zeros(0),
    )
