"""Training: preparation, the trainer, checkpoints."""
