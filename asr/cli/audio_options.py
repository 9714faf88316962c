"""Options that say how audio is to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asr.errors import ConfigError

if TYPE_CHECKING:
    from asr.audio.channels import Channels
    from asr.audio.raw import RawFormat

Channel = Annotated[
    str,
    typer.Option(
        "--channel",
        metavar="N|mix|split",
        help="The channel to transcribe, 0 is the first; mix: the mean of all; split: each by itself, merged in time.",
    ),
]
Raw = Annotated[
    str | None,
    typer.Option(
        "--raw",
        metavar="RATE[:CHANNELS[:ENCODING]]",
        help="How to read files without a header and standard input: 8000, 16000:2, 8000:1:ulaw. Encodings: s16le (the "
        "default), s16be, s24le, s24be, s32le, s32be, f32le, f32be, s8, u8, ulaw, alaw. Files named .wav, .mp3 and so "
        "on are read as what they are.",
    ),
]

Vad = Annotated[
    str | None, typer.Option(help="What finds speech: silero, energy, or none: all is transcribed.  [default: silero]")
]
MaxSpan = Annotated[
    float | None,
    typer.Option(min=1.0, help="Seconds the model takes at once; longer speech is cut in its pauses.  [default: 20]"),
]
MinConfidence = Annotated[float, typer.Option(min=0.0, max=1.0, help="Segments of lower confidence are left out.")]


def parse_channel_option(text: str) -> Channels:
    """What --channel asks for; a mistake of usage if it is neither mix, split nor a number."""
    from asr.audio.channels import parse_channel

    try:
        return parse_channel(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--channel") from error


def parse_raw_option(text: str | None) -> RawFormat | None:
    """What --raw asks for; a mistake of usage if it is no raw format."""
    from asr.audio.raw import parse_raw_format

    try:
        return None if text is None else parse_raw_format(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--raw") from error
