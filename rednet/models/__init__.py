"""RedNet, its building blocks, and its variants as data."""
