"""The ranks of a run: where they meet, and how they notice that one of them is missing."""
