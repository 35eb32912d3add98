"""One plain training loop and its checkpoints."""
