"""Histories of attempts: read, checked, and turned into the table that fitting and evaluation use."""
