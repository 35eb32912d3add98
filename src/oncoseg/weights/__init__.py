"""Pretrained weights: catalogue, fetching, safe loading, key maps of official checkpoints."""
