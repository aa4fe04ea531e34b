"""Serving: from a Route call to a model, a quote and a reason."""

from importlib.metadata import version

__version__ = version("mitsumori")
