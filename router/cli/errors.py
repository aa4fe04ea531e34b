"""How an error of ours ends a command: one line, exit code 2. Imports nothing that takes time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from router.core.errors import MitsumoriError

__all__ = ["errors_in_one_line"]


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn an error of ours into one line on standard error and exit code 2, without a traceback."""
    try:
        yield
    except Exception as error:
        # Imported where something went wrong, for it brings gRPC.
        from mitsumori import CallFailed, InvalidArgument

        if not isinstance(error, MitsumoriError | CallFailed | InvalidArgument):
            raise
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
