"""What single tokenizers promise beyond the contract of all."""

import re
import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from asr.errors import BundleError, ConfigError, TextError
from asr.text.tokenizer import CharConfig, TokenizerConfig, load_tokenizer, train_tokenizer
from asr.text.tokenizer.bpe import BpeConfig
from asr.text.tokenizer.sentence_piece import SPECIAL_PIECES, UNK
from asr.text.tokenizer.unigram import UnigramConfig
from asr.text.tokenizer.word import WordConfig

TEXTS = ["one two three four", "five six seven eight", "nine ten eleven twelve", "thirteen fourteen fifteen sixteen"]

subwords = pytest.mark.parametrize("config", [UnigramConfig, BpeConfig])


def test_a_config_picks_its_tokenizer_by_name():
    adapter = TypeAdapter(TokenizerConfig)
    assert adapter.validate_python({"name": "bpe", "vocab_size": 99}) == BpeConfig(vocab_size=99)
    assert adapter.validate_python({"name": "char"}) == CharConfig()
    for wrong in ({"name": "bytes"}, {"name": "char", "vocab_size": 99}, {"name": "bpe", "vocab_size": 4}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_an_unregistered_config_is_named():
    with pytest.raises(ConfigError, match="unknown tokenizer 'chars'; did you mean 'char'"):
        train_tokenizer(CharConfig.model_construct(name="chars"), TEXTS)


@subwords
def test_the_largest_size_an_error_names_is_possible_and_one_more_is_not(config):
    with pytest.raises(TextError, match=r"vocab_size 5000 is too large .* largest possible is") as error:
        train_tokenizer(config(vocab_size=5000), TEXTS)
    largest = int(re.findall(r"\d+", str(error.value))[-1])
    assert train_tokenizer(config(vocab_size=largest), TEXTS).vocab_size == largest
    with pytest.raises(TextError, match=f"largest possible is {largest}$"):
        train_tokenizer(config(vocab_size=largest + 1), TEXTS)


@subwords
def test_the_smallest_size_an_error_names_is_possible_and_one_less_is_not(config):
    with pytest.raises(TextError, match=r"vocab_size 5 is too small .* smallest possible is") as error:
        train_tokenizer(config(vocab_size=5), TEXTS)
    smallest = int(re.findall(r"\d+", str(error.value))[-1])
    assert train_tokenizer(config(vocab_size=smallest), TEXTS).vocab_size == smallest
    with pytest.raises(TextError, match=f"smallest possible is {smallest}$"):
        train_tokenizer(config(vocab_size=smallest - 1), TEXTS)


@subwords
def test_a_model_of_another_size_than_the_config_says_is_refused(config, tmp_path):
    train_tokenizer(config(vocab_size=30), TEXTS).save(tmp_path)
    with pytest.raises(BundleError, match="holds 30 tokens, the config says 31"):
        load_tokenizer(tmp_path, config(vocab_size=31))


def test_characters_are_one_token_each_without_a_leading_space():
    tokenizer = train_tokenizer(CharConfig(), ["AB A", "B"])
    assert [tokenizer.vocabulary.piece(token) for token in tokenizer.encode("AB A")] == ["A", "B", "\u2581", "A"]
    assert tokenizer.vocab_size == len(SPECIAL_PIECES) + 3


def test_the_space_between_characters_belongs_to_no_word():
    tokenizer = train_tokenizer(CharConfig(), ["AB C"])
    assert [word[:3] for word in tokenizer.words(tokenizer.encode("AB C"))] == [("AB", 0, 2), ("C", 3, 4)]


def test_every_training_word_is_one_token_and_another_word_is_unknown():
    tokenizer = train_tokenizer(WordConfig(), ["yes no", "no o'clock"])
    assert tokenizer.vocab_size == len(SPECIAL_PIECES) + 3
    tokens = tokenizer.encode("no maybe yes")
    assert len(tokens) == 3
    assert tokens[1] == UNK
    assert [word[:3] for word in tokenizer.words(tokens)] == [("no", 0, 1), ("yes", 2, 3)]


def test_special_pieces_written_in_a_text_never_become_special_tokens():
    tokenizer = train_tokenizer(CharConfig(), ["<s> one </s>", "< blank k > / s"])
    assert tokenizer.decode(tokenizer.encode("<s> one <blank> </s>")) == "<s> one <blank> </s>"


def test_text_and_scoring_do_without_torch():
    modules = "asr.text.tokenizer, asr.text.normalize, asr.scoring.report, asr.scoring.texts, asr.cli.score"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
