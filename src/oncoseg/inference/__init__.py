"""From a network to a volume's probability: slices, windows."""
