"""POST /v1/audio/transcriptions: every format, and an error object for everything that is wrong."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import srt
import webvtt

from tests.serve.servers import loader, post, running


def test_the_text_is_the_recognizers(server: str, file: Path, text: str) -> None:
    reply = post(server, file, model="tiny")
    assert reply.status_code == 200
    assert reply.json() == {"text": text, "usage": {"type": "duration", "seconds": 3}}
    assert post(server, file).json() == reply.json()  # the first model is the default
    assert post(server, file, model="whisper-1").json() == reply.json()  # and what OpenAI's names stand for


def test_plain_text_and_subtitles_are_no_json(server: str, file: Path, text: str, tmp_path: Path) -> None:
    plain = post(server, file, response_format="text")
    assert plain.text == text + "\n"
    cues = list(srt.parse(post(server, file, response_format="srt").text))
    assert " ".join(cue.content.replace("\n", " ") for cue in cues) == text
    (tmp_path / "a.vtt").write_text(post(server, file, response_format="vtt").text)
    assert " ".join(cue.text.replace("\n", " ") for cue in webvtt.read(tmp_path / "a.vtt")) == text
    assert plain.headers["content-type"].startswith("text/plain")


def test_verbose_json_has_segments_and_words_as_asked(server: str, file: Path, text: str) -> None:
    usual = post(server, file, response_format="verbose_json").json()
    assert usual["text"] == text
    assert usual["duration"] == pytest.approx(2.5)
    assert "words" not in usual
    assert usual["segments"][0]["end"] <= 2.5
    words = post(server, file, response_format="verbose_json", timestamp_granularities_=["word"]).json()
    assert "segments" not in words
    assert " ".join(word["word"] for word in words["words"]) == text
    both = post(server, file, response_format="verbose_json", timestamp_granularities_=["word", "segment"]).json()
    assert both["words"] == words["words"]
    assert both["segments"] == usual["segments"]
    assert words["words"][0]["confidence"] > 0


def test_events_end_with_the_whole_text(server: str, file: Path, text: str) -> None:
    reply = post(server, file, stream="true", include_=["logprobs"])
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"] == text
    assert [one["token"].strip() for one in events[0]["logprobs"]] == text.split()


def test_what_has_no_effect_is_named(server: str, file: Path) -> None:
    reply = post(server, file, seed="1", language="en", chunking_strategy="auto")
    assert reply.headers["x-ignored-fields"] == "seed, language"  # the tiny model takes no code
    assert "x-ignored-fields" not in post(server, file).headers


@pytest.mark.parametrize(
    ("fields", "status", "param", "words"),
    [
        ({"model": "/etc/passwd"}, 404, "model", "there is no model '/etc/passwd' here; use one of: tiny, whisper"),
        ({"response_format": "xml"}, 400, "response_format", "unknown response_format"),
        ({"response_format": "diarized_json"}, 400, "response_format", "no model here tells speakers apart"),
        ({"known_speaker_names_": ["Ann"]}, 400, "response_format", "no model here tells speakers apart"),
        ({"timestamp_granularities_": ["word"]}, 400, "timestamp_granularities", "need response_format verbose_json"),
        ({"include_": ["logprobs"], "response_format": "text"}, 400, "include", "need response_format json"),
        ({"include_": ["all"]}, 400, "include", "unknown value 'all'"),
        ({"temperature": "hot"}, 400, "temperature", "from 0 to 1"),
        ({"temperature": "nan"}, 400, "temperature", "from 0 to 1"),
        ({"stream": "maybe"}, 400, "stream", "true or false"),
        ({"stream": "true", "response_format": "srt"}, 400, "stream", "no other response_format"),
        ({"keywords_": ["gate:x"]}, 400, "keywords", "is no number"),
        ({"hotwords": ",".join("abcdefghij") * 20}, 400, "keywords", "100 are the most"),
        ({"hotwords": "a" * 3000}, 400, "keywords", "more than 2000 letters"),
        ({"model": "whisper", "language": "xx"}, 400, None, "language"),
        ({"model": ["tiny", "whisper"]}, 400, "model", "stands there 2 times"),
    ],
)
def test_a_wrong_field_is_named(
    server: str, file: Path, fields: dict[str, object], status: int, param: str | None, words: str
) -> None:
    reply = post(server, file, **fields)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize("content", [b"", b"x", b"no sound at all" * 50, b"RIFF\x24\0\0\0WAVEfmt "])
@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
def test_what_is_no_audio_is_refused_without_telling_where_it_lay(
    server: str, content: bytes, fields: dict[str, str]
) -> None:
    reply = post(server, content, **fields)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "file"
    assert "/" not in reply.json()["error"]["message"].replace("and/or", "")


def test_a_form_that_is_none_is_refused(server: str) -> None:
    url = f"{server}/v1/audio/transcriptions"
    head = {"content-type": "multipart/form-data; boundary=b"}
    broken = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    for reply in (
        httpx.post(url, json={"file": "a"}),
        httpx.post(url, content=broken, headers=head),
        httpx.post(url, content=b"nothing", headers=head),
        httpx.post(url, data={"model": "tiny"}, files={"other": b"a"}),
        httpx.post(url, data={"model": "tiny"}, files=[("file", b"a"), ("file", b"b")]),
    ):
        assert reply.status_code == 400
        assert reply.json()["error"]["message"]


def test_hotwords_prompt_and_temperature_reach_the_search(server: str, file: Path) -> None:
    usual = post(server, file).json()["text"]
    assert post(server, file, hotwords="nine:200").json()["text"] != usual
    assert post(server, file, keywords_=["nine:200"]).json()["text"] != usual
    whisper = post(server, file, model="whisper", language="en").json()["text"]
    assert post(server, file, model="whisper", language="en", prompt="the the the").json()["text"] != whisper


def test_languages_and_translations_are_those_of_the_model(server: str, file: Path) -> None:
    body = post(server, file, model="whisper", language="de", response_format="verbose_json").json()
    assert (body["language"], body["task"]) == ("de", "transcribe")
    body = post(server, file, "translations", model="whisper", response_format="verbose_json").json()
    assert body["task"] == "translate"
    refused = post(server, file, "translations", model="tiny")
    assert refused.status_code == 400
    assert "translate" in refused.json()["error"]["message"]


def test_the_openapi_page_has_examples_of_every_answer(server: str) -> None:
    described = httpx.get(f"{server}/openapi.json").json()["paths"]
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
        post_ = described[path]["post"]
        assert {"file", "model"} <= set(post_["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"])
        assert {"200", "400", "401", "404", "413", "429"} <= set(post_["responses"])
        for answer in post_["responses"].values():
            assert all("example" in one or "examples" in one for one in answer["content"].values())
    assert {"/v1/models", "/health", "/metrics"} <= set(described)


def test_models_are_listed_and_found(server: str) -> None:
    listed = httpx.get(f"{server}/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["tiny", "whisper"]
    assert httpx.get(f"{server}/v1/models/gpt-4o-transcribe").json()["id"] == "tiny"
    missing = httpx.get(f"{server}/v1/models/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert httpx.get(f"{server}/v2").json()["error"]["message"] == "there is nothing at /v2"
    assert httpx.get(f"{server}/health").json()["status"] == "ok"


def test_requests_of_many_callers_share_batches(model: Path, file: Path, text: str) -> None:
    with running({"tiny": loader(model)}) as address, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: post(address, file).json()["text"], range(24)))
        page = httpx.get(f"{address}/metrics").text
    assert set(replies) == {text}
    spans, batches = (float(re.findall(rf"asr_batch_size_{name}{{.*}} (.*)", page)[0]) for name in ("sum", "count"))
    assert spans == 24
    assert batches < 24
