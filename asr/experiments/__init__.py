"""Experiments: from a configuration to a trained model, and what is on record of it."""
