"""Where the shipped encoders and bundles lie, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_BUNDLE", "ENCODERS", "MODELS"]

_PACKAGE = Path(__file__).resolve().parent
_CANDIDATES = (_PACKAGE / "models", _PACKAGE.parent / "models")

MODELS = next((path for path in _CANDIDATES if path.is_dir()), _CANDIDATES[-1])
"""The folder ``models``: inside the package of a wheel, at the top level of a checkout."""

ENCODERS = MODELS / "encoders"
DEFAULT_BUNDLE = MODELS / "bundles" / "static"
