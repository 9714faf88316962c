"""Errors a user can cause, each with one clear line: who (file, line, utterance id), what is wrong, what to do.

The command line turns an `AsrError` into that line and exit status 1. Broken promises of our own are `assert`s.
"""


class AsrError(ValueError):
    """Base of every error that is the input's fault and not the program's."""


class AudioError(AsrError):
    """An audio file that is missing, unreadable, truncated or holds impossible samples."""


class TruncatedAudioError(AudioError):
    """An audio file that is damaged or breaks off before its end."""


class NonFiniteAudioError(AudioError):
    """An audio file with NaN or infinite samples."""


class OutOfRangeAudioError(AudioError):
    """An audio file with finite samples so far beyond full scale that they are no sound."""


class AudioWarning(UserWarning):
    """Audio that can be read, but hardly is what was meant; the message says what to do."""


class UnscaledAudioWarning(AudioWarning):
    """Samples so far beyond full scale that they must be integers written as floats."""


class OppositePhasesWarning(AudioWarning):
    """Channels that cancel each other out in their mean."""


class ManifestError(AsrError):
    """A manifest, or a row of one, that cannot be used."""


class TextError(AsrError):
    """A text, normaliser or tokenizer that does not fit."""


class LmError(AsrError):
    """A language model that is missing, damaged or cannot be trained."""


class ConfigError(AsrError):
    """A configuration with an unknown key or a value out of range."""


class BundleError(AsrError):
    """A model folder with a missing, damaged or unfitting part."""


class TrainingError(AsrError):
    """A training run that cannot start or go on."""


class StoppedError(AsrError):
    """Work stopped by Ctrl-C or a signal; the line says what is kept and how to resume. Exit status 130."""


class UsageError(AsrError):
    """A command that asks for what contradicts itself. Exit status 2."""


class WorkerError(AsrError):
    """A process that loads data and was killed from outside."""


class ScoringError(AsrError):
    """References and hypotheses that cannot be compared."""


class DownloadError(AsrError):
    """A download that failed or whose checksum is wrong."""
