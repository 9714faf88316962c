"""Speech that is still being spoken: partial results, ends of utterances, final segments."""
