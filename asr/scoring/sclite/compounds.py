"""Words written together on one side and apart on the other are no error: the hypothesis gets both ways to be read.

The reference keeps its words, so that systems that write differently are measured by the same number of words.
"""

from __future__ import annotations

from asr.scoring.sclite.network import Arc, Network, path

_MOST_PARTS = 4  # of a compound


def read_compounds(reference: Network, hypothesis: Network) -> Network:
    """The hypothesis with what may be read as words of the reference: "database" for "data base" and vice versa."""
    parts = {"".join(words): words for words in map(_words, reference.chains(_MOST_PARTS))}
    singles = {arc.word for arc in reference.arcs}
    first_new = max((arc.end for arc in hypothesis.arcs), default=1) + 1
    extra: list[Arc] = []
    for chain in hypothesis.chains(_MOST_PARTS):
        joined = "".join(_words(chain))
        start, end = chain[0].start, chain[-1].end
        if len(chain) > 1 and joined in singles:
            extra.append(Arc(start, end, joined))
        elif len(chain) == 1 and joined not in singles and joined in parts:
            extra += path(parts[joined], start, end, first_new)
            first_new += len(parts[joined])
    return Network([*hypothesis.arcs, *extra]) if extra else hypothesis


def _words(chain: tuple[Arc, ...]) -> tuple[str, ...]:
    return tuple(arc.word for arc in chain if arc.word is not None)
