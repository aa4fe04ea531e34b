"""Figures as people see them: pages that need no other file, and their pictures."""
