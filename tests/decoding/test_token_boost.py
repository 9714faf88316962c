"""Hotwords for decoders that write case and bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.decode import SearchRequest, choose_decoding
from asr.bundle.foreign import import_model
from asr.bundle.prompting import Wish, reading
from asr.decoding.attention_greedy import AttentionGreedyConfig
from asr.decoding.hotwords import Hotword
from asr.decoding.token_boost import BEGINNING, GOING_ON, MAX_HINT, TokenBoost, forms_of, hint_of
from tests.bundle.foreign.whisper_files import random_variables, write_model
from tests.text.test_byte_bpe import TOKENIZER

SIZE = TOKENIZER.vocab_size


def boosts(rule: TokenBoost, *texts: list[int], prompt: int = 1) -> torch.Tensor:
    """What a rule adds after texts, each behind a prompt of so many tokens."""
    width = prompt + max(map(len, texts))
    tokens = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    lens = torch.tensor([width - len(text) for text in texts])
    return rule(torch.zeros(len(texts), SIZE), tokens, lens, torch.arange(len(texts)))


def test_a_phrase_that_has_begun_goes_on_more_easily_and_begins_a_little_more_easily() -> None:
    tokens = TOKENIZER.encode("heat rat")
    rule = TokenBoost([Hotword("heat rat", 4.0)], TOKENIZER)
    for begun in range(len(tokens)):
        added = boosts(rule, [7, 8, *tokens[:begun]])[0]
        assert float(added[tokens[begun]]) == pytest.approx(4.0 * (GOING_ON if begun else BEGINNING))
    done = boosts(rule, tokens)[0]
    assert int((done != 0).sum()) == len({TOKENIZER.encode(form)[0] for form in forms_of("heat rat")})


def test_rows_do_not_know_each_other_and_the_prompt_is_no_text() -> None:
    tokens = TOKENIZER.encode("heat")
    rule = TokenBoost([Hotword("heat", 4.0), Hotword("he", -2.0)], TOKENIZER)
    texts = [tokens[:1], tokens[:2], [5], tokens]
    together = boosts(rule, *texts)
    for row, text in enumerate(texts):
        torch.testing.assert_close(boosts(rule, text)[0], together[row])
    prompted = rule(torch.zeros(1, SIZE), torch.tensor([tokens[:2]]), torch.tensor([2]), torch.arange(1))
    assert float(prompted[0, tokens[2]]) == 0.0


def test_a_filter_changes_no_log_probabilities_that_it_is_given() -> None:
    given = torch.zeros(1, SIZE)
    TokenBoost([Hotword("heat")], TOKENIZER)(given, torch.tensor([[0]]), torch.tensor([1]), torch.arange(1))
    assert not given.any()


def test_words_in_one_case_are_expected_as_they_stand_in_sentences_and_others_as_given() -> None:
    assert list(forms_of("new york")) == ["new york", "New York", "New york"]
    assert list(forms_of("KAREN")) == ["KAREN", "Karen", "karen"]
    assert list(forms_of("PyTorch 2")) == ["PyTorch 2"]


def test_a_hint_holds_the_first_terms_that_fit() -> None:
    few = hint_of([Hotword("the rat"), Hotword("heat", -1.0), Hotword("tea")], TOKENIZER)
    assert TOKENIZER.decode(few) == "the rat, tea."
    many = hint_of([Hotword(f"rat{n}") for n in range(100)], TOKENIZER)
    assert 0 < len(many) <= MAX_HINT
    assert hint_of([Hotword("t" * 200)], TOKENIZER) == ()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    own = tmp_path_factory.mktemp("whisper")
    write_model(own / "source", random_variables())
    import_model(own / "source", own / "model")
    return Bundle.load(own / "model")


def test_hotwords_help_whisper_in_its_own_search_however_many_there_are(bundle: Bundle) -> None:
    waveform = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    many = tuple(Hotword(f"Term{number} and more of it", 0.01) for number in range(200))
    texts = {}
    for name, hotwords in {"none": (), "many": many, "strong": (*many, Hotword("the", 400.0))}.items():
        decoding = choose_decoding(bundle, None, SearchRequest(hotwords=hotwords))
        assert isinstance(decoding.search, AttentionGreedyConfig)
        texts[name] = bundle.decode([waveform], [decoding.options(bundle, None)])[0].text
    assert "the" in texts["strong"].lower().split()
    assert "the" not in texts["none"].lower().split()
    beam = SearchRequest("attention_beam", ("search.beam=2",), hotwords=(Hotword("the", 400.0),))
    found = bundle.decode([waveform], [choose_decoding(bundle, None, beam).options(bundle, None)])[0]
    assert "the" in found.text.lower().split()


def test_hotwords_are_what_was_said_before_in_front_of_the_prompt(bundle: Bundle) -> None:
    searcher = choose_decoding(bundle, None, SearchRequest(hotwords=(Hotword("heat"),))).build(bundle, None)
    prompt = reading(bundle, searcher, Wish(prompt="the rat")).prompt
    assert prompt is not None
    vocabulary = bundle.tokenizer.vocabulary
    assert vocabulary.piece(prompt[0]) == "<|startofprev|>"
    start = prompt.index(vocabulary.start)
    assert bundle.tokenizer.decode(prompt[1:start]) == "heat. the rat"
