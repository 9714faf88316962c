"""Data: manifests, datasets, batches, downloads."""
