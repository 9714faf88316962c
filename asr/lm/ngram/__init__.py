"""Back-off n-gram language models: train, read, write, and score words or tokens with them."""

from __future__ import annotations

from asr.errors import LmError
from asr.lm.base import TokenScorer
from asr.lm.ngram.model import BOS_WORD, EOS_WORD, UNK_WORD, NgramModel
from asr.lm.ngram.token_scorer import TokenNgramScorer
from asr.lm.ngram.word_scorer import WordNgramScorer
from asr.text.tokenizer.base import SPACE
from asr.text.vocabulary import Vocabulary


def is_token_level(model: NgramModel) -> bool:
    """Whether the words of a model are pieces of a tokenizer: some of them mark a space."""
    return any(SPACE in word for word in model.words)


def ngram_scorer(model: NgramModel, vocabulary: Vocabulary, unk_score: float) -> TokenScorer:
    """The scorer for a model of words, or of the vocabulary's own pieces; the latter knows no `unk_score`.

    LmError if the vocabulary can write none of the model's words, as where one has upper case and the other lower.
    """
    known = [word for word in model.words if word not in (UNK_WORD, BOS_WORD, EOS_WORD)]
    if is_token_level(model):
        pieces = set(vocabulary.pieces)
        writable = any(word in pieces for word in known)
        scorer: TokenScorer = TokenNgramScorer(model, vocabulary)
    else:
        writable = any(vocabulary.characters.issuperset(word) for word in known)
        scorer = WordNgramScorer(model, vocabulary, unk_score)
    if known and not writable:
        raise LmError(
            f"the language model has words such as '{known[len(known) // 2]}', but the acoustic model can write none "
            "of its words; train it on text in the same form, see --normalize and --tokens of `asr lm train`"
        )
    return scorer
