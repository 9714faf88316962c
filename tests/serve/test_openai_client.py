"""OpenAI's own client understands every answer, and every failure as the one it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.audio import Transcription, TranscriptionVerbose, Translation, TranslationVerbose

from asr.serve.security import Access, Keys
from tests.serve.servers import loader, running

KEY = "very-secret-key"


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_json_text_and_subtitles(client: OpenAI, file: Path, text: str) -> None:
    create = client.audio.transcriptions.create
    usual = create(model="whisper-1", file=file)
    assert isinstance(usual, Transcription)
    assert usual.text == text
    assert usual.usage is not None
    assert usual.usage.type == "duration"
    plain = create(model="tiny", file=file, response_format="text")
    assert str(plain) == text + "\n"
    assert str(create(model="tiny", file=file, response_format="srt")).startswith("1\n00:00:0")
    assert str(create(model="tiny", file=file, response_format="vtt")).startswith("WEBVTT\n")


def test_verbose_json_with_words(client: OpenAI, file: Path, text: str) -> None:
    found = client.audio.transcriptions.create(
        model="tiny",
        file=file,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
        temperature=0.0,
    )
    assert isinstance(found, TranscriptionVerbose)
    TranscriptionVerbose.model_validate(found.model_dump())  # strictly, which the client does not do by itself
    assert found.text == text
    assert found.segments is not None
    assert found.words is not None
    assert [word.word for word in found.words] == text.split()
    assert found.segments[0].end <= found.duration


def test_logprobs(client: OpenAI, file: Path, text: str) -> None:
    found = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file, include=["logprobs"])
    assert isinstance(found, Transcription)
    assert found.logprobs is not None
    for one in found.logprobs:
        assert one.logprob is not None
        assert one.logprob <= 0
        assert bytes(map(int, one.bytes or ())).decode() == one.token
    assert "".join(one.token or "" for one in found.logprobs).strip() == text


def test_events(client: OpenAI, file: Path, text: str) -> None:
    events = list(client.audio.transcriptions.create(model="tiny", file=file, stream=True, chunking_strategy="auto"))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(deltas) == text
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # OpenAI's own: it has no model for them any more
def test_translations(client: OpenAI, file: Path) -> None:
    found = client.audio.translations.create(model="whisper", file=file)
    assert isinstance(found, Translation)
    assert found.text
    verbose = client.audio.translations.create(model="whisper", file=file, response_format="verbose_json")
    assert isinstance(verbose, TranslationVerbose)


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "whisper"]
    assert client.models.retrieve("whisper").object == "model"


def test_failures_are_the_clients_own_errors(client: OpenAI, file: Path) -> None:
    create = client.audio.transcriptions.create
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="../tiny", file=file)
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id
    with pytest.raises(openai.BadRequestError) as bad:
        create(model="tiny", file=b"no sound")
    assert (bad.value.param, bad.value.code) == ("file", "invalid_audio")
    with pytest.raises(openai.BadRequestError, match="tells speakers apart"):
        create(model="gpt-4o-transcribe-diarize", file=file, response_format="diarized_json")


def test_keys_limits_and_too_many(model: Path, file: Path, text: str) -> None:
    access = Access(Keys([KEY]))
    with running({"tiny": loader(model)}, access, max_upload_mb=0.1, max_audio_seconds=10.0) as address:
        settings = {"base_url": f"{address}/v1", "max_retries": 0}
        with OpenAI(api_key="wrong", **settings) as stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with OpenAI(api_key=KEY, **settings) as friend:
            assert friend.audio.transcriptions.create(model="tiny", file=file).text == text
            with pytest.raises(openai.APIStatusError) as large:
                friend.audio.transcriptions.create(model="tiny", file=b"x" * 200_000)
            assert large.value.status_code == 413
