"""The pieces of tokenizers as Hugging Face folders hold them: tokenizer.json, or vocab.json and what belongs to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.bundle.foreign.files import read_json, read_settings
from asr.errors import BundleError

TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.json"
MERGES = "merges.txt"
ADDED = "added_tokens.json"


@dataclass(frozen=True)
class HubPieces:
    """Pieces by id, and which two became one, in order; None where no file says so."""

    file: Path  # that names them, for errors
    pieces: list[str]
    merges: list[tuple[str, str]] | None


def read_pieces(folder: Path) -> HubPieces:
    """The pieces of a folder, of tokenizer.json where there is one; BundleError if they are missing or damaged."""
    if (folder / TOKENIZER).is_file():
        return _from_tokenizer(folder / TOKENIZER)
    file = folder / VOCABULARY
    ids = _ids(read_settings(file), file)
    if (folder / ADDED).is_file():
        ids.update(_ids(read_settings(folder / ADDED), folder / ADDED))
    merges = None
    if (folder / MERGES).is_file():
        lines = _lines(folder / MERGES)
        merges = [_merge(line, folder / MERGES) for line in lines if line and not line.startswith("#version")]
    return HubPieces(file, _by_id(ids, file), merges)


def check_merges(found: HubPieces) -> None:
    """BundleError unless pieces are joined in the order of their ids, as byte-level tokenizers here join them."""
    ids = {piece: token for token, piece in enumerate(found.pieces)}
    last = -1
    for left, right in found.merges or ():
        token = ids.get(left + right)
        if token is None:
            raise BundleError(f"{found.file}: joins {left!r} and {right!r} to a piece that it does not list")
        if token <= last:
            raise BundleError(f"{found.file}: pieces are not joined in the order of their ids; not supported")
        last = token


def _from_tokenizer(file: Path) -> HubPieces:
    settings = read_settings(file)
    model = settings.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(vocabulary, dict):
        raise BundleError(f"{file}: has no pieces by name; this kind of tokenizer is not supported")
    ids = _ids(vocabulary, file)
    added = settings.get("added_tokens") or []
    try:
        ids.update(_ids({token["content"]: token["id"] for token in added}, file))
    except (TypeError, KeyError) as error:
        raise BundleError(f"{file}: damaged `added_tokens`; copy the file again") from error
    merges = model.get("merges")
    pairs = None if merges is None else [_merge(merge, file) for merge in merges]
    return HubPieces(file, _by_id(ids, file), pairs)


def _ids(settings: Mapping[str, Any], file: Path) -> dict[str, int]:
    for piece, token in settings.items():
        if not isinstance(token, int) or isinstance(token, bool) or not isinstance(piece, str):
            raise BundleError(f"{file}: piece {piece!r} has no number; copy the file again")
    return dict(settings)


def _by_id(ids: Mapping[str, int], file: Path) -> list[str]:
    """Pieces in the order of their ids, which are 0, 1, ... without a gap."""
    pieces = sorted(ids, key=lambda piece: ids[piece])
    for token, piece in enumerate(pieces):
        if ids[piece] != token:
            problem = "no piece has" if ids[piece] > token else "two pieces have"
            raise BundleError(f"{file}: {problem} the id {min(token, ids[piece])}; copy the file again")
    return pieces


def _merge(merge: object, file: Path) -> tuple[str, str]:
    """A pair, written as a list or with a space between."""
    parts: Iterable[Any] = merge.split(" ") if isinstance(merge, str) else merge if isinstance(merge, list) else ()
    pair = tuple(parts)
    if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise BundleError(f"{file}: {merge!r} are no two pieces to join; copy the file again")
    return pair[0], pair[1]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror}); copy the file again") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{file}: not UTF-8 text; copy the file again") from error


__all__ = ["HubPieces", "check_merges", "read_json", "read_pieces"]
