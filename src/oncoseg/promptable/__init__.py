"""Models that are told where to look: prompts on slices, embeddings that are reused, sessions, training."""
