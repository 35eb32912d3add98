"""Procedural thorax CT with tumours; synthetic, and marked so in every report."""

from oncoseg.datasets.phantom.thorax import INFO, build

__all__ = ["INFO", "build"]
