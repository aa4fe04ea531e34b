"""Metrics and traces: what is measured, how it is named, and how it leaves the process."""
