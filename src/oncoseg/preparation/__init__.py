"""Checking a data set and importing other layouts into a prepared folder."""
