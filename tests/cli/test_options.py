"""Options that several commands share."""

from __future__ import annotations

import typer.main

from asr.cli.main import app
from asr.cli.options import subtitle_rules
from asr.transcribe.subtitles import DEFAULT_RULES


def test_every_command_that_writes_subtitles_has_the_rules_of_the_library_unless_told_otherwise() -> None:
    names = ("max_line_length", "max_lines", "max_cue_seconds", "cue_pause")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    defaults = {name: {one.name: one.default for one in command.params} for name, command in commands.items()}
    with_subtitles = {name: found for name, found in defaults.items() if "max_line_length" in found}
    assert "align" in with_subtitles
    for found in with_subtitles.values():
        assert subtitle_rules(*(found[name] for name in names)) == DEFAULT_RULES
