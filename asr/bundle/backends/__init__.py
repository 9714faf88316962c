"""What runs a model: torch today; another runtime is one more file."""
