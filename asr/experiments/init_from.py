"""Beginning a run with a trained model's weights instead of random ones, for corpora that are small.

The front-end keeps statistics (CMVN) of its own: they bring every corpus, whatever its level and its microphones, to
mean 0 and variance 1 in each band, which is what the other model's encoder is used to, and little audio settles them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.bundle.bundle import Bundle
from asr.bundle.folder import WEIGHTS_FILE
from asr.bundle.store import find_model
from asr.bundle.whole_numbers import holds_whole_numbers
from asr.config import InitConfig
from asr.errors import ConfigError
from asr.models.asr_model import build_model
from asr.nn.convolution import ConvolutionModule
from asr.system.runtime import write_text_atomic
from asr.training.freezing import is_under, weights_under
from asr.types import MAIN_TOKENIZER

REPORT_FILE = "init_report.json"
KERNEL = ".depthwise.weight"  # of a ConvolutionModule

Shape = tuple[int, ...]


@dataclass
class InitReport:
    """The origin of every weight of a model, and the use of every weight of another, by names of tensors."""

    folder: str
    copied: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)  # rows of known tokens copied, those of new ones left at random
    made_causal: list[str] = field(default_factory=list)  # of kernels that see both sides, present and past copied
    missing_there: list[str] = field(default_factory=list)  # begin at random
    missing_here: list[str] = field(default_factory=list)  # not used
    other_shape: dict[str, dict[str, Shape]] = field(default_factory=dict)  # {"here", "there"}; begin at random
    not_asked: list[str] = field(default_factory=list)  # of this model, outside `init_from.parts`; begin at random
    new_tokens: list[str] = field(default_factory=list)  # pieces of this vocabulary that the other one lacks
    num_copied: int = 0  # numbers, not tensors
    num_weights: int = 0  # of this model

    def summary(self) -> str:
        """One line; what there is none of is left out."""
        counts = {
            "copied": self.copied, "resized by token": self.resized,
            "made causal": self.made_causal, "missing there": self.missing_there,
            "missing here": self.missing_here, "of other shape": self.other_shape, "not asked for": self.not_asked,
        }  # fmt: skip
        listed = ", ".join(f"{len(names)} {what}" for what, names in counts.items() if names)
        tokens = f"; new tokens: {' '.join(self.new_tokens[:10])}" if self.new_tokens else ""
        more = f" and {len(self.new_tokens) - 10} more" if len(self.new_tokens) > 10 else ""
        share = f"{self.num_copied / 1e6:.2f} of {self.num_weights / 1e6:.2f} M weights"
        return f"{share} from {self.folder}; tensors: {listed}{tokens}{more}"

    def save(self, folder: Path) -> None:
        """Write `init_report.json` with every name."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / REPORT_FILE, json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")


def init_from(bundle: Bundle, config: InitConfig, say: Callable[[str], None]) -> InitReport:
    """Copy what a model folder's weights and a bundle's have in common; what is left keeps its random values.

    Tensors that count tokens, such as the rows of an output layer, are copied token by token, for pieces that both
    vocabularies have. BundleError if the folder holds no model; ConfigError if a part asked for is in only one of the
    models, if the encoders differ and `partial` does not allow it, or if nothing fits. A front-end set otherwise than
    the other model's is warned about.
    """
    folder = find_model(config.folder)
    source = Bundle.load(folder)
    if holds_whole_numbers(folder / WEIGHTS_FILE):
        say(f"init_from: {config.folder} has weights in int8; they are widened to float32 to be trained")
    _warn_of_other_features(bundle, source, config.folder, say)
    own, given = bundle.model.state_dict(), source.model.state_dict()
    asked = set(own)
    if config.parts:
        asked = weights_under(config.parts, own, key="init_from.parts", model="this model")
        weights_under(config.parts, given, key="init_from.parts", model=config.folder)
    report = _copy(bundle, source, config, asked)
    if not config.partial:
        _require_same_encoder(own, given, report, config)
    if not report.num_copied:
        raise ConfigError(f"init_from: no weight of {config.folder} fits this model; begin without it")
    _warn_of_other_case(bundle, source, report, say)
    say(report.summary())
    return report


@torch.no_grad()
def _copy(bundle: Bundle, source: Bundle, config: InitConfig, asked: set[str]) -> InitReport:
    """Copy the tensors asked for, and note what became of each."""
    own, given = bundle.model.state_dict(), source.model.state_dict()
    axes, given_axes = _token_axes(bundle), _token_axes(source)
    pieces, known = bundle.tokenizer.vocabulary.pieces, source.tokenizer.vocabulary.pieces
    place = {piece: token for token, piece in enumerate(known)}
    shared = torch.tensor([(token, place[piece]) for token, piece in enumerate(pieces) if piece in place]).T
    report = InitReport(config.folder, new_tokens=[piece for piece in pieces if piece not in place])
    report.num_weights = sum(tensor.numel() for tensor in own.values())
    for name, tensor in own.items():
        axis = axes.get(name)
        if name not in asked:
            report.not_asked.append(name)
        elif name not in given:
            report.missing_there.append(name)
        elif (kernel := _causal_kernel(bundle, source, name)) is not None:
            tensor.copy_(kernel)
            report.made_causal.append(name)
            report.num_copied += int(kernel.count_nonzero())
        elif axis != given_axes.get(name) or _without(tensor.shape, axis) != _without(given[name].shape, axis):
            report.other_shape[name] = {"here": tuple(tensor.shape), "there": tuple(given[name].shape)}
        elif axis is None or pieces == known:
            tensor.copy_(given[name])
            report.copied.append(name)
            report.num_copied += tensor.numel()
        else:
            tensor.index_copy_(axis, shared[0], given[name].index_select(axis, shared[1]))
            report.resized.append(name)
            report.num_copied += tensor.numel() // len(pieces) * shared.shape[1]
    outside = (name for name in given if name not in own)
    report.missing_here += [
        name for name in outside if not config.parts or any(is_under(name, part) for part in config.parts)
    ]
    return report


def _causal_kernel(bundle: Bundle, source: Bundle, name: str) -> Tensor | None:
    """Present and past of a convolution's kernel, for one that sees neither the future nor, perhaps, as much past.

    The encoder of a stream begins with one that sees the whole utterance: what it is told of the future is missing,
    all else stands where it stood. None for any other tensor.
    """
    here, there = (_convolution(one, name) for one in (bundle, source))
    if here is None or there is None or not here.causal or there.causal:
        return None
    given = there.depthwise.weight[..., : there.kernel_size // 2 + 1][..., -here.kernel_size :]
    wanted = here.depthwise.weight
    return F.pad(given, (wanted.shape[-1] - given.shape[-1], 0)) if len(given) == len(wanted) else None


def _convolution(bundle: Bundle, name: str) -> ConvolutionModule | None:
    """The module whose kernel a tensor is."""
    if not name.endswith(KERNEL):
        return None
    with suppress(AttributeError):
        module = bundle.model.get_submodule(name.removesuffix(KERNEL))
        return module if isinstance(module, ConvolutionModule) else None
    return None


def _token_axes(bundle: Bundle) -> dict[str, int]:
    """Which axis of a tensor counts tokens, for those that have one: the axis that grows with the vocabulary."""
    vocabularies = {name: tokenizer.vocabulary for name, tokenizer in bundle.tokenizers.items()}
    main = vocabularies[MAIN_TOKENIZER]
    vocabularies[MAIN_TOKENIZER] = replace(main, pieces=(*main.pieces, "".join(main.pieces) + "+"))
    spec = bundle.spec
    with torch.device("meta"):  # shapes without numbers
        larger = build_model(spec.encoder, spec.heads, bundle.frontend.num_features, vocabularies).state_dict()
    return {
        name: next(axis for axis in range(tensor.dim()) if tensor.shape[axis] != larger[name].shape[axis])
        for name, tensor in bundle.model.state_dict().items()
        if tensor.shape != larger[name].shape
    }


def _without(shape: torch.Size, axis: int | None) -> Shape:
    return tuple(size for index, size in enumerate(shape) if index != axis)


def _require_same_encoder(
    own: dict[str, Tensor], given: dict[str, Tensor], report: InitReport, config: InitConfig
) -> None:
    differing = [*report.missing_there, *report.missing_here, *report.other_shape]
    name = min((name for name in differing if is_under(name, "encoder")), default=None)
    if name is None:
        return
    here, there = (tuple(tensors[name].shape) if name in tensors else "missing" for tensors in (own, given))
    raise ConfigError(
        f"init_from: {config.folder} has another encoder: '{name}' is {here} here and {there} there; copy `encoder` "
        f"from {Path(config.folder) / 'config.yaml'}, or set init_from.partial: true to take what fits"
    )


def _warn_of_other_case(bundle: Bundle, source: Bundle, report: InitReport, say: Callable[[str], None]) -> None:
    """Letters that the other model knows in the other case begin at random, and its outputs are of no use to them."""
    known = set(source.tokenizer.vocabulary.pieces)
    other_case = [piece for piece in report.new_tokens if piece.swapcase() != piece and piece.swapcase() in known]
    if not other_case:
        return
    theirs = source.spec.normalize
    advice = theirs if theirs != "none" else "upper" if any(piece.islower() for piece in other_case) else "basic"
    shown = " ".join(other_case[:5]) + (" ..." if len(other_case) > 5 else "")
    say(
        f"warning: {report.folder} knows {len(other_case)} tokens ({shown}) in the other case only, so they begin at "
        f"random; set normalize: {advice} to begin with its weights"
    )


def _warn_of_other_features(bundle: Bundle, source: Bundle, folder: str, say: Callable[[str], None]) -> None:
    """Features of another kind may have equally many bands, so that no shape tells; level and mean are put right."""
    here, there = (one.frontend.config.model_dump(exclude={"cmvn", "level"}) for one in (bundle, source))
    differing = [
        f"{key} {here.get(key)}, not {there.get(key)}" for key in {**there, **here} if here.get(key) != there.get(key)
    ]
    if differing:
        say(f"warning: {folder} was trained on other features than this model: {'; '.join(differing)}")
