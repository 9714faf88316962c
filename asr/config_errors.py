"""Strict validation: an unknown key is an error that names the right one, and every problem is told with its path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from asr.errors import ConfigError
from asr.registry import Config, did_you_mean

AnyConfig = TypeVar("AnyConfig", bound=Config)


def validate(config_class: type[AnyConfig], data: dict[str, Any], source: str) -> AnyConfig:
    """Validate into `config_class`; ConfigError lists every problem in one line, each with the path to its key."""
    try:
        return config_class.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_describe(config_class, detail) for detail in error.errors(include_url=False))
        raise ConfigError(f"{source}: {problems}") from error


def _describe(root: type[BaseModel], detail: Any) -> str:
    """One problem in words. A location may hold the tag of a union (`encoder`, `conformer`, `dim`): it is no key."""
    keys, model = _walk(root, detail["loc"])
    path = ".".join(keys)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        *parents, key = keys
        return f"unknown key '{path}'{_nearest_key(root, model, parents, key)}"
    if kind == "union_tag_invalid":
        known = [name.strip(" '") for name in context["expected_tags"].split(",")]
        return f"unknown {path} name '{context['tag']}'{did_you_mean(context['tag'], known)}"
    if kind == "union_tag_not_found":
        return f"{path}: 'name' is missing"
    if kind == "missing":
        return f"{path} is missing"
    if kind == "tuple_type":
        return f"{path}: must be a list, as in [{detail['input']}] (got {detail['input']!r})"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{path}: {message[0].lower()}{message[1:]} (got {detail['input']!r})" if keys else message


def _walk(root: type[BaseModel], location: Iterable[Any]) -> tuple[list[str], type[BaseModel] | None]:
    """The keys of an error location without union tags, and the model that holds the last key."""
    keys: list[str] = []
    holder: type[BaseModel] | None = root
    candidates = [root]
    for part in location:
        tagged = [
            model
            for model in candidates
            if model.model_fields.get("name") and model.model_fields["name"].default == part
        ]
        if len(candidates) > 1 and tagged:
            candidates = tagged
            continue
        keys.append(str(part))
        holder = candidates[0] if len(candidates) == 1 else None
        field = holder.model_fields.get(str(part)) if holder else None
        candidates = _models_in(field.annotation) if field else []
    return keys, holder


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _nearest_key(root: type[BaseModel], model: type[BaseModel] | None, parents: list[str], key: str) -> str:
    """A hint: a like-named key of the same block, else the place where exactly this key belongs."""
    for path in _paths(root):
        if path.rpartition(".")[2] == key and path != ".".join([*parents, key]):
            return f"; did you mean '{path}'?"
    return did_you_mean(key, model.model_fields) if model else ""


def _paths(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _paths(inner, f"{prefix}{name}.")
