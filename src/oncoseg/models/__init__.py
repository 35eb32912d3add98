"""Models, one file or room each."""
