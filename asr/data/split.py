"""Parts held out from training: whole speakers, or whole recordings, so that no speaker is on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from asr.errors import ManifestError
from asr.system.display import counted
from asr.system.runtime import derive_rng
from asr.types import Utterance

By = Literal["auto", "speaker", "recording", "utterance"]
BY: tuple[str, ...] = get_args(By)
TRAIN = "train"
MAX_SHARE = 0.5
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")

KEYS: dict[str, Callable[[Utterance], str | None]] = {
    "speaker": lambda utterance: utterance.speaker,
    "recording": lambda utterance: str(utterance.audio),
    "utterance": lambda utterance: utterance.id,
}


@dataclass(frozen=True)
class Split:
    """Row numbers of each part, ascending, "train" the last; together they are all rows."""

    rows: Mapping[str, NDArray[np.int64]]
    by: str  # what no two parts share: speaker, recording or utterance


def parse_share(text: str) -> float | None:
    """`10%` as a fraction; None for text that is no share; ValueError for one that leaves too little or nothing."""
    found = _SHARE.fullmatch(text.strip())
    if found is None:
        return None
    share = float(found[1]) / 100
    if not 0 < share <= MAX_SHARE:
        raise ValueError(f"{text}: between 0 and {100 * MAX_SHARE:g} % can be held out")
    return share


def split_rows(utterances: Sequence[Utterance], shares: Mapping[str, float], *, by: str = "auto", seed: int) -> Split:
    """Hold out shares (fractions) of the seconds of a corpus, by part; the rest is "train".

    Groups, such as all utterances of a speaker, are drawn by `seed` and go to one part as a whole. Each part has at
    least one; which draw comes nearest to its share is taken. `auto` is by speaker where every row has one and there
    are enough of them, else by recording, else by utterance. ManifestError if there are too few groups.
    """
    needed = len(shares) + 1
    durations = np.array([utterance.duration for utterance in utterances])
    if by == "auto":
        kinds = ("speaker", "recording", "utterance")
        by = next((kind for kind in kinds if _num_groups(utterances, kind) >= needed), "utterance")
    groups = _groups(utterances, by)
    if len(groups) < needed:
        other = "" if by == "utterance" else "; split by recording or by utterance, whose voices are then on both sides"
        raise ManifestError(f"there {_are(len(groups), by)}, and {needed} parts are to have one each{other}")
    order = derive_rng(seed, "split").permutation(len(groups))
    waiting = [groups[number] for number in order]
    total = float(durations.sum())
    parts: dict[str, NDArray[np.int64]] = {}
    for place, (name, share) in enumerate(shares.items()):
        to_leave = len(shares) - place  # groups for the other parts
        parts[name] = _take(waiting, durations, share * total, to_leave)
    parts[TRAIN] = np.sort(np.concatenate(waiting))
    return Split(parts, by)


def _take(
    waiting: list[NDArray[np.int64]], durations: NDArray[np.float64], wanted: float, to_leave: int
) -> NDArray[np.int64]:
    """Take groups out of those that wait, in order, for as long as each brings the sum nearer to what is wanted."""
    taken: list[NDArray[np.int64]] = []
    seconds = 0.0
    for group in list(waiting):
        size = float(durations[group].sum())
        if len(waiting) > to_leave and abs(seconds + size - wanted) < abs(seconds - wanted):
            taken.append(group)
            seconds += size
            waiting[:] = [other for other in waiting if other is not group]
    if not taken:
        smallest = min(waiting, key=lambda group: float(durations[group].sum()))
        taken.append(smallest)
        waiting[:] = [other for other in waiting if other is not smallest]
    return np.sort(np.concatenate(taken))


def _groups(utterances: Sequence[Utterance], by: str) -> list[NDArray[np.int64]]:
    """Row numbers of each group, in the order of their names, so that the order of rows is of no influence."""
    rows: dict[str, list[int]] = {}
    for number, utterance in enumerate(utterances):
        key = KEYS[by](utterance)
        if key is None:
            raise ManifestError(f"utterance '{utterance.id}' has no speaker; split by recording, or name the speakers")
        rows.setdefault(key, []).append(number)
    return [np.array(rows[key], dtype=np.int64) for key in sorted(rows)]


def _num_groups(utterances: Sequence[Utterance], by: str) -> int:
    keys = {KEYS[by](utterance) for utterance in utterances}
    return 0 if None in keys else len(keys)


def _are(number: int, what: str) -> str:
    return f"{'is' if number == 1 else 'are'} {counted(number, what)}"
