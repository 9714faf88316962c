"""Optimisation: optimizers, schedules, averaging."""
