"""Forced alignment: where known text lies in audio, when words begin and end, how confident a model is of each."""
