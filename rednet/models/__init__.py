"""The networks: RedNet, its blocks, and its variants as data."""
