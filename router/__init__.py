"""Serving: from a Route call to a model, a quote and a reason."""
