"""What `asr data shard` does: a manifest's audio packed into tar files in WebDataset layout."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asr.audio.io import audio_info, load_audio
from asr.data.shards.index import INDEX_FILE
from asr.errors import AsrError, AudioError, ManifestError
from asr.system.runtime import atomic_path, derive_rng, write_text_atomic
from asr.types import Utterance

HEADER_BYTES = tarfile.BLOCKSIZE  # of a member with a short name
SLACK = 0.1  # seconds a file may be longer than its utterance and still be stored as it is; loading cuts it
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class ShardLimits:
    """When a shard is full; it holds one utterance at least."""

    num_bytes: int = 10**9
    utterances: int | None = None


def parse_size(text: str) -> int:
    """Bytes of a size such as 1GB, 500 MB or 64MiB; AsrError for what is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or float(found[1]) * unit < 1:
        raise AsrError(f"'{text}' is not a size; write it like 1GB, 500MB or 64MiB")
    return int(float(found[1]) * unit)


def write_shards(
    utterances: Sequence[Utterance],
    out: Path,
    limits: ShardLimits,
    *,
    shuffle: bool = True,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Pack utterances into `out`/shard-NNNNNN.tar with `shards.jsonl`; returns the rows of that index.

    A file that is one utterance is stored byte for byte. A stretch of a longer file is stored as FLAC: samples of up to
    24 bits exactly, others (floats, lossy codecs) rounded to 16, and those beyond full scale as float wav. With
    `shuffle` the order is a random one, always the same, so that every shard is a sample of the corpus.

    Every file appears whole or not at all, and shards that an interrupted run finished are kept. AudioError naming
    the utterance whose audio cannot be read; ManifestError if the folder holds shards of another manifest.
    """
    rows = list(utterances)
    if shuffle:
        rows = [rows[index] for index in derive_rng(0, "shard").permutation(len(rows))]
    written: list[dict[str, Any]] = []
    done = 0
    while done < len(rows):
        name = f"shard-{len(written):06d}"
        index = out / f"{name}.jsonl"
        if not index.exists():
            _write_shard(out / f"{name}.tar", index, rows[done:], limits)
        num_rows = _check_rows(index, rows[done:])
        written.append(_summary(out, name, rows[done : done + num_rows]))
        done += num_rows
        on_progress(done)
    if (extra := out / f"shard-{len(written):06d}.jsonl").exists():
        raise _other_manifest(extra)
    write_text_atomic(out / INDEX_FILE, "".join(json.dumps(row) + "\n" for row in written))
    return written


def _write_shard(tar_file: Path, index: Path, rows: Sequence[Utterance], limits: ShardLimits) -> None:
    """Fill one shard from the front of `rows`, then write its index, which says that the shard is whole."""
    lines: list[str] = []
    with atomic_path(tar_file) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for utterance in rows[: limits.utterances]:
            suffix, audio = encoded_audio(utterance)
            key = _key(utterance.id)
            fields = _fields(utterance)
            about = json.dumps(fields, ensure_ascii=False).encode()
            if lines and tar.offset + len(audio) + len(about) + 2 * HEADER_BYTES > limits.num_bytes:
                break
            member = f"{key}{suffix}"
            place = {"offset": tar.offset + HEADER_BYTES, "bytes": len(audio)}
            _add(tar, member, audio)
            _add(tar, f"{key}.json", about)
            row = {"id": utterance.id, "audio": member} | fields | place
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text_atomic(index, "".join(lines))


def encoded_audio(utterance: Utterance) -> tuple[str, bytes]:
    """The audio of an utterance as the contents of a file, with its suffix; AudioError naming the utterance."""
    try:
        info = audio_info(utterance.audio)
        if utterance.start == 0 and info.duration - utterance.duration <= SLACK:
            return utterance.audio.suffix.lower(), utterance.audio.read_bytes()
        samples = load_audio(utterance.audio, info.sample_rate, start=utterance.start, duration=utterance.duration)
    except AudioError as error:
        raise AudioError(f"utterance '{utterance.id}': {error}") from error
    except OSError as error:
        raise AudioError(f"utterance '{utterance.id}': {utterance.audio}: cannot be read ({error.strerror})") from error
    return _encode(samples, info.sample_rate)


def _encode(samples: np.ndarray, sample_rate: int) -> tuple[str, bytes]:
    """Mono samples as FLAC of 16 or 24 bits, whichever holds them exactly; of 16 if neither does; or as float wav.

    They are handed over as integers, since libsndfile scales floats by another number than it reads them with.
    """
    buffer = io.BytesIO()
    if samples.max() >= 1 or samples.min() < -1:
        soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="FLOAT")
        return ".wav", buffer.getvalue()
    exact = [bits for bits in (16, 24) if not np.any(np.ldexp(samples, bits - 1) % 1)]
    bits = exact[0] if exact else 16
    integers = np.rint(np.ldexp(samples, bits - 1)).clip(max=2 ** (bits - 1) - 1).astype(np.int32) << (32 - bits)
    soundfile.write(buffer, integers, sample_rate, format="FLAC", subtype=f"PCM_{bits}")
    return ".flac", buffer.getvalue()


def _fields(utterance: Utterance) -> dict[str, Any]:
    fields = {"id": utterance.id, "duration": utterance.duration, "text": utterance.text}
    optional = {"speaker": utterance.speaker, "lang": utterance.lang}
    return fields | {key: value for key, value in optional.items() if value is not None}


def _key(id: str) -> str:
    """A member's name up to its first dot, where WebDataset ends the key: plain characters, its own for every id."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:60]
    return plain if plain == id else f"{plain}-{hashlib.sha256(id.encode()).hexdigest()[:12]}"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without time and owner: the same audio makes the same shard
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _check_rows(index: Path, rows: Sequence[Utterance]) -> int:
    """How many of the rows a finished shard holds; ManifestError if they are not the next ones of the manifest."""
    found = [json.loads(line) for line in index.read_text(encoding="utf-8").split("\n") if line]
    for row, utterance in zip(found, [*rows, None], strict=False):
        if utterance is None or {key: row.get(key) for key in _fields(utterance)} != _fields(utterance):
            raise _other_manifest(index)
    return len(found)


def _other_manifest(index: Path) -> ManifestError:
    return ManifestError(f"{index}: made from another manifest or in another order; choose another --out")


def _summary(out: Path, name: str, rows: Sequence[Utterance]) -> dict[str, Any]:
    hashes = {}
    for path in (out / f"{name}.tar", out / f"{name}.jsonl"):
        with open(path, "rb") as file:
            hashes[path.suffix] = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "shard": f"{name}.tar",
        "index": f"{name}.jsonl",
        "utterances": len(rows),
        "duration": math.fsum(utterance.duration for utterance in rows),
        "bytes": (out / f"{name}.tar").stat().st_size,
        "sha256": hashes[".tar"],
        "index_sha256": hashes[".jsonl"],
    }
