"""Language models: n-grams and neural networks behind one protocol."""
