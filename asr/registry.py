"""Configuration base class, and registries that turn `name: conformer` into a class.

A part (an encoder, a search, ...) is one file: a config class with a literal `name`, and the class itself,
registered under that name. `Registry.config_union()` gives the pydantic type that picks the config by `name`, so
unknown names and keys are reported with the path to them.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import operator
import pkgutil
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from asr.errors import ConfigError

Part = TypeVar("Part", bound=type)


class Config(BaseModel):
    """Frozen and strict: an unknown key is an error, and a value is never changed after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NamedConfig(Config):
    """The configuration of a registered part. Subclasses narrow `name` to a literal with that default."""

    name: str

    @classmethod
    def tiny(cls) -> NamedConfig:
        """A configuration small enough for contract tests on every commit."""
        return cls.model_validate({})


class Registry(Generic[Part]):
    """Names of one kind of part, each with its class and its config class."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, tuple[Part, type[NamedConfig]]] = {}

    def register(self, config: type[NamedConfig]) -> Callable[[Part], Part]:
        """Class decorator: file the class under its config's default `name`."""

        def file_part(part: Part) -> Part:
            name = config.model_fields["name"].default
            assert name not in self._parts, f"{self.kind} {name!r} registered twice"
            self._parts[name] = (part, config)
            return part

        return file_part

    def names(self) -> list[str]:
        """All known names, sorted."""
        return sorted(self._parts)

    def part(self, name: str) -> Part:
        """The class behind a name; ConfigError names the nearest known one otherwise."""
        return self._lookup(name)[0]

    def config(self, name: str) -> type[NamedConfig]:
        """The config class behind a name; ConfigError names the nearest known one otherwise."""
        return self._lookup(name)[1]

    def config_union(self, default: str | None = None) -> Any:
        """Pydantic type of "the config of any registered part", told apart by `name`.

        `default` is the name that settings without one have.
        """
        configs = tuple(config for _, config in self._parts.values())
        assert configs, f"no {self.kind} is registered yet"
        if len(configs) == 1:
            return configs[0]
        union: Any = Annotated[functools.reduce(operator.or_, configs), Field(discriminator="name")]
        if default is None:
            return union
        assert default in self._parts, f"no {self.kind} is called {default!r}"
        return Annotated[union, BeforeValidator(functools.partial(_named, default))]

    def _lookup(self, name: str) -> tuple[Part, type[NamedConfig]]:
        if name not in self._parts:
            raise ConfigError(f"unknown {self.kind} '{name}'{did_you_mean(name, self._parts)}")
        return self._parts[name]


def _named(default: str, settings: object) -> object:
    return {"name": default, **settings} if isinstance(settings, dict) and "name" not in settings else settings


def import_siblings(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that one new file is enough to register a new part."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint to append to an error: the nearest known word, or the list of all."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"
