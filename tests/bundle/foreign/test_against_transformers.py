"""Models that transformers makes, read by our own readers: the same numbers, the same texts.

`python -m tests.bundle.foreign.test_against_transformers` writes the committed values anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from asr.bundle.foreign import read_foreign
from tests.bundle.foreign import test_hf_whisper as whisper
from tests.bundle.foreign.hf_files import pieces_of, whisper_config, whisper_generation, write_json, write_tokens

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra `oracles`)")
EXPECTED = Path(whisper.__file__).parent / "expected_hf_whisper.json"
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


def write_expected() -> None:
    """The values that test_hf_whisper.py compares with."""
    import tempfile

    content = {}
    for case in whisper.CASES:
        with tempfile.TemporaryDirectory() as folder:
            whisper.written(case, Path(folder))
            model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
        found = answers(model, case)
        samples = {
            name: [round(x, 7) for x in found[name].flatten()[::every].tolist()] for name, every in EVERY.items()
        }
        content[case] = {"every": EVERY, **samples, "greedy": found["greedy"], "beam": found["beam"]}
    write_json(EXPECTED, content)


if __name__ == "__main__":
    write_expected()
