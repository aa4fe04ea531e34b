"""Judgement: the quality of attempts, graded by a model on a rubric or given by people."""
