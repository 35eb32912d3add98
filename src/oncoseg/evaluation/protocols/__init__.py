"""Scoring protocols, one a file."""
