"""Models that need no prompt: how a volume becomes slices or patches, and their output a probability."""
