"""The recognizer: same text however audio arrives, times inside the audio, any length in bounded memory."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asr import Recognizer
from asr.audio.io import load_audio
from asr.bundle.decode import Decoding, SearchRequest
from asr.bundle.recognition import DecodeOptions
from asr.decoding import SEARCHES
from asr.decoding.hotwords import Hotword
from asr.errors import AudioError, AudioWarning, ConfigError
from asr.models.encoders.conformer import ConformerConfig
from asr.system.runtime import derive_rng
from asr.text.tokenizer.sentence_piece import BLANK
from asr.text.vocabulary import Vocabulary
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import SegmentationConfig
from asr.types import EncoderOutput, Hypothesis, Transcript
from tests.tiny_models import tiny_model


def load(
    workspace: Path, *, search: str | None = None, max_batch_seconds: float = 60.0, **settings: float
) -> Recognizer:
    """A recognizer for sounds that no detector takes for speech."""
    segmentation = SegmentationConfig.model_validate({"vad": None, "overlap": 0.5, **settings})
    return Recognizer.load(
        workspace / "model", "cpu", search=search, segmentation=segmentation, max_batch_seconds=max_batch_seconds
    )


@pytest.fixture(scope="module")
def recognizer(tiny_workspace: Path) -> Recognizer:
    return load(tiny_workspace)


@pytest.fixture(scope="module")
def file(tiny_workspace: Path) -> Path:
    return tiny_workspace / "audio" / "5.wav"


class Fixed:
    """Finds the same tokens in everything."""

    def __init__(self, vocabulary: Vocabulary, tokens: Sequence[int]) -> None:
        self.vocabulary = vocabulary
        self.tokens = tuple(tokens)

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        return [[Hypothesis(self.tokens, 0.0)] for _ in encoded.lens]


def use(recognizer: Recognizer, searcher: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a recognizer search with this."""
    options = DecodeOptions(searcher, drop_loops=True)  # type: ignore[arg-type]
    monkeypatch.setattr(recognizer._spans, "decode_options", lambda _request: options)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Bursts of noise of changing colour and loudness, with pauses."""
    rng = derive_rng("recognizer test", seed)
    bursts = [
        np.cumsum(rng.normal(0, 0.05, 4000)) * rng.uniform(-0.1, 0.1) + rng.normal(0, rng.uniform(0, 0.2), 4000)
        for _ in range(round(seconds * 4))
    ]
    return np.concatenate(bursts).astype(np.float32)


def with_pauses(seconds: float) -> np.ndarray:
    """Sound with a pause of 0.3 s every 2 s."""
    waveform = sound(seconds)
    for start in range(1, int(seconds), 2):
        waveform[start * 16000 : start * 16000 + 4800] *= 0.001
    return waveform


def test_a_file_its_path_as_text_and_its_samples_give_the_same(recognizer: Recognizer, file: Path) -> None:
    transcript = recognizer.transcribe(file)
    assert transcript.text
    assert recognizer.transcribe(str(file)) == transcript
    assert recognizer.transcribe(load_audio(file, 16000)) == transcript


def test_another_rate_is_resampled(recognizer: Recognizer, file: Path, tmp_path: Path) -> None:
    samples, _ = soundfile.read(file, dtype="float32")
    soundfile.write(tmp_path / "slow.wav", samples, 8000)
    from_file = recognizer.transcribe(tmp_path / "slow.wav")
    assert from_file.segments[-1].end == pytest.approx(5.0, abs=0.1)
    decoded, _ = soundfile.read(tmp_path / "slow.wav", dtype="float32")
    assert recognizer.transcribe(decoded, sample_rate=8000).text == from_file.text


@pytest.mark.parametrize("search", ["ctc_greedy", "attention_greedy"])
def test_the_text_does_not_depend_on_the_batch(tiny_workspace: Path, search: str) -> None:
    waveform = sound(30)
    transcripts = [
        load(tiny_workspace, search=search, max_span=4.0, max_batch_seconds=budget).transcribe(waveform)
        for budget in (0.1, 9.0, 60.0)
    ]
    assert len(transcripts[0].segments) > 6
    first, *others = map(without_confidence, transcripts)
    assert all(other == first for other in others)


def without_confidence(transcript: Transcript) -> Transcript:
    """The rest of it: confidences and measures may differ in their last digits by the size of the batch."""
    return Transcript(
        tuple(
            replace(
                segment,
                confidence=None,
                measures={},
                words=tuple(replace(word, confidence=None) for word in segment.words),
            )
            for segment in transcript.segments
        )
    )


@pytest.mark.parametrize("search", ["ctc_greedy", "attention_greedy"])
def test_eight_threads_get_what_each_would_get_alone(tiny_workspace: Path, search: str) -> None:
    recognizer = load(tiny_workspace, search=search, max_span=4.0)
    waveforms = [sound(1 + 2 * (number % 3), seed=number) for number in range(16)]
    alone = [recognizer.transcribe(waveform) for waveform in waveforms]
    before = recognizer.engine.num_batches
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(recognizer.transcribe, waveforms))
    assert [without_confidence(one) for one in together] == [without_confidence(one) for one in alone]
    assert len({transcript.text for transcript in alone}) > 5
    assert recognizer.engine.num_batches - before < before  # they did share batches


def test_requests_of_one_recognizer_are_decoded_each_in_its_own_way(tiny_workspace: Path) -> None:
    recognizer = load(tiny_workspace, search="ctc_greedy")
    waveform = sound(6)
    plain = recognizer.transcribe(waveform).text
    options = {
        "plain": RequestOptions(),
        "hotwords": RequestOptions(SearchRequest("ctc_prefix_beam", hotwords=[Hotword("nine", 300.0)])),
        "attention": RequestOptions(SearchRequest("attention_greedy")),
        "noise": RequestOptions(min_confidence=1.0),
        "prompt": RequestOptions(SearchRequest("attention_greedy"), prompt="nine nine"),
    }
    handles = {name: recognizer.engine.submit(waveform, option) for name, option in options.items()}
    texts = {name: handle.result().text for name, handle in handles.items()}
    assert texts["plain"] == plain
    assert "nine" in texts["hotwords"]
    assert texts["attention"] == load(tiny_workspace, search="attention_greedy").transcribe(waveform).text != plain
    assert texts["noise"] == ""
    assert texts["prompt"] != texts["attention"]
    with pytest.raises(ConfigError, match="did you mean 'ctc_greedy'"):
        recognizer.engine.submit(waveform, RequestOptions(SearchRequest("ctc_gredy")))
    with pytest.raises(ConfigError, match="leave the language out"):
        recognizer.engine.submit(waveform, RequestOptions(language="en"))
    with pytest.raises(ConfigError, match="decoder"):
        recognizer.engine.submit(waveform, RequestOptions(prompt="nine"))


def test_tensors_lists_and_binary_files_are_transcribed_as_arrays_and_files_are(
    recognizer: Recognizer, file: Path
) -> None:
    waveform = sound(1)
    expected = recognizer.transcribe(waveform)
    tensor = torch.from_numpy(waveform).requires_grad_()
    for same in (tensor, tensor.double(), waveform.tolist(), tuple(waveform.tolist())):
        assert recognizer.transcribe(same) == expected
    rounded = tensor.bfloat16()
    assert recognizer.transcribe(rounded) == recognizer.transcribe(rounded.detach().float().numpy())
    assert recognizer.transcribe(io.BytesIO(file.read_bytes())) == recognizer.transcribe(file)
    with open(file, "rb") as opened:
        assert recognizer.transcribe(opened) == recognizer.transcribe(file)


def test_integers_as_floats_are_warned_about(recognizer: Recognizer) -> None:
    with pytest.warns(AudioWarning, match="array: samples reach"):
        recognizer.transcribe(32768 * sound(1))


def test_a_file_may_be_given_as_bytes(recognizer: Recognizer, file: Path) -> None:
    assert recognizer.transcribe(file.read_bytes()) == recognizer.transcribe(file)
    with pytest.raises(AudioError, match=r"bytes: .*[fF]ormat"):
        recognizer.transcribe(b"RIFF no audio")


def test_a_long_recording_gives_the_texts_of_its_spans(tiny_workspace: Path) -> None:
    recognizer = load(tiny_workspace, max_span=5.0)
    waveform = with_pauses(40)
    spans = list(recognizer.segmenter.spans([waveform]))
    assert len(spans) > 8
    alone = [recognizer.transcribe(span.waveform).text for span in spans]
    assert [segment.text for segment in recognizer.transcribe(waveform).segments] == alone


def test_times_are_in_order_and_inside_the_audio(tiny_workspace: Path) -> None:
    recognizer = load(tiny_workspace, max_span=5.0)
    transcript = recognizer.transcribe(sound(40))
    moments = [0.0]
    for segment in transcript.segments:
        assert segment.words
        assert " ".join(word.text for word in segment.words) == segment.text
        moments.append(segment.start)
        for word in segment.words:
            moments += [word.start, word.end]
        moments.append(segment.end)
    assert [*moments, 40.0] == sorted([*moments, 40.0])


@pytest.mark.parametrize("search", ["ctc_greedy", "attention_greedy"])
def test_words_of_any_search_are_timed_inside_their_segment(tiny_workspace: Path, search: str) -> None:
    recognizer = load(tiny_workspace, search=search, max_span=5.0)
    for segment in recognizer.transcribe(sound(20)).segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        moments = [segment.start, *(moment for word in segment.words for moment in (word.start, word.end)), segment.end]
        assert moments == sorted(moments)
        assert all(word.start < word.end for word in segment.words)
        assert segment.confidence == pytest.approx(np.mean([word.confidence for word in segment.words]))
        assert 0 <= segment.confidence <= 1


def test_words_stand_around_the_frames_where_the_ctc_head_hears_them(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = recognizer.bundle.tokenizer.encode("one two")
    frame = 0.010 * recognizer.bundle.model.subsampling_factor
    places = (2, 3, 4, 9, 15, 16, 17)
    assert len(tokens) == len(places)
    posteriors = torch.full((24, recognizer.bundle.tokenizer.vocab_size), 1e-4)
    posteriors[:, BLANK] = 1.0
    for place, token in zip(places, tokens, strict=True):
        posteriors[place, [BLANK, token]] = torch.tensor([0.2, 0.8])

    use(recognizer, Fixed(recognizer.bundle.tokenizer.vocabulary, tokens), monkeypatch)
    monkeypatch.setattr(recognizer.bundle.model.heads["ctc"], "log_probs", lambda _encoded: posteriors.log()[None])
    waveform = np.full(16000, 1e-6, dtype=np.float32)
    for first, last in ((0.07, 0.25), (0.55, 0.8)):
        waveform[round(first * 16000) : round(last * 16000)] = sound(1)[: round(last * 16000) - round(first * 16000)]
    (segment,) = recognizer.transcribe(waveform).segments
    one, two = segment.words
    assert (one.text, two.text) == ("one", "two")
    assert (one.start, one.end, two.start, two.end) == pytest.approx((0.07, 0.25, 0.55, 0.8), abs=0.02)
    assert one.start <= places[0] * frame
    assert one.end >= (places[2] + 1) * frame
    assert segment.confidence == pytest.approx(0.8)


def test_a_text_that_does_not_fit_its_audio_shares_the_time_and_is_not_trusted(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tuple(recognizer.bundle.tokenizer.encode("one two three four five six seven eight nine"))

    use(recognizer, Fixed(recognizer.bundle.tokenizer.vocabulary, tokens), monkeypatch)
    (segment,) = recognizer.transcribe(sound(1)).segments
    assert len(segment.words) == 9
    assert (segment.words[0].start, segment.words[-1].end) == (0.0, 1.0)
    assert {word.confidence for word in segment.words} == {0.0}


def test_a_model_without_ctc_gives_text_without_words(recognizer: Recognizer, file: Path) -> None:
    torch.manual_seed(6)  # weights that say something
    model = tiny_model("lstm", num_features=80, vocab_size=20, encoder=ConformerConfig())
    bundle = replace(recognizer.bundle, model=model.eval())
    attention = Recognizer(
        bundle,
        Decoding(SEARCHES.config("attention_greedy")()),
        device=torch.device("cpu"),
        segmentation=SegmentationConfig(vad=None),
    )
    (segment,) = attention.transcribe(file).segments
    assert segment.text
    assert (segment.words, segment.confidence) == ((), None)


@pytest.mark.parametrize("num_samples", [0, 1, 399])
def test_audio_too_short_for_the_model_gives_an_empty_transcript(recognizer: Recognizer, num_samples: int) -> None:
    assert recognizer.transcribe(sound(1)[:num_samples]) == Transcript(())


@pytest.mark.parametrize("search", ["ctc_greedy", "attention_greedy"])
def test_digital_silence_ends(tiny_workspace: Path, search: str) -> None:
    recognizer = load(tiny_workspace, search=search)
    transcript = recognizer.transcribe(np.zeros(16000 * 50, dtype=np.float32))
    assert all(segment.end <= 50 for segment in transcript.segments)


def test_one_feature_frame_is_enough_not_to_crash(recognizer: Recognizer) -> None:
    assert len(recognizer.transcribe(sound(1)[:400]).segments) <= 1


@pytest.mark.parametrize(
    ("waveform", "complaint"),
    [
        (np.zeros((2, 16000), dtype=np.float32), r"\(2, 16000\)"),
        (np.zeros(16000, dtype=np.int16), "divide int16 samples by 32768"),
        (np.full(16000, np.inf, dtype=np.float32), "infinite"),
        (np.full(16000, 3e38, dtype=np.float32), r"the waveform: sample 0 \(at 0\.000 s\) is 3e\+38"),
        (torch.zeros(1, 16000), r"\(1, 16000\)"),
        (torch.zeros(16000, dtype=torch.int16), "divide int16 samples by 32768"),
        ([0, 1, 2], "got int64"),
        (["a.wav", "b.wav"], "float samples"),
        ([[0.0], [0.0, 1.0]], "got list"),
        (None, "got NoneType"),
        (io.StringIO("text"), "mode 'rb'"),
        (io.BytesIO(b"RIFF no audio"), "bytes: cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_array_that_is_no_waveform_is_refused(recognizer: Recognizer, waveform: Any, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint):
        recognizer.transcribe(waveform)


def test_a_sample_rate_below_one_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(AudioError, match="sample rate 0"):
        recognizer.transcribe(sound(1), sample_rate=0)


def test_double_precision_samples_are_taken(recognizer: Recognizer) -> None:
    waveform = sound(2)
    assert recognizer.transcribe(waveform.astype(np.float64)) == recognizer.transcribe(waveform)


def test_unknown_settings_name_the_known_ones(tiny_workspace: Path) -> None:
    model = tiny_workspace / "model"
    with pytest.raises(ConfigError, match="did you mean 'ctc_greedy'"):
        Recognizer.load(model, search="ctc_gredy")
    with pytest.raises(ConfigError, match="did you mean 'max_tokens_per_frame'"):
        Recognizer.load(model, search=SearchRequest("attention_greedy", ["search.max_tokens_per_fram=2"]))
    with pytest.raises(ConfigError, match="bfloat16"):
        Recognizer.load(model, dtype="float16")


def test_segments_come_while_the_rest_of_the_file_is_unread(
    tiny_workspace: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks_read = 0

    def endless(*_: object, **_options: object) -> Iterator[np.ndarray]:
        nonlocal blocks_read
        while True:
            blocks_read += 1
            yield sound(10, blocks_read)

    monkeypatch.setattr("asr.transcribe.recordings.read_blocks", endless)
    recognizer = load(tiny_workspace, max_batch_seconds=40.0)
    segments = recognizer.stream_segments(file)
    assert [next(segments).text for _ in range(4)]
    assert blocks_read < 100


@pytest.mark.slow
def test_an_hour_is_transcribed_in_bounded_memory(recognizer: Recognizer, tmp_path: Path) -> None:
    minute = sound(60)
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 16000, 1) as hour:
        for _ in range(60):
            hour.write(minute)
    recognizer.transcribe(minute)  # what a short file needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    transcript = recognizer.transcribe(tmp_path / "hour.flac")
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert transcript.segments[-1].end == pytest.approx(3600, abs=20)
    assert growth_mib < 150  # the samples alone are 220 MiB
