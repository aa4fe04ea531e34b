"""The paths of the shipped encoders and bundles, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_BUNDLE", "ENCODERS", "MODELS"]

_PACKAGE = Path(__file__).resolve().parent
_CANDIDATES = (_PACKAGE / "models", _PACKAGE.parent / "models")

MODELS = next((path for path in _CANDIDATES if path.is_dir()), _CANDIDATES[-1])
"""The directory ``models``: in a wheel inside the package, in a checkout at the top level."""

ENCODERS = MODELS / "encoders"
DEFAULT_BUNDLE = MODELS / "bundles" / "static"
