"""Sound of m4a, mp4, webm and others, read through PyAV, which writes them here, too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.audio.io import audio_info, load_audio, read_blocks
from asr.errors import AudioError

av = pytest.importorskip("av", reason="PyAV, of the extra 'media', is not installed")

RATE = 48000
MILLISECOND = 48  # samples; webm, wma and the beginning of a track in mp4 are timed no better
# Codec and options of the file, by name.
LOSSY: dict[str, tuple[str, dict[str, str]]] = {
    "a.m4a": ("aac", {}),
    "fast.m4a": ("aac", {"movflags": "faststart"}),
    "pieces.mp4": ("aac", {"movflags": "frag_keyframe+empty_moov"}),
    "a.3gp": ("aac", {}),
    "a.aac": ("aac", {}),
    "a.webm": ("libopus", {}),
    "live.webm": ("libopus", {"live": "1"}),  # tells no length, like what a browser records
    "a.wma": ("wmav2", {}),
    "a.ts": ("aac", {}),
    "a.ac3": ("ac3", {}),
}
# Samples by which encoders are late without a word about it in the file.
UNTOLD_DELAYS = {"pieces.mp4": 1024, "a.aac": 1024, "a.ts": 1024, "a.ac3": 256, "a.wma": 2048}
LOSSLESS = {
    "a.mov": "alac",
    "24.mov": "pcm_s24le",
    "a.mkv": "flac",
    "a.mka": "pcm_f32le",
    "a.avi": "pcm_u8",
    "16.avi": "pcm_s16le",
}


def tones(channels: int = 1, seconds: float = 3.0) -> np.ndarray:
    """(channels, num_samples): 300 Hz, 400 Hz and so on."""
    time = np.arange(round(RATE * seconds)) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 100 * c) * time) for c in range(channels)]).astype(np.float32)


def write(
    path: Path,
    codec: str,
    samples: np.ndarray,
    options: dict[str, str] | None = None,
    *,
    layout: str = "mono",
    start: float = 0.0,
    without: tuple[float, float] = (0.0, 0.0),
    video_seconds: float = 0.0,
) -> Path:
    """Encode (channels, num_samples), beginning at `start`, with the packets between two times left out."""
    with av.open(str(path), "w", options=options or {}) as container:
        video = _video_stream(container) if video_seconds else None
        stream = container.add_stream(codec, rate=RATE, layout=layout)
        stream.bit_rate = 192_000
        resampler = av.AudioResampler(format=stream.codec_context.format or "fltp", layout=layout, rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        if video is not None:
            _write_video(container, video, video_seconds)
        packets = [packet for part in resampler.resample(frame) for packet in stream.encode(part)]
        for packet in [*packets, *stream.encode(None)]:
            if not without[0] < packet.pts * packet.time_base < without[1]:
                packet.pts += round(start / packet.time_base)
                packet.dts = packet.pts
                container.mux(packet)
    return path


def _video_stream(container: Any) -> Any:
    stream = container.add_stream("mpeg4", rate=25)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    return stream


def _write_video(container: Any, stream: Any, seconds: float) -> None:
    for number in range(round(25 * seconds)):
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 32), dtype=np.uint8), format="yuv420p")
        picture.pts = number
        for packet in stream.encode(picture):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)


def chirp(seconds: float = 3.0) -> np.ndarray:
    """(1, num_samples): a tone that rises from 100 Hz to 3 kHz, so that every moment is like no other."""
    time = np.arange(round(RATE * seconds)) / RATE
    return (0.3 * np.sin(2 * np.pi * (100 + 1450 * time / seconds) * time))[None].astype(np.float32)


def delay(waveform: np.ndarray, expected: np.ndarray) -> int:
    """By how many samples a waveform is late: where the cross-correlation is greatest."""
    size = 1 << (len(waveform) + len(expected)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(waveform, size) * np.conj(np.fft.rfft(expected, size)))
    late = int(np.argmax(correlation))
    length = min(len(waveform), len(expected)) - abs(late)
    assert correlation[late] > 0.9 * np.square(expected[:length]).sum()
    return late if late < size // 2 else late - size


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_media_arrive_in_time_at_the_rate_asked_for(tmp_path: Path, name: str) -> None:
    codec, options = LOSSY[name]
    path = write(tmp_path / name, codec, chirp(), options)
    info = audio_info(path)
    assert (info.sample_rate, info.num_channels) == (RATE, 1)
    assert info.duration == pytest.approx(3.0, abs=0.05)
    waveform = load_audio(path, 16000)
    assert waveform.dtype == np.float32
    assert len(waveform) / 16000 == pytest.approx(info.duration, abs=0.05)
    assert delay(load_audio(path, RATE), chirp()[0]) == pytest.approx(UNTOLD_DELAYS.get(name, 0), abs=MILLISECOND)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_media_arrive_exactly(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, LOSSLESS[name], tones(2), layout="stereo")
    assert audio_info(path).num_samples == pytest.approx(3 * RATE, abs=20)  # avi counts in blocks
    step = 1 / 64 if LOSSLESS[name] == "pcm_u8" else 1 / 16384
    for channel in (0, 1):
        np.testing.assert_allclose(load_audio(path, RATE, channel=channel), tones(2)[channel], atol=step)
    np.testing.assert_allclose(load_audio(path, RATE), tones(2).mean(axis=0), atol=step)


def test_six_channels_are_picked_and_averaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", "flac", tones(6), layout="5.1")
    np.testing.assert_allclose(load_audio(path, RATE, channel=5), tones(6)[5], atol=1e-4)
    np.testing.assert_allclose(load_audio(path, RATE), tones(6).mean(axis=0), atol=1e-4)
    with pytest.raises(AudioError, match="no channel 6; channels 0 to 5 exist"):
        load_audio(path, channel=6)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mkv", "flac"), ("a.mov", "pcm_s16le")])
def test_a_stretch_is_the_same_samples_as_in_the_whole(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, codec, tones(seconds=5.0))
    whole = load_audio(path, RATE)
    part = load_audio(path, RATE, start=3.25, duration=0.5)
    np.testing.assert_allclose(part, whole[156000:180000], atol=2e-4)
    blocks = list(read_blocks(path, RATE, 0.2, start=3.25, duration=0.5))
    np.testing.assert_allclose(np.concatenate(blocks), part, atol=1e-6)
    assert [len(block) for block in blocks] == [9600, 9600, 4800]
    assert len(load_audio(path, RATE, start=4.5, duration=9.0)) == 24000
    with pytest.raises(AudioError, match=r"starts at 7\.000 s asked for, but ends at 5\.000 s"):
        load_audio(path, start=7.0)


def test_sound_that_begins_after_the_picture_keeps_its_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "aac", chirp(), start=0.5, video_seconds=4.0)
    waveform = load_audio(path, RATE)
    assert np.abs(waveform[: RATE // 2 - 2000]).max() == 0
    assert abs(delay(waveform, chirp()[0]) - RATE // 2) <= MILLISECOND


def test_missing_packets_become_silence_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.webm", "libopus", chirp(), without=(1.0, 2.0))
    waveform = load_audio(path, RATE)
    assert len(waveform) == pytest.approx(3 * RATE, abs=100)
    assert np.abs(waveform[round(1.1 * RATE) : round(1.9 * RATE)]).max() == 0
    assert abs(delay(waveform[2 * RATE :], chirp()[0, 2 * RATE :])) <= MILLISECOND


@pytest.mark.parametrize("name", ["a.m4a", "fast.m4a", "a.webm", "a.wma"])
def test_a_truncated_file_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    codec, options = LOSSY[name]
    path = write(tmp_path / name, codec, tones(), options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    for read in (load_audio, lambda path: list(read_blocks(path, 16000, 0.1))):
        with pytest.raises(AudioError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["fast.m4a", "a.webm"])
def test_damage_in_the_middle_is_an_error_and_not_silence(tmp_path: Path, name: str) -> None:
    codec, options = LOSSY[name]
    path = write(tmp_path / name, codec, tones(seconds=20.0), options)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + np.random.default_rng(0).bytes(9000) + data[middle + 9000 :])
    with pytest.raises(AudioError, match="the file is damaged"):
        load_audio(path)


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        _write_video(container, _video_stream(container), 1.0)
    with pytest.raises(AudioError, match=r"a\.mp4: the file has no audio track"):
        audio_info(path)


@pytest.mark.parametrize("content", [b"these are words\n" * 200, b"#EXTM3U\n#EXTINF:1,\nother.wav\n", bytes(5000)])
def test_what_is_no_media_file_is_told_and_playlists_are_not_followed(tmp_path: Path, content: bytes) -> None:
    soundfile.write(tmp_path / "other.wav", np.zeros(16000), 16000)
    path = tmp_path / "a.m4a"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.m4a: cannot be read as audio"):
        load_audio(path)


def test_media_under_a_false_name_and_odd_names_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.m4a", "aac", tones())
    for name in ("a.wav", "http:%20x.m4a"):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert len(load_audio(tmp_path / name)) == 48000


def shorten(samples: np.ndarray, block: int = 256) -> bytes:
    """Compress int16 samples as T. Robinson's "Shorten" (1994) does, by Rice codes of first differences."""
    bits: list[int] = []

    def unsigned(value: int, width: int) -> None:
        bits.extend([0] * (value >> width) + [1] + [value >> place & 1 for place in reversed(range(width))])

    def number(value: int) -> None:
        unsigned(value.bit_length(), 2)
        unsigned(value, value.bit_length())

    for value in (5, 1, block, 0, 0, 0):  # int16 low byte first, channels, block, no prediction, means, bytes skipped
        number(value)
    differences = np.diff(samples.astype(int), prepend=0)
    assert len(samples) % block == 0
    for first in range(0, len(samples), block):
        unsigned(1, 2)
        unsigned(6, 3)
        for value in differences[first : first + block].tolist():
            unsigned(value * 2 if value >= 0 else -value * 2 - 1, 7)
    unsigned(4, 2)
    return b"ajkg\x02" + np.packbits(np.array(bits, dtype=np.uint8)).tobytes()


@pytest.fixture
def shortened(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A SPHERE file compressed by shorten, as LDC published many corpora, and its samples."""
    samples = (tones(seconds=0.32)[0] * 32767).round().astype(np.int16)[: 256 * 60]
    header = (
        f"NIST_1A\n   1024\nsample_count -i {len(samples)}\nsample_rate -i {RATE}\nchannel_count -i 1\n"
        "sample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    )
    path = tmp_path / "a.sph"
    path.write_bytes(header.encode().ljust(1024) + shorten(samples))
    return path, samples


def test_sphere_compressed_by_shorten_is_read_to_the_sample(shortened: tuple[Path, np.ndarray]) -> None:
    path, samples = shortened
    np.testing.assert_array_equal(load_audio(path, RATE), samples / np.float32(32768))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(AudioError, match=r"the file ends after 0\.\d of 0\.3 s"):
        load_audio(path)


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.usefixtures("without_pyav")
def test_without_pyav_one_line_names_the_extra(shortened: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(b"anything")
    (tmp_path / "a.wav").write_bytes(b"anything else")
    reasons: dict[Path, str] = {
        tmp_path / "a.m4a": r"\.m4a is read by PyAV, which is not installed; run: pip install 'asr-toolkit\[media\]'",
        tmp_path / "a.wav": r"cannot be read as audio .* or run: pip install 'asr-toolkit\[media\]'",
        shortened[0]: r"cannot be read as audio \(SPHERE compressed by shorten\); .* 'asr-toolkit\[media\]'",
    }
    readers: tuple[Callable[[Path], object], ...] = (audio_info, load_audio)
    for path, reason in reasons.items():
        for read in readers:
            with pytest.raises(AudioError, match=reason) as caught:
                read(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)


def test_pyav_is_not_imported_before_it_is_needed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    code = "import sys, asr.audio.io; asr.audio.io.load_audio(sys.argv[1]); sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.wav")], check=False).returncode == 0


@pytest.mark.parametrize("name", ["a.m4a", "fast.m4a", "a.3gp", "a.aac", "a.webm", "live.webm", "a.ts", "a.wma"])
def test_two_recordings_joined_by_cat_are_both_read_or_refused(tmp_path: Path, name: str) -> None:
    codec, options = LOSSY[name]
    path = write(tmp_path / name, codec, chirp(), options)
    path.write_bytes(2 * path.read_bytes())
    if name in ("a.m4a", "fast.m4a", "a.3gp"):
        with pytest.raises(AudioError, match=rf"{name}: another recording follows the first"):
            load_audio(path)
    elif name == "a.wma":
        with pytest.raises(AudioError, match="ends after"):
            load_audio(path)
    else:
        assert len(load_audio(path, RATE)) == pytest.approx(6 * RATE, abs=0.1 * RATE)


def test_two_flv_files_joined_by_cat_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flv", "aac", chirp())
    assert len(load_audio(path, RATE)) == pytest.approx(3 * RATE, abs=0.1 * RATE)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(AudioError, match=r"a\.flv: another recording follows the first"):
        load_audio(path)


def test_a_stretch_of_webm_is_the_same_samples_though_its_times_are_in_milliseconds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.webm", "libopus", chirp(20.0))
    whole = load_audio(path, RATE)
    for start in (3.0, 12.345, 17.0):
        first = round(start * RATE)
        part = load_audio(path, RATE, start=start, duration=2.0)
        np.testing.assert_allclose(part, whole[first : first + 2 * RATE], atol=1e-3)
