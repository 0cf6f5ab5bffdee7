"""Predictions for images: made from a stream, written to files, shown on screen and on a sheet."""
