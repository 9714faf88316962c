"""What asr 0.1 wrote (format_version 1), read as what is written today: keys of configurations and names of tensors.

Version 1 knew one family: `decoder` and a weight said which outputs a model had. Version 2 has `heads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from asr.errors import ConfigError

FORMAT_VERSION = 2
TODAY = {  # keys that only version 1 had, and those that stand for them now
    "start_from": "init_from",
    "decoder": "heads.transformer or heads.lstm",
    "intermediate_ctc": "heads.ctc.intermediate",
    "loss.ctc_weight": "loss.weights",
}
PARTS = {"ctc_head": "heads.ctc.output", "intermediate_ctc": "intermediate.ctc", "decoder": "heads.{decoder}"}

Value = TypeVar("Value")


def upgrade_config(data: dict[str, Any], source: str) -> dict[str, Any]:
    """A configuration of any version as one of this version; what is of this version comes back unchanged.

    Covers experiments and model folders. ConfigError if it mixes keys of both versions, or is of a newer one.
    """
    version = data.get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ConfigError(
            f"{source}: format_version {version} is newer than the {FORMAT_VERSION} known here; upgrade asr-toolkit"
        )
    former = _keys_of_version_1(data)
    if version == FORMAT_VERSION and not former:
        return data
    if "language_model" in data:
        return {**data, "format_version": FORMAT_VERSION}  # language models are as they were
    if "heads" in data and former:
        raise ConfigError(f"{source}: with heads, '{former[0]}' is called {TODAY[former[0]]}")
    data = {**data, "format_version": FORMAT_VERSION}
    if "start_from" in data:
        data.setdefault("init_from", data.pop("start_from"))
    decoder, intermediate = data.pop("decoder", None), data.pop("intermediate_ctc", None)
    loss = dict(data.get("loss") or {})
    ctc_weight = loss.pop("ctc_weight", 1.0)
    heads: list[Any] = []
    if ctc_weight:
        heads.append({"name": "ctc", **({"intermediate": intermediate} if intermediate else {})})
    elif intermediate:
        raise ConfigError(f"{source}: intermediate_ctc needs a CTC loss; set loss.ctc_weight above 0")
    if decoder is not None:
        heads.append(decoder)
    if not heads or (decoder is None) != (ctc_weight == 1.0):
        problem = "no decoder" if decoder is None else "a decoder"
        raise ConfigError(f"{source}: loss.ctc_weight is {ctc_weight} but the model has {problem}; change one of them")
    data["heads"] = heads
    if len(heads) > 1:
        loss["weights"] = {"ctc": ctc_weight, str(decoder.get("name")): 1.0 - ctc_weight}
    if "loss" in data or loss:
        data["loss"] = loss
    for key in ("init_from", "freeze"):
        if isinstance(data.get(key), dict) and data[key].get("parts"):
            data[key] = {**data[key], "parts": [_renamed(part, _decoder_name(heads)) for part in data[key]["parts"]]}
    return data


def upgrade_tensors(tensors: Mapping[str, Value], head_ids: Sequence[str], prefix: str = "") -> dict[str, Value]:
    """The same tensors under today's names, for a model with these heads; `prefix` stands before every name.

    Names of today stay as they are.
    """
    decoder = next((id for id in head_ids if id != "ctc"), "decoder")
    return {
        prefix + _renamed(name.removeprefix(prefix), decoder) if name.startswith(prefix) else name: value
        for name, value in tensors.items()
    }


def _renamed(name: str, decoder: str) -> str:
    for former, today in PARTS.items():
        if name == former or name.startswith(f"{former}."):
            return today.format(decoder=decoder) + name.removeprefix(former)
    return name


def _decoder_name(heads: Sequence[Any]) -> str:
    return next((str(head.get("name")) for head in heads if head.get("name") != "ctc"), "decoder")


def _keys_of_version_1(data: Mapping[str, Any]) -> list[str]:
    keys = [key for key in TODAY if key in data]
    loss = data.get("loss")
    if isinstance(loss, dict) and "ctc_weight" in loss:
        keys.append("loss.ctc_weight")
    return keys
