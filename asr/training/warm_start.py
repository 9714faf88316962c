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
    with torch.no_grad():
        return sum(_take(own[name], given[name], (len(pieces), len(known)), shared) for name in own if name in given)


def _take(own: Tensor, given: Tensor, vocab_sizes: tuple[int, int], shared: list[tuple[int, int]]) -> int:
    """Copy a tensor, or its slices for shared tokens along the axis that counts tokens; how many numbers were copied.

    Nothing is copied when the shapes differ elsewhere.
    """
    axes = [axis for axis, sizes in enumerate(zip(own.shape, given.shape, strict=False)) if sizes == vocab_sizes]
    if len(axes) == 1 and own.dim() == given.dim():
        axis = axes[0]
        if [*own.shape[:axis], *own.shape[axis + 1 :]] != [*given.shape[:axis], *given.shape[axis + 1 :]]:
            return 0
        to, origin = (torch.tensor(column) for column in zip(*shared, strict=True))
        own.index_copy_(axis, to, given.index_select(axis, origin))
        return own.numel() // own.shape[axis] * len(shared)
    if own.shape != given.shape:
        return 0
    own.copy_(given)
    return own.numel()
