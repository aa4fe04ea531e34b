"""Turns an expected error into one line and exit code 2. Imports nothing that takes time, and no extra."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from router.cli.make_inputs import INPUTS, as_typed
from router.core.errors import MitsumoriError

__all__ = ["errors_in_one_line", "names_extra"]

_OURS = frozenset({"mitsumori", "router", "training"})


@contextmanager
def names_extra(extra: str) -> Iterator[None]:
    """Where a package of others is missing, print one line that names the extra that brings it; exit with 2.

    Raises:
        ModuleNotFoundError: a module of our own is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        sys.stderr.write(
            f"error: {package} is missing: this command needs more than the client; "
            f"pip install 'mitsumori[{extra}]'\n"
        )
        raise SystemExit(2) from None


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print an expected error as one line on standard error, without a traceback; exit with code 2."""
    try:
        yield
    except UnicodeError as error:
        # Python reads other bytes of arguments and of standard input as lone surrogates, which UTF-8 lacks.
        text = "an argument or the input is not UTF-8 text; write it in UTF-8"
        if isinstance(error, UnicodeEncodeError) and error.encoding != "utf-8":
            text = f"the output is in {error.encoding}, which lacks a character; set PYTHONIOENCODING=utf-8"
        print(f"error: {text}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    except Exception as error:
        # Imported only after an error, because it imports gRPC, which is slow.
        from mitsumori import CallFailed, InvalidArgument

        if not isinstance(error, MitsumoriError | CallFailed | InvalidArgument):
            raise
        text = as_typed(error.message, sys.argv[1:], os.environ.get(INPUTS, "").split())
        print(f"error: {text}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
