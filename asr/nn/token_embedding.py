"""From tokens to model frames."""

from __future__ import annotations

from torch import nn


def token_embedding(vocab_size: int, dim: int) -> nn.Embedding:
    """An embedding whose vectors have length 1 or so."""
    embedding = nn.Embedding(vocab_size, dim)
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    return embedding
