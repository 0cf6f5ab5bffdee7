"""Analysis: figures of what was measured."""
