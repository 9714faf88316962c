"""CTC prefix beam search by the compiled kernel: one utterance at a time on each of torch's CPU threads."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotwordScorer
from asr.decoding.prefix.settings import PrefixBeamSettings
from asr.lm.ngram.model import NgramModel
from asr.lm.ngram.token_scorer import TokenNgramScorer
from asr.lm.ngram.word_scorer import WordNgramScorer
from asr.system.threads import takes_signals
from asr.text.vocabulary import EOS
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


class CompiledPrefixBeam:
    """The search over arrays laid out once for its language model and hotwords."""

    def __init__(self, settings: PrefixBeamSettings, fusion: Fusion) -> None:
        from asr.decoding.prefix.kernel import Settings

        self.text = _text_scores(settings, fusion)
        self.names = (*(["lm"] if self.text.kind else []), *(["hotwords"] if fusion.hotwords is not None else []))
        self.settings = Settings(
            settings.beam, settings.length_bonus, settings.token_threshold, settings.beam_threshold
        )

    def search(self, log_probs: Tensor, lens: Tensor) -> list[list[Hypothesis]]:
        """N-best lists for log-probabilities (B, S, V) on the CPU, of lengths (B,)."""
        values = log_probs.detach().double().numpy()
        utterances = [values[row, :length] for row, length in enumerate(lens.tolist())]
        num_threads = min(torch.get_num_threads(), len(utterances))
        if num_threads <= 1 and not takes_signals():
            return [self._search_one(utterance) for utterance in utterances]
        # The kernel runs without Python's lock, and never on the main thread: see `asr.system.threads`.
        with ThreadPoolExecutor(max(1, num_threads)) as pool:
            return list(pool.map(self._search_one, utterances))

    def _search_one(self, log_probs: np.ndarray) -> list[Hypothesis]:
        from asr.decoding.prefix.kernel import ends, prefix_beam_search, spelled

        tree, beam, ctc = prefix_beam_search(log_probs, self.settings, self.text)
        end_lm, end_hot = ends(self.text, tree, beam)
        tokens, lengths = spelled(tree, beam)
        flat = tokens.tolist()
        columns = {"ctc": ctc, "lm": tree.lm[beam] + end_lm, "hotwords": tree.hot[beam] + end_hot}
        names = ("ctc", *self.names)
        parts = [columns[name].tolist() for name in names]
        hypotheses = []
        begin = 0
        for length, *values in zip(lengths.tolist(), *parts, strict=True):
            named = dict(zip(names, values, strict=True)) | {"length": self.settings.length_bonus * length}
            hypotheses.append(Hypothesis(tuple(flat[begin : begin + length]), sum(named.values()), named))
            begin += length
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def _text_scores(settings: PrefixBeamSettings, fusion: Fusion) -> TextScores:
    """The arrays of a fusion; a language model without weight is left out."""
    from asr.decoding.prefix.text_scores import TOKENS, WORDS

    text = _hotwords_alone(fusion.hotwords)._replace(weight=settings.lm_weight)
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


def _hotwords_alone(hotwords: object) -> TextScores:
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
        hot_ends=hotwords.scores[:, EOS].copy() if hotwords is not None else np.zeros(0),
        hot_best=hotwords.scores.max(axis=1).clip(min=0.0) if hotwords is not None else np.zeros(0),
    )
