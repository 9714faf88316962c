"""Corpora as tar files in WebDataset layout, beside an index that tells training everything but the samples."""
