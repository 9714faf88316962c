"""wav2vec 2.0 and HuBERT models of the hub: what transformers computes of them, and what people use them for.

The numbers in expected_hf_ctc.json are those of transformers 5.24; test_against_transformers.py makes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.bundle.decode import Searchers, SearchRequest, choose_decoding
from asr.bundle.foreign import import_model, read_foreign
from asr.bundle.recognition import DecodeOptions
from asr.decoding.hotwords import Hotword
from asr.errors import BundleError
from asr.lengths import pad_stack
from tests.bundle.foreign.ctc_files import PIECES, VARIANTS, write_ctc
from tests.bundle.foreign.hf_files import Numbers, change_json, change_tensors

EXPECTED = json.loads((Path(__file__).parent / "expected_hf_ctc.json").read_text())
CASES = {f"{kind} {variant}": (kind, variant) for kind in ("wav2vec2", "hubert") for variant in VARIANTS}
each_case = pytest.mark.parametrize("case", CASES)


def waveforms() -> list[Tensor]:
    """Two of different length, loudness and mean."""
    return [torch.from_numpy(Numbers(5)(6000, scale=0.3)), torch.from_numpy(Numbers(6)(3333, scale=0.9, around=0.1))]


def log_probs(bundle: Bundle, waves: list[Tensor]) -> list[Tensor]:
    """(S, V) of each waveform, from one batch."""
    with torch.no_grad():
        encoded = bundle.model.encode(*bundle.frontend(*pad_stack(waves)))
        rows = bundle.model.heads["ctc"].log_probs(encoded)
    return [row[:length] for row, length in zip(rows, encoded.lens.tolist(), strict=True)]


def without_ends(logits: Tensor) -> Tensor:
    """Theirs as ours: start and end of sentence are no labels of CTC."""
    logits = logits.clone()
    logits[..., [PIECES.index("<s>"), PIECES.index("</s>")]] = -torch.inf
    return logits.log_softmax(-1)


@each_case
def test_log_probabilities_are_those_of_transformers_alone_and_in_a_batch(case: str, tmp_path: Path) -> None:
    import_model(write_ctc(tmp_path / "hub", *CASES[case]), tmp_path / "model")
    bundle = Bundle.load(tmp_path / "model")
    batched = log_probs(bundle, waveforms())
    for number, (wave, own) in enumerate(zip(waveforms(), batched, strict=True)):
        expected = torch.tensor(EXPECTED[case][number]).reshape(-1, len(PIECES))
        assert own.shape == (EXPECTED[case + " frames"][number], len(PIECES))
        torch.testing.assert_close(own[::9], without_ends(expected), rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(log_probs(bundle, [wave])[0], own, rtol=0, atol=1e-5)


def test_both_spellings_of_weight_norm_are_the_same_weights(tmp_path: Path) -> None:
    new = read_foreign(write_ctc(tmp_path / "new", "hubert", "group")).bundle().weights()
    old = read_foreign(write_ctc(tmp_path / "old", "hubert", "group", old_spelling=True)).bundle().weights()
    assert all(torch.equal(tensor, old[name]) for name, tensor in new.items())


def test_the_folder_tells_sizes_tokens_and_the_case_of_texts(tmp_path: Path) -> None:
    folder = write_ctc(tmp_path, "wav2vec2", "layer", do_normalize=False)
    model = read_foreign(folder)
    encoder, vocabulary = model.spec.encoder, model.tokenizer.vocabulary
    assert (encoder.conv_norm, encoder.pre_norm, encoder.dim, encoder.position_groups) == ("layer", True, 16, 4)
    assert model.spec.frontend.model_dump() == {"name": "raw", "sample_rate": 16000, "normalize": False}
    assert (vocabulary.blank, vocabulary.sos, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert model.spec.normalize == "upper"
    assert model.tokenizer.decode(model.tokenizer.encode("THE  HEAT")) == "THE HEAT"
    (folder / "vocab.json").write_text(json.dumps({piece.lower(): token for token, piece in enumerate(PIECES)}))
    assert read_foreign(folder).spec.normalize == "basic"


def test_the_roles_follow_the_tokenizers_files(tmp_path: Path) -> None:
    folder = write_ctc(tmp_path, "wav2vec2", "group")
    pieces = ["_", *PIECES[5:], "[UNK]", "[PAD]", "<s>", "</s>"]  # as many of the multilingual models have them
    (folder / "vocab.json").write_text(json.dumps({piece: token for token, piece in enumerate(pieces)}))
    names = {"pad_token": "[PAD]", "unk_token": {"content": "[UNK]"}, "word_delimiter_token": "_"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    change_json(folder / "config.json", pad_token_id=pieces.index("[PAD]"))
    tokenizer = read_foreign(folder).tokenizer
    assert (tokenizer.vocabulary.blank, tokenizer.vocabulary.unk) == (pieces.index("[PAD]"), pieces.index("[UNK]"))
    assert tokenizer.decode(tokenizer.encode("HE SAID")) == "HE SAID"
    change_json(folder / "config.json", pad_token_id=0)
    with pytest.raises(BundleError, match=f"the padding is token {pieces.index('[PAD]')}, config.json says 0"):
        read_foreign(folder)


@pytest.mark.parametrize(
    ("file", "settings", "line"),
    [
        ("config.json", {"hidden_act": "relu"}, "hidden_act is 'relu', supported is 'gelu' alone"),
        ("config.json", {"add_adapter": True}, "add_adapter is True, supported is False alone"),
        ("config.json", {"adapter_attn_dim": 16}, "adapter_attn_dim is 16, supported is None alone"),
        ("config.json", {"conv_pos_batch_norm": True}, "conv_pos_batch_norm is True"),
        ("config.json", {"architectures": ["Wav2Vec2ForPreTraining"]}, "holds a Wav2Vec2ForPreTraining, supported is"),
        ("config.json", {"feat_extract_norm": "batch"}, "conv_norm: Input should be 'group' or 'layer'"),
        ("config.json", {"conv_kernel": [3]}, "must be equally many"),
        ("config.json", {"pad_token_id": None}, "pad_token_id None is no token, and CTC's blank is needed"),
        (
            "config.json",
            {"num_hidden_layers": 1},
            "tensor 'wav2vec2.encoder.layers.1.attention.k_proj.bias' is unknown",
        ),
        ("config.json", {"num_hidden_layers": 3}, "tensor 'wav2vec2.encoder.layers.2.attention.q_proj.weight' is miss"),
        ("preprocessor_config.json", {"feature_size": 80}, "feature_size is 80, supported is 1 alone"),
        ("preprocessor_config.json", {"sampling_rate": "high"}, "sample_rate: Input should be a valid integer"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    file: str, settings: dict[str, object], line: str, tmp_path: Path
) -> None:
    change_json(write_ctc(tmp_path, "wav2vec2", "group") / file, **settings)
    with pytest.raises(BundleError) as caught:
        read_foreign(tmp_path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_tensors_and_missing_tokens_are_named(tmp_path: Path) -> None:
    folder = write_ctc(tmp_path, "hubert", "group")
    (folder / "vocab.json").write_text(json.dumps({piece: token for token, piece in enumerate(PIECES[:9])}))
    with pytest.raises(BundleError, match=r"vocab\.json: names 9 tokens of 18 outputs"):
        read_foreign(folder)
    change_tensors(folder / "model.safetensors", lm_head__bias=None)
    with pytest.raises(BundleError, match=r"tensor 'lm_head\.bias' is missing"):
        read_foreign(folder)


def test_beam_search_hotwords_and_alignment_work_on_an_imported_model(tmp_path: Path) -> None:
    bundle = read_foreign(write_ctc(tmp_path, "wav2vec2", "layer")).bundle()
    waves = [wave.numpy().astype(np.float32) for wave in waveforms()]
    searchers = Searchers(bundle, choose_decoding(bundle, None))
    plain = bundle.decode(waves, [DecodeOptions(searchers.get(SearchRequest(name="ctc_prefix_beam")))] * 2)
    helped = bundle.decode(
        waves, [DecodeOptions(searchers.get(SearchRequest(hotwords=(Hotword("THEATRE", 30.0),))))] * 2
    )
    assert "THEATRE" not in plain[0].text
    assert "THEATRE" in helped[0].text
    assert all(0 <= word.start <= word.end <= 0.375 for word in plain[0].words)
    encoded = bundle.model.encode(*bundle.frontend(*pad_stack(waveforms())))
    spans = bundle.model.heads["ctc"].align(encoded, [bundle.tokenizer.encode("THE HEAT")] * 2)
    assert [len(own) for own in spans] == [8, 8]
