"""Where Whisper's tokens are in the audio: by the attention of a few of its heads, and dynamic time warping.

The text is read once more, all of it at once. For each chosen head the weights over the frames of the audio alone are
normalised, then made comparable between tokens (zero mean, unit variance over the tokens of a frame), moved by the
head's delay and averaged; the best path through that is the alignment. So does the reference (openai/whisper,
whisper/timing.py) but for the delays and for its median filter, without which errors are the same.

B utterances, U tokens, S frames, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.alignment.dtw import warp_all
from asr.models.heads.alignment_heads import AlignmentHead
from asr.models.heads.transformer import TransformerDecoder
from asr.nn.attention import CrossAttention
from asr.types import EncoderOutput

FRAME_SECONDS = 0.02  # of all Whisper models
MIN_DEVIATION = 1e-9


def place_tokens(
    decoder: TransformerDecoder,
    heads: Sequence[AlignmentHead],
    encoded: EncoderOutput,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    audio_lens: Sequence[int] | None = None,
) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Frames (U, 2) and probabilities (U,) of the tokens of one text for each row, read after its prompt.

    A token's frames begin where those of the one before it end; those of the first begin at 0. They are None where
    there are not more frames than tokens. `audio_lens` count the frames that hold audio, where silence was added to it.
    """
    heads = sorted(heads, key=lambda one: one.layer)  # as their scores come
    delays = [round(one.delay / FRAME_SECONDS) for one in heads]
    frames = encoded.lens.tolist() if audio_lens is None else list(map(min, audio_lens, encoded.lens.tolist()))
    likenesses, probabilities = [], []
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        tokens = torch.tensor([[*prompt, *text]], dtype=torch.int64, device=encoded.frames.device)
        scores, hidden = _read(decoder, heads, encoded.frames[row : row + 1, : int(encoded.lens[row])], tokens)
        first = len(prompt) - 1  # the row of what predicts the first token; the last one is past the end's
        likenesses.append(_likeness(scores[0, :, first:, : frames[row]] if text else scores[0, :, :0], delays))
        log_probs = decoder._predict(hidden[:, first:-1])[0]
        wanted = torch.tensor([text], dtype=torch.int64, device=log_probs.device).reshape(-1, 1)
        probabilities.append(log_probs.gather(1, wanted).squeeze(1).exp().double().cpu().numpy())
    return [
        (None if firsts is None else np.stack([firsts[:-1], firsts[1:]], axis=1), own)
        for firsts, own in zip(warp_all(likenesses), probabilities, strict=True)
    ]


def _read(
    decoder: TransformerDecoder, heads: Sequence[AlignmentHead], frames: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores (B, H, U, S), at least float32, of the heads before the softmax, and outputs (B, U, D).

    All `frames` (B, S, D) are valid.
    """
    x = decoder._embed(tokens, position=0)
    lens = torch.full((len(frames),), frames.shape[1], device=frames.device)
    causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
    scores = []
    for index, layer in enumerate(decoder._layers):
        key, value = layer.cross_attention.memory(frames)
        x = x + layer.attention(x, causal)
        if own := [one.head for one in heads if one.layer == index]:
            scores.append(attention_scores(layer.cross_attention, x, key, own))
        x = x + layer.cross_attention(x, key, value, lens)
        x = x + layer.feed_forward(x)
    return torch.cat(scores, dim=1), x


def attention_scores(attention: CrossAttention, x: Tensor, key: Tensor, heads: Sequence[int]) -> Tensor:
    """What some heads (H) of an attention to frames see: scores (B, H, U, S) for inputs (B, U, D) and all its keys."""
    query = attention.query(attention.norm(x)).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    own = query[:, list(heads)].to(torch.promote_types(query.dtype, torch.float32))
    scores: Tensor = own @ key[:, list(heads)].to(own.dtype).transpose(-1, -2) / own.shape[-1] ** 0.5
    return scores


def _likeness(scores: Tensor, delays: Sequence[int]) -> np.ndarray:
    """How much each token (U) looks at each frame (S), (U, S), from scores (H, U, S)."""
    if not scores.numel() or scores.shape[1] > scores.shape[2]:
        return np.zeros(tuple(scores.shape[1:]))
    weights = scores.softmax(dim=-1)
    weights -= weights.mean(dim=1, keepdim=True)
    weights /= weights.square().mean(dim=1, keepdim=True).sqrt_().clamp_(min=MIN_DEVIATION)
    moved = torch.zeros_like(weights[0], dtype=torch.float64)
    for one, delay in zip(weights, delays, strict=True):
        moved += _moved(one, delay)
    return (moved / len(delays)).cpu().numpy()


def _moved(weights: Tensor, delay: int) -> Tensor:
    """Weights (U, S) some frames earlier, later where `delay` is negative; 0, which is their mean, where none are."""
    most = weights.shape[1]
    delay = max(-most, min(most, delay))
    return F.pad(weights[:, max(0, delay) : most + min(0, delay)], (max(0, -delay), max(0, delay)))
