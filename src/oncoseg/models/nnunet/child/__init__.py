"""What runs inside the Python that has `nnunetv2`; nothing of oncoseg but this folder is needed there."""
