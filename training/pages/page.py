"""One self-contained HTML page: tables and pictures, nothing fetched, readable on a phone and on paper.

A page is given as texts, numbers as text and matplotlib figures; ``page.html.j2`` lays it out. Names of arms
and histories are untrusted: everything is escaped, and the content security policy of the page forbids
scripts and requests.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Grid", "Line", "Page", "Part", "Picture", "VerdictBox", "number", "picture_of", "ranged", "rendered",
]  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row of a table; ``strong`` for what the page is about, ``group`` for a heading within."""

    cells: Sequence[str]
    strong: bool = False
    group: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. ``wordy`` names the columns, by position, that hold sentences rather than numbers."""

    header: Sequence[str]
    lines: Sequence[Line]
    title: str = ""
    note: str = ""
    wordy: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A picture as a ``data:`` address, and its alternative text."""

    source: str
    words: str


@dataclass(frozen=True)
class Part:
    """A titled part of a page: paragraphs, then tables, then pictures."""

    title: str
    words: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class VerdictBox:
    """The answer at the top of a page."""

    good: bool
    text: str
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A whole page; ``facts`` are pairs of name and value."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    verdict: VerdictBox | None = field(default=None)


def number(value: float | None, digits: int = 3) -> str:
    """A number, a dash where there is none."""
    return "–" if value is None else f"{value:z.{digits}f}"


def ranged(
    value: float | None,
    bounds: Sequence[float | None] | None,
    digits: int = 3,
    *,
    sign: bool = False,
) -> str:
    """A number and its interval, as ``0.596 [0.562, 0.629]``.

    Args:
        value: the number; ``None`` gives a dash.
        bounds: of the interval; ``None`` shows the number alone.
        digits: after the point.
        sign: whether a plus is shown.
    """
    if value is None:
        return "–"
    form = f"{'+' if sign else ''}z.{digits}f"  # z: no minus before zero
    if bounds is None or None in bounds:
        return f"{value:{form}}"
    low, high = bounds
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def picture_of(figure: Figure, words: str) -> Picture:
    """A figure as SVG, with its letters as outlines: sharp on paper, the same on every machine."""
    target = io.BytesIO()
    # The salt names clip paths by their content: the same figure gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "mitsumori", "svg.fonttype": "path"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(target.getvalue()).decode()
    return Picture(f"data:image/svg+xml;base64,{encoded}", words)


@lru_cache(maxsize=1)
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def rendered(page: Page) -> str:
    """The page as HTML."""
    return _template().render(page=page) + "\n"
