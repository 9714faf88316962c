"""What every registered tokenizer promises, checked on its tiny() config."""

import functools
import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.alignment.confidence import posterior
from asr.bundle.words import NOWHERE, place_words
from asr.errors import BundleError, TextError
from asr.text.tokenizer import TOKENIZERS, Tokenizer, load_tokenizer, train_tokenizer
from asr.text.tokenizer.sentence_piece import BLANK, EOS, SOS, SPECIAL_PIECES, UNK
from asr.text.vocabulary import Vocabulary
from tests.foreign_vocabularies import FOREIGN, Pieces

TEXTS = ["ONE TWO THREE", "TWO  ONE\tO'CLOCK", "", "RUBOUT P I T T S", "FIFTY FIVE ÜBER", "日本 語"]
TEXTS += ["FIFTEEN TWENTY", "TWENTY FIFTEEN", "SIXTEEN SEVENTEEN", "SIXTY SEVENTY", "THIRTY THIRTEEN", "RUBBER THREES"]
WORDS = sorted({word for text in TEXTS for word in text.split()})

TRAINABLE = [name for name in TOKENIZERS.names() if TOKENIZERS.part(name).is_trainable]
every_tokenizer = pytest.mark.parametrize("name", TRAINABLE)


@functools.cache
def tiny(name: str) -> Tokenizer:
    return train_tokenizer(TOKENIZERS.config(name).tiny(), TEXTS)


def test_the_promised_tokenizers_are_registered():
    assert {"bpe", "char", "unigram", "word"} <= set(TOKENIZERS.names())


@every_tokenizer
def test_the_special_pieces_come_first_and_are_counted(name):
    tokenizer = tiny(name)
    assert tokenizer.vocabulary.pieces[:4] == SPECIAL_PIECES
    assert tokenizer.vocab_size == len(tokenizer.vocabulary) > 4


@every_tokenizer
@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
def test_a_text_of_known_words_comes_back_and_uses_no_special_token(name, words):
    text = " ".join(words)
    tokens = tiny(name).encode(text)
    assert tiny(name).decode(tokens) == text
    assert not {BLANK, UNK, SOS, EOS} & set(tokens)


@every_tokenizer
@given(text=st.text())
def test_any_text_becomes_ids_of_the_vocabulary(name, text):
    tokenizer = tiny(name)
    tokens = tokenizer.encode(text)
    assert all(token == UNK or len(SPECIAL_PIECES) <= token < tokenizer.vocab_size for token in tokens)
    if UNK not in tokens:
        assert tokenizer.decode(tokens).split() == text.replace("\u2581", " ").split()
    assert tokenizer.encode(" \u3000 ".join(["", *text.split(), ""])) == tokens


@every_tokenizer
@given(data=st.data())
def test_words_lie_in_order_and_spell_the_decoded_text(name, data):
    tokenizer = tiny(name)
    tokens = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=12))
    words = tokenizer.words(tokens)
    assert [word.text for word in words] == tokenizer.decode(tokens).split()
    assert all(tokenizer.decode(tokens[word.start : word.stop]) == word.text for word in words)
    edges = [edge for word in words for edge in (word.start, word.stop)]
    assert edges == sorted(edges)
    assert all(word.start < word.stop <= len(tokens) for word in words)


@every_tokenizer
@given(text=st.text(st.sampled_from("ONETW P\u65e5\u0141?, "), max_size=15))
def test_the_words_of_a_text_as_written_lie_in_its_tokens(name, text):
    tokenizer = tiny(name)
    tokens = tokenizer.encode(text)
    words = tokenizer.written_words(text)
    assert " ".join(word.text for word in words) == " ".join(text.split())
    for word in words:
        own = tokens[word.start : word.stop]
        assert own
        assert UNK in own or tokenizer.decode(own) == word.text
    between = [token for left, right in itertools.pairwise(words) for token in tokens[left.stop : right.start]]
    assert all(token != UNK and not tokenizer.letters(token) for token in between)
    assert not words or len(tokens) == words[-1].stop


@every_tokenizer
@given(data=st.data())
def test_special_tokens_write_nothing(name, data):
    tokenizer = tiny(name)
    tokens = tokenizer.encode("TWO ONE")
    position = data.draw(st.integers(0, len(tokens)))
    special = data.draw(st.sampled_from([BLANK, UNK, SOS, EOS]))
    assert tokenizer.decode([*tokens[:position], special, *tokens[position:]]) == "TWO ONE"


@every_tokenizer
def test_empty_text_is_no_tokens(name):
    assert tiny(name).encode("") == tiny(name).encode(" \t") == []
    assert tiny(name).decode([]) == ""
    assert tiny(name).words([BLANK, EOS]) == []


@every_tokenizer
def test_unknown_characters_are_named_once_and_become_unk(name):
    assert tiny(name).unknown_characters("ONE ŁÓŁ TWO") == ("Ł", "Ó")
    assert UNK in tiny(name).encode("ONE ŁÓŁ TWO")
    assert tiny(name).decode(tiny(name).encode("ONE ŁÓŁ TWO")) == "ONE TWO"
    assert tiny(name).unknown_characters("TWO \n ONE") == ()


@every_tokenizer
def test_the_same_texts_in_any_order_give_the_same_files(name, tmp_path):
    config = TOKENIZERS.config(name).tiny()
    for folder, texts in (("a", TEXTS), ("b", iter(TEXTS[::-1]))):
        train_tokenizer(config, texts).save(tmp_path / folder)
    for file in ("tokenizer.model", "tokens.txt"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@every_tokenizer
def test_a_saved_tokenizer_loads_as_the_same_one(name, tmp_path):
    tiny(name).save(tmp_path)
    loaded = load_tokenizer(tmp_path, TOKENIZERS.config(name).tiny())
    assert loaded.vocabulary == tiny(name).vocabulary
    assert loaded.encode("FIVE TWO 日本 X") == tiny(name).encode("FIVE TWO 日本 X")
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{piece} {token}" for token, piece in enumerate(loaded.vocabulary.pieces)]


@every_tokenizer
def test_a_missing_pickled_truncated_or_foreign_model_is_a_bundle_error_naming_the_file(name, tmp_path):
    config = TOKENIZERS.config(name).tiny()
    path = tmp_path / "tokenizer.model"
    with pytest.raises(BundleError, match=r"tokenizer\.model: cannot read"):
        load_tokenizer(tmp_path, config)
    tiny(name).save(tmp_path)
    model = path.read_bytes()
    pickled = pickle.dumps({"weights": [1.0] * 100})
    damaged = [b"", b"\0" * 1000, pickled, pickle.dumps({}, protocol=0)]
    damaged += [model[: len(model) * tenths // 10] for tenths in range(10)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(BundleError, match=r"tokenizer\.model: "):
            load_tokenizer(tmp_path, config)


@every_tokenizer
def test_a_model_that_is_not_the_one_of_tokens_txt_is_refused(name, tmp_path):
    tiny(name).save(tmp_path)
    (tmp_path / "tokens.txt").write_text("<blank> 0\n")
    with pytest.raises(BundleError, match=r"tokens\.txt"):
        load_tokenizer(tmp_path, TOKENIZERS.config(name).tiny())


@every_tokenizer
def test_no_text_to_train_on_is_a_text_error(name):
    with pytest.raises(TextError, match="no text"):
        train_tokenizer(TOKENIZERS.config(name).tiny(), ["", "  "])


@every_tokenizer
def test_a_very_long_text_is_not_left_out_of_training(name):
    tokenizer = train_tokenizer(TOKENIZERS.config(name).tiny(), [*TEXTS, "ONE TWO " * 5000 + "Q"])
    assert tokenizer.unknown_characters("Q") == ()


# --- the same promises with the numbers and marks of other families ---

each_family = pytest.mark.parametrize("name", FOREIGN)


def words_of(name: str) -> list[str]:
    return list("\u65e5\u672c\u8a9e") if name == "characters" else ["THE", "HEAT", "HAT", "A", "T", "THESIS"]


@each_family
@given(data=st.data())
def test_a_text_comes_back_from_the_pieces_of_any_family_word_by_word(name, data):
    tokenizer = FOREIGN[name]()
    words = data.draw(st.lists(st.sampled_from(words_of(name)), max_size=6))
    tokens = tokenizer.encode(" ".join(words))
    assert not tokenizer.vocabulary.control & set(tokens)
    assert [word.text for word in tokenizer.words(tokens)] == words
    assert tokenizer.decode(tokens) == ("" if name == "characters" else " ").join(words)
    for word in tokenizer.words(tokens):
        assert tokenizer.decode(tokens[word.start : word.stop]) == word.text
        assert tokenizer.letters(tokens[word.start])
        assert tokenizer.letters(tokens[word.stop - 1])
    assert tokenizer.can_write(" ".join(words))


@each_family
@given(data=st.data())
def test_control_ids_of_any_family_write_nothing_and_end_no_word(name, data):
    tokenizer = FOREIGN[name]()
    tokens = tokenizer.encode(" ".join(words_of(name)))
    position = data.draw(st.integers(0, len(tokens)))
    control = data.draw(st.sampled_from(sorted(tokenizer.vocabulary.control)))
    assert not tokenizer.starts_word(control)
    assert tokenizer.decode([*tokens[:position], control, *tokens[position:]]) == tokenizer.decode(tokens)


@each_family
def test_the_number_of_words_a_text_starts_is_that_of_its_words(name):
    tokenizer = FOREIGN[name]()
    tokens = tokenizer.encode(" ".join(words_of(name)))
    begun = sum(map(tokenizer.starts_word, tokens))
    assert begun + (tokenizer.word_boundary == "separator") == len(words_of(name))


@each_family
def test_placed_words_are_the_text_again(name):
    tokenizer = FOREIGN[name]()
    tokens = tokenizer.encode(" ".join(words_of(name)))
    placed = place_words(tokenizer, tokens, NOWHERE, posterior)
    assert placed.text == tokenizer.decode(tokens)
    assert [word.text for word in placed.words] == words_of(name)


@each_family
def test_what_any_family_cannot_write_is_named(name):
    tokenizer = FOREIGN[name]()
    word = words_of(name)[0]
    assert tokenizer.unknown_characters(f"{word} {word}") == ()
    if name == "whisper":  # bytes write everything
        assert tokenizer.decode(tokenizer.encode("\u0141\u00f3d\u017a \u65e5")) == "\u0141\u00f3d\u017a \u65e5"
        return
    assert tokenizer.unknown_characters(f"{word}\u0141\u0141 {word}?") == ("\u0141", "?")
    assert not tokenizer.can_write(f"{word}\u0141")


def test_written_words_without_any_token_go_with_others():
    letters = Pieces(Vocabulary(("<blk>", "\u2581", "A", "B"), blank=0))  # no token for the unknown
    assert [word[:3] for word in letters.written_words("? A ! B")] == [("? A !", 2, 3), ("B", 5, 6)]
