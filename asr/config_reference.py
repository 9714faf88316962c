"""Every key of a configuration with its default, range and meaning, read off the classes that own them.

The meaning of a key is the comment that stands beside it in the code, or above it; that of a block the first sentence
of its class.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from asr.errors import ConfigError
from asr.registry import Config, NamedConfig, did_you_mean

NOT_FOR_PEOPLE = ("provenance", "format_version", "text")  # written by commands
LIMITS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "at least {} of them",
}
NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "dict": "mapping"}
# What names mean wherever nothing else is said beside them.
COMMON = {
    "dim": "numbers in a frame, or a token's state, between layers",
    "num_layers": "layers one upon the other",
    "num_heads": "attention heads of a layer; they divide `dim`",
    "ff_dim": "numbers inside the feed-forward part of a layer",
    "kernel_size": "frames that a convolution sees",
    "dropout": "share of numbers set to 0 in training",
    "attention_dropout": "share of attention weights set to 0 in training",
    "stochastic_depth": "how often the last layer is left out in training; earlier ones more rarely",
    "positions": "how attention knows the distance of two frames",
    "factor": "feature frames for each encoder frame",
    "channels": "of the convolutions that shorten time",
    "tokenizer": "name of the tokenizer whose pieces are written",
    "num_mel_bins": "bands of the mel scale",
    "frame_length_ms": "samples seen by a frame, ms",
    "frame_shift_ms": "from one frame to the next, ms",
    "preemphasis": "how much of the sample before is taken off; lifts high frequencies",
    "window_type": "weights of the samples of a frame",
    "remove_dc_offset": "take the mean off each frame",
    "weight_decay": "share of the learning rate by which weights shrink at each step",
    "seed": "of all random draws",
}


@dataclass(frozen=True)
class Key:
    """One setting."""

    path: str  # training.epochs
    part: str | None  # "conformer", where `path` belongs to a part that is chosen by name
    default: str  # as in YAML; "" where it must be given
    values: str  # kind and range
    meaning: str


def all_keys(roots: Mapping[str, type[Config]]) -> list[Key]:
    """The keys of configurations by what stands before them, "" for those of a whole file."""
    return [key for prefix, config in roots.items() for key in _keys(config, f"{prefix}." if prefix else "", None)]


def keys_under(keys: list[Key], path: str) -> list[Key]:
    """The key of that path and those below it; ConfigError with the nearest one if there is none."""
    found = [key for key in keys if key.path == path or key.path.startswith(f"{path}.")]
    if not found:
        raise ConfigError(f"no setting is called '{path}'{did_you_mean(path, {key.path for key in keys})}")
    return found


def to_text(keys: list[Key]) -> str:
    """Two lines for each key: what it can be, and what it means."""
    lines = []
    for key in keys:
        of = f" ({key.part})" if key.part else ""
        default = "must be given" if not key.default else f"default {key.default}"
        lines += [f"{key.path}{of}: {key.values}; {default}", f"    {key.meaning}"]
    return "\n".join(lines) + "\n"


def to_markdown(keys: list[Key]) -> str:
    """A section for each block of a file, with a table for each part that can be chosen in it."""
    lines: list[str] = []
    section = part = None
    for key in sorted(keys, key=lambda key: list(dict.fromkeys(_block(one) for one in keys)).index(_block(key))):
        if _block(key) != section:
            section, part = _block(key), ""
            lines += ["", f"## {section}"]
        if key.part != part:
            part = key.part
            lines += ["", *([f"`name: {part}`", ""] if part else []), "| setting | default | values | meaning |"]
            lines += ["|---|---|---|---|"]
        cells = (f"`{key.path}`", f"`{key.default}`" if key.default else "required", key.values, key.meaning)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines).strip() + "\n"


def _block(key: Key) -> str:
    return key.path.partition(".")[0]


def _keys(config: type[Config], prefix: str, part: str | None) -> Iterator[Key]:
    comments = meanings(config)
    for name, field in config.model_fields.items():
        if (name == "name" and part is not None) or name in NOT_FOR_PEOPLE:
            continue
        path = prefix + name
        inner = _configs_in(field.annotation)
        named = [one for one in inner if issubclass(one, NamedConfig)]
        about = comments.get(name) or COMMON.get(name) or (_summary(inner[0]) if len(inner) == 1 else "")
        yield Key(path, part, _default(field), _values(field, named), about)
        for one in inner:
            yield from _keys(one, f"{path}.", str(one.model_fields["name"].default) if one in named else part)


@functools.cache
def meanings(config: type[Config]) -> dict[str, str]:
    """Field -> comment, of a class and those that it comes from."""
    found: dict[str, str] = {}
    for one in reversed(config.__mro__):
        if issubclass(one, Config) and one is not Config and one is not NamedConfig:
            found |= _comments(textwrap.dedent(inspect.getsource(one)))
    return found


def _comments(source: str) -> dict[str, str]:
    lines = source.splitlines()
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement in body.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        assert statement.end_lineno is not None
        assert statement.end_col_offset is not None
        behind = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode().strip()
        if not behind.startswith("#"):
            above = statement.lineno - 1
            while above > 0 and lines[above - 1].strip().startswith("#"):
                above -= 1
            behind = " ".join(line.strip().lstrip("# ") for line in lines[above : statement.lineno - 1])
        if text := behind.lstrip("# "):
            found[statement.target.id] = text
    return found


def _summary(config: type[Config]) -> str:
    return " ".join((config.__doc__ or "").split(".")[0].split())


def _configs_in(annotation: Any) -> list[type[Config]]:
    """The configurations that an annotation mentions, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    found = [config for argument in get_args(annotation) for config in _configs_in(argument)]
    return list(dict.fromkeys(found))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return ""
    if isinstance(value, NamedConfig):
        return value.name
    if isinstance(value, tuple) and value and all(isinstance(one, NamedConfig) for one in value):
        return json.dumps([one.name for one in value])
    if isinstance(value, Config):
        return "see below"
    if isinstance(value, tuple):
        value = list(value)
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _values(field: FieldInfo, named: Sequence[type[Config]]) -> str:
    """Kind and range in words."""
    if named:
        return " or ".join(sorted(str(one.model_fields["name"].default) for one in named))
    limits = [
        text.format(f"{value:g}" if isinstance(value, int | float) else value)
        for one in field.metadata
        for name, text in LIMITS.items()
        if (value := getattr(one, name, None)) is not None
    ]
    return ", ".join([_kind(field.annotation), *limits])


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        kinds = dict.fromkeys(_kind(one) for one in arguments)
        return " or ".join(kinds)
    if origin in (list, tuple):
        inner = dict.fromkeys(_kind(one) for one in arguments if one is not Ellipsis)
        return f"list of {' or '.join(inner)}"
    if origin is dict:
        return "mapping"
    if arguments and hasattr(annotation, "__metadata__"):
        return _kind(arguments[0])
    if annotation is type(None):
        return "none"
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return "block"
    return NAMES.get(getattr(annotation, "__name__", ""), str(annotation))
