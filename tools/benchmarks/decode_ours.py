"""The worker that decodes with our ctc_prefix_beam."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.decoding import SEARCHES
from asr.decoding.base import Searcher, build_search
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.types import EncoderOutput
from tools.benchmarks.common import Stopwatch, serve, versions


class GivenPosteriors:
    """Stands where a model would: the encoder's output is the posteriors already."""

    ctc_head = object()
    decoder = None
    training = False

    def ctc_log_probs(self, encoded: EncoderOutput) -> Tensor:
        """(B, S, V), as given."""
        return encoded.frames


class Ours:
    """The jobs of the worker."""

    def __init__(self) -> None:
        self._utterances: list[EncoderOutput] = []
        self._pieces: list[str] = []
        self._fusions: dict[bool, Fusion] = {False: NO_FUSION}  # by "with a language model"
        self._settings: dict[str, float] = {}

    def load(self, inputs: str, arpa: str | None, lm_weight: float, unk_score: float) -> dict[str, str]:
        """Take posteriors and language model."""
        data = np.load(inputs)
        log_probs = torch.from_numpy(data["log_probs"])
        lens = torch.full((len(log_probs),), log_probs.shape[1])
        self._utterances = [EncoderOutput(log_probs[i : i + 1], lens[i : i + 1]) for i in range(len(log_probs))]
        self._pieces = data["pieces"].tolist()
        self._settings = {"lm_weight": lm_weight, "unk_score": unk_score}
        return versions(("numpy", "torch", "numba"))

    def first_call(self, with_lm: bool, beam: int) -> float:
        """Seconds that the first search of a fresh process takes: mostly compiling."""
        began = time.perf_counter()
        self._search(with_lm, beam, -5.0, -10.0).search(self._utterances[0])
        return time.perf_counter() - began

    def decode(
        self, with_lm: bool, beam: int, token_threshold: float, beam_threshold: float, threads: int
    ) -> dict[str, Any]:
        """Best tokens of all utterances and the time that took: one after the other, or as one batch if `threads`."""
        torch.set_num_threads(threads or 1)
        search = self._search(with_lm, beam, token_threshold, beam_threshold)
        batches = self._utterances
        if threads:
            frames, lens = (torch.cat([getattr(one, name) for one in batches]) for name in ("frames", "lens"))
            batches = [EncoderOutput(frames, lens)]
        watch = Stopwatch()
        with watch.running(), torch.inference_mode():
            best = [n_best[0] for batch in batches for n_best in search.search(batch)]
            for hypothesis in best:  # the peer's time has this in it
                "".join(self._pieces[token] for token in hypothesis.tokens)
        return {
            "tokens": [hypothesis.tokens for hypothesis in best],
            "scores": [hypothesis.score for hypothesis in best],
            "seconds": watch.to_json(),
        }

    def _search(self, with_lm: bool, beam: int, token_threshold: float, beam_threshold: float) -> Searcher:
        config = SEARCHES.config("ctc_prefix_beam").model_validate(
            {
                **self._settings,
                "beam": beam,
                "length_bonus": 0.0,
                "token_threshold": token_threshold,
                "beam_threshold": beam_threshold,
            }
        )
        return build_search(config, GivenPosteriors(), self._fusions[with_lm])


if __name__ == "__main__":
    ours = Ours()
    serve({"load": ours.load, "first_call": ours.first_call, "decode": ours.decode})
