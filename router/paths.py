"""The paths of the shipped encoders and bundles, in a checkout and in an installed wheel; of the ledger."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path

__all__ = ["DEFAULT_BUNDLE", "DEFAULT_LEDGER", "ENCODERS", "MODELS", "default_ledger_hint"]

_PACKAGE = Path(__file__).resolve().parent
_CANDIDATES = (_PACKAGE / "models", _PACKAGE.parent / "models")

MODELS = next((path for path in _CANDIDATES if path.is_dir()), _CANDIDATES[-1])
"""The directory ``models``: in a wheel inside the package, in a checkout at the top level."""

ENCODERS = MODELS / "encoders"
DEFAULT_BUNDLE = MODELS / "bundles" / "static"
DEFAULT_LEDGER = user_data_path("mitsumori") / "ledger.sqlite"
"""Where ``serve`` keeps limits and holds unless it is told otherwise."""


def default_ledger_hint() -> str:
    """For the error that there is no ledger: where the default one is, if there is one."""
    return f"; the default one is sqlite:{DEFAULT_LEDGER}" if DEFAULT_LEDGER.is_file() else ""
