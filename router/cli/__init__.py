"""The command ``mitsumori``."""
