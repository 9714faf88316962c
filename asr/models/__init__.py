"""Models: encoders, decoders, the CTC head and what holds them together."""
