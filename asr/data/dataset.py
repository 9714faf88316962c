"""From a manifest's utterance to an example (audio, augmentation, features, tokens), and from examples to a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.audio.augment import WaveformAugment
from asr.data.shards.reading import load_waveform
from asr.data.splice import Splicer
from asr.errors import AudioError
from asr.features import Frontend
from asr.features.spec_augment import SpecAugment
from asr.lengths import pad_stack
from asr.system.runtime import derive_rng
from asr.text.normalize import normalize
from asr.text.tokenizer import Tokenizer
from asr.types import Batch, Example, Targets, Utterance

# Few different shapes: kernels are compiled, and kept, for each. That made a CPU step a third slower, and a joint model
# of 5 M parameters take 5 GB.
FRAME_MULTIPLE = 32
TOKEN_MULTIPLE = 8  # of the decoder's positions, one more than tokens


@contextmanager
def _one_thread() -> Iterator[None]:
    """Load as worker processes do: equal to the last digit, and threads that meet for every small operation cost more
    than they do (25 times the seconds on two busy cores).
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


class SpeechDataset:
    """Loads any utterance for any epoch; what comes out depends on (seed, epoch, utterance id) and nothing else.

    Every kind of augmentation draws from a generator of its own, so that changing one leaves the others as they were.
    The front-end stays on the CPU, since worker processes use it. For evaluation, leave all of it out.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        frontend: Frontend,
        tokenizer: Tokenizer,
        normalizer: str,
        *,
        further_tokenizers: Mapping[str, Tokenizer] | None = None,
        augment: WaveformAugment | None = None,
        spec_augment: SpecAugment | None = None,
        splicer: Splicer | None = None,
        seed: int = 0,
    ) -> None:
        self.utterances = utterances
        self.frontend = frontend
        self.tokenizer = tokenizer
        self.further_tokenizers = further_tokenizers or {}
        self.normalizer = normalizer
        self.augment = augment
        self.spec_augment = spec_augment
        self.splicer = splicer
        self.seed = seed

    def __len__(self) -> int:
        return len(self.utterances)

    def load(self, index: int, epoch: int) -> Example:
        """One utterance with features (T, F), T >= 1, and tokens (U,).

        AudioError, naming the utterance, if its audio cannot be read or is too short for one feature frame.
        """
        return self.load_views(index, epoch, 1)[0]

    @_one_thread()
    def load_views(self, index: int, epoch: int, num_views: int) -> list[Example]:
        """The same waveform under SpecAugment draws of its own for each view, as consistency regularisation needs."""
        utterance = self.utterances[index]
        chain = [utterance]
        if self.splicer is not None:
            chain = self.splicer(utterance, derive_rng(self.seed, epoch, utterance.id, "splice"))
        features = self._features(chain, utterance.id, epoch)
        text = normalize(" ".join(part.text for part in chain), self.normalizer)
        tokens = _encode(self.tokenizer, text)
        further = {name: _encode(tokenizer, text) for name, tokenizer in self.further_tokenizers.items()}
        return [
            Example(utterance.id, self._masked(features, utterance, epoch, view), tokens, further)
            for view in range(num_views)
        ]

    @_one_thread()
    def raw_features(self, index: int) -> Tensor:
        """Features (T, F) before normalisation and without masks: what CMVN statistics are made of."""
        utterance = self.utterances[index]
        return self._features([utterance], utterance.id, epoch=0, normalize=False)

    def _features(self, chain: Sequence[Utterance], id: str, epoch: int, *, normalize: bool = True) -> Tensor:
        """Features of the chain's audio, one after the other, that stands for the utterance `id`."""
        sample_rate = self.frontend.sample_rate
        try:
            waveform = np.concatenate([load_waveform(part, sample_rate) for part in chain])
            if self.augment is not None:
                waveform = self.augment(waveform, derive_rng(self.seed, epoch, id, "waveform"))
            features = self.frontend.extract(waveform, sample_rate, normalize=normalize)
        except AudioError as error:
            raise AudioError(f"utterance '{id}': {error}") from error
        if not len(features):
            raise AudioError(
                f"utterance '{id}': {len(waveform) / sample_rate:.3f} s are too short for one feature frame; "
                f"remove it from the manifest ({chain[0].audio})"
            )
        return features

    def _masked(self, features: Tensor, utterance: Utterance, epoch: int, view: int) -> Tensor:
        if self.spec_augment is None:
            return features
        return self.spec_augment(features, derive_rng(self.seed, epoch, utterance.id, "spec_augment", view))


def _encode(tokenizer: Tokenizer, text: str) -> Tensor:
    return torch.tensor(tokenizer.encode(text), dtype=torch.int64)


def collate(examples: Sequence[Example]) -> Batch:
    """Examples in the given order, padded with zeros to the longest, rounded up; without any, a batch of no rows."""
    if not examples:
        return Batch((), torch.zeros(0, 0, 0), torch.zeros(0, dtype=torch.int64), *pad_tokens([]))
    features, feature_lens = pad_stack([example.features for example in examples])
    features = F.pad(features, (0, 0, 0, -features.shape[1] % FRAME_MULTIPLE))
    tokens, token_lens = pad_tokens([example.tokens for example in examples])
    further = {
        name: Targets(*pad_tokens([example.further_tokens[name] for example in examples]))
        for name in examples[0].further_tokens
    }
    ids = tuple(example.id for example in examples)
    return Batch(ids, features, feature_lens, tokens, token_lens, further=further)


def pad_tokens(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Token sequences (U_i,) as tokens (B, U), padded with zeros to the longest, rounded up, and lengths (B,)."""
    if not sequences:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    tokens, token_lens = pad_stack(sequences)
    return F.pad(tokens, (0, -(tokens.shape[1] + 1) % TOKEN_MULTIPLE)), token_lens
