"""Prompt simulators, one policy a file."""
