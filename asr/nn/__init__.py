"""Neural network layers shared by models and neural language models; `kernels` holds the fast ways to compute them."""
