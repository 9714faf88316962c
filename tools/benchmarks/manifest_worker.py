"""The worker that stands for one rank of a training job over a large manifest."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np

from asr.data.manifest import open_manifest, read_lines
from asr.data.manifest.table import Table
from asr.data.sampler import BucketSampler
from asr.types import Utterance
from tools.benchmarks.common import Stopwatch, serve

RANDOM_ROWS = 20_000


class Rank:
    """The jobs of the worker."""

    def __init__(self) -> None:
        self._rows: Table | None = None
        self._kept: Any = None

    def open(self, path: str) -> dict[str, Any]:
        """Open the manifest, which makes its index or finds it."""
        watch, helpers = Stopwatch(), helpers_seconds()
        with watch.running():
            self._rows = open_manifest(path)
        seconds = watch.to_json() | {"helpers": helpers_seconds() - helpers}
        return {"rows": len(self._rows), "seconds": seconds, "memory": memory()}

    def first_batch(self, max_batch_seconds: float) -> dict[str, Any]:
        """Form the first batch of an epoch and read its rows."""
        rows = self._table()
        watch = Stopwatch()
        with watch.running():
            sampler = BucketSampler(rows.durations, max_batch_seconds=max_batch_seconds)
            self._kept = plan = sampler.batches(0)
            batch = [rows[index] for index in plan[0]]
        return {"utterances": len(batch), "seconds": watch.to_json(), "memory": memory()}

    def epoch(self) -> dict[str, Any]:
        """Count the batches of an epoch, then form each one, then one in the middle again as a resumed run would."""
        plan = self._kept
        seconds = {}
        for job in ("count", "all", "middle"):
            watch = Stopwatch()
            with watch.running():
                number = len(plan)
                if job == "all":
                    utterances = sum(map(len, plan))
                elif job == "middle":
                    plan[number // 2]
            seconds[job] = watch.to_json()
        return {"batches": number, "utterances": utterances, "seconds": seconds, "memory": memory()}

    def random_rows(self) -> dict[str, Any]:
        """Parse rows from all over the manifest."""
        rows = self._table()
        numbers = np.random.default_rng(0).integers(0, len(rows), RANDOM_ROWS).tolist()
        watch = Stopwatch()
        with watch.running():
            for number in numbers:
                rows[number]
        return {"rows": RANDOM_ROWS, "seconds": watch.to_json()}

    def survey(self) -> dict[str, Any]:
        """What `asr train` looks at in every row before its first step: text, tokens, frames; with all processes."""
        from asr.bundle.bundle import Bundle
        from asr.config import DataConfig, Experiment
        from asr.experiments.requirements import requirements, requirements_key
        from asr.experiments.survey import survey
        from asr.features import build_frontend
        from asr.text.tokenizer import train_tokenizer
        from asr.text.tokenizer.unigram import UnigramConfig

        rows = self._table()
        config = Experiment(
            data=DataConfig(train="", dev=""), normalize="basic", tokenizer=UnigramConfig(vocab_size=500)
        )
        tokenizer = train_tokenizer(config.tokenizer, (row.text for row in rows[:20_000]))
        bundle = Bundle.build(config, build_frontend(config.frontend), tokenizer)
        needs, key = requirements(config, bundle), requirements_key(config, bundle)
        first, second, helpers = Stopwatch(), Stopwatch(), helpers_seconds()
        with first.running():
            found = survey(rows, needs, key=key, with_texts=True)
        helpers = helpers_seconds() - helpers
        with second.running():
            again = survey(rows, needs, key=key, with_texts=False)
        assert len(again.set_aside) == len(found.set_aside)
        return {
            "set_aside": found.set_aside.counts,
            "first": first.to_json() | {"helpers": helpers},
            "again": second.to_json(),
            "memory": memory(),
        }

    def objects(self, path: str) -> dict[str, Any]:
        """A list of all utterances with their ids compared, as every rank once made of every manifest."""
        before = memory()["resident"]
        watch = Stopwatch()
        with watch.running():
            self._kept = [line.utterance for line in read_lines(Path(path))]
            by_id: dict[str, Utterance] = {row.id: row for row in self._kept if row is not None}
        assert len(by_id) == len(self._kept)
        grown = memory()["resident"] - before
        return {"rows": len(self._kept), "seconds": watch.to_json(), "megabytes": grown}

    def _table(self) -> Table:
        assert self._rows is not None
        return self._rows


def helpers_seconds() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory() -> dict[str, float]:
    """Megabytes of this process: resident, its share of what is shared, its own alone, and its peak."""
    sizes: dict[str, float] = {}
    for file in ("smaps_rollup", "status"):
        for line in Path("/proc/self", file).read_text().splitlines():
            if line.endswith(" kB"):
                name, kilobytes, _ = line.split()
                sizes[name.rstrip(":")] = float(kilobytes) / 1e3
    return {
        "resident": sizes["Rss"],
        "proportional": sizes["Pss"],
        "own": sizes["Private_Clean"] + sizes["Private_Dirty"],
        "peak": sizes["VmHWM"],
        "peak_of_helpers": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    rank = Rank()
    jobs = (rank.open, rank.first_batch, rank.epoch, rank.random_rows, rank.survey, rank.objects)
    serve({"memory": memory} | {job.__name__: job for job in jobs})
