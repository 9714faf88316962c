"""How far the attention of each alignment head of a Whisper model is ahead of or behind the words, and what is left.

Clips of a manifest are aligned by a CTC model, whose words are the reference, and read by the Whisper model. A head's
delay is the median over words of the time from the middle of a word to the peak of the head's attention to it, less
20 ms, which suits `asr.alignment.spans` best. With the delays that the model has, the errors of starts and ends follow.

    python tools/benchmarks/attention_delays.py models/tiny.en recipes/an4/model data/an4/train.jsonl --clips 100

The delays in asr/models/heads/alignment_heads.py are means of those on AN4 and on speechocean762 (every 9th and every
25th training utterance, 100 each).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from asr.alignment.spans import word_times_of_spans
from asr.alignment.timing import loudness
from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.recognition import encode_waveforms
from asr.data.manifest import read_manifest
from asr.models.heads.alignment_heads import default_heads
from asr.models.heads.whisper import WhisperDecoder
from asr.models.heads.whisper_alignment import FRAME_SECONDS, _read
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.script import script_line

SURE = 0.5  # confidence of reference words
EARLIER = 0.02  # seconds


@torch.inference_mode()
def measure(model: Path, ctc: Path, manifest: Path, num_clips: int) -> None:
    """Print the delay of each head, and errors in milliseconds."""
    bundle, reference = Bundle.load(model), Bundle.load(ctc)
    head = next(iter(bundle.model.heads.values()))
    assert isinstance(head, WhisperDecoder), "a Whisper model is measured"
    heads = head.config.alignment or default_heads(head.config.num_layers, head.config.num_heads)
    aligner, prompt = Aligner(reference), head.build_prompt(timestamps=False)
    peaks: dict[tuple[int, int], list[float]] = {(one.layer, one.head): [] for one in heads}
    errors: dict[str, list[float]] = {"starts": [], "ends": []}
    rows = read_manifest(manifest)
    for row in rows[:: max(1, len(rows) // num_clips)][:num_clips]:
        waveform = load_audio(row.audio, bundle.frontend.sample_rate)
        aligned = aligner.align_waveform(waveform, [script_line(1, row.text, reference)]).transcript
        truth = [word for segment in aligned.segments for word in segment.words]
        text = " ".join(word if len(word) == 1 else word.lower() for word in row.text.split())
        tokens = bundle.tokenizer.encode(text)
        words = bundle.tokenizer.words(tokens)
        if len(words) != len(truth):
            continue
        encoded = encode_waveforms(bundle, [waveform])
        num_frames = int(np.ceil(len(waveform) / bundle.frontend.sample_rate / FRAME_SECONDS))
        scores, _ = _read(head, heads, encoded.frames, torch.tensor([[*prompt, *tokens]]))
        by_place = sorted(heads, key=lambda one: one.layer)  # as the scores come
        ((frames, _),) = head.place(encoded, [tokens], None, [num_frames])
        if frames is None:
            continue
        spans = [(frames[word.start][0] * FRAME_SECONDS, frames[word.stop - 1][1] * FRAME_SECONDS) for word in words]
        duration = len(waveform) / bundle.frontend.sample_rate
        times = word_times_of_spans(spans, loudness(waveform, bundle.frontend.sample_rate), duration)
        for word, known, (start, end) in zip(words, truth, times, strict=True):
            if (known.confidence or 0.0) < SURE:
                continue
            errors["starts"].append(abs(start - known.start))
            errors["ends"].append(abs(end - known.end))
            seen = scores[0, :, len(prompt) - 1 + word.start, :num_frames].argmax(-1) * FRAME_SECONDS
            for one, peak in zip(by_place, seen.tolist(), strict=True):
                peaks[one.layer, one.head].append(peak - (known.start + known.end) / 2)
    for (layer, number), found in peaks.items():
        print(f"layer {layer:2} head {number:2}: {statistics.median(found) + EARLIER:+.2f} s")
    for name, found in errors.items():
        print(f"{name}: median {1000 * statistics.median(found):.0f} ms, 90 % {1000 * np.quantile(found, 0.9):.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("ctc", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    arguments = parser.parse_args()
    measure(arguments.model, arguments.ctc, arguments.manifest, arguments.clips)
