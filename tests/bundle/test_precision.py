"""In which types a model runs: fewer bits for pretrained Whisper models alone, and nearly the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.decode import choose_decoding
from asr.bundle.foreign import import_model
from asr.bundle.precision import Precision, choose_precision
from asr.errors import BundleError, ConfigError
from asr.nn.low_precision import computes_int8
from asr.types import EncoderOutput
from tests.bundle.foreign.whisper_files import random_variables, write_model

CPU = torch.device("cpu")
LOWERED = ["bfloat16", *(["int8"] if computes_int8() else [])]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    write_model(folder / "source", random_variables())
    import_model(folder / "source", folder / "model")
    return folder / "model"


def answers(bundle: Bundle) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of noise, and log-probabilities of tokens after a few others."""
    waveforms = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 16000)).astype(np.float32))
    encoded = bundle.backend.encode(waveforms, torch.tensor([16000, 12000]))
    with bundle.backend.running():
        tokens = torch.tensor([[7, 3, 200], [11, 5, 9]])
        frames = EncoderOutput(encoded.frames.float(), encoded.lens)
        log_probs = bundle.model.heads["whisper"](frames, tokens, torch.tensor([3, 3]))
    return encoded.frames.float(), log_probs


@pytest.mark.parametrize("dtype", LOWERED)
def test_fewer_bits_answer_nearly_as_float32(whisper: Path, dtype: str) -> None:
    (exact, wanted), lowered = answers(Bundle.load(whisper)), Bundle.load(whisper, dtype=dtype)
    assert lowered.dtype == dtype
    frames, log_probs = answers(lowered)
    assert (frames - exact).square().mean() < 0.01 * exact.square().mean()
    assert frames.ne(exact).any()
    off = (log_probs.exp() - wanted.exp()).abs().amax()
    assert 0 < off < 0.1


def test_auto_is_fast_for_pretrained_models_and_exact_for_those_made_here(whisper: Path, tiny_workspace: Path) -> None:
    assert Bundle.load(whisper).dtype == "float32"
    assert Bundle.load(tiny_workspace / "model", dtype="auto").dtype == "float32"
    if computes_int8():
        assert "int8" in Bundle.load(whisper, dtype="auto").dtype


def test_a_lowered_model_is_read_from_a_damaged_file_no_more_than_another(whisper: Path, tmp_path: Path) -> None:
    for name in whisper.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(tmp_path, dtype="bfloat16")


def test_names_say_what_runs_in_what() -> None:
    assert Precision("bfloat16", "int8").name == "bfloat16+int8"
    assert Precision("int8", "int8").name == "int8"
    assert Precision(autocast=torch.bfloat16).name == "bfloat16"
    assert Precision().name == "float32"


def test_int8_is_refused_where_it_was_not_measured(tiny_workspace: Path) -> None:
    spec = Bundle.load(tiny_workspace / "model").spec
    with pytest.raises(ConfigError, match="for Whisper models on a CPU only"):
        choose_precision("int8", spec, CPU)
    with pytest.raises(ConfigError, match="dtype 'float64' is unknown"):
        choose_precision("float64", spec, CPU)


def test_rows_encoded_one_by_one_are_what_the_encoder_makes_of_the_batch(whisper: Path) -> None:
    bundle = Bundle.load(whisper)
    waveforms = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (3, 16000 * 9)).astype(np.float32))
    lens = torch.tensor([16000 * 9, 16000 * 2, 16000 * 5])
    encoded = bundle.backend.encode(waveforms, lens)
    with bundle.backend.running():
        expected = bundle.model.encode(*bundle.frontend(waveforms, lens))
    assert torch.equal(encoded.lens, expected.lens)
    for row, length in enumerate(encoded.lens.tolist()):
        torch.testing.assert_close(encoded.frames[row, :length], expected.frames[row, :length], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["auto", *LOWERED, "float32"])
def test_in_all_types_a_text_and_its_score_are_those_of_the_utterance_alone(whisper: Path, dtype: str) -> None:
    bundle = Bundle.load(whisper, dtype=dtype)
    options = choose_decoding(bundle, whisper).options(bundle, None)
    random = np.random.default_rng(0)
    waveforms = [random.normal(0, 0.1, size).astype(np.float32) for size in (16000, 60000, 25000, 90000)]
    together = bundle.decode(waveforms, [options] * len(waveforms))
    for waveform, one in zip(waveforms, together, strict=True):
        (alone,) = bundle.decode([waveform], [options])
        assert alone.n_best[0].tokens == one.n_best[0].tokens
        if dtype != "float32":  # whose products depend on how many rows there are
            assert alone.n_best[0].score == one.n_best[0].score
