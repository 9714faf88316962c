"""What every search promises of its states, prompts, filters and vocabularies, against heads that follow any function.

`test_searches.py` does the same for real models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.decoding import SEARCHES
from asr.decoding.base import AnySearch, Prompt, TokenFilter, build_search, ctc_of, decoder_of
from asr.decoding.fusion import NO_FUSION, Fusion
from asr.decoding.lm_rescoring import LmRescored
from asr.errors import ConfigError
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput, Hypothesis
from tests.decoding.brute_force import collapse, ctc_text_scores, random_log_probs
from tests.decoding.fakes import FakeDecoder, FakeLm, Text, all_texts, fake_heads
from tests.foreign_vocabularies import FOREIGN

# The layouts of several families, with few pieces each, so that all texts can be tried.
LAYOUTS = {
    "ours": Vocabulary(("<blank>", "<unk>", "<s>", "</s>", "a", "b"), blank=0, unk=1, sos=2, eos=3),
    "wav2vec2": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a"), blank=0, sos=1, eos=2, unk=3),
    "sherpa": Vocabulary(("<blk>", "<sos/eos>", "<unk>", "a", "b"), blank=0, sos=1, eos=1, unk=2),
    "nemo": Vocabulary(("<unk>", "a", "b", "<blk>"), blank=3, unk=0, sos=None, eos=None),
    "whisper": Vocabulary(("!", "a", "<|en|>", "<eot>", "<sot>"), blank=None, unk=None, sos=4, eos=3),
}
LENS = [6, 3, 5]
VARIANTS = [*SEARCHES.names(), "ctc_prefix_beam/tensor", "ctc_greedy/rescored", "ctc_prefix_beam/rescored"]


def fits(name: str, vocabulary: Vocabulary) -> bool:
    """Whether a search can work with heads of that vocabulary at all."""
    able = {"ctc": vocabulary.blank is not None, "decoder": vocabulary.eos is not None}
    return all(able[need] for need in SEARCHES.part(name.partition("/")[0]).needs)


def assert_same(found: Sequence[Sequence[Hypothesis]], expected: Sequence[Sequence[Hypothesis]]) -> None:
    """But for the rounding of numbers at different places of vectors."""
    for n_best, others in zip(found, expected, strict=True):
        assert [(one.tokens, one.spans) for one in n_best] == [(one.tokens, one.spans) for one in others]
        assert [one.score for one in n_best] == pytest.approx([one.score for one in others], abs=1e-9)


PAIRS = [(name, layout) for name in VARIANTS for layout, vocabulary in LAYOUTS.items() if fits(name, vocabulary)]


def make_search(
    name: str,
    vocabulary: Vocabulary,
    filters: Sequence[TokenFilter] = (),
    fusion: Fusion = NO_FUSION,
    **changes: Any,
) -> AnySearch:
    name, _, variant = name.partition("/")
    if name.startswith("ctc_prefix") and variant != "tensor":
        pytest.importorskip("numba")
    decoder = FakeDecoder(vocabulary) if vocabulary.eos is not None else None
    heads = fake_heads(decoder, ctc=vocabulary if vocabulary.blank is not None else None)
    changes |= {"kernel": "tensor"} if variant == "tensor" else {}
    config = SEARCHES.config(name)
    tiny = config.model_validate({**config.tiny().model_dump(), **changes})
    search = build_search(tiny, heads, fusion, filters)
    return LmRescored(search, FakeLm(vocabulary), 0.5) if variant == "rescored" else search


def make_frames(vocabulary: Vocabulary, seed: int = 3) -> list[Tensor]:
    return [random_log_probs(length, len(vocabulary), seed=seed + length, vocabulary=vocabulary) for length in LENS]


def batch(utterances: Sequence[Tensor]) -> EncoderOutput:
    """A batch padded with noise."""
    lens = torch.tensor([len(frames) for frames in utterances])
    padded = torch.randn(len(lens), int(lens.max()) + 1, utterances[0].shape[1], dtype=torch.float64)
    for row, frames in enumerate(utterances):
        padded[row, : len(frames)] = frames
    return EncoderOutput(padded, lens)


def prompts_for(name: str, vocabulary: Vocabulary) -> list[Prompt | None]:
    """Prompts of three lengths where a decoder reads them; the shortest is the usual one."""
    if "decoder" not in SEARCHES.part(name.partition("/")[0]).needs:
        return [None, None, None]
    assert vocabulary.sos is not None
    return [(vocabulary.sos, len(vocabulary) - 2, 1), None, (vocabulary.sos, 0)]


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_prompts_of_any_lengths_leave_each_row_its_own_answer(name: str, layout: str) -> None:
    search, frames = make_search(name, LAYOUTS[layout]), make_frames(LAYOUTS[layout])
    prompts = prompts_for(name, LAYOUTS[layout])
    together = search.search(batch(frames), prompts)
    assert_same(together, [search.search(batch([row]), [one])[0] for row, one in zip(frames, prompts, strict=True)])


@pytest.mark.parametrize("name", ["attention_beam", "joint_beam", "attention_rescoring"])
def test_a_prompt_is_no_part_of_the_text_that_language_model_and_length_score(name: str) -> None:
    vocabulary = LAYOUTS["ours"]
    frames, prompts, lm = make_frames(vocabulary), prompts_for(name, vocabulary), FakeLm(vocabulary)
    changes = {"length_normalisation": 0.0} if name == "attention_beam" else {}
    search = make_search(name, vocabulary, fusion=Fusion(lm), lm_weight=0.7, length_bonus=1.5, **changes)
    answers = search.search(batch(frames), prompts)
    assert any(one.tokens for n_best in answers for one in n_best)
    for one in (one for n_best in answers for one in n_best):
        assert one.parts["lm"] == pytest.approx(0.7 * lm.score(one.tokens), abs=1e-9)
        assert one.parts["length"] == pytest.approx(1.5 * len(one.tokens))
        assert one.score == pytest.approx(sum(one.parts.values()), abs=1e-9)
    assert_same(answers, [search.search(batch([row]), [one])[0] for row, one in zip(frames, prompts, strict=True)])


@pytest.mark.parametrize("name", ["attention_greedy", "attention_beam", "joint_beam", "attention_rescoring"])
def test_the_decoder_is_asked_what_follows_the_prompt(name: str) -> None:
    vocabulary = LAYOUTS["ours"]
    frames, decoder = make_frames(vocabulary)[0], FakeDecoder(vocabulary)
    (n_best,) = make_search(name, vocabulary).search(batch([frames]), [(2, 4, 1)])
    for one in n_best:
        penalty = (5 + len(one.tokens) + 1) / 6  # of `length_normalisation` 1
        weight = {"joint_beam": 0.7, "attention_rescoring": 0.7, "attention_beam": 1 / penalty}.get(name, 1.0)
        expected = decoder.score(frames, (4, 1, *one.tokens)) - sum(
            float(decoder.predict(frames, (4, 1)[:n])[token]) for n, token in enumerate((4, 1))
        )
        assert one.parts["attention"] == pytest.approx(weight * expected, abs=1e-9)


class NeverEnds(FakeDecoder):
    """A decoder that would write the same token for ever."""

    def predict(self, frames: Tensor, text: Text) -> Tensor:
        log_probs = torch.full((len(self.vocabulary),), -30.0, dtype=torch.float64)
        log_probs[4] = 0.0
        return log_probs


@pytest.mark.parametrize("name", ["attention_greedy", "attention_beam"])
def test_the_limit_of_tokens_is_counted_after_the_prompt(name: str) -> None:
    vocabulary = LAYOUTS["ours"]
    search = build_search(SEARCHES.config(name).tiny(), fake_heads(NeverEnds(vocabulary)))
    answers = search.search(batch(make_frames(vocabulary)), [(2, 5, 1, 5), None, (2, 5)])
    assert [n_best[0].tokens for n_best in answers] == [(4,) * length for length in LENS]


@pytest.mark.parametrize(("name", "layout"), PAIRS)
@settings(deadline=None, max_examples=6)
@given(st.data())
def test_cuts_do_not_change_the_answer(name: str, layout: str, data: st.DataObject) -> None:
    """Every row is cut at places of its own; some chunks have none of its frames."""
    search, frames = make_search(name, LAYOUTS[layout]), make_frames(LAYOUTS[layout])
    prompts = prompts_for(name, LAYOUTS[layout])
    num_cuts = data.draw(st.integers(0, 3))
    cuts = [
        [0, *sorted(data.draw(st.lists(st.integers(0, len(one)), min_size=num_cuts, max_size=num_cuts))), len(one)]
        for one in frames
    ]
    state = search.start(len(frames), prompts)
    for chunk in range(num_cuts + 1):
        pieces = [one[places[chunk] : places[chunk + 1]] for one, places in zip(frames, cuts, strict=True)]
        state = search.advance(state, batch(pieces))
    assert search.finish(state) == search.search(batch(frames), prompts)


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_rows_are_selected_and_joined_at_any_time(name: str, layout: str) -> None:
    """Rows change places, one is doubled, one joins that began earlier and one that begins only now."""
    search, (first, second, third) = make_search(name, LAYOUTS[layout]), make_frames(LAYOUTS[layout])
    one, two, three = prompts_for(name, LAYOUTS[layout])
    state = search.advance(search.start(2, [one, two]), batch([first[:2], second[:1]]))
    earlier = search.advance(search.start(1, [three]), batch([third[:4]]))
    before = search.finish(state)
    joined = state.join([state.select(torch.tensor([1, 0, 1])), earlier, search.start(1, [three])])
    joined = search.advance(joined, batch([second[1:], first[2:], second[1:2], third[4:], third]))
    answers = search.search(batch([second, first, second[:2], third, third]), [two, one, two, three, three])
    assert_same(search.finish(joined), answers)
    assert search.finish(state) == before, "states are never changed in place"
    assert_same(search.finish(joined.select(torch.tensor([3]))), [answers[3]])


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_partial_answers_are_the_best_tokens_so_far_or_nothing(name: str, layout: str) -> None:
    search, frames = make_search(name, LAYOUTS[layout]), make_frames(LAYOUTS[layout])
    state = search.start(3)
    assert search.partial(state) == [(), (), ()]
    state = search.advance(state, batch([one[:2] for one in frames]))
    if "ctc" in SEARCHES.part(name.partition("/")[0]).needs and not name.startswith("joint"):
        first_pass = make_search("ctc_greedy" if name.startswith("ctc_greedy") else "ctc_prefix_beam", LAYOUTS[layout])
        best = [n_best[0].tokens for n_best in first_pass.search(batch([one[:2] for one in frames]))]
        assert search.partial(state) == best
        assert any(best)
    else:
        assert search.partial(state) == [(), (), ()]


@pytest.mark.parametrize("nothing", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_a_frame_without_numbers_empties_the_answer_and_disturbs_nobody(name: str, layout: str, nothing: float) -> None:
    search, frames = make_search(name, LAYOUTS[layout]), make_frames(LAYOUTS[layout])
    broken = [one.clone() for one in frames]
    broken[1][1] = nothing
    answers = search.search(batch(broken))
    assert [one.tokens for one in answers[1]] == [()]
    assert math.isfinite(answers[1][0].score)
    expected = search.search(batch(frames))
    assert_same([answers[0], answers[2]], [expected[0], expected[2]])
    state = search.advance(search.start(3), batch([one[:2] for one in broken]))
    state = search.advance(state, batch([one[2:] for one in broken]))
    assert search.finish(state) == answers
    assert search.partial(state)[1] == ()


def exact_scores(vocabulary: Vocabulary, frames: Tensor, ctc_weight: float) -> dict[Text, float]:
    """Weighted score of every text: of CTC over all paths, and of the decoder."""
    roles = {vocabulary.blank, vocabulary.sos, vocabulary.eos}
    tokens = [token for token in range(len(vocabulary)) if token not in roles]
    ctc = ctc_text_scores(frames, vocabulary) if ctc_weight else {}
    if ctc_weight == 1.0:
        return ctc
    decoder = FakeDecoder(vocabulary)
    return {
        text: (ctc_weight * ctc.get(text, -math.inf) if ctc_weight else 0.0)
        + (1.0 - ctc_weight) * decoder.score(frames, text)
        for text in all_texts(tokens, len(frames))
    }


CTC_WEIGHTS = {"ctc_prefix_beam": 1.0, "attention_beam": 0.0, "joint_beam": 0.3, "attention_rescoring": 0.3}
WIDE = {
    "ctc_prefix_beam": {"beam": 500},
    "attention_beam": {"beam": 500, "length_normalisation": 0.0, "eos_threshold": None},
    "joint_beam": {"beam": 500, "length_bonus": 0.0},
    "attention_rescoring": {"beam": 500},
}


@pytest.mark.parametrize(
    ("name", "layout"), [(name, layout) for name, layout in PAIRS if name.partition("/rescored")[1] == ""]
)
def test_searches_find_the_best_text_whatever_ids_the_roles_have(name: str, layout: str) -> None:
    vocabulary = LAYOUTS[layout]
    frames = random_log_probs(3, len(vocabulary), seed=4, vocabulary=vocabulary)
    plain = name.partition("/")[0]
    if plain == "ctc_greedy":
        path = tuple(frames.argmax(-1).tolist())
        assert vocabulary.blank is not None
        assert make_search(name, vocabulary).search(batch([frames]))[0][0].tokens == collapse(path, vocabulary.blank)
    elif plain == "attention_greedy":
        decoder, text = FakeDecoder(vocabulary), ()
        for _ in range(3):
            token = int(decoder.predict(frames, text).argmax())
            if token == vocabulary.eos:
                break
            text = (*text, token)
        assert make_search(name, vocabulary).search(batch([frames]))[0][0].tokens == text
    else:
        scores = exact_scores(vocabulary, frames, CTC_WEIGHTS[plain])
        (n_best,) = make_search(name, vocabulary, **WIDE[plain]).search(batch([frames]))
        possible = {text: score for text, score in scores.items() if score > -math.inf}
        assert {one.tokens: one.score for one in n_best} == pytest.approx(possible, abs=1e-9)


@pytest.mark.parametrize("family", sorted(FOREIGN))
@pytest.mark.parametrize("name", SEARCHES.names())
def test_no_role_is_ever_written(name: str, family: str) -> None:
    vocabulary = FOREIGN[family]().vocabulary
    if not fits(name, vocabulary):
        with pytest.raises(ConfigError, match="needs a"):
            make_search(name, vocabulary)
        return
    answers = make_search(name, vocabulary).search(batch(make_frames(vocabulary)))
    texts = [one.tokens for n_best in answers for one in n_best]
    roles = {vocabulary.blank, vocabulary.sos, vocabulary.eos}
    assert any(texts)
    assert not any(roles & set(text) for text in texts)


class Without:
    """A filter: in utterance `row`, or in all, none of some tokens, asked about real texts only."""

    def __init__(self, *tokens: int, row: int | None = None) -> None:
        self.tokens = list(tokens)
        self.row = row
        self.prompts: dict[int, set[Text]] = {}

    def __call__(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor:
        for text, length, row in zip(tokens.tolist(), prompt_lens.tolist(), rows.tolist(), strict=True):
            if len(text) >= length:
                self.prompts.setdefault(row, set()).add(tuple(text[:length]))
        meant = torch.full_like(rows, self.row is None, dtype=torch.bool) | (rows == self.row)
        allowed = log_probs.clone()
        allowed[:, self.tokens] = allowed[:, self.tokens].masked_fill(meant[:, None], -math.inf)
        return allowed


FILTERED = [(name, layout) for name, layout in PAIRS if "decoder" in SEARCHES.part(name.partition("/")[0]).needs]


@pytest.mark.parametrize(("name", "layout"), FILTERED)
def test_filters_are_obeyed_in_the_rows_that_they_are_meant_for(name: str, layout: str) -> None:
    vocabulary = LAYOUTS[layout]
    frames, prompts = make_frames(vocabulary, seed=7), prompts_for(name, LAYOUTS[layout])
    plain = make_search(name, vocabulary).search(batch(frames), prompts)
    # with this seed the first text has a token
    banned = plain[0][0].tokens[0]
    rule = Without(banned, row=0)
    answers = make_search(name, vocabulary, [rule]).search(batch(frames), prompts)
    assert_same(answers[1:], plain[1:])
    assert not any(banned in one.tokens for one in answers[0])
    completed = [prompt or (vocabulary.sos,) for prompt in prompts]
    assert rule.prompts == {row: {tuple(prompt)} for row, prompt in enumerate(completed)}
    alone = make_search(name, vocabulary, [Without(banned)]).search(batch(frames[:1]), prompts[:1])
    assert_same(alone, answers[:1])


@pytest.mark.parametrize(("name", "layout"), [pair for pair in FILTERED if pair[0] in CTC_WEIGHTS])
def test_with_a_filter_the_best_text_is_the_best_of_those_that_it_allows(name: str, layout: str) -> None:
    vocabulary = LAYOUTS[layout]
    frames = random_log_probs(3, len(vocabulary), seed=5, vocabulary=vocabulary)
    scores = exact_scores(vocabulary, frames, CTC_WEIGHTS[name])
    banned = max(scores, key=lambda text: scores[text] if text else -math.inf)[0]
    allowed = {text: score for text, score in scores.items() if banned not in text and score > -math.inf}
    (n_best,) = make_search(name, vocabulary, [Without(banned)], **WIDE[name]).search(batch([frames]))
    assert {one.tokens: one.score for one in n_best} == pytest.approx(allowed, abs=1e-9)


@pytest.mark.parametrize(("name", "layout"), FILTERED)
def test_a_filter_that_allows_nothing_leaves_the_empty_text(name: str, layout: str) -> None:
    vocabulary = LAYOUTS[layout]
    search = make_search(name, vocabulary, [Without(*range(len(vocabulary)))])
    for n_best in search.search(batch(make_frames(vocabulary)), prompts_for(name, vocabulary)):
        assert [one.tokens for one in n_best] == [()]


@pytest.mark.parametrize("ctc_weight", [0.0, 1.0])
def test_a_filter_binds_a_joint_search_also_without_the_decoders_weight(ctc_weight: float) -> None:
    vocabulary = LAYOUTS["ours"]
    frames = make_frames(vocabulary)
    search = make_search("joint_beam", vocabulary, [Without(4)], ctc_weight=ctc_weight)
    assert not any(4 in one.tokens for n_best in search.search(batch(frames)) for one in n_best)
    free = make_search("joint_beam", vocabulary, ctc_weight=ctc_weight)
    assert any(4 in one.tokens for n_best in free.search(batch(frames)) for one in n_best)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([(2,)], "1 prompts for 2"),
        ([(2, 6), None], "no token 6"),
        ([(), None], "one token at least"),
    ],
)
def test_prompts_that_cannot_be_read_are_refused(prompts: list[Prompt | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_search("attention_greedy", LAYOUTS["ours"]).start(2, prompts)


def test_heads_are_found_by_what_they_can_do() -> None:
    decoder = FakeDecoder(LAYOUTS["ours"])
    heads = {"first": object(), "words": decoder, **fake_heads(ctc=LAYOUTS["ours"])}
    assert decoder_of(heads) is decoder
    assert ctc_of(heads) is heads["ctc"]
    with pytest.raises(ConfigError, match="no search fits"):
        build_search(SEARCHES.config("ctc_greedy")(), {"first": object()})


def test_heads_of_different_tokenizers_are_not_searched_together() -> None:
    heads = fake_heads(FakeDecoder(LAYOUTS["sherpa"]), ctc=LAYOUTS["ours"])
    with pytest.raises(ConfigError, match="the same tokenizer"):
        build_search(SEARCHES.config("joint_beam")(), heads)
