import pytest

from asr.errors import TextError
from asr.text.vocabulary import BLANK, EOS, SOS, SPECIAL_PIECES, UNK, Vocabulary


def test_pieces_and_ids_are_inverse_and_an_unknown_piece_is_unk():
    vocabulary = Vocabulary((*SPECIAL_PIECES, "a", "b"))
    assert [vocabulary.id(vocabulary.piece(token)) for token in range(len(vocabulary))] == [0, 1, 2, 3, 4, 5]
    assert vocabulary.id("c") == UNK
    assert [vocabulary.id(piece) for piece in ("<blank>", "<unk>", "<s>", "</s>")] == [BLANK, UNK, SOS, EOS]


def test_characters_leave_out_those_of_special_pieces():
    assert Vocabulary((*SPECIAL_PIECES, "ab", "b")).characters == {"a", "b"}


@pytest.mark.parametrize("pieces", [(), ("a", *SPECIAL_PIECES), (*SPECIAL_PIECES, "a", "a")])
def test_missing_special_pieces_and_repeated_pieces_are_refused(pieces):
    with pytest.raises(TextError):
        Vocabulary(pieces)
