"""What a person expects of a corpus, and how severely each fault is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asr.corpora.doctor.codes import CODES, REJECTED, UNAVOIDABLE, Severity
from asr.corpora.doctor.corpus import known_scripts
from asr.errors import ConfigError
from asr.registry import did_you_mean


@dataclass(frozen=True)
class Judgement:
    """How severe each code is: as in `codes`, save those promoted to reject and those not to be reported."""

    promoted: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, reject: Iterable[str], ignore: Iterable[str]) -> Judgement:
        """ConfigError for an unknown code, naming the nearest, and for one that contradicts itself."""
        judgement = cls(frozenset(reject), frozenset(ignore))
        for code in (*judgement.promoted, *judgement.ignored):
            if code not in CODES:
                raise ConfigError(f"unknown code '{code}'{did_you_mean(code, CODES)}")
        if both := judgement.promoted & judgement.ignored:
            raise ConfigError(f"code '{min(both)}' cannot be both rejected and ignored")
        if never := judgement.ignored.intersection(UNAVOIDABLE):
            raise ConfigError(f"code '{min(never)}' cannot be ignored: a manifest cannot hold such a row")
        return judgement

    def severity(self, code: str) -> Severity | None:
        """None for an ignored code."""
        if code in self.ignored:
            return None
        return "reject" if code in REJECTED or code in self.promoted else "warn"


def parse_scripts(names: Iterable[str]) -> frozenset[str]:
    """The scripts of these names; ConfigError for one that Unicode has no letters of, naming the nearest."""
    names = frozenset(names)
    for name in names:
        if name not in known_scripts():
            raise ConfigError(f"unknown script '{name}'{did_you_mean(name, known_scripts())}")
    return names


@dataclass(frozen=True)
class CheckSettings:
    """What is expected of the audio and the letters of a corpus; None or nothing: what most rows have."""

    tolerance: float = 0.1  # seconds between the audio's duration and the manifest's
    sample_rate: int | None = None  # Hz
    num_channels: int | None = None
    scripts: frozenset[str] = frozenset()
    judgement: Judgement = Judgement()
