"""The worker that decodes with pyctcdecode and KenLM, in the environment of the peers."""

from __future__ import annotations

import math
import multiprocessing
from multiprocessing.pool import Pool
from typing import Any

import kenlm
import numpy as np
from pyctcdecode import Alphabet, BeamSearchDecoderCTC, LanguageModel

from tools.benchmarks.common import Stopwatch, serve, versions

LABELS_OF_SPECIAL_PIECES = ("", "▁⁇▁", "<s>", "</s>")  # blank and unk by the names that pyctcdecode knows


class PyCtcDecode:
    """The jobs of the worker."""

    def __init__(self) -> None:
        self._log_probs: list[np.ndarray] = []
        self._decoders: dict[bool, BeamSearchDecoderCTC] = {}  # by "with a language model"
        self._lm: Any = None
        self._pool: Pool | None = None

    def load(
        self, inputs: str, words: list[str], arpa: str | None, lm_weight: float, unk_score: float, processes: int
    ) -> dict[str, str]:
        """Take posteriors and language model; `unk_score` is a natural logarithm, pyctcdecode's a decadic one."""
        data = np.load(inputs)
        self._log_probs = list(data["log_probs"])
        pieces = data["pieces"].tolist()
        labels = [*LABELS_OF_SPECIAL_PIECES, *pieces[len(LABELS_OF_SPECIAL_PIECES) :]]
        alphabet = Alphabet(labels, is_bpe=True)
        self._decoders = {False: BeamSearchDecoderCTC(alphabet)}
        if arpa is not None:
            self._lm = kenlm.Model(arpa)
            offset = unk_score / math.log(10.0)
            model = LanguageModel(self._lm, words, alpha=lm_weight, beta=0.0, unk_score_offset=offset)
            self._decoders[True] = BeamSearchDecoderCTC(alphabet, model)
        self._pool = multiprocessing.get_context("fork").Pool(processes)  # inherits the decoders
        return versions(("pyctcdecode", "kenlm", "numpy"))

    def decode(
        self, with_lm: bool, beam: int, token_threshold: float, beam_threshold: float, at_once: bool, n_best: bool
    ) -> dict[str, Any]:
        """Texts of all utterances and the time that took: one after the other, or at once in the pool."""
        decoder = self._decoders[with_lm]
        settings = {"beam_width": beam, "token_min_logp": token_threshold, "beam_prune_logp": beam_threshold}
        watch = Stopwatch()
        with watch.running():
            if at_once:
                texts = decoder.decode_batch(self._pool, self._log_probs, **settings)
            elif n_best:
                texts = [decoder.decode_beams(log_probs, **settings)[0][0] for log_probs in self._log_probs]
            else:
                texts = [decoder.decode(log_probs, **settings) for log_probs in self._log_probs]
        return {"texts": texts, "seconds": watch.to_json()}

    def lm_scores(self, texts: list[str]) -> list[float]:
        """Natural logarithms of the sentences' probabilities, their ends included."""
        # word by word, as KenLM adds up a sentence in float32
        decadic = [math.fsum(score for score, _, _ in self._lm.full_scores(text, bos=True, eos=True)) for text in texts]
        return [score * math.log(10.0) for score in decadic]


if __name__ == "__main__":
    peer = PyCtcDecode()
    serve({"load": peer.load, "decode": peer.decode, "lm_scores": peer.lm_scores})
