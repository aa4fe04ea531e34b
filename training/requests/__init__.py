"""Requests written for this project and annotated on a rubric: a prior for work that no history has."""
