"""Neural network layers shared by models and neural language models."""
