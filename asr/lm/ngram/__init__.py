"""Back-off n-gram language models: train, read, write, and score words or tokens with them."""
