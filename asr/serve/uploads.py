"""Forms with a file, read as they arrive: fields in memory, the file in a private folder, both within limits."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from asr.audio.io import audio_info, read_blocks
from asr.errors import AudioError
from asr.serve.errors import ApiError, TooLongError, invalid, too_large
from asr.serve.settings import ServeConfig

MAX_FIELDS = 200
MAX_FIELD_BYTES = 128 * 1024  # of all fields together
FILE = "file"  # the field that holds the audio


class Gone(Exception):  # noqa: N818 - no error: the caller has left
    """There is nobody to answer any more."""


@dataclass(frozen=True)
class Uploaded:
    """A file that somebody sent, as a `Recording`; its errors do not say where it is kept.

    Raises TooLongError, while it is read, beyond `max_seconds` of audio.
    """

    path: Path
    max_seconds: float
    name: str = "the file"

    has_block = True

    def num_channels(self) -> int:
        """As the header says."""
        with self._own_errors():
            return audio_info(self.path).num_channels

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        """See `Recording`."""
        most = self.max_seconds * sample_rate
        with self._own_errors():
            for block in read_blocks(self.path, sample_rate, block_seconds, channel=channel):
                most -= len(block)
                if most < 0:
                    raise TooLongError(f"{self.name} holds more than {self.max_seconds:g} s of audio; send it in parts")
                yield block

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except TooLongError:
            raise
        except AudioError as error:
            raise AudioError(str(error).replace(str(self.path), self.name)) from error


@dataclass
class Form:
    """What a request holds: the values of each field, and where its file is."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file: Path | None = None
    num_bytes: int = 0  # of the file


@asynccontextmanager
async def read_form(request: Any, folder: Path, config: ServeConfig) -> AsyncIterator[Form]:
    """The form of a starlette request; its file is gone afterwards.

    ApiError 400 for what is no whole multipart form, 408 for one that comes too slowly, 413 for one too large.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise invalid("the body must be multipart/form-data, with a boundary and a field 'file'", code="no_form")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 20:
        _check_size(int(declared) - MAX_FIELD_BYTES, config)
    with tempfile.TemporaryDirectory(dir=folder) as private:
        reader: _FormReader | None = None
        try:
            reader = _FormReader(options[b"boundary"], Path(private, "audio"), config)
            async for chunk in body_of(request, config):
                reader.take(chunk)
            yield reader.finish()
        except (FormParserError, UnicodeDecodeError) as error:
            raise invalid(f"the form cannot be read: {error}", code="bad_form") from error
        finally:
            if reader is not None:
                reader.close()


async def body_of(request: Any, config: ServeConfig) -> AsyncIterator[bytes]:
    """The body as it comes; ApiError 408 where it takes too long, Gone where the caller leaves."""
    deadline = time.monotonic() + config.upload_time
    while True:
        wait = min(config.upload_idle, deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(request.receive(), max(0.0, wait))
        except TimeoutError:
            headers = {"Connection": "close"}
            raise ApiError(408, "the request did not arrive in time", code="timeout", headers=headers) from None
        if message["type"] != "http.request":
            raise Gone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _check_size(num_bytes: int, config: ServeConfig) -> None:
    if num_bytes > config.max_upload_bytes:
        raise too_large(f"the file is larger than {config.max_upload_mb:g} MB, the most that this server takes")


class _FormReader:
    """Takes the pieces of a body apart."""

    def __init__(self, boundary: bytes, path: Path, config: ServeConfig) -> None:
        self._form = Form()
        self._path = path
        self._config = config
        self._file: BinaryIO | None = None
        self._num_parts = 0
        self._num_field_bytes = 0
        self._is_whole = False
        self._header, self._value = b"", b""
        self._disposition = b""
        self._name = ""
        self._is_file = False
        self._text = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take_data,
                "on_part_end": self._end,
                "on_end": self._end_form,
            },
        )

    def take(self, chunk: bytes) -> None:
        """The next piece of the body."""
        if chunk and not self._is_whole:  # what follows the last boundary means nothing
            self._parser.write(chunk)

    def finish(self) -> Form:
        """The form; ApiError where it breaks off."""
        if not self._is_whole:
            raise invalid("the form breaks off before its last boundary", code="bad_form")
        self.close()
        return self._form

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._num_parts += 1
        if self._num_parts > MAX_FIELDS:
            raise invalid(f"the form has more than {MAX_FIELDS} fields", code="bad_form")
        self._disposition, self._text = b"", bytearray()
        self._header, self._value = b"", b""

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8")
        self._is_file = b"filename" in options or self._name == FILE
        if self._is_file and self._name == FILE:
            if self._form.file is not None:
                raise invalid("there are two files; send one request for each", FILE)
            self._file = self._path.open("xb")
            self._form.file = self._path

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None and self._name == FILE:
            self._form.num_bytes += end - start
            _check_size(self._form.num_bytes, self._config)
            self._file.write(data[start:end])
            return
        self._num_field_bytes += end - start
        if self._num_field_bytes > MAX_FIELD_BYTES:
            raise too_large(f"the fields hold more than {MAX_FIELD_BYTES} bytes", None, "fields_too_large")
        self._text += data[start:end]

    def _end(self) -> None:
        if self._name != FILE:
            self._form.fields.setdefault(self._name.removesuffix("[]"), []).append(self._text.decode("utf-8"))

    def _end_form(self) -> None:
        self._is_whole = True
