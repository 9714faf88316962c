"""Features of speech: filterbanks and cepstra, their normalisation and their augmentation."""
