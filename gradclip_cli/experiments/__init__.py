"""Composed experiments, each of which trains many runs and then reports: reproduce, sweep, suggest."""
