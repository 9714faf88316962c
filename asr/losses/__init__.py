"""Losses: sums over utterances, divided by the whole optimiser step in the trainer."""
