"""Reproduction of the paper's tables: published results, complexity counter, comparison."""
