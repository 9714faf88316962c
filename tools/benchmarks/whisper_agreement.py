"""Whether Whisper writes what faster-whisper writes with the same weights, and how many errors each makes.

1. agreement: whole windows, language given (English where a row names none), greedy, float32: the share of utterances
   with the same text, letter by letter, and every difference;
2. errors: our defaults, our --exact and faster-whisper's defaults (beam 1) against the references.
Audio is read once and handed to both. PYTHON is one that has faster_whisper.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding, choose_decoding
from asr.bundle.prompting import Wish
from asr.data.manifest import read_manifest
from asr.scoring.wer import score
from asr.transcribe.clips import clip_batches
from asr.types import Utterance

PEER = Path(__file__).with_name("whisper_agreement_peer.py")
BATCH_SECONDS = 120.0


def language(utterance: Utterance) -> str:
    """The code that both are told."""
    return utterance.lang or "en"


def ours(bundle: Bundle, decoding: Decoding, utterances: Sequence[Utterance]) -> dict[str, str]:
    """Texts by utterance id."""
    texts: dict[str, str] = {}
    for code in sorted({language(utterance) for utterance in utterances}):
        own = [utterance for utterance in utterances if language(utterance) == code]
        options = replace(decoding, wish=Wish(language=code)).options(bundle, None)
        for clips in clip_batches(bundle, own, BATCH_SECONDS):
            found = bundle.decode([clip.waveform for clip in clips], [options] * len(clips))
            for clip, decoded in zip(clips, found, strict=True):
                text = bundle.tokenizer.decode(decoded.n_best[0].tokens)
                texts[clip.utterance.id] = f"{texts.get(clip.utterance.id, '')} {text}".strip()
    return texts


def theirs(
    python: str, weights: Path, utterances: Sequence[Utterance], mode: str, compute_type: str = "float32"
) -> dict[str, str]:
    """Texts of faster-whisper by utterance id."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = "".join(_jobs(Path(folder), utterances))
        command = [python, str(PEER), str(weights), compute_type, mode]
        done = subprocess.run(command, input=jobs, stdout=subprocess.PIPE, text=True, check=True)
    return {row["id"]: row["text"] for row in map(json.loads, done.stdout.splitlines())}


def _jobs(folder: Path, utterances: Sequence[Utterance]) -> Iterator[str]:
    for number, utterance in enumerate(utterances):
        path = folder / f"{number}.npy"
        np.save(path, load_audio(utterance.audio, 16000, start=utterance.start, duration=utterance.duration))
        job = {"id": utterance.id, "audio": str(path), "language": language(utterance)}
        yield json.dumps(job) + "\n"


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Ids of the utterances whose texts are not the same."""
    return [id for id, text in first.items() if text != second[id]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder, made by `asr models import`")
    parser.add_argument("weights", type=Path, help="the CTranslate2 folder that it was made from")
    parser.add_argument("manifest", type=Path, help="utterances of at most 30 s, with `lang` where it is not English")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--number", type=int, default=300, help="utterances at most")
    parser.add_argument("--normalize", default="english")
    parser.add_argument("--no-errors", action="store_true", help="the first part alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    utterances = read_manifest(arguments.manifest)[: arguments.number]
    bundle = Bundle.load(arguments.model)
    decoding = choose_decoding(bundle, arguments.model)
    plain = replace(decoding, search=decoding.search.model_copy(update={"temperatures": ()}))
    exact = ours(bundle.exact(), plain, utterances)
    window = theirs(arguments.python, arguments.weights, utterances, "window")
    different = differences(exact, window)
    share = 1 - len(different) / len(utterances)
    print(f"the same text: {len(utterances) - len(different)} of {len(utterances)} utterances, {100 * share:.1f} %")
    for id in different:
        print(f"  {id}\n    ours   {exact[id]}\n    theirs {window[id]}")
    if arguments.no_errors:
        return 0
    sides = {
        "ours, exact, one try": exact,
        "ours, exact": ours(bundle.exact(), decoding, utterances),
        "ours": ours(bundle, decoding, utterances),
        "faster-whisper, one window": window,
        "faster-whisper, float32": theirs(arguments.python, arguments.weights, utterances, "stock"),
        "faster-whisper, int8": theirs(arguments.python, arguments.weights, utterances, "stock", "int8"),
    }
    references = {utterance.id: utterance.text for utterance in utterances}
    for name, texts in sides.items():
        words = score(references, texts, normalize=arguments.normalize).words
        print(
            f"{name:28} {100 * (words.rate or 0):6.2f} % of {words.reference_length} words "
            f"(S {words.substitutions}, D {words.deletions}, I {words.insertions})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
