"""Which search a trained model decodes with, and what helps it: language model and hotwords.

What a command line says goes before what `asr tune` found (the model folder's `decode.yaml`), and that before the
search the model was trained with.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asr.bundle.bundle import Bundle
from asr.bundle.lm import load_lm
from asr.bundle.prompting import NO_WISH, Wish, reading
from asr.bundle.recognition import DecodeOptions
from asr.config import DECODE_FILE, DecodeConfig, ModelSpec, read_yaml
from asr.config_errors import validate
from asr.config_overrides import with_overrides
from asr.decoding import SEARCHES
from asr.decoding.base import AnySearch, build_search, ctc_of, decoder_of
from asr.decoding.fusion import BeamConfig, Fusion
from asr.decoding.hotwords import Hotword, HotwordScorer, in_case_of, normalized_hotwords
from asr.decoding.lm_rescoring import LmRescored
from asr.decoding.token_boost import TokenBoost, hint_of
from asr.errors import ConfigError
from asr.lm.base import TokenScorer
from asr.registry import NamedConfig

NO_LM = "none"
MAX_SEARCHERS = 32
MAX_LMS = 2


@dataclass(frozen=True)
class SearchRequest:
    """What a user asks for; None leaves it to the model. Requests are equal if they ask for the same."""

    name: str | None = None
    overrides: Sequence[str] = ()  # search.key=value
    lm: str | None = None  # a path, or "none"
    lm_mode: str | None = None  # fusion or rescore
    hotwords: Sequence[Hotword] = ()

    def __post_init__(self) -> None:
        for name in ("overrides", "hotwords"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def over(self, base: SearchRequest) -> SearchRequest:
        """The same, with what `base` says where this one is silent; settings stay with the search they are of."""
        kept = base.overrides if self.name in (None, base.name) else ()
        return SearchRequest(
            self.name or base.name,
            (*kept, *self.overrides),
            self.lm if self.lm is not None else base.lm,
            self.lm_mode or base.lm_mode,
            self.hotwords or base.hotwords,
        )


@dataclass(frozen=True)
class Decoding:
    """Everything but the model that decides a text."""

    search: NamedConfig
    lm: Path | None = None
    lm_mode: str = "fusion"
    hotwords: tuple[Hotword, ...] = ()
    wish: Wish = NO_WISH
    exact: bool = False  # `Bundle.exact`

    def load_lm(self, bundle: Bundle) -> TokenScorer | None:
        """The language model in a model's tokens; BundleError if they do not go together."""
        if self.lm is None:
            return None
        return load_lm(self.lm, bundle.tokenizer, self.unk_score)

    @property
    def unk_score(self) -> float:
        """Added by a language model of words for one that it lacks, natural log."""
        return self.search.unk_score if isinstance(self.search, BeamConfig) else 0.0

    def build(self, bundle: Bundle, lm: TokenScorer | None) -> AnySearch:
        """The search over a model, with a language model that was loaded; ConfigError if they do not go together."""
        fused = lm if self.lm_mode == "fusion" else None
        if self.hotwords and boosts_tokens(bundle):
            filters = (TokenBoost(self.hotwords, bundle.tokenizer),)
            searcher = build_search(self.search, bundle.backend.heads, Fusion(fused), filters)
            searcher.before = hint_of(self.hotwords, bundle.tokenizer)
        else:
            hotwords = normalized_hotwords(self.hotwords, bundle.spec.normalize, bundle.tokenizer)
            scorer = HotwordScorer(hotwords, bundle.tokenizer) if hotwords else None
            searcher = build_search(self.search, bundle.backend.heads, Fusion(fused, scorer))
        if lm is None or self.lm_mode == "fusion":
            return searcher
        if not isinstance(self.search, BeamConfig):
            raise ConfigError(f"search '{self.search.name}' gives one hypothesis, there is nothing to rescore")
        return LmRescored(searcher, lm, self.search.lm_weight)

    def options(self, bundle: Bundle, lm: TokenScorer | None) -> DecodeOptions:
        """How an utterance is decoded; ConfigError as of `build`, and for a wish that the model cannot follow."""
        searcher = self.build(bundle, lm)
        found = reading(bundle, searcher, self.wish)
        return DecodeOptions(searcher, found.prompt, prompt_of=found.of_language)

    def without_hotwords(self) -> Decoding:
        """The same without hotwords."""
        return replace(self, hotwords=())

    def to_json(self) -> dict[str, Any]:
        """The search with its settings, the language model and how it is used, the hotwords with their boosts."""
        return {
            "search": self.search.model_dump(mode="json"),
            "lm": str(self.lm) if self.lm is not None else None,
            "lm_mode": self.lm_mode if self.lm is not None else None,
            "hotwords": {hotword.text: hotword.boost for hotword in self.hotwords},
            **{name: value for name, value in asdict(self.wish).items() if value is not None},
            **({"exact": True} if self.exact else {}),
        }


class Searchers:
    """The searches over a bundle that requests ask for, each built once; several threads may share them.

    `default` is for requests that ask for nothing; `base` is what all requests ask for if they do not say otherwise,
    with the model of `folder`. The last MAX_SEARCHERS are kept, and the last MAX_LMS language models.
    """

    def __init__(
        self,
        bundle: Bundle,
        default: Decoding,
        folder: Path | str | None = None,
        base: SearchRequest = SearchRequest(),
    ) -> None:
        self._bundle = bundle
        self._default = default
        self._folder = folder
        self._base = base
        self._lms: OrderedDict[tuple[Path, float], TokenScorer | None] = OrderedDict()
        self._built: OrderedDict[SearchRequest | None, AnySearch] = OrderedDict()
        self._lock = threading.Lock()
        self.get(None)

    def get(self, request: SearchRequest | None) -> AnySearch:
        """The search for a request, None for the default; raises as `choose_decoding` and `Decoding.build` do."""
        with self._lock:
            if request in self._built:
                self._built.move_to_end(request)
                return self._built[request]
        decoding = self._default
        if request is not None:
            decoding = choose_decoding(self._bundle, self._folder, request.over(self._base))
        searcher = decoding.build(self._bundle, self._lm(decoding))
        with self._lock:
            self._built[request] = searcher
            _forget_oldest(self._built, MAX_SEARCHERS)
        return searcher

    def _lm(self, decoding: Decoding) -> TokenScorer | None:
        if decoding.lm is None:
            return None
        key = decoding.lm, decoding.unk_score
        with self._lock:
            if key in self._lms:
                return self._lms[key]
        lm = decoding.load_lm(self._bundle)  # may take long, and others need not wait for it
        with self._lock:
            self._lms[key] = lm
            _forget_oldest(self._lms, MAX_LMS)
        return lm


def _forget_oldest(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def boosts_tokens(bundle: Bundle) -> bool:
    """Whether hotwords help a model token by token, in any search, and as what was said before (Whisper)."""
    return bool(getattr(decoder_of(bundle.backend.heads), "boosts_tokens", False))


def choose_decoding(bundle: Bundle, folder: Path | str | None, request: SearchRequest = SearchRequest()) -> Decoding:
    """How to decode with the model of a folder, or with one that has none.

    Raises ConfigError for an unknown search, setting, value or mode, and for an override of anything but the search,
    which could have no effect on a model that is trained already.
    """
    tuned = None if folder is None else read_decode_config(Path(folder))
    if request.lm_mode not in (None, "fusion", "rescore"):
        raise ConfigError(f"--lm-mode {request.lm_mode}: use fusion (in the search) or rescore (of its n-best list)")
    lm, lm_mode = None, request.lm_mode or "fusion"
    own = bundle.spec.search
    if tuned is not None and folder is not None:
        own = tuned.search
        if tuned.lm is not None:
            lm, lm_mode = Path(folder) / tuned.lm, request.lm_mode or tuned.lm_mode
    if request.lm is not None:
        lm = Path(request.lm) if request.lm != NO_LM else None
    name = request.name
    helped = lm is not None or (bool(request.hotwords) and not boosts_tokens(bundle))
    if name is None and helped and not isinstance(own, BeamConfig):
        name = _beam_search_for(bundle)
    elif name is not None and request.lm is None and not issubclass(SEARCHES.config(name), BeamConfig):
        lm = None  # a greedy search was asked for, and the tuned search's language model was not
    hotwords = tuple(in_case_of(bundle.tokenizer, hotword) for hotword in request.hotwords)
    return Decoding(search_config(bundle.spec, own, name, request.overrides), lm, lm_mode, hotwords)


def choose_beam_search(bundle: Bundle, folder: Path | str, request: SearchRequest) -> Decoding:
    """Like `choose_decoding`; where neither user nor model folder names a beam search, the one that fits best."""
    own = choose_decoding(bundle, folder, replace(request, overrides=()))
    if request.name is None and not isinstance(own.search, BeamConfig):
        request = replace(request, name=_beam_search_for(bundle))
    return choose_decoding(bundle, folder, request)


def search_config(
    spec: ModelSpec, own: NamedConfig, name: str | None = None, overrides: Sequence[str] = ()
) -> NamedConfig:
    """The search `own`, or another by name with its defaults, with `search.key=value` overrides applied.

    What the defaults do not suit, the heads of the model say (`NamedHeadConfig.search_defaults`).
    """
    for override in overrides:
        if not override.startswith("search."):
            raise ConfigError(f"--set {override}: a trained model's search.* settings can be changed, nothing else")
    search = own if name in (None, own.name) else _by_default(spec, SEARCHES.config(name))
    data = spec.model_dump(mode="json") | {"search": search.model_dump(mode="json")}
    return validate(type(spec), with_overrides(data, overrides), "--set").search


def _by_default(spec: ModelSpec, kind: type[NamedConfig]) -> NamedConfig:
    """A search as its defaults and the model's heads have it."""
    wanted = {key: value for head in spec.heads for key, value in head.search_defaults.items()}
    return kind.model_validate({key: value for key, value in wanted.items() if key in kind.model_fields})


def read_decode_config(folder: Path) -> DecodeConfig | None:
    """What `asr tune` wrote into a model folder, or None; ConfigError names what is wrong with the file."""
    path = folder / DECODE_FILE
    return validate(DecodeConfig, read_yaml(path), str(path)) if path.is_file() else None


def _beam_search_for(bundle: Bundle) -> str:
    """The search that makes the most of a model."""
    heads = bundle.model.heads
    if ctc_of(heads) is None:
        return "attention_beam"
    return "ctc_prefix_beam" if decoder_of(heads) is None else "joint_beam"
