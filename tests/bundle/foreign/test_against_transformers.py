"""Models that transformers makes, read by our own readers: the same numbers, the same texts.

`python -m tests.bundle.foreign.test_against_transformers` writes the committed values anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.bundle.foreign import read_foreign
from tests.bundle.foreign import test_hf_ctc as ctc
from tests.bundle.foreign import test_hf_whisper as whisper
from tests.bundle.foreign.ctc_files import ARCHITECTURES, PIECES, SIZES, VARIANTS, write_ctc, write_side_files
from tests.bundle.foreign.hf_files import pieces_of, whisper_config, whisper_generation, write_json, write_tokens

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra `oracles`)")
FOLDER = Path(whisper.__file__).parent
EVERY = {"frames": 7, "log_probs": 31}  # so many values are compared where transformers is not installed


@torch.no_grad()
def answers(model: Any, case: str) -> dict[str, Any]:
    """As `test_hf_whisper.answers`, by transformers."""
    num_bins, multilingual, _ = whisper.CASES[case]
    ids = {piece: token for token, piece in enumerate(pieces_of(multilingual=multilingual))}
    features = whisper.features_of(num_bins).transpose(1, 2)
    start = ids["<|startoftranscript|>"]
    frames = model.model.encoder(features).last_hidden_state
    tokens = torch.tensor([[start, *whisper.TOKENS]] * len(features))
    logits = model(encoder_outputs=(frames,), decoder_input_ids=tokens).logits
    logits[..., start] = -torch.inf  # our own never write it
    found: dict[str, Any] = {"frames": frames, "log_probs": logits.log_softmax(-1)}
    wanted = {"language": "en", "task": "transcribe"} if multilingual else {}
    settings = {"greedy": {"num_beams": 1}, "beam": {"num_beams": 4, "length_penalty": 0.0, "early_stopping": "never"}}
    for name, setting in settings.items():
        texts = model.generate(features, return_timestamps=False, max_new_tokens=30, **wanted, **setting)
        end = ids["<|endoftext|>"]
        found[name] = [text[: text.index(end)] if end in text else text for text in texts.tolist()]
    return found


@whisper.each_case
def test_frames_log_probabilities_and_texts_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    folder = whisper.written(case, tmp_path)
    theirs, loading = transformers.WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), "the files hold all that transformers looks for, and nothing else"
    expected, found = answers(theirs.eval(), case), whisper.answers(read_foreign(folder).bundle(), case)
    for name in ("frames", "log_probs"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)
    assert (found["greedy"], found["beam"]) == (expected["greedy"], expected["beam"])
    assert (found["greedy"], found["beam"]) == (whisper.EXPECTED[case]["greedy"], whisper.EXPECTED[case]["beam"])


def test_what_transformers_saves_is_read_whole_in_pieces_and_as_an_archive(tmp_path: Path) -> None:
    pieces = pieces_of(multilingual=True)
    torch.manual_seed(0)
    config = transformers.WhisperConfig(**{k: v for k, v in whisper_config(80, pieces).items() if k != "model_type"})
    model = transformers.WhisperForConditionalGeneration(config).eval()
    model.generation_config = transformers.GenerationConfig(**whisper_generation(pieces))
    features = whisper.features_of(80)
    with torch.no_grad():
        expected = model.model.encoder(features.transpose(1, 2)).last_hidden_state
    for kind in ("whole", "pieces", "archive"):
        folder = tmp_path / kind
        model.save_pretrained(folder, max_shard_size="20KB" if kind == "pieces" else "1GB")
        write_tokens(folder, pieces)
        if kind == "archive":
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        assert (folder / "model.safetensors.index.json").is_file() == (kind == "pieces")
        bundle = read_foreign(folder, archives=kind == "archive").bundle()
        with torch.no_grad():
            frames = bundle.model.encode(features, torch.full((3,), features.shape[1])).frames
        torch.testing.assert_close(frames, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def ctc_logits(folder: Path, case: str) -> list[Tensor]:
    """Of each waveform by itself (S, V), by transformers."""
    kind, _ = ctc.CASES[case]
    model, loading = getattr(transformers, ARCHITECTURES[kind]).from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), "the files hold all that transformers looks for, and nothing else"
    extract = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    inputs = [extract(wave.numpy(), sampling_rate=16000, return_tensors="pt") for wave in ctc.waveforms()]
    return [model.eval()(one.input_values).logits[0] for one in inputs]


@pytest.mark.parametrize("do_normalize", [True, False])
@ctc.each_case
def test_log_probabilities_of_ctc_are_those_of_transformers(case: str, do_normalize: bool, tmp_path: Path) -> None:
    folder = write_ctc(tmp_path, *ctc.CASES[case], do_normalize=do_normalize)
    found = ctc.log_probs(read_foreign(folder).bundle(), ctc.waveforms())
    for own, expected in zip(found, ctc_logits(folder, case), strict=True):
        torch.testing.assert_close(own, ctc.without_ends(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_texts_of_models_that_transformers_saves_are_those_of_its_tokenizer(
    kind: str, variant: str, tmp_path: Path
) -> None:
    name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}[kind]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES, **VARIANTS[variant])
    model = getattr(transformers, f"{name}ForCTC")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    write_side_files(tmp_path, {}, PIECES, {"do_normalize": True, "sampling_rate": 16000})
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    bundle = read_foreign(tmp_path).bundle()
    for wave, own in zip(ctc.waveforms(), ctc.log_probs(bundle, ctc.waveforms()), strict=True):
        extract = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
        with torch.no_grad():
            logits = model(extract(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_values).logits[0]
        logits[:, [1, 2]] = -torch.inf
        text = tokenizer.decode(logits.argmax(-1).tolist(), skip_special_tokens=True)
        best = [int(token) for token in torch.unique_consecutive(own.argmax(-1))]
        assert bundle.tokenizer.decode([token for token in best if token != 0]) == text
        assert text


def write_expected() -> None:
    """The values that test_hf_whisper.py and test_hf_ctc.py compare with."""
    import tempfile

    content: dict[str, Any] = {}
    for case in whisper.CASES:
        with tempfile.TemporaryDirectory() as folder:
            whisper.written(case, Path(folder))
            model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
        found = answers(model, case)
        samples = {name: rounded(found[name].flatten()[::every]) for name, every in EVERY.items()}
        content[case] = {"every": EVERY, **samples, "greedy": found["greedy"], "beam": found["beam"]}
    write_json(FOLDER / "expected_hf_whisper.json", content)
    content = {}
    for case in ctc.CASES:
        with tempfile.TemporaryDirectory() as folder:
            logits = ctc_logits(write_ctc(Path(folder), *ctc.CASES[case]), case)
        content[case] = [rounded(rows[::9].flatten()) for rows in logits]
        content[f"{case} frames"] = [len(rows) for rows in logits]
    write_json(FOLDER / "expected_hf_ctc.json", content)


def rounded(values: Tensor) -> list[float]:
    return [round(value, 7) for value in values.tolist()]


if __name__ == "__main__":
    write_expected()
