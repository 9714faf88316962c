"""CTC prefix beam search in two ways that give the same answers: tensors, and a kernel compiled by numba for CPU."""
