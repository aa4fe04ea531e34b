"""``python -m training``. Where what it needs is not installed, that is said in one line."""

from __future__ import annotations

from router.cli.errors import names_extra

__all__ = ["main"]


def main() -> None:
    """Run a command; exit code 2 where the dependencies of training are not installed."""
    with names_extra("train"):
        from training.cli import main as command
    command()


if __name__ == "__main__":
    main()
