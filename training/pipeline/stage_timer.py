"""The stages of a training run on the console, with their times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console

__all__ = ["StageTimer"]


class StageTimer:
    """Names the stage that runs on the console, and keeps the time of each.

    A terminal shows a spinner; a log gets a line when a stage is done, with the seconds so far.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, *, spinner: bool = True) -> Iterator[None]:
        """Time what is done within; progress bars of its own replace the spinner."""
        start = perf_counter()
        if spinner and self._console.is_terminal:
            with self._console.status(name):
                yield
        else:
            yield
        now = perf_counter()
        self.seconds[name] = now - start
        if not self._console.is_terminal:
            self._console.print(f"{now - self._begun:7.1f} s  {name}", highlight=False)
