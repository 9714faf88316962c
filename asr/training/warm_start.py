"""Starting a run from a trained model instead of random weights, for corpora too small to learn to hear from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from asr.bundle import Bundle
from asr.errors import ConfigError


def warm_start(bundle: Bundle, folder: Path) -> int:
    """Copy the weights of a model folder's encoder and, of other parts, those that both models have; their number.

    Weights that belong to tokens, such as the rows of an output layer, go to the token of the same name; new tokens
    keep their random ones. The front-end's statistics stay those of the new data. BundleError if the folder holds no
    model; ConfigError if the two encoders differ.
    """
    source = Bundle.load(folder)
    own, given = bundle.model.state_dict(), source.model.state_dict()
    for name in sorted(name for name in own.keys() | given.keys() if name.startswith("encoder.")):
        shapes = [tuple(tensors[name].shape) if name in tensors else "missing" for tensors in (own, given)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"start_from: {folder} has another encoder: '{name}' is {shapes[0]} here and {shapes[1]} there; "
                f"copy `encoder` from {folder / 'config.yaml'}"
            )
    pieces, known = bundle.tokenizer.vocabulary.pieces, source.tokenizer.vocabulary.pieces
    shared = [(pieces.index(piece), known.index(piece)) for piece in pieces if piece in known]
    copied = 0
    with torch.no_grad():
        for name in own.keys() & given.keys():
            axis = None if name.startswith("encoder.") else _token_axis(own[name], given[name], len(pieces), len(known))
            if axis is not None:
                to, origin = (torch.tensor(column) for column in zip(*shared, strict=True))
                own[name].index_copy_(axis, to, given[name].index_select(axis, origin))
                copied += own[name].numel() // len(pieces) * len(shared)
            elif own[name].shape == given[name].shape:
                own[name].copy_(given[name])
                copied += own[name].numel()
    return copied


def _token_axis(own: Tensor, given: Tensor, vocab_size: int, known_size: int) -> int | None:
    """The axis along which two tensors count tokens, of which no other axis differs; None without one."""
    for axis in range(min(own.dim(), given.dim())):
        rest = [[*tensor.shape[:axis], *tensor.shape[axis + 1 :]] for tensor in (own, given)]
        if (own.shape[axis], given.shape[axis]) == (vocab_size, known_size) and rest[0] == rest[1]:
            return axis
    return None
