"""SAM for volumes: the network of SAM-Med3D, and the parts that M-SAM adds to it."""
