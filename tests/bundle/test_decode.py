"""Which search a model decodes with: the command line goes before decode.yaml, and that before the training config."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, Searchers, SearchRequest, choose_beam_search, choose_decoding
from asr.config import DECODE_FILE, DecodeConfig, dump_yaml
from asr.decoding.ctc_prefix_beam import CtcPrefixBeamConfig
from asr.decoding.hotwords import Hotword
from asr.decoding.lm_rescoring import LmRescored
from asr.errors import AsrError, ConfigError
from asr.lm.ngram.arpa import write_arpa
from asr.lm.ngram.counts import IdCorpus
from asr.lm.ngram.kneser_ney import estimate


@pytest.fixture
def bundle(workspace: Path) -> Bundle:
    return Bundle.load(workspace / "model")


@pytest.fixture
def lm(workspace: Path) -> Path:
    path = workspace / "words.arpa"
    with IdCorpus([["one", "two"], ["two", "three"], ["zero"]] * 20) as corpus:
        write_arpa(path, estimate(corpus.count(2)).model)
    return path


def choose(bundle: Bundle, *arguments: object, **more: object) -> Decoding:
    return choose_decoding(bundle, "model", SearchRequest(*arguments, **more))  # type: ignore[arg-type]


def tune_to(folder: Path, config: DecodeConfig) -> None:
    (folder / DECODE_FILE).write_text(dump_yaml(config), encoding="utf-8")


def test_without_anything_said_the_search_of_the_training_run_is_taken(bundle: Bundle) -> None:
    assert choose(bundle) == Decoding(bundle.spec.search)


def test_a_language_model_or_hotwords_turn_a_greedy_search_into_a_beam_search(bundle: Bundle) -> None:
    assert choose(bundle, lm="a.arpa").search.name == "joint_beam"
    assert choose(bundle, hotwords=[Hotword("zero")]).search.name == "joint_beam"
    assert choose(bundle, "ctc_prefix_beam", lm="a.arpa").search.name == "ctc_prefix_beam"


def test_a_greedy_search_that_was_asked_for_refuses_a_language_model(bundle: Bundle, lm: Path) -> None:
    decoding = choose(bundle, "ctc_greedy", lm=str(lm))
    with pytest.raises(ConfigError, match="ctc_prefix_beam"):
        decoding.build(bundle, decoding.load_lm(bundle))


def test_decode_yaml_is_taken_unless_the_command_line_says_otherwise(bundle: Bundle, workspace: Path, lm: Path) -> None:
    tuned = CtcPrefixBeamConfig(beam=7, lm_weight=0.25)
    lm.rename(workspace / "model" / "lm.arpa")
    tune_to(workspace / "model", DecodeConfig(search=tuned, lm="lm.arpa"))
    assert choose(bundle) == Decoding(tuned, Path("model/lm.arpa"))
    assert choose(bundle, overrides=["search.beam=3"]).search == tuned.model_copy(update={"beam": 3})
    assert choose(bundle, lm="none") == Decoding(tuned)
    assert choose(bundle, lm_mode="rescore").lm_mode == "rescore"
    assert choose(bundle, "ctc_greedy") == Decoding(bundle.spec.search)
    decoding = choose(bundle)
    decoding.build(bundle, decoding.load_lm(bundle))


def test_rescoring_wraps_the_search(bundle: Bundle, lm: Path) -> None:
    decoding = choose(bundle, "ctc_prefix_beam", lm=str(lm), lm_mode="rescore")
    assert isinstance(decoding.build(bundle, decoding.load_lm(bundle)), LmRescored)


def test_tuning_starts_from_a_beam_search(bundle: Bundle) -> None:
    assert choose_beam_search(bundle, "model", SearchRequest()).search.name == "joint_beam"
    assert choose_beam_search(bundle, "model", SearchRequest("attention_beam")).search.name == "attention_beam"


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (SearchRequest(overrides=["encoder.dim=3"]), "search"),
        (SearchRequest("ctc_prefix_beem"), "did you mean 'ctc_prefix_beam'"),
        (SearchRequest(lm="a.arpa", lm_mode="mixed"), "fusion"),
        (SearchRequest("ctc_prefix_beam", ["search.beams=3"]), "did you mean 'beam'"),
    ],
)
def test_what_cannot_be_is_refused(bundle: Bundle, request_: SearchRequest, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        choose_decoding(bundle, "model", request_)


def test_a_missing_language_model_is_named(bundle: Bundle) -> None:
    with pytest.raises(AsrError, match=r"nowhere\.arpa"):
        choose(bundle, lm="nowhere.arpa").load_lm(bundle)


def test_a_broken_decode_yaml_is_named(bundle: Bundle, workspace: Path) -> None:
    (workspace / "model" / DECODE_FILE).write_text("search: {name: ctc_prefix_beam, beem: 3}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"decode\.yaml: unknown key 'search.beem'; did you mean 'beam'"):
        choose(bundle)


def test_a_request_leaves_to_its_base_what_it_does_not_say() -> None:
    base = SearchRequest("ctc_prefix_beam", ["search.beam=5"], lm="a.arpa", hotwords=[Hotword("one")])
    assert SearchRequest().over(base) == base
    assert SearchRequest(overrides=["search.lm_weight=1"]).over(base).overrides == (
        "search.beam=5",
        "search.lm_weight=1",
    )
    other = SearchRequest("joint_beam", lm="none", hotwords=[Hotword("two")]).over(base)
    assert other == SearchRequest("joint_beam", lm="none", hotwords=[Hotword("two")])


def test_a_search_is_built_once_for_equal_requests_and_its_language_model_is_read_once(
    bundle: Bundle, lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    load = Decoding.load_lm

    def counted(decoding: Decoding, bundle: Bundle) -> object:
        assert decoding.lm is not None
        read.append(decoding.lm)
        return load(decoding, bundle)

    monkeypatch.setattr(Decoding, "load_lm", counted)
    base = SearchRequest("ctc_prefix_beam", lm=str(lm))
    searchers = Searchers(bundle, choose_decoding(bundle, "model", base), "model", base)
    first = searchers.get(SearchRequest(hotwords=[Hotword("one")]))
    assert searchers.get(SearchRequest(hotwords=(Hotword("one"),))) is first
    assert searchers.get(SearchRequest(hotwords=[Hotword("two")])) is not first
    assert read == [lm]
