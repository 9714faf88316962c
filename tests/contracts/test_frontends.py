"""What every registered front-end promises: alone = batched, lengths, saved state, chunk by chunk = the whole."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from asr.errors import AudioError, ConfigError
from asr.features import FRONTENDS, Frontend, FrontendConfig, build_frontend
from asr.features.base import BaseFrontendConfig
from asr.lengths import pad_stack


def variant(name: str, **changes: object) -> BaseFrontendConfig:
    """A registered kind's tiny config with some values changed, validated again."""
    return TypeAdapter(FrontendConfig).validate_python(FRONTENDS.config(name).tiny().model_dump() | changes)


KALDI_CHANGES: tuple[dict[str, object], ...] = (
    {"cmvn": "utterance"},
    {"cmvn": "none", "use_energy": True},
    {"snip_edges": False},
    {"snip_edges": False, "frame_length_ms": 25.5},  # 51 samples: no sample is in the middle
    {"snip_edges": False, "frame_shift_ms": 40.0},  # windows that leave samples out
    {"frame_shift_ms": 40.0},
    {"frame_shift_ms": 0.5, "frame_length_ms": 6.5},
    {"level": {"over": "utterance"}},
    {"level": {"over": "running"}},
)
CONFIGS = {name: variant(name) for name in FRONTENDS.names()} | {
    f"{name} {changes}": variant(name, **changes) for name in ("fbank", "mfcc") for changes in KALDI_CHANGES
}
STREAMING = {name: config for name, config in CONFIGS.items() if build_frontend(config).streams}
WHOLE = {name: config for name, config in CONFIGS.items() if name not in STREAMING}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
each_streaming = pytest.mark.parametrize("config", STREAMING.values(), ids=STREAMING.keys())


def waveforms(*lengths: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(length, generator=generator, dtype=torch.float64) for length in lengths]


@functools.cache
def fitted(config: BaseFrontendConfig, dtype: torch.dtype = torch.float32) -> Frontend:
    frontend = build_frontend(config).to(dtype)
    if frontend.needs_statistics:
        rate = frontend.sample_rate
        frontend.fit(frontend.extract(waveform, rate, normalize=False) for waveform in waveforms(rate, 2 * rate))
    return frontend


def lengths_of(frontend: Frontend) -> list[int]:
    """Samples from none to some seconds, with those around the first frames' windows."""
    rate = frontend.sample_rate
    return [0, 1, 2, rate // 100, rate // 50, rate // 40 - 1, rate // 40, rate // 10 + 1, rate, 3 * rate + 17]


@each_config
def test_features_alone_equal_features_in_a_batch_padded_with_noise_and_padding_is_0(config):
    frontend = fitted(config, torch.float64)
    rows = waveforms(*lengths_of(frontend))
    padded, lens = pad_stack(rows)
    for row, length in zip(padded, lens, strict=True):
        row[length:] = waveforms(len(row) - int(length), seed=9)[0]
    features, feature_lens = frontend(padded, lens)
    assert feature_lens.tolist() == frontend.output_lens(lens).tolist()
    for row, length, waveform in zip(features, feature_lens, rows, strict=True):
        expected = frontend.extract(waveform, frontend.sample_rate)
        assert expected.shape == (length, frontend.num_features)
        torch.testing.assert_close(row[:length], expected, rtol=1e-9, atol=1e-9)
        assert not row[length:].any()


@each_config
def test_output_lens_gives_the_frames_for_every_number_of_samples(config):
    frontend = fitted(config)
    lens = torch.arange(0, frontend.sample_rate // 8)
    announced = frontend.output_lens(lens)
    assert announced.dtype == torch.int64
    assert announced.tolist() == [len(frontend.extract(torch.zeros(n), frontend.sample_rate)) for n in lens.tolist()]


@each_config
def test_frame_seconds_is_the_time_from_frame_to_frame(config):
    frontend = build_frontend(config)
    a_minute = torch.tensor([60 * frontend.sample_rate, 120 * frontend.sample_rate])
    first, second = frontend.output_lens(a_minute).tolist()
    if frontend.window_seconds is None:
        assert (second - first) * frontend.frame_seconds == pytest.approx(60)


@each_config
def test_statistics_are_saved_with_the_module_and_the_config_is_read_back(config):
    frontend = fitted(config)
    copy = build_frontend(TypeAdapter(FrontendConfig).validate_python(config.model_dump(mode="json")))
    assert copy.config == config
    copy.load_state_dict(frontend.state_dict())
    waveform = waveforms(2 * frontend.sample_rate)[0]
    assert torch.equal(
        copy.extract(waveform, frontend.sample_rate), frontend.extract(waveform.numpy(), frontend.sample_rate)
    )


@each_config
def test_digital_silence_and_full_scale_are_finite(config):
    frontend = fitted(config)
    for value in (0.0, 1.0, -1.0):
        assert frontend.extract(torch.full((frontend.sample_rate,), value), frontend.sample_rate).isfinite().all()


@each_config
def test_autocast_does_not_touch_the_features(config):
    frontend = fitted(config)
    waveform = waveforms(frontend.sample_rate)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = frontend.extract(waveform, frontend.sample_rate)
    assert torch.equal(inside, frontend.extract(waveform, frontend.sample_rate))


@each_config
def test_another_sample_rate_and_several_channels_are_refused(config):
    frontend = build_frontend(config)
    with pytest.raises(AudioError, match=rf"audio of 999 Hz given, but the features need {frontend.sample_rate} Hz"):
        frontend.extract(np.zeros(8000, dtype=np.float32), 999)
    with pytest.raises(AudioError, match=r"shape \(2, 8000\)"):
        frontend.extract(np.zeros((2, 8000), dtype=np.float32), frontend.sample_rate)


@each_streaming
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_stream_gives_the_features_of_the_whole_wherever_it_is_cut(config, data):
    num_samples = data.draw(st.integers(0, 900), "samples")
    cuts = sorted(data.draw(st.lists(st.integers(0, num_samples), max_size=12), "cuts"))
    waveform = waveforms(num_samples, seed=data.draw(st.integers(0, 99), "seed"))[0]
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        frontend = fitted(config, dtype)
        stream = frontend.stream()
        parts = [stream.push(waveform[a:b]) for a, b in zip([0, *cuts], [*cuts, num_samples], strict=True)]
        whole = frontend.extract(waveform, frontend.sample_rate)
        size = float(whole.abs().amax().clamp(min=1)) if len(whole) else 1.0
        joined = torch.cat([*parts, stream.finish()])
        torch.testing.assert_close(joined, whole, rtol=tolerance, atol=tolerance * size)


@each_streaming
def test_a_stream_sample_by_sample_gives_frames_early_and_keeps_little(config):
    frontend = fitted(config, torch.float64)
    waveform = waveforms(frontend.sample_rate)[0]
    stream = frontend.stream()
    parts, kept = [], 0
    for sample in waveform:
        parts.append(stream.push(sample[None]))
        kept = max(kept, sum(len(value) for value in vars(stream).values() if isinstance(value, Tensor)))
    expected = frontend.extract(waveform, frontend.sample_rate)
    early = torch.cat(parts)
    assert len(early) >= len(expected) - 1 - 0.1 / frontend.frame_seconds
    assert 0 < kept < frontend.sample_rate / 4
    torch.testing.assert_close(torch.cat([early, stream.finish()]), expected, rtol=1e-9, atol=1e-9)


@each_streaming
def test_a_stream_takes_arrays_and_refuses_several_channels(config):
    frontend = fitted(config)
    waveform = waveforms(frontend.sample_rate)[0].float()
    of_array, of_tensor = frontend.stream(), frontend.stream()
    assert torch.equal(of_array.push(waveform.numpy()), of_tensor.push(waveform))
    with pytest.raises(AudioError, match=r"shape \(2, 10\)"):
        of_array.push(np.zeros((2, 10), dtype=np.float32))


@pytest.mark.parametrize("config", WHOLE.values(), ids=WHOLE.keys())
def test_a_kind_that_needs_the_whole_utterance_refuses_to_stream_in_one_line(config):
    with pytest.raises(ConfigError, match=f"front-end '{config.name}' needs the whole utterance") as caught:
        build_frontend(config).stream()
    assert "\n" not in str(caught.value)
