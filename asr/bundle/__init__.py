"""A model as one folder: what it holds, how it decodes."""
