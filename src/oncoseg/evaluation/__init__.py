"""Metrics, scoring protocols, statistics, cost."""
