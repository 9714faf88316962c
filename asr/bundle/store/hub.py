"""Models fetched from the hub. Its client, huggingface_hub, is asked: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE hold."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr import __version__
from asr.bundle.catalogue import HubRepo
from asr.bundle.store.files import SHARD_INDEX, Advance, UnavailableError, side_files, weight_files
from asr.data.download import download
from asr.errors import DownloadError

NO_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
REFUSED = (401, 403)  # what the hub answers where a model is given on conditions


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it."""

    size: int
    sha256: str | None  # of large ones


@dataclass(frozen=True)
class Listing:
    """What is needed of one revision of a repository."""

    repo: HubRepo
    revision: str  # a commit
    licence: str
    files: Mapping[str, HubFile]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files.values())


class Hub:
    """The hub; UnavailableError where its client is not installed."""

    def __init__(self) -> None:
        try:
            from huggingface_hub import HfApi, get_token
            from huggingface_hub.utils import logging
        except ImportError as error:
            raise UnavailableError("huggingface_hub, which asks the hub, is not installed (extra 'hub')") from error
        logging.set_verbosity_error()
        self._api = HfApi(library_name="asr", library_version=__version__)
        token = get_token()
        self._headers = {"User-Agent": f"asr/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def list(self, repo: HubRepo, revision: str | None, into: Path) -> Listing:
        """What is to be fetched; into the folder goes the list of shards, if there is one."""
        info = _called(self._api.model_info, repo.repo, revision=revision, files_metadata=True)
        if not re.fullmatch("[0-9a-f]{40}", info.sha or ""):
            raise UnavailableError(f"{repo.repo} on the hub has no revision, but {info.sha!r}")
        present = {one.rfilename: one for one in info.siblings}

        def index() -> Path:
            return self._fetch(repo, SHARD_INDEX, info.sha, into, lambda _: None)

        try:
            weights = weight_files(present, repo.layout, index)
        except UnavailableError as error:
            raise UnavailableError(f"{repo.repo} on the hub {error}") from error
        files = {}
        for name in (*side_files(present, repo.layout), *weights):
            lfs = present[name].lfs
            files[name] = HubFile(present[name].size or 0, lfs.sha256 if lfs is not None else None)
        stated = getattr(info.card_data, "license", None)
        return Listing(repo, info.sha, stated if isinstance(stated, str) else repo.licence, files)

    def fetch(self, listing: Listing, into: Path, advance: Advance) -> Path:
        """Fetch all files; the folder with them. What an earlier attempt left of the same revision is gone on from.

        The client itself would begin anew after each accident.
        """
        folder = into
        for name in listing.files:
            folder = self._fetch(listing.repo, name, listing.revision, into, advance).parent
        return folder

    def _fetch(self, repo: HubRepo, name: str, revision: str, into: Path, advance: Advance) -> Path:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(repo.repo, name, revision=revision, endpoint=self._api.endpoint)
        seen = 0

        def on_progress(here: int, _total: int | None) -> None:
            nonlocal seen
            advance(here - seen)
            seen = here

        try:
            return download(url, into / revision / name, progress=on_progress, headers=self._headers)
        except DownloadError as error:
            if getattr(error.__cause__, "errno", None) in NO_WRITING:
                raise
            if getattr(error.__cause__, "code", None) in REFUSED:
                raise UnavailableError(
                    f"{repo.repo} is given to those alone who may have it: accept its conditions at "
                    f"{self._api.endpoint}/{repo.repo}, and set HF_TOKEN to a token of that account"
                ) from error
            raise UnavailableError(f"{error}; what came is kept") from error


def _called(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The outcome of a call to the client; UnavailableError with its reason."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return function(*arguments, **options)
    except OfflineModeIsEnabled as error:
        raise UnavailableError("the hub may not be asked, HF_HUB_OFFLINE is set") from error
    except Exception as error:  # of whichever library fetches: there is no common class for them
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise UnavailableError(f"the hub does not give {arguments[0]} ({reason})") from error
