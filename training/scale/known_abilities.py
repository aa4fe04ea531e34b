"""Abilities that ship with the project, for histories that lack the reference models."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from router.core.errors import BadArtifact
from training.scale.ability import Ability, Scale

__all__ = ["ABILITIES", "abilities_csv", "known_abilities"]

ABILITIES = Path(__file__).with_name("abilities.csv")
_COLUMNS = ("model", "points", "uncertainty", "attempts", "histories")


@lru_cache(maxsize=4)
def known_abilities(path: Path = ABILITIES) -> Mapping[str, Ability]:
    """Model → its ability, as :func:`abilities_csv` wrote it from a scale of many histories.

    Raises:
        BadArtifact: the file or a line of it cannot be read.
    """
    found: dict[str, Ability] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                one = Ability(
                    float(row["points"]),
                    float(row["uncertainty"]),
                    int(row["attempts"]),
                    tuple(row["histories"].split("+")),
                )
                if not (
                    row["model"] and math.isfinite(one.points) and 0 < one.uncertainty < math.inf
                ):
                    raise ValueError("neither a name nor an ability")
                found[row["model"]] = one
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadArtifact(
            f"{path}, line {len(found) + 2}, cannot be read as abilities; restore it from the release",
            field=str(path),
        ) from None
    return found


def abilities_csv(scale: Scale) -> str:
    """The abilities of a scale as :func:`known_abilities` reads them, the ablest first."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for model, one in sorted(scale.abilities.items(), key=lambda item: -item[1].points):
        writer.writerow([model, one.points, one.uncertainty, one.attempts, "+".join(one.histories)])
    return lines.getvalue()
