"""Runs next to each other, on one page that needs no server: what `rednet report` writes."""
