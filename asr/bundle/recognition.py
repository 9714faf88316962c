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
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from asr.alignment.confidence import Measure, posterior
from asr.alignment.forced import align_texts
from asr.bundle.backends.base import Backend
from asr.bundle.guard import Clips, end_with_clip, is_doubtful, is_suspicious, rank
from asr.bundle.words import PlacedWords, TokenPlaces, place_words
from asr.decoding.base import AnySearch, ctc_of, decoder_of
from asr.decoding.sampling import sample
from asr.decoding.whole import distinct
from asr.errors import AudioError
from asr.features import Frontend
from asr.lengths import pad_stack
from asr.system.libraries import give_freed_memory_back
from asr.text.tokenizer import Tokenizer
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput, Hypothesis, Word

LONG_SECONDS = 15.0
LATE_SECONDS = 0.1  # that the last word may end after the timestamp behind it
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
    prompt_of: Callable[[str], tuple[int, ...]] | None = None  # without a prompt: that of the language that is found
    speech_end: float | None = None  # seconds into the audio, where a detector tells
    place: str = ""  # of the utterance in the data: random draws depend on it


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
    chosen = [waveforms[row] for row in rows]
    ends = [options[row].speech_end for row in rows]
    encoded = encode_waveforms(bundle, chosen)
    has_windows = bundle.frontend.window_seconds is not None
    if has_windows:  # the decoder needs other sizes, and large ones
        give_freed_memory_back()
    results = decode_encoded(bundle, encoded, [options[row] for row in rows], clips_of(bundle, chosen, ends))
    for row, result in zip(rows, results, strict=True):
        words = result.placed.timed(waveforms[row], bundle.frontend.sample_rate, bundle.frame_seconds)
        end = _text_end(result.n_best[0], len(waveforms[row]) / bundle.frontend.sample_rate, bundle.frame_seconds)
        decoded[row] = replace(
            result, words=tuple(replace(word, end=max(word.start, min(word.end, end))) for word in words)
        )
    return decoded


def clips_of(
    bundle: SpeechModel, waveforms: Sequence[np.ndarray], speech_ends: Sequence[float | None] | None = None
) -> Clips | None:
    """The audio behind rows of a model that hears windows of a fixed length; None for other models."""
    window = window_samples(bundle.frontend)
    if not window:
        return None

    def in_full(rows: Sequence[int]) -> EncoderOutput:
        padded = [np.pad(waveforms[row], (0, max(0, window - len(waveforms[row])))) for row in rows]
        return encode_waveforms(bundle, padded)

    seconds = [len(waveform) / bundle.frontend.sample_rate for waveform in waveforms]
    is_whole = bundle.encoder_frames(1) == bundle.encoder_frames(window)
    ends = [
        length if end is None else end
        for end, length in zip(speech_ends or [None] * len(seconds), seconds, strict=True)
    ]
    return Clips(seconds, ends, None if is_whole else in_full)


def encode_waveforms(bundle: SpeechModel, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
    """Front-end and encoder over waveforms (num_samples,) float32, one row each, on the backend's device.

    AudioError for one longer than the model's window: the rest of it would be passed over in silence.
    """
    window, rate = window_samples(bundle.frontend), bundle.frontend.sample_rate
    if window and (longest := max(map(len, waveforms), default=0)) > window:
        raise AudioError(
            f"audio of {longest / rate:.1f} s given, but the model takes {window / rate:g} s at most; cut it"
        )
    padded, lens = pad_stack([torch.from_numpy(waveform) for waveform in waveforms])
    step = round(SHAPE_SECONDS * bundle.frontend.sample_rate)
    return bundle.backend.encode(F.pad(padded, (0, -padded.shape[1] % step)), lens)


def decode_encoded(
    bundle: SpeechModel, encoded: EncoderOutput, options: Sequence[DecodeOptions], clips: Clips | None = None
) -> list[Decoded]:
    """Search the encoder's output, one row of `options` each, and place the best hypotheses in it.

    With `clips`, of models of fixed windows, texts end where their audio ends, and those that cannot be trusted are
    decoded again, all together, from whole windows.
    """
    options = _with_languages(bundle, encoded, options)
    decoded = [NOTHING] * len(options)
    for rows, part, n_best in _searched(bundle, encoded, options, clips):
        chosen = [options[row] for row in rows]
        tokenizer = _tokenizer_of(bundle, chosen[0].searcher)
        audio_lens = None if clips is None else _text_ends(clips.select(rows), n_best, bundle.frame_seconds)
        alignment = align_best(bundle.backend, part, tokenizer.vocabulary, n_best, audio_lens)
        for row, one, hypotheses, places in zip(rows, chosen, n_best, alignment, strict=True):
            placed = place_words(tokenizer, hypotheses[0].tokens, places, one.measure)
            decoded[row] = Decoded(hypotheses, placed.without_loops() if one.drop_loops else placed)
    return decoded


def _text_ends(clips: Clips, n_best: Sequence[Sequence[Hypothesis]], frame_seconds: float) -> list[int]:
    """The encoder frames in which the best texts of clips are: a model may stop writing before its clip ends.

    The last word would otherwise span all that follows it, which would hide that text is missing.
    """
    frames = []
    for (hypothesis, *_), seconds in zip(n_best, clips.seconds, strict=True):
        most = math.ceil(seconds / frame_seconds)
        text_end = math.ceil(_text_end(hypothesis, seconds, frame_seconds) / frame_seconds)
        frames.append(max(text_end, min(most, len(hypothesis.tokens) + 1)))
    return frames


def _text_end(hypothesis: Hypothesis, seconds: float, frame_seconds: float) -> float:
    """Seconds into a clip where a text ends at the latest."""
    if not hypothesis.segments:
        return seconds
    return min(seconds, hypothesis.segments[-1].end * frame_seconds + LATE_SECONDS)


def search_encoded(
    bundle: SpeechModel, encoded: EncoderOutput, options: Sequence[DecodeOptions], clips: Clips | None = None
) -> list[list[Hypothesis]]:
    """An n-best list for every row, as `decode_encoded` finds it."""
    options = _with_languages(bundle, encoded, options)
    n_best: list[list[Hypothesis]] = [[] for _ in options]
    for rows, _, found in _searched(bundle, encoded, options, clips):
        for row, hypotheses in zip(rows, found, strict=True):
            n_best[row] = hypotheses
    return n_best


def _with_languages(
    bundle: SpeechModel, encoded: EncoderOutput, options: Sequence[DecodeOptions]
) -> list[DecodeOptions]:
    """The options with a prompt for each row whose language is to be found."""
    settled = list(options)
    rows = [row for row, one in enumerate(options) if one.prompt is None and one.prompt_of is not None]
    if not rows:
        return settled
    decoder: Any = decoder_of(bundle.backend.heads)
    with bundle.backend.running():
        found = decoder.detect_language(_select(encoded, rows)).argmax(1).tolist()
    codes = list(decoder.languages)
    for row, place in zip(rows, found, strict=True):
        prompt_of = options[row].prompt_of
        assert prompt_of is not None
        settled[row] = replace(options[row], prompt=prompt_of(codes[place]))
    return settled


def _searched(
    bundle: SpeechModel, encoded: EncoderOutput, options: Sequence[DecodeOptions], clips: Clips | None
) -> Iterator[tuple[list[int], EncoderOutput, list[list[Hypothesis]]]]:
    """Rows that share a searcher, what the encoder made of them at last, and n-best lists that can be trusted."""
    again: list[int] = []
    window = bundle.encoder_frames(window_samples(bundle.frontend))
    for rows, part in _by_searcher(encoded, options):
        n_best = _search(bundle.backend, part, [options[row] for row in rows])
        if clips is not None:
            tokenizer, own = _tokenizer_of(bundle, options[rows[0]].searcher), clips.select(rows)
            n_best = _end_with_clips(n_best, tokenizer, own, bundle.frame_seconds)
            is_whole = (part.lens >= window).tolist()
            doubtful = _doubtful(n_best, tokenizer, own, is_whole, bundle.frame_seconds)
            if from_whole := [place for place in doubtful if is_whole[place]]:
                _try_temperatures(bundle, part, [options[row] for row in rows], own, n_best, from_whole)
            if from_less := [place for place in doubtful if not is_whole[place]]:
                again += [rows[place] for place in from_less]
                kept = [place for place in range(len(rows)) if place not in from_less]
                rows, n_best = [rows[place] for place in kept], [n_best[place] for place in kept]
                part = _select(part, kept) if kept else part
        if rows:
            yield rows, part, n_best
    if again and clips is not None and clips.in_full is not None:
        whole = clips.in_full(again)
        for rows, part, n_best in _searched(bundle, whole, [options[row] for row in again], clips.select(again)):
            yield [again[row] for row in rows], part, n_best


def _doubtful(
    n_best: Sequence[Sequence[Hypothesis]],
    tokenizer: Tokenizer,
    clips: Clips,
    is_whole: Sequence[bool],
    frame_seconds: float,
) -> list[int]:
    """Places of the texts that cannot be trusted, of whole windows or of less."""
    best = zip((hypotheses[0] for hypotheses in n_best), clips.seconds, clips.speech_ends, is_whole, strict=True)
    return [
        place
        for place, (hypothesis, seconds, end, whole) in enumerate(best)
        if (
            is_suspicious(hypothesis, tokenizer, seconds)
            if whole
            else is_doubtful(hypothesis, tokenizer, seconds, 0.0 if is_long(seconds) else end, frame_seconds)
        )
    ]


def is_long(seconds: float) -> bool:
    """Whether so much audio is expected to end inside a sentence, which the model then leaves to whom decodes the rest.

    What a model leaves of less is a mistake for want of context.
    """
    return seconds >= LONG_SECONDS


def _try_temperatures(
    bundle: SpeechModel,
    encoded: EncoderOutput,
    options: Sequence[DecodeOptions],
    clips: Clips,
    n_best: list[list[Hypothesis]],
    doubtful: Sequence[int],
) -> None:
    """Replace n-best lists of places by texts drawn at random: the first to be trusted, else the best by `rank`."""
    searcher = options[0].searcher
    if searcher.fallback is None:
        return
    tokenizer = _tokenizer_of(bundle, searcher)
    tried = {place: [n_best[place][0]] for place in doubtful}
    left = list(doubtful)
    for temperature in searcher.fallback.temperatures:
        part, prompts = _select(encoded, left), [options[place].prompt for place in left]
        with bundle.backend.running():
            drawn = sample(searcher.fallback, temperature, part, prompts, [options[place].place for place in left])
        ended = _end_with_clips(drawn, tokenizer, clips.select(left), bundle.frame_seconds)
        for place, hypotheses in zip(list(left), ended, strict=True):
            if is_suspicious(hypotheses[0], tokenizer, clips.seconds[place]):
                tried[place].append(hypotheses[0])
            else:
                n_best[place] = hypotheses
                left.remove(place)
        if not left:
            return
    for place in left:
        n_best[place] = [min(tried[place], key=partial(rank, tokenizer=tokenizer, seconds=clips.seconds[place]))]


def _tokenizer_of(bundle: SpeechModel, searcher: AnySearch) -> Tokenizer:
    """The one of the tokens that a search writes."""
    own = (one for one in bundle.tokenizers.values() if one.vocabulary == searcher.vocabulary)
    return next(own, bundle.tokenizer)


def _end_with_clips(
    n_best: Sequence[Sequence[Hypothesis]], tokenizer: Tokenizer, clips: Clips, frame_seconds: float
) -> list[list[Hypothesis]]:
    return [
        distinct(end_with_clip(hypothesis, tokenizer, seconds, frame_seconds) for hypothesis in hypotheses)
        for hypotheses, seconds in zip(n_best, clips.seconds, strict=True)
    ]


def window_samples(frontend: Frontend) -> int:
    """Samples that a front-end takes at most; 0 for any number."""
    return round((frontend.window_seconds or 0.0) * frontend.sample_rate)


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
