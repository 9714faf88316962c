"""Evaluation: a manifest is transcribed and scored."""
