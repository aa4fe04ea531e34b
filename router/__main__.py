"""The command ``mitsumori``, also ``python -m router``.

A plain install has the client alone, without what the command needs: that is said in one line.
"""

from __future__ import annotations

from router.cli.errors import names_extra

__all__ = ["main"]


def main() -> None:
    """Run the command; exit code 2 where the service's dependencies are not installed."""
    with names_extra("serve"):
        from router.cli.main import main as command
    command()


if __name__ == "__main__":
    main()
