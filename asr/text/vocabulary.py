"""The list of pieces a model can write, and the four ids every model agrees on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from asr.errors import TextError

BLANK = 0  # CTC's "nothing here"; 0 because zero-filled padding is then harmless to read
UNK = 1  # a piece of text the vocabulary cannot write
SOS = 2  # start of sentence, for attention decoders
EOS = 3  # end of sentence
NEVER_PREDICTED = (BLANK, SOS)  # the log-probability of these as the next token is -inf
SPECIAL_PIECES = ("<blank>", "<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by id. The first four are `SPECIAL_PIECES`; pieces are distinct, or TextError."""

    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.pieces[: len(SPECIAL_PIECES)] != SPECIAL_PIECES:
            found = " ".join(self.pieces[: len(SPECIAL_PIECES)])
            raise TextError(f"a vocabulary starts with {' '.join(SPECIAL_PIECES)}, this one with '{found}'")
        if len(self._ids) != len(self.pieces):
            raise TextError("a vocabulary holds every piece once, this one repeats some")

    def __len__(self) -> int:
        return len(self.pieces)

    def piece(self, token: int) -> str:
        """The piece of an id in 0..len-1."""
        return self.pieces[token]

    def id(self, piece: str) -> int:
        """The id of a piece, UNK if there is none."""
        return self._ids.get(piece, UNK)

    @cached_property
    def characters(self) -> frozenset[str]:
        """Every character that occurs in a piece, special pieces aside."""
        return frozenset("".join(self.pieces[len(SPECIAL_PIECES) :]))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: token for token, piece in enumerate(self.pieces)}
