"""Several runs compared: the table of a sweep, and the search for the best settings."""
