"""Matrices of cells: plan, run, resume, store."""
