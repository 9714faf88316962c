import ast
from pathlib import Path

import pytest

import asr
from asr.errors import TextError
from asr.text.tokenizer.sentence_piece import BLANK, EOS, SOS, SPECIAL_PIECES, UNK
from asr.text.vocabulary import Vocabulary


def test_pieces_and_ids_are_inverse_and_an_unknown_piece_is_unk():
    vocabulary = Vocabulary((*SPECIAL_PIECES, "a", "b"), BLANK, UNK, SOS, EOS)
    assert [vocabulary.id(vocabulary.piece(token)) for token in range(len(vocabulary))] == [0, 1, 2, 3, 4, 5]
    assert vocabulary.id("c") == UNK
    assert [vocabulary.id(piece) for piece in ("<blank>", "<unk>", "<s>", "</s>")] == [BLANK, UNK, SOS, EOS]


@pytest.mark.parametrize("pieces", [(), SPECIAL_PIECES[:3], (*SPECIAL_PIECES, "a", "a")])
def test_missing_pieces_of_roles_and_repeated_pieces_are_refused(pieces):
    with pytest.raises(TextError):
        Vocabulary(pieces, BLANK, UNK, SOS, EOS)


def test_a_vocabulary_may_number_its_roles_in_any_way_and_lack_some():
    wav2vec2 = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "E"), blank=0, unk=3, sos=1, eos=2)
    assert (wav2vec2.blank, wav2vec2.unk, wav2vec2.control) == (0, 3, {0, 1, 2, 3})
    whisper = Vocabulary(("!", "a", "<|endoftext|>", "<|sot|>", "<|en|>"), sos=3, eos=2, control=frozenset({4}))
    assert whisper.id("?") is None
    assert whisper.control == {2, 3, 4}


def test_what_starts_and_ends_a_sentence_is_another_role_where_a_family_lacks_it():
    both = Vocabulary(("a", "<blk>", "<s>", "</s>"), blank=1, sos=2, eos=3)
    assert (both.start, both.end, both.never_predicted) == (2, 3, (1, 2))
    shared = Vocabulary(("<blk>", "<sos/eos>", "a"), blank=0, sos=1, eos=1)
    assert (shared.start, shared.end, shared.never_predicted) == (1, 1, (0,))
    ctc_alone = Vocabulary(("a", "<blk>"), blank=1)
    assert (ctc_alone.start, ctc_alone.end, ctc_alone.never_predicted) == (1, 1, ())
    with pytest.raises(TextError, match="cannot be searched"):
        _ = Vocabulary(("a",)).end


def test_fixed_ids_are_known_to_our_own_tokenizers_alone():
    names = {"BLANK", "UNK", "SOS", "EOS", "SPECIAL_PIECES"}
    package = Path(asr.__file__).parent
    modules = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    using = {
        name
        for name, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id in names) or (isinstance(node, ast.alias) and node.name in names)
    }
    assert using == {"text/tokenizer/sentence_piece.py", "text/tokenizer/separated.py"}
