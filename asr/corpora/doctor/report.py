"""The outcome of an examination: which rows stay, what is wrong with the others, as files and as a table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from asr.corpora.doctor.codes import CODES, OF_A_MODEL, Finding, Severity
from asr.corpora.doctor.settings import CheckSettings, Judgement
from asr.data.manifest import ManifestLine, manifest_row, write_manifest
from asr.data.requirements import Requirements
from asr.errors import ManifestError
from asr.system.display import counted
from asr.system.runtime import write_text_atomic
from asr.types import Utterance


@dataclass(frozen=True)
class CheckReport:
    """Rows and findings, both in the order of the manifest."""

    manifest: Path
    lines: Sequence[ManifestLine]
    findings: Sequence[Finding]  # without ignored codes; of a rejected row, only what it is rejected for
    requirements: Requirements
    settings: CheckSettings  # with what was expected of all rows filled in
    workers: int = 1  # processes
    seconds: float = 0.0  # the examination took

    @classmethod
    def collect(
        cls,
        manifest: Path,
        lines: Sequence[ManifestLine],
        findings: Iterable[Finding],
        requirements: Requirements,
        settings: CheckSettings,
    ) -> CheckReport:
        """Leave out what is ignored, and warnings about rows that are rejected anyway; sort by line and code."""
        order = {code: place for place, code in enumerate(CODES)}
        severity = settings.judgement.severity
        reported = [finding for finding in findings if severity(finding.code) is not None]
        rejected = {finding.line for finding in reported if severity(finding.code) == "reject"}
        left = [one for one in reported if one.line not in rejected or severity(one.code) == "reject"]
        left.sort(key=lambda finding: (finding.line, order[finding.code]))
        return cls(manifest, lines, left, requirements, settings)

    @property
    def judgement(self) -> Judgement:
        """How severe each code is."""
        return self.settings.judgement

    @property
    def not_checked(self) -> tuple[str, ...]:
        """Codes that were not looked for."""
        return () if self.requirements.model else OF_A_MODEL

    @property
    def kept(self) -> list[Utterance]:
        """The rows of the clean manifest."""
        rejected = self.rejected
        return [line.utterance for line in self.lines if line.utterance and line.number not in rejected]

    @property
    def rejected(self) -> dict[int, list[Finding]]:
        """What each rejected row is rejected for, by line."""
        by_line: dict[int, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            if self.judgement.severity(finding.code) == "reject":
                by_line[finding.line].append(finding)
        return dict(by_line)

    def save(self, *, json_file: Path | None = None, clean: Path | None = None, rejected: Path | None = None) -> None:
        """Write what is asked for: `to_json`, the clean manifest, and the rejected rows, each whole or not at all.

        The rejected rows, one JSON object a line, go with a clean manifest: into `rejected.jsonl` beside it unless
        another file is named. ManifestError if no row is left; all but the clean manifest is written even then.
        """
        if json_file is not None:
            write_text_atomic(json_file, json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        if clean is not None:
            self._write_rows(clean, rejected or clean.with_name("rejected.jsonl"))

    def _write_rows(self, clean: Path, rejected: Path) -> None:
        numbered = {line.number: line for line in self.lines}
        rows = (self._rejected_row(numbered[line], why, rejected.parent) for line, why in self.rejected.items())
        write_text_atomic(rejected, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        kept = self.kept
        if not kept:
            raise ManifestError(f"{self.manifest}: no row is left for {clean}; {rejected} has the reasons")
        write_manifest(clean, kept)

    def to_json(self) -> dict[str, Any]:
        """Counts and first example by code, and every finding."""
        return {
            "manifest": str(self.manifest),
            "rows": len(self.lines),
            "kept": len(self.kept),
            "rejected": len(self.rejected),
            "hours_kept": sum(utterance.duration for utterance in self.kept) / 3600,
            "codes": {
                code: {
                    "severity": self.judgement.severity(code),
                    "count": len(found),
                    "first": {"line": found[0].line, "id": found[0].id, "reason": found[0].reason} if found else None,
                }
                for code, found in self._by_code().items()
            },
            "not_checked": list(self.not_checked),
            "ignored": sorted(self.judgement.ignored),
            "settings": {
                "normalize": self.requirements.normalizer,
                "min_duration": self.requirements.min_duration,
                "max_duration": self.requirements.max_duration,
                "tolerance": self.settings.tolerance,
                "sample_rate": self.settings.sample_rate,
                "channels": self.settings.num_channels,
                "scripts": sorted(self.settings.scripts),
            },
            "findings": [{**asdict(one), "severity": self.judgement.severity(one.code)} for one in self.findings],
        }

    def summary(self) -> str:
        """How many rows stay, and what was expected of them."""
        settings, kept = self.settings, self.kept
        hours = sum(utterance.duration for utterance in kept) / 3600
        expected = [f"{settings.sample_rate} Hz", f"channels {settings.num_channels}"] if settings.sample_rate else []
        expected += [f"script {', '.join(sorted(settings.scripts))}"] if settings.scripts else []
        lines = [f"{counted(len(self.lines), 'row')}: {len(kept)} kept ({hours:.2f} h), {len(self.rejected)} rejected"]
        lines += [f"expected: {'; '.join(expected)}"] if expected else []
        lines += [f"not checked without --model or --config: {', '.join(self.not_checked)}"] if self.not_checked else []
        return "\n".join(lines)

    def table(self) -> Table:
        """One row for every code that was found, with its first example."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("code", "severity"):
            table.add_column(column, no_wrap=True)
        for column in ("rows", "%"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("first", overflow="fold")
        ordered: list[Severity] = ["reject", "warn"]
        for severity in ordered:
            for code, found in self._by_code().items():
                if found and self.judgement.severity(code) == severity:
                    first = found[0]
                    example = f"line {first.line}{f' {first.id}' if first.id else ''}: {first.reason}"
                    share = f"{100 * len(found) / len(self.lines):.1f}"
                    table.add_row(code, severity, str(len(found)), share, Text(" ".join(example.split())))
        return table

    def _by_code(self) -> dict[str, list[Finding]]:
        """Findings of every code that was looked for, in order."""
        looked_for = [code for code in CODES if code not in self.not_checked and code not in self.judgement.ignored]
        by_code: dict[str, list[Finding]] = {code: [] for code in looked_for}
        for finding in self.findings:
            by_code[finding.code].append(finding)
        return by_code

    def _rejected_row(self, line: ManifestLine, why: Sequence[Finding], folder: Path) -> dict[str, Any]:
        """A bad line is kept as text, any other as the row it would be in this folder."""
        row: str | dict[str, Any] = line.content.decode(errors="replace").strip()
        if line.utterance is not None and why[0].code != "bad_row":
            row = manifest_row(line.utterance, folder)
        first, *others = why
        also = {"also": [finding.code for finding in others]} if others else {}
        return {"line": line.number, "code": first.code, "reason": first.reason, **also, "row": row}
