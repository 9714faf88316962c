"""Transcription: from any audio to timed text."""
