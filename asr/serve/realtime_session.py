"""What a client of /v1/realtime may set: OpenAI's transcription session, checked, and changed key by key."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from asr.registry import Config
from asr.serve.errors import invalid
from asr.serve.forms import parse_hotwords, search_for
from asr.serve.messages import checked
from asr.transcribe.recognizer import LIVE_OPTIONS
from asr.transcribe.requests import RequestOptions
from asr.transcribe.streaming.settings import Turns

PCM_RATE, TELEPHONE_RATE = 24000, 8000  # Hz
ENCODINGS = {"audio/pcm": "s16le", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}
LOGPROBS = "item.input_audio_transcription.logprobs"


class Format(Config):
    """How samples arrive."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[24000] | None = None  # as OpenAI, which takes no other

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return PCM_RATE if self.type == "audio/pcm" else TELEPHONE_RATE


class Transcription(Config):
    """What is recognised, and how."""

    model: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=20)
    languages: tuple[str, ...] | None = None
    prompt: str | None = Field(None, max_length=20000)
    keywords: tuple[str, ...] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class ServerVad(Config):
    """Utterances end after silence."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(None, gt=0, le=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(None, ge=80, le=10000)
    create_response: bool | None = None  # the last three are for conversations, which there are none here
    interrupt_response: bool | None = None
    idle_timeout_ms: int | None = None


class Input(Config):
    """Everything about what is heard."""

    format: Format = Format()
    transcription: Transcription = Transcription()
    noise_reduction: None = None
    turn_detection: ServerVad | None = ServerVad()


class AudioSettings(Config):
    """There is no output."""

    input: Input = Input()


class Session(Config):
    """A session as the client last set it."""

    type: Literal["transcription"] = "transcription"
    audio: AudioSettings = AudioSettings()
    include: tuple[Literal["item.input_audio_transcription.logprobs"], ...] | None = None

    def updated(self, changes: Any) -> Session:
        """The same with what a client changes, keys that it leaves out as before; ApiError 400 for a wrong one."""
        if not isinstance(changes, dict):
            raise invalid("'session' must be an object", "session")
        audio = changes.get("audio")
        given = audio.get("input") if isinstance(audio, dict) else None
        if isinstance(audio, dict) and isinstance(given, dict):
            if isinstance(given.get("turn_detection"), dict) and given["turn_detection"].get("type") == "semantic_vad":
                raise invalid(
                    "semantic_vad is not available; use server_vad", "session.audio.input.turn_detection.type"
                )
            given = {key: value for key, value in given.items() if key != "noise_reduction"}  # it is told as null
            if given.get("transcription", 0) is None:
                raise invalid("a session without transcription does nothing", "session.audio.input.transcription")
            changes = {**changes, "audio": {**audio, "input": given}}
        return checked(Session, _merged(self.model_dump(mode="json", exclude_none=True), changes), "session")

    @property
    def encoding(self) -> str:
        """As `asr.serve.samples` names it."""
        return ENCODINGS[self.audio.input.format.type]

    @property
    def turns(self) -> Turns | None:
        """When utterances end; None where the client says so."""
        vad = self.audio.input.turn_detection
        if vad is None:
            return None
        silence, padding = vad.silence_duration_ms, vad.prefix_padding_ms
        return Turns(
            silence_after_text=None if silence is None else silence / 1000,
            pre_roll=None if padding is None else padding / 1000,
            onset=vad.threshold,
        )

    def options(self) -> RequestOptions:
        """What the engine is asked for; refuses keywords that are no hotwords."""
        wanted = self.audio.input.transcription
        languages = wanted.languages or ()
        return replace(
            LIVE_OPTIONS,
            search=search_for(parse_hotwords(wanted.keywords or ())),
            language=wanted.language or (languages[0] if len(languages) == 1 else None),
            prompt=wanted.prompt or None,
        )

    @property
    def with_logprobs(self) -> bool:
        """Whether the client asked for them."""
        return LOGPROBS in (self.include or ())

    def to_json(self, name: str, model: str) -> dict[str, Any]:
        """As the server tells it."""
        session = self.model_dump(mode="json", exclude_none=True)
        heard = session["audio"]["input"]
        heard["format"]["rate"] = self.audio.input.format.sample_rate
        if self.audio.input.format.type != "audio/pcm":
            del heard["format"]["rate"]
        heard["transcription"]["model"] = model
        heard = {**heard, "turn_detection": heard.get("turn_detection"), "noise_reduction": None}
        return {**session, "audio": {"input": heard}, "id": name, "object": "realtime.transcription_session"}


def _merged(old: Any, new: Any) -> Any:
    """Objects key by key, but for those of another type; anything else is replaced."""
    if not (isinstance(old, dict) and isinstance(new, dict)) or old.get("type") != new.get("type", old.get("type")):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def new_id(kind: str) -> str:
    """An id in OpenAI's looks."""
    return f"{kind}_{uuid.uuid4().hex[:24]}"
