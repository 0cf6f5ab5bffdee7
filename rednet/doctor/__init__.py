"""Find out whether RedNet runs on a machine, how fast, and what is in the way."""
