"""`training.compile`: the repeated layers of a model by torch.compile, few times for all shapes of batches.

Only what is repeated is compiled, layer by layer: all layers of a stack have the same code, so one compilation serves
them all, and sizes of batches are variables in it. Around it everything stays as it is: names of weights, losses,
searches. Numbers are those of the uncompiled model up to rounding, and so is a run that is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from asr.nn.convolution import DepthwiseConvolution
from asr.system.display import counted

STACK = "layers"  # the attribute that holds a model's repeated layers, an nn.ModuleList


def compile_layers(model: nn.Module, loss: Callable[[], Tensor], dtype: str, say: Callable[[str], None]) -> bool:
    """Have the layers of all stacks in `model` compiled, and try them on a loss of it, backward pass included.

    Its batch should share no size with the model: the compiler takes equal sizes for one variable.

    Where nothing can be compiled (no C++ compiler, recurrent layers, an operation unknown to the compiler) `say` gets
    one warning, the model stays as it was, and the answer is False.
    """
    layers = list(_layers(model))
    if not layers:
        say("warning: training.compile: the model has no layers that compiling makes faster; it stays as it is")
        return False
    convolutions = [module for module in model.modules() if isinstance(module, DepthwiseConvolution)]
    for convolution in convolutions:
        # a kernel of its own anyway, for which the compiler would start anew with every length of a batch
        convolution.forward = torch.compiler.disable(convolution.forward)  # type: ignore[method-assign]
    for layer in layers:
        layer.compile(dynamic=True)
    began = time.monotonic()
    was_training = model.training
    model.train()
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng():
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                total = loss()
            total.backward()
    except Exception as error:  # the compiler calls other programs: anything may come out of it
        for convolution in convolutions:
            del convolution.forward
        for layer in layers:
            layer._compiled_call_impl = None
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        say(f"warning: training.compile: torch cannot compile here, the model stays as it is ({reason[:200]})")
        return False
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    pieces = counted(num_compilations(), "piece")
    say(f"compiled {counted(len(layers), 'layer')} as {pieces} of code in {time.monotonic() - began:.0f} s")
    return True


def num_compilations() -> int:
    """Pieces of code that torch has compiled in this process; more during training means new kinds of shapes."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def uncompiled(model: nn.Module) -> AbstractContextManager[Any]:
    """Run a model as written within the block: for measures on other shapes, and in another mode, than in training."""
    is_compiled = any(module._compiled_call_impl is not None for module in model.modules())
    return _eager() if is_compiled else nullcontext()


@contextmanager
def _eager() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"):
        yield


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == STACK and isinstance(module, nn.ModuleList):
            yield from (layer for layer in module if not _is_recurrent(layer))


def _is_recurrent(layer: nn.Module) -> bool:
    return any(isinstance(module, nn.RNNBase) for module in layer.modules())
