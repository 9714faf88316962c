"""Scoring: word and character error rates, their uncertainty, reports."""
