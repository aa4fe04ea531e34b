"""``mitsumori version``."""

from __future__ import annotations

from importlib import metadata

__all__ = ["version"]


def version() -> None:
    """Print the version."""
    print(metadata.version("mitsumori"))  # noqa: T201
