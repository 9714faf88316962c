"""From audio or features to decoded text: the one way that transcription, evaluation, tuning and validation share.

    encode_waveforms   the only place that runs front-end and encoder over audio; alignment uses it, too
    decode_waveforms   waveforms, options per row -> encode_waveforms (once) -> decode_encoded -> words in seconds
    decode_encoded     encoder output, options per row -> search, alignment -> Decoded
    asr.bundle.corpus  batches of features that a data loader made -> encoder -> decode_encoded

Both entries share everything from the encoder's output on. Features alone do not say how loud the audio is, so their
words are in encoder frames; `PlacedWords.timed` makes seconds of them once the samples are at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.alignment.confidence import Measure, posterior
from asr.alignment.forced import align_texts
from asr.bundle.backends.base import Backend
from asr.bundle.loops import is_loop
from asr.bundle.words import PlacedWords, TokenPlaces, place_words
from asr.decoding.base import AnySearch, ctc_of
from asr.features import Frontend
from asr.lengths import pad_stack
from asr.models.asr_model import AsrModel
from asr.text.tokenizer import Tokenizer
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput, Hypothesis, Word

SHAPE_SECONDS = 0.64  # batches are as long as a multiple of it: kernels are compiled for each shape, and kept


class SpeechModel(Protocol):
    """What decoding uses of a bundle."""

    @property
    def frontend(self) -> Frontend: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def tokenizers(self) -> Mapping[str, Tokenizer]: ...

    @property
    def backend(self) -> Backend: ...

    @property
    def frame_seconds(self) -> float: ...

    def encoder_frames(self, num_samples: int) -> int: ...


@dataclass(frozen=True)
class DecodeOptions:
    """How one utterance of a batch is decoded. Rows with the same `searcher` are searched together."""

    searcher: AnySearch
    prompt: tuple[int, ...] | None = None  # what a decoder reads before it writes; None is what the search begins with
    measure: Measure = posterior  # of confidence
    drop_loops: bool = False  # `PlacedWords.without_loops`


@dataclass(frozen=True)
class Decoded:
    """What an utterance says."""

    n_best: list[Hypothesis]  # best first
    placed: PlacedWords  # the words of the best one in encoder frames
    words: tuple[Word, ...] = ()  # the same in seconds; () where the frames are unknown, or from features alone

    @property
    def text(self) -> str:
        """The words joined by single spaces."""
        return self.placed.text


NOTHING = Decoded([Hypothesis((), 0.0)], PlacedWords(()))  # of audio too short for the model


def decode_waveforms(
    bundle: SpeechModel, waveforms: Sequence[np.ndarray], options: Sequence[DecodeOptions]
) -> list[Decoded]:
    """Decode waveforms (num_samples,) float32 at the front-end's rate, one row each, in one batch.

    A row's answer does not depend on the others. One too short for the model has no text.
    """
    decoded = [NOTHING] * len(waveforms)
    rows = [row for row, waveform in enumerate(waveforms) if bundle.encoder_frames(len(waveform)) > 0]
    if not rows:
        return decoded
    encoded = encode_waveforms(bundle, [waveforms[row] for row in rows])
    window = _window_samples(bundle.frontend)

    def in_full(chosen: Sequence[int]) -> EncoderOutput:
        whole = [waveforms[rows[place]] for place in chosen]
        return encode_waveforms(bundle, [np.pad(waveform, (0, max(0, window - len(waveform)))) for waveform in whole])

    seconds = [len(waveforms[row]) / bundle.frontend.sample_rate for row in rows]
    results = decode_encoded(bundle, encoded, [options[row] for row in rows], in_full if window else None, seconds)
    for row, result in zip(rows, results, strict=True):
        words = result.placed.timed(waveforms[row], bundle.frontend.sample_rate, bundle.frame_seconds)
        decoded[row] = replace(result, words=words)
    return decoded


def encode_waveforms(bundle: SpeechModel, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
    """Front-end and encoder over waveforms (num_samples,) float32, one row each, on the backend's device."""
    padded, lens = pad_stack([torch.from_numpy(waveform) for waveform in waveforms])
    step = round(SHAPE_SECONDS * bundle.frontend.sample_rate)
    return bundle.backend.encode(F.pad(padded, (0, -padded.shape[1] % step)), lens)


def decode_encoded(
    bundle: SpeechModel,
    encoded: EncoderOutput,
    options: Sequence[DecodeOptions],
    in_full: Callable[[Sequence[int]], EncoderOutput] | None = None,
    seconds: Sequence[float] | None = None,
) -> list[Decoded]:
    """Search the encoder's output, one row of `options` each, and place the best hypotheses in it.

    `seconds` are those of the audio of each row, where silence was added to it.

    Models of fixed windows fall into loops more often where they are given less than a window. `in_full` encodes rows
    with all of it; those whose text looks like a loop are decoded again from that.
    """
    decoded = [NOTHING] * len(options)
    looped: list[int] = []
    for rows, part in _by_searcher(encoded, options):
        chosen = [options[row] for row in rows]
        vocabulary = chosen[0].searcher.vocabulary
        tokenizer = next((one for one in bundle.tokenizers.values() if one.vocabulary == vocabulary), bundle.tokenizer)
        n_best = _search(bundle.backend, part, chosen)
        audio_lens = None if seconds is None else [math.ceil(seconds[row] / bundle.frame_seconds) for row in rows]
        alignment = align_best(bundle.backend, part, vocabulary, n_best, audio_lens)
        for row, one, hypotheses, places in zip(rows, chosen, n_best, alignment, strict=True):
            placed = place_words(tokenizer, hypotheses[0].tokens, places, one.measure)
            if in_full is not None and is_loop(placed.text):
                looped.append(row)
            decoded[row] = Decoded(hypotheses, placed.without_loops() if one.drop_loops else placed)
    if in_full is not None and looped:
        whole = in_full(looped)
        again = decode_encoded(
            bundle, whole, [options[row] for row in looped], seconds=seconds and [seconds[row] for row in looped]
        )
        for row, better in zip(looped, again, strict=True):
            decoded[row] = better
    return decoded


def encode_in_full(
    bundle: SpeechModel, model: AsrModel, features: Tensor, lens: Tensor, rows: Sequence[int]
) -> EncoderOutput:
    """Some rows of features (B, T, F) with the silence at their ends drawn out to a whole window."""
    num_frames = int(bundle.frontend.output_lens(torch.tensor(_window_samples(bundle.frontend))))
    chosen = [features[row, : int(lens[row])] for row in rows]
    drawn_out = [torch.cat([row, row[-1:].expand(num_frames - len(row), -1)]) for row in chosen]
    device = next(model.parameters()).device
    return model.encode(torch.stack(drawn_out).to(device), torch.full((len(rows),), num_frames, device=device))


def _window_samples(frontend: Frontend) -> int:
    """Samples that a front-end takes at most; 0 for any number."""
    return round((frontend.window_seconds or 0.0) * frontend.sample_rate)


def search_encoded(
    bundle: SpeechModel, encoded: EncoderOutput, options: Sequence[DecodeOptions]
) -> list[list[Hypothesis]]:
    """An n-best list for every row; rows that share a searcher are searched in one batch."""
    n_best: list[list[Hypothesis]] = [[] for _ in options]
    for rows, part in _by_searcher(encoded, options):
        for row, hypotheses in zip(rows, _search(bundle.backend, part, [options[row] for row in rows]), strict=True):
            n_best[row] = hypotheses
    return n_best


def _by_searcher(encoded: EncoderOutput, options: Sequence[DecodeOptions]) -> Iterator[tuple[list[int], EncoderOutput]]:
    """The rows that share a searcher, and what the encoder made of them."""
    groups: dict[int, list[int]] = {}
    for row, chosen in enumerate(options):
        groups.setdefault(id(chosen.searcher), []).append(row)
    for rows in groups.values():
        yield rows, encoded if len(groups) == 1 else _select(encoded, rows)


def _select(encoded: EncoderOutput, rows: Sequence[int]) -> EncoderOutput:
    """Some rows, as long as the longest of them."""
    index = torch.tensor(rows, device=encoded.lens.device)
    lens = encoded.lens[index]
    longest = int(lens.max())
    intermediate = tuple(log_probs[index, :longest] for log_probs in encoded.intermediate)
    return EncoderOutput(encoded.frames[index, :longest], lens, intermediate)


def _search(backend: Backend, encoded: EncoderOutput, options: Sequence[DecodeOptions]) -> list[list[Hypothesis]]:
    """N-best lists of rows that share a searcher."""
    searcher = options[0].searcher
    prompts = [chosen.prompt for chosen in options]
    with backend.running():
        if any(prompt is not None for prompt in prompts):
            return searcher.search(encoded, prompts)
        return searcher.search(encoded)


def align_best(
    backend: Backend,
    encoded: EncoderOutput,
    vocabulary: Vocabulary,
    n_best: Sequence[Sequence[Hypothesis]],
    audio_lens: Sequence[int] | None = None,
) -> list[TokenPlaces]:
    """Where the best hypotheses' tokens, of this vocabulary, are, and how sure the model is of them.

    A CTC head knows both, and so does a decoder whose attention tells; other heads and searches know at most the
    frames. Frames are None where they are unknown and where the tokens do not fit. `audio_lens` count the frames of
    each row that hold audio, where silence was added to it.
    """
    texts = [hypotheses[0].tokens for hypotheses in n_best]
    heads = {head.id: head for head in backend.heads.values() if head.vocabulary == vocabulary}
    ctc = ctc_of(heads)
    if ctc is not None:  # as its `align` does, which would compute the same log-probabilities once more
        with backend.running():
            log_probs = ctc.log_probs(encoded).cpu()
        lens = encoded.lens.cpu()
        frames = align_texts(log_probs, lens, texts, vocabulary)
        return [TokenPlaces(own, row[:length]) for own, row, length in zip(frames, log_probs, lens, strict=True)]
    languages = [hypotheses[0].language for hypotheses in n_best]
    with backend.running():
        for head in heads.values():
            if hasattr(head, "place"):
                placed = head.place(encoded, texts, languages, audio_lens)
                return [TokenPlaces(own, None, likely, touching=True) for own, likely in placed]
            if (found := head.align(encoded, texts)) is not None:
                return [TokenPlaces(own) for own in found]
    spans = [hypotheses[0].spans for hypotheses in n_best]
    return [TokenPlaces(None if own is None else np.array(own, dtype=np.int64).reshape(-1, 2)) for own in spans]
