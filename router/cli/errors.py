"""Turns an expected error into one line and exit code 2. Imports nothing that takes time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from router.core.errors import MitsumoriError

__all__ = ["errors_in_one_line"]


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print an expected error as one line on standard error, without a traceback; exit with code 2."""
    try:
        yield
    except Exception as error:
        # Imported only after an error, because it imports gRPC, which is slow.
        from mitsumori import CallFailed, InvalidArgument

        if not isinstance(error, MitsumoriError | CallFailed | InvalidArgument):
            raise
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
