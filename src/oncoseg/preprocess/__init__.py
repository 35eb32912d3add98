"""From scanner grids to network input and back: resampling, windows, crops, caches; works without torch."""
