"""Placing a known text in its recording."""
