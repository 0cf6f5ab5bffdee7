"""From the configuration to the objects of a run; what can be checked early is checked here."""
