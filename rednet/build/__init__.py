"""Assembly: from the configuration to the objects of a run, checking what can be checked early."""
