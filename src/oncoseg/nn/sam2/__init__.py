"""SAM 2 over slices: transformers' classes in parts, memory banks that can be exchanged, and the tracking loop."""
