"""Measurements of speed and memory, each beside a baseline of the same run. See `make bench`."""
