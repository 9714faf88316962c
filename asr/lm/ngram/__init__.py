"""Back-off n-gram language models: train, read, write, and score words or tokens with them."""

from __future__ import annotations

from asr.errors import LmError
from asr.lm.base import TokenScorer
from asr.lm.ngram.lexicon import one_case
from asr.lm.ngram.model import BOS_WORD, EOS_WORD, UNK_WORD, NgramModel
from asr.lm.ngram.token_scorer import TokenNgramScorer
from asr.lm.ngram.word_scorer import WordNgramScorer
from asr.text.tokenizer.base import Spelling


def is_token_level(model: NgramModel, tokenizer: Spelling) -> bool:
    """Whether the words of a model are pieces of a tokenizer: some of them mark a space.

    Where no piece marks one, as in Chinese, they are if all of them are pieces.
    """
    if tokenizer.word_boundary != "none" and any(map(tokenizer.starts_word, range(tokenizer.vocab_size))):
        return any(tokenizer.boundary_mark in word for word in model.words)
    return set(tokenizer.vocabulary.pieces).issuperset(_known(model))


def ngram_scorer(model: NgramModel, tokenizer: Spelling, unk_score: float) -> TokenScorer:
    """The scorer for a model of words, or of the tokenizer's own pieces; the latter has no use for `unk_score`.

    LmError if the tokenizer can write none of the model's words, as where they are of another script.
    """
    known = _known(model)
    if is_token_level(model, tokenizer):
        pieces = set(tokenizer.vocabulary.pieces)
        writable = any(word in pieces for word in known)
        scorer: TokenScorer = TokenNgramScorer(model, tokenizer.vocabulary)
    else:
        in_case = one_case(known, tokenizer)
        alphabet = set(map(in_case, tokenizer.alphabet))
        writable = any(alphabet.issuperset(in_case(tokenizer.spell(word))) for word in known)
        scorer = WordNgramScorer(model, tokenizer, unk_score)
    if known and not writable:
        raise LmError(
            f"the language model has words such as '{known[len(known) // 2]}', but the acoustic model can write none "
            "of its words; train it on text in the same form, see --normalize and --tokens of `asr lm train`"
        )
    return scorer


def _known(model: NgramModel) -> list[str]:
    return [word for word in model.words if word not in (UNK_WORD, BOS_WORD, EOS_WORD)]
