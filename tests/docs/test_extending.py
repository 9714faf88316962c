"""The parts that docs/extending.md shows: each block of code works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from asr.bundle.bundle import Bundle
from asr.bundle.foreign import FORMATS, import_model
from asr.config import ModelSpec
from asr.data.manifest import read_manifest
from asr.decoding import SEARCHES
from asr.decoding.base import build_search
from asr.errors import BundleError
from asr.features import FRONTENDS, build_frontend
from asr.features.fbank import FbankConfig
from asr.lengths import pad_stack
from asr.losses.weights import LossConfig
from asr.models.encoders import ENCODERS
from asr.models.encoders.transformer import TransformerConfig
from asr.models.heads import HEADS
from asr.text.tokenizer import TOKENIZERS, load_tokenizer, train_tokenizer
from asr.text.tokenizer.char import CharConfig
from asr.types import Batch, EncoderOutput
from tests.tiny_models import tiny_model

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {match["title"]: match["code"] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}
REGISTRIES = (ENCODERS, HEADS, SEARCHES, FRONTENDS, TOKENIZERS)


@pytest.fixture(autouse=True)
def _registries_as_they_were() -> Iterator[None]:
    before = [dict(registry._parts) for registry in REGISTRIES]  # type: ignore[attr-defined]
    formats = list(FORMATS)
    yield
    FORMATS[:] = formats
    for registry, parts in zip(REGISTRIES, before, strict=True):
        registry._parts.clear()  # type: ignore[attr-defined]
        registry._parts.update(parts)  # type: ignore[attr-defined]


def run_block(title: str) -> dict[str, Any]:
    """What the block of a section defines."""
    names: dict[str, Any] = {"__name__": "a_block"}
    exec(compile(SECTIONS[title], f"{PAGE} ({title})", "exec", dont_inherit=True), names)
    return names


def example_batch(num_features: int = 8) -> Batch:
    """Two utterances of 40 and 27 frames whose padding is noise."""
    torch.manual_seed(0)
    return Batch(
        ids=("a", "b"),
        features=torch.randn(2, 40, num_features),
        feature_lens=torch.tensor([40, 27]),
        tokens=torch.tensor([[4, 5, 5], [6, 4, 7]]),
        token_lens=torch.tensor([3, 2]),
    )


def test_the_page_shows_one_block_for_each_kind_of_part() -> None:
    assert set(SECTIONS) == {
        "An encoder",
        "A head",
        "A search",
        "A front-end",
        "A tokenizer",
        "A foreign format",
        "A corpus",
    }


def test_the_encoder_learns_and_encodes_an_utterance_the_same_alone_and_in_a_batch() -> None:
    run_block("An encoder")
    model = tiny_model("ctc", num_features=8, vocab_size=9, encoder="stacked").double()
    batch = example_batch()
    features = batch.features.double()
    both = model.encode(features, batch.feature_lens)
    alone = model.encode(features[1:, :27], torch.tensor([27]))
    assert both.lens.tolist() == [10, 7]
    torch.testing.assert_close(both.frames[1, :7], alone.frames[0], rtol=0, atol=1e-9)
    loss = model.heads["ctc"].losses(both, batch, LossConfig())[""].sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_head_learns_decodes_and_aligns() -> None:
    run_block("A head")
    torch.manual_seed(1)
    model = tiny_model("deep_ctc", num_features=8, vocab_size=9).eval()
    batch = example_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(batch, LossConfig())["deep_ctc"][""].sum()
        loss.backward()
        optimizer.step()
    encoded = model.encode(batch.features, batch.feature_lens)
    search = build_search(SEARCHES.config("ctc_greedy").tiny(), model.heads)
    assert [hypotheses[0].tokens for hypotheses in search.search(encoded)] == [(4, 5, 5), (6, 4)]
    spans = model.heads["deep_ctc"].align(encoded, [[4, 5, 5], [6, 4]])
    assert [len(rows) for rows in spans] == [3, 2]
    assert model.heads["deep_ctc"].min_frames([4, 5, 5]) == 4


def test_the_search_leaves_out_improbable_tokens_whatever_the_chunks() -> None:
    names = run_block("A search")
    model = tiny_model("ctc", num_features=8, vocab_size=9)
    head = model.heads["ctc"]
    probabilities = torch.full((1, 5, 9), 0.01)
    for frame, (token, probability) in enumerate([(0, 0.9), (4, 0.9), (4, 0.9), (5, 0.4), (6, 0.7)]):
        probabilities[0, frame, token] = probability
    head.log_probs = lambda encoded: encoded.frames.log()
    search = build_search(names["CtcConfidentConfig"](), model.heads)
    encoded = EncoderOutput(probabilities, torch.tensor([5]))
    assert search.search(encoded)[0][0].tokens == (4, 6)
    state = search.start(1)
    for part in (slice(0, 2), slice(2, 5)):
        chunk = probabilities[:, part]
        state = search.advance(state, EncoderOutput(chunk, torch.tensor([chunk.shape[1]])))
    assert search.finish(state) == search.search(encoded)


def test_the_front_end_gives_a_waveform_the_same_features_alone_and_in_a_batch() -> None:
    names = run_block("A front-end")
    frontend = build_frontend(names["BandsConfig"]())
    torch.manual_seed(0)
    waveforms = [torch.randn(1600), torch.randn(1000)]
    features, lens = frontend(*pad_stack(waveforms, value=3.0))
    assert features.shape == (2, 10, 40)
    assert lens.tolist() == [10, 6]
    torch.testing.assert_close(features[1, :6], frontend.extract(waveforms[1], 16000))


def test_the_tokenizer_writes_what_it_read_also_from_its_folder(tmp_path: Path) -> None:
    names = run_block("A tokenizer")
    config = names["LettersConfig"]()
    tokenizer = train_tokenizer(config, ["go left", "stop"])
    assert tokenizer.decode(tokenizer.encode(" stop  left ")) == "stop left"
    assert [word.text for word in tokenizer.words(tokenizer.encode("go left"))] == ["go", "left"]
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path, config)
    assert again.digest == tokenizer.digest
    assert again.encode("go left") == tokenizer.encode("go left")


def test_the_foreign_format_is_read_into_a_model_folder_and_is_total(tmp_path: Path) -> None:
    run_block("A foreign format")
    source = tmp_path / "source"
    tokenizer = train_tokenizer(CharConfig(), ["go left", "stop"])
    tokenizer.save(source)
    spec = ModelSpec(frontend=FbankConfig(cmvn="utterance"), encoder=TransformerConfig(dim=16, num_layers=2))
    bundle = Bundle.build(spec, build_frontend(spec.frontend), {"main": tokenizer}, seed=1)
    theirs = {name.replace("encoder.", "body."): tensor for name, tensor in bundle.weights().items()}
    theirs["letters"] = theirs.pop("heads.ctc.output.linear.weight").T.contiguous()
    theirs["letters_bias"] = theirs.pop("heads.ctc.output.linear.bias")
    save_file(theirs, source / "net.safetensors")
    (source / "net.json").write_text('{"width": 16, "depth": 2}')
    import_model(source, tmp_path / "model")
    again = Bundle.load(tmp_path / "model")
    assert all(torch.equal(tensor, bundle.weights()[name]) for name, tensor in again.weights().items())
    save_file(theirs | {"body.extra": torch.zeros(1)}, source / "net.safetensors")
    with pytest.raises(BundleError, match=r"tensor 'encoder\.extra' is unknown"):
        import_model(source, tmp_path / "other")
    (source / "net.json").write_text('{"width": 16}')
    with pytest.raises(BundleError, match=r"net\.json: num_layers: Input should be a valid integer"):
        import_model(source, tmp_path / "other")


def test_the_recipe_writes_manifests_of_its_corpus(tmp_path: Path) -> None:
    names = run_block("A corpus")
    for split in ("train", "dev", "test"):
        folder = tmp_path / "greetings" / split / "anna"
        folder.mkdir(parents=True)
        soundfile.write(folder / "1.wav", np.zeros(1600, dtype=np.float32), 16000)
        (folder.parent / "texts.txt").write_text("anna/1 good morning\n", encoding="utf-8")
    names["prepare"](names["SOURCE"].locate(tmp_path), tmp_path / "out")
    (utterance,) = read_manifest(tmp_path / "out" / "dev.jsonl")
    assert (utterance.id, utterance.text, utterance.speaker) == ("anna/1", "good morning", "anna")
    assert utterance.duration == pytest.approx(0.1)
