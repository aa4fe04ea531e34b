"""Figures, their targets, and the report that every measuring target of the Makefile writes."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from router.cli.render import table

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: what was measured.
        value: in ``unit``.
        unit: such as ms, MiB or ×.
        target: the bound to keep; ``None`` for a baseline, or for context to other figures.
        direction: whether the value must be at most or at least the target.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    direction: Literal["<=", ">="] = "<="

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; ``None`` without a target."""
        return None if self.target is None else _COMPARE[self.direction](self.value, self.target)


def save_report(name: str, figures: Iterable[Figure]) -> tuple[Path, str]:
    """Write ``build/reports/<name>.json``, and return its path and its text.

    Args:
        name: of the report.
        figures: that were measured.
    """
    path = Path("build/reports") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "figure": figure.name,
            "value": figure.value,
            "unit": figure.unit,
            "target": figure.target,
            "holds": figure.holds,
        }
        for figure in figures
    ]
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path, text


def write_report(name: str, figures: Iterable[Figure], *, as_json: bool = False) -> bool:
    """Print the figures, write ``build/reports/<name>.json``, and return whether every target is met.

    Args:
        name: of the report.
        figures: may be measured as they are read.
        as_json: print what the file has instead of a table.
    """
    measured = []
    for figure in figures:
        # A long run shows each figure as soon as it is measured.
        Console(stderr=True).print(f"{figure.name}: {figure.value:.4g} {figure.unit}", style="dim")
        measured.append(figure)
    path, text = save_report(name, measured)
    good = all(figure.holds is not False for figure in measured)
    if as_json:
        print(text)
        return good
    marks = {True: "yes", False: "NO", None: ""}
    printed = (
        [
            figure.name,
            f"{figure.value:.4g} {figure.unit}",
            ""
            if figure.target is None
            else f"{figure.direction} {figure.target:.4g} {figure.unit}",
            marks[figure.holds],
        ]
        for figure in measured
    )
    console = Console(width=140)  # long names: a wide line is better than a cut one
    console.print(table(name, ("figure", ">measured", ">target", "holds"), printed))
    console.print(f"written to {path}", style="dim")
    return good
