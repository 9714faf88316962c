"""Whisper's rules against a stupid version of them, and what timestamps say about a text."""

from __future__ import annotations

import math

import pytest
import torch

from asr.models.heads.whisper_rules import Timestamps, WhisperRules
from asr.text.vocabulary import Vocabulary
from asr.types import TokenSegment

WORDS, END, START, NOSPEECH, NONE = 8, 8, 9, 10, 11
NUM_STAMPS = 80
FIRST = NONE + 1
PIECES = (*"abcdefgh", "<eot>", "<sot>", "<|nospeech|>", "<|notimestamps|>", *(f"<|{n}|>" for n in range(NUM_STAMPS)))
VOCABULARY = Vocabulary(PIECES, sos=START, eos=END, control=frozenset(range(END, len(PIECES))))
RULES = WhisperRules(VOCABULARY, suppress=(1,), suppress_first=(2, END), max_tokens=24)


def slowly(log_probs: list[float], prompt: list[int], text: list[int]) -> list[float]:
    """What may follow a text, token by token, as whisper/decoding.py puts it."""
    left = list(log_probs)

    def forbid(tokens: range) -> None:
        for token in tokens:
            left[token] = -math.inf

    for token in (1, START, NOSPEECH, NONE):
        left[token] = -math.inf
    if prompt[-1] == NONE:
        forbid(range(FIRST, len(PIECES)))
        if not text:
            left[2] = left[END] = -math.inf
    else:
        if text and text[-1] >= FIRST:
            if len(text) < 2 or text[-2] >= FIRST:
                forbid(range(FIRST, len(PIECES)))
            else:
                forbid(range(END))
        if stamps := [token for token in text if token >= FIRST]:
            closes = text[-1] >= FIRST and not (len(text) < 2 or text[-2] >= FIRST)
            forbid(range(FIRST, stamps[-1] if closes else stamps[-1] + 1))
        if not text:
            forbid(range(FIRST))
            forbid(range(FIRST + 51, len(PIECES)))
        likely = torch.tensor(left[FIRST:]).logsumexp(0)
        if likely > max(left[:FIRST]):
            forbid(range(FIRST))
    if len(text) >= 12 or len(prompt) + len(text) >= 24:
        left = [-math.inf] * END + [log_probs[END]] + [-math.inf] * (len(PIECES) - END - 1)
    return (torch.tensor(left) - torch.tensor(left).logsumexp(0)).tolist()


@pytest.mark.parametrize("stamps", [0.5, 3.0, 6.0])
def test_what_may_follow_is_what_the_rules_say_word_for_word(stamps: float) -> None:
    random = torch.Generator().manual_seed(round(stamps * 10))
    prompts = [[START], [START, NONE], [0, 3, START], [5, START, NONE]]
    texts: list[list[int]] = [[], [], [], []]
    for _ in range(14):
        longest = max(len(prompt) + len(text) for prompt, text in zip(prompts, texts, strict=True))
        by_length: dict[int, list[int]] = {}
        for row in range(4):
            by_length.setdefault(len(prompts[row]) + len(texts[row]), []).append(row)
        assert longest < 24
        for rows in by_length.values():
            scores = torch.randn(len(rows), len(PIECES), generator=random)
            scores[:, FIRST:] -= stamps
            log_probs = scores.log_softmax(1)
            tokens = torch.tensor([prompts[row] + texts[row] for row in rows])
            lens = torch.tensor([len(prompts[row]) for row in rows])
            before = log_probs.clone()
            found = RULES(log_probs, tokens, lens, torch.tensor(rows))
            assert torch.equal(log_probs, before)
            best, gained = RULES.choose(scores, tokens, lens)
            assert best.tolist() == found.argmax(1).tolist()
            torch.testing.assert_close(gained, found.amax(1), rtol=1e-5, atol=1e-5)
            for place, row in enumerate(rows):
                expected = torch.tensor(slowly(log_probs[place].tolist(), prompts[row], texts[row]))
                torch.testing.assert_close(found[place], expected, rtol=1e-5, atol=1e-5)
                chosen = expected.clone()
                chosen[END] = -math.inf if len(expected.isfinite().nonzero()) > 1 else chosen[END]
                texts[row].append(int(chosen.argmax()))


def test_rows_at_different_places_share_a_step() -> None:
    log_probs = torch.randn(2, len(PIECES)).log_softmax(1)
    tokens = torch.tensor([[START, FIRST, 0, FIRST + 5], [3, 0, 4, START]])
    together = RULES(log_probs, tokens, torch.tensor([1, 4]), torch.tensor([0, 1]))
    for row, length in enumerate((1, 4)):
        alone = RULES(log_probs[row : row + 1], tokens[row : row + 1], torch.tensor([length]), torch.tensor([row]))
        torch.testing.assert_close(together[row], alone[0])


def test_text_between_timestamps_is_a_segment_and_what_is_not_closed_ends_with_the_audio() -> None:
    stamps = Timestamps.of(VOCABULARY)
    tokens = [FIRST + 2, 0, 3, FIRST + 20, FIRST + 20, FIRST + 21, 4, FIRST + 70, FIRST + 75, 5]
    text, segments = stamps.segments(tokens, 60)
    assert text == (0, 3, 4, 5)
    assert segments == (TokenSegment(0, 2, 2, 20), TokenSegment(2, 3, 21, 60), TokenSegment(3, 4, 60, 60))
    assert stamps.segments([0, 3], 60) == ((0, 3), ())
    assert stamps.segments([FIRST, FIRST + 9], 60) == ((), ())
