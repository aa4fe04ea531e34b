"""Command lines whose errors are ours: one line, exit code 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from router.core.errors import InvalidInput

__all__ = ["Parser", "within"]


class Parser(argparse.ArgumentParser):
    """A parser that raises :class:`InvalidInput` instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(message)


def within(kind: type[int] | type[float], least: int, most: int) -> Callable[[str], float]:
    """A type of arguments: numbers within bounds.

    Args:
        kind: ``int`` or ``float``.
        least: the smallest.
        most: the largest.
    """

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {least} to {most}")
        return value

    return convert
