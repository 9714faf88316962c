"""Corpora: importing, exporting, checking and measuring them."""
