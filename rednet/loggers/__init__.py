"""Loggers: where a run reports its numbers and images."""
