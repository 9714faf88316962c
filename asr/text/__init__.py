"""Text: normalisation by name, and tokenizers between texts and token ids."""
