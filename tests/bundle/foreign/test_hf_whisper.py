"""Whisper models of the hub: what transformers computes of them, and what is refused.

The numbers in expected_hf_whisper.json are those of transformers 5.24; test_against_transformers.py makes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.bundle.foreign import import_model, read_foreign
from asr.decoding.attention_beam import AttentionBeamConfig
from asr.decoding.attention_greedy import AttentionGreedyConfig
from asr.decoding.base import build_search
from asr.errors import BundleError
from tests.bundle.foreign.hf_files import (
    FRAMES,
    TEXT,
    TIMES,
    Numbers,
    change_json,
    change_tensors,
    pieces_of,
    write_json,
    write_whisper,
)

EXPECTED = json.loads((Path(__file__).parent / "expected_hf_whisper.json").read_text())
PROMPTS = {
    True: ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"),
    False: ("<|startoftranscript|>", "<|notimestamps|>"),
}
SEARCHES = {
    "greedy": AttentionGreedyConfig(max_tokens_per_frame=0.6),
    "beam": AttentionBeamConfig(beam=4, length_normalisation=0.0, eos_threshold=1.0, max_tokens_per_frame=0.6),
}
TOKENS = [5, 9, 200, 33]  # of which the decoder's answers are compared
CASES = {"80 bands, multilingual": (80, True, 1), "128 bands, English": (128, False, 2)}
each_case = pytest.mark.parametrize("case", CASES)


def features_of(num_bins: int) -> Tensor:
    """Three windows (3, 2 FRAMES, num_bins)."""
    return torch.from_numpy(Numbers(7)(3, 2 * FRAMES, num_bins, scale=3.0))


def written(case: str, folder: Path) -> Path:
    num_bins, multilingual, seed = CASES[case]
    write_whisper(folder, num_bins, multilingual=multilingual, seed=seed)
    return folder


def answers(bundle: Bundle, case: str) -> dict[str, object]:
    """Frames (3, S, D), logits (3, U + 1, V), and texts by search, as transformers gives them."""
    num_bins, multilingual, _ = CASES[case]
    features = features_of(num_bins)
    head = bundle.model.heads["whisper"]
    prompt = tuple(head.vocabulary.id(piece) for piece in PROMPTS[multilingual])
    with torch.no_grad():
        encoded = bundle.model.encode(features, torch.full((3,), 2 * FRAMES))
        log_probs = head(encoded, torch.tensor([TOKENS] * 3), torch.full((3,), len(TOKENS)))
        found: dict[str, object] = {"frames": encoded.frames, "log_probs": log_probs}
        for name, config in SEARCHES.items():
            lists = build_search(config, bundle.model.heads).search(encoded, [prompt] * 3)
            found[name] = [list(hypotheses[0].tokens) for hypotheses in lists]
    return found


@each_case
def test_frames_log_probabilities_and_texts_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    import_model(written(case, tmp_path / "hub"), tmp_path / "model")
    found, expected = answers(Bundle.load(tmp_path / "model"), case), EXPECTED[case]
    for name in ("frames", "log_probs"):
        own = found[name]
        assert isinstance(own, Tensor)
        sample = own.flatten()[:: expected["every"][name]]
        torch.testing.assert_close(sample, torch.tensor(expected[name]), rtol=1e-5, atol=1e-5)
    for name in SEARCHES:
        assert found[name] == expected[name]
        assert len({tuple(text) for text in expected[name]}) > 1, "the texts depend on what is heard"


def test_the_folder_tells_sizes_rules_languages_and_where_it_comes_from(tmp_path: Path) -> None:
    folder = written("128 bands, English", tmp_path)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: openai/whisper-none\n---\n# A model\n")
    model = read_foreign(folder)
    head, encoder = model.spec.heads[0], model.spec.encoder
    assert (encoder.dim, encoder.num_layers, encoder.num_heads, encoder.ff_dim) == (16, 2, 2, 64)
    assert (model.spec.frontend.num_mel_bins, model.spec.frontend.window_seconds) == (128, 1.0)
    assert (head.max_tokens, head.suppress[:3], head.suppress_first) == (40, (1, 2, 260), (32, 259))
    assert head.language is None
    assert (model.origin.name, model.origin.licence) == ("openai/whisper-none", "apache-2.0")
    assert model.origin.base_model == "openai/whisper-none"
    assert read_foreign(written("80 bands, multilingual", tmp_path)).spec.heads[0].language == "en"


def test_weights_keep_their_type_and_may_come_in_pieces(tmp_path: Path) -> None:
    folder = written("80 bands, multilingual", tmp_path / "hub")
    whole = read_foreign(folder).bundle().weights()
    tensors = {name: value.astype(np.float16) for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    places = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in names}, folder / file)
        places |= dict.fromkeys(names, file)
    write_json(folder / "model.safetensors.index.json", {"weight_map": places})
    import_model(folder, tmp_path / "model")
    pieces = Bundle.load(tmp_path / "model").weights()
    for name, value in whole.items():
        assert torch.equal(pieces[name], value.half().float()), name
    assert {value.dtype for value in read_foreign(folder).tensors.values()} == {torch.float16}
    assert Bundle.load(tmp_path / "model").spec.encoder.positions == "float16"
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(BundleError, match=r"model-1\.safetensors: missing; model\.safetensors\.index\.json needs it"):
        read_foreign(folder)


def test_tokens_are_read_from_tokenizer_json_as_from_vocabulary_and_merges(tmp_path: Path) -> None:
    folder = written("80 bands, multilingual", tmp_path)
    pieces = pieces_of(multilingual=True)
    expected = read_foreign(folder).tokenizer
    assert expected.vocabulary.pieces == pieces
    added = [{"id": token, "content": piece} for token, piece in enumerate(pieces) if token >= len(TEXT)]
    model = {"type": "BPE", "vocab": {piece: token for token, piece in enumerate(TEXT)}, "merges": [["h", "e"]]}
    write_json(folder / "tokenizer.json", {"model": model, "added_tokens": added})
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        (folder / name).unlink()
    assert read_foreign(folder).tokenizer.digest == expected.digest
    write_json(folder / "tokenizer.json", {"model": model | {"merges": ["\u0120t he", "h e"]}, "added_tokens": added})
    with pytest.raises(BundleError, match=r"tokenizer\.json: pieces are not joined in the order of their ids"):
        read_foreign(folder)


def test_timestamps_that_the_files_leave_out_are_named(tmp_path: Path) -> None:
    folder = written("80 bands, multilingual", tmp_path)
    all_pieces = pieces_of(multilingual=True)
    pieces = all_pieces[: -len(TIMES)]
    number = len(pieces) + 1501
    embedding = Numbers(3)(number, 16)
    change_tensors(folder / "model.safetensors", model__decoder__embed_tokens__weight=embedding)
    write_json(folder / "added_tokens.json", {pieces[id]: id for id in range(len(TEXT), len(pieces))})
    vocabulary = read_foreign(folder).tokenizer.vocabulary
    assert (len(vocabulary), vocabulary.pieces[-1], vocabulary.pieces[len(pieces) + 1]) == (
        number,
        "<|30.00|>",
        "<|0.02|>",
    )
    change_tensors(folder / "model.safetensors", model__decoder__embed_tokens__weight=embedding[:-1])
    with pytest.raises(BundleError, match=f"has {number - 1} tokens, the vocabulary {len(pieces)}"):
        read_foreign(folder)


@pytest.mark.parametrize("name", ["model.encoder.conv1.bias", "model.decoder.layers.1.encoder_attn.v_proj.weight"])
def test_a_missing_or_unknown_tensor_is_named(name: str, tmp_path: Path) -> None:
    file = written("80 bands, multilingual", tmp_path) / "model.safetensors"
    change_tensors(file, **{name: None})
    with pytest.raises(BundleError, match=f"model.safetensors: tensor '{name}' is missing"):
        read_foreign(tmp_path)
    write_whisper(tmp_path)
    change_tensors(file, **{f"{name}.lora_A": np.zeros((2, 2), dtype=np.float32)})
    with pytest.raises(BundleError, match=f"model.safetensors: tensor '{name}.lora_A' is unknown"):
        read_foreign(tmp_path)


def test_another_shape_and_values_that_are_no_numbers_are_named_and_leave_no_folder(tmp_path: Path) -> None:
    folder, out = written("80 bands, multilingual", tmp_path / "hub"), tmp_path / "model"
    change_tensors(folder / "model.safetensors", model__encoder__layer_norm__bias=np.zeros(3, dtype=np.float32))
    with pytest.raises(BundleError, match=r"tensor 'encoder\.norm\.bias' has shape \(3,\), the configuration says"):
        import_model(folder, out)
    change_tensors(folder / "model.safetensors", model__encoder__layer_norm__bias=np.full(16, np.nan, np.float32))
    with pytest.raises(BundleError, match=r"tensor 'encoder\.norm\.bias' holds NaN"):
        import_model(folder, out)
    assert sorted(tmp_path.iterdir()) == [folder]


def test_an_output_layer_of_its_own_and_learned_positions_are_refused(tmp_path: Path) -> None:
    file = written("80 bands, multilingual", tmp_path) / "model.safetensors"
    tensors = load_file(file)
    embedding = tensors["model.decoder.embed_tokens.weight"]
    change_tensors(file, proj_out__weight=embedding)
    read_foreign(tmp_path)
    change_tensors(file, proj_out__weight=embedding + 1)
    with pytest.raises(BundleError, match=r"'proj_out\.weight' is not the embedding"):
        read_foreign(tmp_path)
    change_tensors(file, proj_out__weight=None, model__encoder__embed_positions__weight=Numbers(1)(FRAMES, 16))
    with pytest.raises(BundleError, match="holds other positions than Whisper's"):
        read_foreign(tmp_path)


@pytest.mark.parametrize(
    ("file", "settings", "line"),
    [
        ("config.json", {"activation_function": "relu"}, "activation_function is 'relu', supported is 'gelu' alone"),
        ("config.json", {"architectures": ["WhisperForAudioClassification"]}, "holds a WhisperForAudioClassification"),
        ("config.json", {"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ("config.json", {"encoder_attention_heads": 3}, "must be even, at least 4 and a multiple of num_heads 3"),
        ("config.json", {"decoder_attention_heads": "many"}, "decoder_attention_heads is 'many', no number"),
        ("config.json", {"model_type": "parakeet"}, "a model of type 'parakeet', which is not supported; known: CTr"),
        ("generation_config.json", {"suppress_tokens": [9999]}, "token 9999 is to be suppressed, of 274"),
        ("generation_config.json", {"suppress_tokens": "all"}, "suppress_tokens is no list of token ids"),
        ("preprocessor_config.json", {"feature_size": 128}, "feature_size is 128, the weights take 80 bands"),
        ("preprocessor_config.json", {"hop_length": 80}, "hop_length is 80, supported is 160 alone"),
        ("vocab.json", {"!": 1}, "two pieces have the id 1"),
        ("vocab.json", {"!": "one"}, "piece '!' has no number"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    file: str, settings: dict[str, object], line: str, tmp_path: Path
) -> None:
    change_json(written("80 bands, multilingual", tmp_path) / file, **settings)
    with pytest.raises(BundleError) as caught:
        read_foreign(tmp_path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json", "generation_config.json"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    folder = written("80 bands, multilingual", tmp_path)
    content = (folder / name).read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\xff\xfe" + content):
        (folder / name).write_bytes(damaged)
        with pytest.raises(BundleError, match=name):
            read_foreign(folder)


def test_adapters_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(BundleError, match="holds an adapter, no whole model; merge it into its base model first"):
        read_foreign(tmp_path)
