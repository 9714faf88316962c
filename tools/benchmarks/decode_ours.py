"""The worker that decodes with our ctc_prefix_beam."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.decoding import SEARCHES
from asr.decoding.base import AnySearch, build_search
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.lm.ngram.arpa import read_arpa
from asr.lm.ngram.word_scorer import WordNgramScorer
from asr.text.tokenizer.base import SPACE, Spelling
from asr.text.tokenizer.sentence_piece import BLANK, EOS, SOS, UNK
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput
from tools.benchmarks.common import Stopwatch, serve, versions


def _vocabulary(pieces: list[str]) -> Vocabulary:
    return Vocabulary(tuple(pieces), blank=BLANK, unk=UNK, sos=SOS, eos=EOS)


class GivenPosteriors:
    """Stands where a CTC head would: the encoder's output is the posteriors already."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def log_probs(self, encoded: EncoderOutput) -> Tensor:
        """(B, S, V), as given."""
        return encoded.frames


class Ours:
    """The jobs of the worker."""

    def __init__(self) -> None:
        self._utterances: list[EncoderOutput] = []
        self._pieces: list[str] = []
        self._fusions: dict[bool, Fusion] = {False: NO_FUSION}  # by "with a language model"
        self._weights: dict[str, float] = {}

    def load(self, inputs: str, arpa: str | None, lm_weight: float, unk_score: float) -> dict[str, str]:
        """Take posteriors and language model."""
        data = np.load(inputs)
        log_probs = torch.from_numpy(data["log_probs"])
        lens = torch.full((len(log_probs),), log_probs.shape[1])
        self._utterances = [EncoderOutput(log_probs[i : i + 1], lens[i : i + 1]) for i in range(len(log_probs))]
        self._pieces = data["pieces"].tolist()
        if arpa is not None:
            scorer = WordNgramScorer(read_arpa(arpa), Spelling(_vocabulary(self._pieces)), unk_score)
            self._fusions[True] = Fusion(lm=scorer)
        self._weights = {"lm_weight": lm_weight, "unk_score": unk_score, "length_bonus": 0.0}
        return versions(("numpy", "torch", "numba"))

    def first_call(self) -> float:
        """Seconds that the first search takes: mostly compiling."""
        began = time.perf_counter()
        self._search({"beam": 10}, with_lm=True).search(self._utterances[0])
        return time.perf_counter() - began

    def decode(
        self, with_lm: bool, beam: int, token_threshold: float, beam_threshold: float, threads: int
    ) -> dict[str, Any]:
        """Best texts of all utterances and the time that took: one after the other, or as one batch if `threads`."""
        torch.set_num_threads(threads or 1)
        pruning = {"token_threshold": token_threshold, "beam_threshold": beam_threshold}
        search = self._search({"beam": beam, **pruning}, with_lm)
        batches = self._utterances
        if threads:
            frames, lens = (torch.cat([getattr(one, name) for one in batches]) for name in ("frames", "lens"))
            batches = [EncoderOutput(frames, lens)]
        watch = Stopwatch()
        with watch.running(), torch.inference_mode():
            best = [n_best[0] for batch in batches for n_best in search.search(batch)]
            texts = [self._text(hypothesis.tokens) for hypothesis in best]  # the peer's time has this in it
        return {"texts": texts, "scores": [hypothesis.score for hypothesis in best], "seconds": watch.to_json()}

    def _search(self, settings: Mapping[str, float], with_lm: bool) -> AnySearch:
        config = SEARCHES.config("ctc_prefix_beam").model_validate({**self._weights, **settings})
        return build_search(config, {"ctc": GivenPosteriors(_vocabulary(self._pieces))}, self._fusions[with_lm])

    def _text(self, tokens: Sequence[int]) -> str:
        return "".join(self._pieces[token] for token in tokens).replace(SPACE, " ").strip()


if __name__ == "__main__":
    ours = Ours()
    serve({"load": ours.load, "first_call": ours.first_call, "decode": ours.decode})
