"""What Whisper reads before it writes, and how it finds the language."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, choose_decoding
from asr.bundle.prompting import Wish, reading
from asr.bundle.recognition import encode_waveforms
from asr.errors import ConfigError
from asr.models.heads.whisper import WhisperDecoder
from tests.bundle.foreign.whisper_files import multilingual_model, random_variables, write_model

NOISE = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    own = tmp_path_factory.mktemp("whisper")
    multilingual_model(own / "source", own / "model")
    return Bundle.load(own / "model")


@pytest.fixture(scope="module")
def head(bundle: Bundle) -> WhisperDecoder:
    found = bundle.model.heads["whisper"]
    assert isinstance(found, WhisperDecoder)
    return found


def ids(head: WhisperDecoder, *names: str) -> tuple[int | None, ...]:
    return tuple(head.vocabulary.id(f"<|{name}|>") for name in names)


def test_a_prompt_names_language_and_task_and_says_where_there_are_no_timestamps(head: WhisperDecoder) -> None:
    assert head.default_prompt == ids(head, "startoftranscript", "en", "transcribe")
    assert head.build_prompt("de", task="translate", timestamps=False) == ids(
        head, "startoftranscript", "de", "translate", "notimestamps"
    )
    assert head.build_prompt("fr", [7] * 300)[:224] == (*ids(head, "startofprev"), *[7] * 223)
    assert head.no_speech_token == head.vocabulary.id("<|nospeech|>")


def test_unknown_languages_and_tasks_are_refused_with_those_there_are(head: WhisperDecoder) -> None:
    with pytest.raises(ConfigError, match="a language 'nl'; use auto or one of de, en, fr"):
        head.build_prompt("nl")
    with pytest.raises(ConfigError, match="a task 'sing'"):
        head.build_prompt("en", task="sing")


def test_the_language_is_the_likeliest_after_the_start_and_goes_into_prompt_and_hypothesis(
    bundle: Bundle, head: WhisperDecoder
) -> None:
    options = choose_decoding(bundle, None).options(bundle, None)
    (decoded,) = bundle.decode([NOISE], [options])
    encoded = encode_waveforms(bundle, [NOISE])
    with torch.inference_mode():
        log_probs, _ = head.step(torch.tensor([head.vocabulary.start]), head.init_state(encoded))
        found = head.detect_language(encoded)
    best = max(head.languages, key=lambda code: float(log_probs[0, head.languages[code]]))
    torch.testing.assert_close(found.sum(1), torch.ones(1))
    assert list(head.languages)[int(found.argmax())] == decoded.n_best[0].language == best
    told = Decoding(bundle.spec.search, wish=Wish(language="de")).options(bundle, None)
    assert bundle.decode([NOISE], [told])[0].n_best[0].language == "de"


def test_a_model_of_one_language_takes_auto_for_it_and_no_other(tmp_path: Path, bundle: Bundle) -> None:
    from asr.bundle.foreign import import_model

    write_model(tmp_path / "source", random_variables())
    import_model(tmp_path / "source", tmp_path / "model")
    english = Bundle.load(tmp_path / "model")
    searcher = choose_decoding(english, None).build(english, None)
    for code in ("auto", "en"):
        assert reading(english, searcher, Wish(language=code)) == reading(english, searcher, Wish())
    with pytest.raises(ConfigError, match="'de': it writes English alone"):
        reading(english, searcher, Wish(language="de"))
    with pytest.raises(ConfigError, match="a task 'translate'"):
        reading(english, searcher, Wish(task="translate"))


def test_whole_windows_are_heard_on_request(bundle: Bundle) -> None:
    exact = bundle.exact()
    assert [exact.encoder_frames(num) for num in (1, 24000, 480000)] == [1500] * 3
    assert bundle.encoder_frames(24000) < 300
    padded = np.pad(NOISE, (0, 480000 - len(NOISE)))
    torch.testing.assert_close(encode_waveforms(exact, [NOISE]).frames, encode_waveforms(bundle, [padded]).frames)
