"""What a run that begins with another model takes over of that model's configuration.

What a file leaves out comes from the model: features, normaliser, tokenizer, encoder, heads, search. Heads of another
kind than the model's, CTC on Whisper's encoder for instance, bring a tokenizer and a search of their own. The saved
experiment says everything in full, and under `init_from.takes` what came from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.bundle.bundle import tokenizer_folder
from asr.bundle.folder import CONFIG_FILE
from asr.bundle.store import find_model
from asr.config import Experiment, ModelSpec, load_spec, parse_experiment, read_yaml
from asr.config_overrides import with_overrides
from asr.text.tokenizer import Tokenizer, load_tokenizer
from asr.upgrade import upgrade_config

WAVEFORM = "raw"  # the front-end that passes samples on
WRITES_ALL = "byte_bpe"  # the tokenizer of models that write case and punctuation, and are scored without
TAKEN = ("frontend", "normalize", "tokenizer", "tokenizers", "encoder", "heads", "search")


def load_training(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """As `asr.config.load_experiment`, completed by the model that `init_from` names; BundleError if there is none."""
    source = str(path)
    data = upgrade_config(with_overrides(read_yaml(path), overrides, Experiment), source)
    init = data.get("init_from")
    settings = {"folder": init} if isinstance(init, str) else init
    if isinstance(settings, dict) and isinstance(settings.get("folder"), str) and settings.get("takes") is None:
        spec = load_spec(find_model(settings["folder"]) / CONFIG_FILE)
        taken = _to_take(data, spec)
        values = spec.model_dump(mode="json")
        data |= {key: values[key] for key in taken} | {"init_from": {**settings, "takes": taken}}
        if {"normalize", "tokenizer"} <= set(taken) and spec.tokenizer.name == WRITES_ALL and "data" in data:
            data["data"] = {"normalize": "none"} | data["data"]
        if spec.frontend.name == WAVEFORM and "frontend" in taken:
            data.setdefault("spec_augment", None)  # there are no bands to hide
        if "heads" in taken and isinstance(spec, Experiment) and data.get("loss") is None:
            data["loss"] = {"weights": spec.loss.model_dump(mode="json")["weights"]}
    return parse_experiment(data, source=source)


def inherited_tokenizers(config: Experiment) -> dict[str, Tokenizer]:
    """The tokenizers that a run takes over as they are, by name."""
    init = config.init_from
    if init is None or "tokenizer" not in (init.takes or ()):
        return {}
    folder = find_model(init.folder)
    configs = load_spec(folder / CONFIG_FILE).tokenizer_configs
    return {
        name: load_tokenizer(tokenizer_folder(folder, name), configs[name])
        for name, own in config.tokenizer_configs.items()
        if configs.get(name) == own
    }


def _to_take(data: dict[str, Any], spec: ModelSpec) -> list[str]:
    """The keys that the file leaves out, but those that would not fit what it says."""
    taken = [key for key in TAKEN if data.get(key) is None]
    if "heads" in taken:
        return taken
    heads = data["heads"] if isinstance(data["heads"], list) else []
    known = {head.name for head in spec.heads}
    is_new = any(not isinstance(head, dict) or head.get("name") not in known for head in heads)
    without = {"tokenizer", "tokenizers", "search"} if is_new else {"search"}
    return [key for key in taken if key not in without]
