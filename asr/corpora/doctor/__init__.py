"""The data doctor: what is wrong with a manifest and its audio, row by row, each finding with a code.

Worker processes import from here, so nothing here imports torch.
"""
