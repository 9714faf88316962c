"""docs/configuration.md and `asr config` name every key, and the defaults there are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from asr.cli.main import main
from asr.config import Experiment, parse_experiment
from asr.config_reference import all_keys
from asr.serve.settings import ServeConfig
from asr.transcribe.segmentation import SegmentationConfig
from asr.transcribe.streaming.settings import StreamingConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
ROOTS = {"": Experiment, "segmentation": SegmentationConfig, "streaming": StreamingConfig, "serve": ServeConfig}
DATA = {"data": {"train": "train.jsonl", "dev": "dev.jsonl"}}


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["config", "--markdown"])
    listed = capsys.readouterr().out
    assert PAGE.read_text(encoding="utf-8").endswith(listed), (
        "run: asr config --markdown, and put it behind the page's first lines"
    )


def test_every_key_has_a_meaning() -> None:
    keys = all_keys(ROOTS)
    assert [key.path for key in keys if not key.meaning] == []
    assert len(keys) > 250


def leaves(value: object, path: str = "") -> set[str]:
    """Paths of settings as they come out of a loaded experiment, a list of parts counting as one of them."""
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        value = value[0]
    if not isinstance(value, BaseModel):
        return {path}
    return {path} | {
        leaf for name in type(value).model_fields for leaf in leaves(getattr(value, name), f"{path}.{name}")
    }


def test_no_key_of_a_loaded_experiment_is_missing() -> None:
    config = parse_experiment(DATA, ["freeze=[encoder]", "init_from=exp", "splice.pieces=p.jsonl"], source="test")
    listed = {key.path for key in all_keys(ROOTS)}
    found = {leaf.removeprefix(".") for leaf in leaves(config)} - {""}
    names = {leaf for leaf in found if leaf.endswith(".name")}
    assert found - names - listed == {"format_version", "provenance"}


@pytest.mark.parametrize(
    "key", [key for key in all_keys({"": Experiment}) if key.part is None], ids=lambda key: key.path
)
def test_the_default_that_is_named_is_the_default(key) -> None:
    if key.default in ("", "see below") or key.path.startswith(("init_from.", "freeze.", "splice.")):
        return
    default = key.default if key.values != "text" or key.default != "none" else f"'{key.default}'"
    default = "null" if default == "none" and "none" in key.values.split(" or ")[-1].split(",")[0] else default
    plain = parse_experiment(DATA, [], source="test")
    if key.path in ("heads", "tokenizer", "encoder", "frontend", "search", "optimizer", "schedule"):
        default = f"{{name: {default}}}" if key.path != "heads" else "[{name: ctc}]"
    block: object = plain
    for name in key.path.split(".")[:-1]:
        block = getattr(block, name)
        if block is None:  # a default of a block that is not there by default
            return
    assert parse_experiment(DATA, [f"{key.path}={default}"], source="test") == plain
