"""Figures in print quality: published results, the training recipe, and trained networks."""
