"""The list of pieces a model can write, and which of its ids play a part that is not text.

Families number them differently: our tokenizers begin with blank, unk, sos and eos, wav2vec 2.0 has `<pad>` = 0 for the
blank, Whisper's id 0 is "!" and its end of text 50257. So ids of roles are looked up here and never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from asr.errors import TextError


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by id, with the ids of the roles; a role that a family lacks is None.

    `control` are the ids that write no text: the roles, and what else a family has of that kind (languages, tasks,
    timestamps). TextError if a piece occurs twice or a role is no id of a piece.
    """

    pieces: tuple[str, ...]
    blank: int | None = None  # CTC's "nothing here"
    unk: int | None = None  # a piece of text that the vocabulary cannot write
    sos: int | None = None  # start of sentence, the default prompt of attention decoders
    eos: int | None = None  # end of sentence
    control: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if len(self._ids) != len(self.pieces):
            raise TextError("a vocabulary holds every piece once, this one repeats some")
        object.__setattr__(self, "control", self.control | self.roles)
        if wrong := [token for token in sorted(self.control) if not 0 <= token < len(self.pieces)]:
            raise TextError(f"a vocabulary of {len(self.pieces)} pieces has no token {wrong[0]}")

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def start(self) -> int:
        """The id that whatever scores texts token by token is fed first: `sos`; `eos` or blank where there is none.

        TextError for a vocabulary with none of these.
        """
        return self._first_of(self.sos, self.eos, self.blank)

    @property
    def end(self) -> int:
        """The id whose score is that of ending here: `eos`; blank, which is never part of a text, where there is none.

        TextError for a vocabulary with neither.
        """
        return self._first_of(self.eos, self.blank)

    @property
    def never_predicted(self) -> tuple[int, ...]:
        """The ids that do not occur in a text or at its end: blank and `sos`, unless they stand for the end, too."""
        roles = {role for role in (self.blank, self.sos) if role is not None}
        return tuple(sorted(roles - {self.end}))

    @property
    def roles(self) -> frozenset[int]:
        """The ids of blank, unk, sos and eos, as far as there are such."""
        return frozenset(role for role in (self.blank, self.unk, self.sos, self.eos) if role is not None)

    def piece(self, token: int) -> str:
        """The piece of an id in 0..len-1."""
        return self.pieces[token]

    def id(self, piece: str) -> int | None:
        """The id of a piece; that of `unk` if there is no such piece, which may be None."""
        return self._ids.get(piece, self.unk)

    def _first_of(self, *roles: int | None) -> int:
        for role in roles:
            if role is not None:
                return role
        raise TextError("a vocabulary without blank and end of sentence cannot be searched")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: token for token, piece in enumerate(self.pieces)}
