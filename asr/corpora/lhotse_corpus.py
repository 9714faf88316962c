"""Every corpus that lhotse prepares, through lhotse's own functions (extra `lhotse`)."""

from __future__ import annotations

import importlib
import inspect
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from asr.corpora.importers import Imported, collect
from asr.corpora.importers.base import Fault, Row
from asr.corpora.importers.lhotse import RECORDINGS, SUPERVISIONS, from_supervisions
from asr.errors import AsrError, ManifestError
from asr.registry import did_you_mean

PREFIX = "prepare_"
OUTPUT = "output_dir"  # where lhotse would write manifests of its own; some functions insist


def import_lhotse_corpus(corpus: str, folder: Path, settings: Sequence[str] = ()) -> dict[str, Imported]:
    """Splits of a corpus, prepared by `lhotse.recipes.prepare_<corpus>` from the folder where it lies.

    `settings` are further arguments of that function as `name=value`, with values in YAML. A corpus without splits is
    one that is named after it. AsrError if lhotse is not installed, does not know the corpus or an argument, or fails.
    """
    prepare = _prepare_function(_recipes(), corpus)
    if not folder.is_dir():
        raise ManifestError(f"{folder}: there is no such folder")
    with tempfile.TemporaryDirectory(prefix="asr-lhotse-") as scratch:
        arguments = _arguments(prepare, corpus, folder.absolute(), Path(scratch), settings)
        try:
            prepared = prepare(**arguments)
            splits = {
                name: collect(f"lhotse:{corpus}", Path.cwd(), _rows(name, tables, folder))
                for name, tables in _splits(prepared, corpus)
            }
        except AsrError:
            raise
        except Exception as error:  # whatever some hundred functions of others may raise
            raise AsrError(
                f"{folder}: lhotse cannot prepare {corpus} from it ({type(error).__name__}: {_reason(error)}); "
                "check that it holds the corpus as published"
            ) from error
    if not splits:
        raise ManifestError(f"{folder}: lhotse finds no supervisions for {corpus}, so there is nothing to learn from")
    return splits


def _reason(error: Exception) -> str:
    """In one line; for a bare assertion the line that makes it."""
    return " ".join(str(error).split()) or (traceback.extract_tb(error.__traceback__)[-1].line or "no reason given")


def _recipes() -> ModuleType:
    try:
        return importlib.import_module("lhotse.recipes")
    except ImportError as error:
        raise AsrError(f"lhotse is needed ({error}); pip install 'asr-toolkit[lhotse]'") from error


def _prepare_function(recipes: ModuleType, corpus: str) -> Callable[..., Any]:
    known = sorted(name.removeprefix(PREFIX) for name in dir(recipes) if name.startswith(PREFIX))
    if corpus not in known:
        raise AsrError(f"lhotse has no corpus '{corpus}'{did_you_mean(corpus, known)}")
    function: Callable[..., Any] = getattr(recipes, PREFIX + corpus)
    return function


def _arguments(
    prepare: Callable[..., Any], corpus: str, folder: Path, scratch: Path, settings: Sequence[str]
) -> dict[str, Any]:
    """The folder as first argument, the settings by name; AsrError for one that the function lacks or still needs."""
    parameters = inspect.signature(prepare).parameters
    arguments: dict[str, Any] = {next(iter(parameters)): folder}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator:
            raise AsrError(f"'{setting}' is not name=value")
        if name not in parameters:
            raise AsrError(f"lhotse's {PREFIX}{corpus} takes no '{name}'{did_you_mean(name, parameters)}")
        try:
            arguments[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise AsrError(f"'{setting}': the value is not valid YAML ({' '.join(str(error).split())})") from error
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            if name != OUTPUT:
                raise AsrError(f"lhotse's {PREFIX}{corpus} needs '{name}', too; add --set {name}=VALUE")
            arguments[name] = scratch
    return arguments


def _splits(prepared: object, name: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Tables of recordings and supervisions, however deep they lie; names of levels are joined by hyphens."""
    if not isinstance(prepared, Mapping):
        raise TypeError(f"expected tables of recordings and supervisions, got {type(prepared).__name__}")
    if RECORDINGS not in prepared:
        for key, inner in prepared.items():
            yield from _splits(inner, name, (*path, str(key)))
    elif prepared.get(SUPERVISIONS):
        yield "-".join(path) or name, prepared


def _rows(name: str, tables: Mapping[str, Any], folder: Path) -> Iterator[Row | Fault]:
    def numbered(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, row in enumerate(tables[kind], start=1):
            yield f"{folder}: {name} {kind} {number}", row.to_dict()

    return from_supervisions(numbered(RECORDINGS), numbered(SUPERVISIONS), Path.cwd())
