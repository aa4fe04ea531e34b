"""The command ``mitsumori``, also ``python -m router``.

A plain install has the client alone, without what the command needs: that is said in one line.
"""

from __future__ import annotations

import os
import signal
import sys
import types

from router.cli.errors import names_extra

__all__ = ["main"]


def main() -> None:
    """Run the command; exit code 2 where the service's dependencies are not installed."""
    if sys.argv[1:2] == ["serve"]:
        _prepare_to_serve()
    with names_extra("serve"):
        from router.cli.main import main as command
    command()


def _prepare_to_serve() -> None:
    """What must be so before the code of the service is loaded."""
    # Loading takes a second or more, and the first process of a container is not ended by a signal that
    # nobody handles.
    signal.signal(signal.SIGTERM, _end)
    # What the library of gRPC says of itself, as of every broken header of a stranger, goes past the queue
    # of the log: its threads would wait for whoever reads the log. It looks at this once, when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _end(_number: int, _frame: types.FrameType | None) -> None:
    os._exit(0)  # nothing has begun that would have to be ended


if __name__ == "__main__":
    main()
