"""The command ``mitsumori``, also ``python -m router``.

A plain install has the client alone, without what the command needs: that is said in one line.
"""

from __future__ import annotations

import os

from router.cli.errors import names_extra

__all__ = ["main"]


def main() -> None:
    """Run the command; exit code 2 where the service's dependencies are not installed."""
    # Read when the library of gRPC is loaded. What it says of itself, such as a line for every handshake that
    # fails, goes past the queue of the log: standard error that nobody reads would hang its threads.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with names_extra("serve"):
        from router.cli.main import main as command
    command()


if __name__ == "__main__":
    main()
