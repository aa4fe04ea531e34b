"""The command ``mitsumori``, also ``python -m router``.

A plain install has the client alone, without what the command needs: that is said in one line.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_OURS = frozenset({"mitsumori", "router", "training"})


def main() -> None:
    """Run the command; exit code 2 where the service's dependencies are not installed."""
    try:
        from router.cli.main import main as command
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in _OURS:
            raise
        sys.stderr.write(
            f"error: {error.name} is missing: the command needs the service; "
            "pip install 'mitsumori[serve]'\n"
        )
        raise SystemExit(2) from None
    command()


if __name__ == "__main__":
    main()
