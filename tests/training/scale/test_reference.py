"""The files that fix the scale are read whole, or one line says which cannot be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from router.core.errors import BadArtifact
from training.scale import reference
from training.scale.known_abilities import known_abilities

SHIPPED = yaml.safe_load(Path(reference.__file__).with_name("scale.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("levels", "difficulty"), [-2.0, -2.0, 1.0, 3.0]),
        (("levels", "difficulty"), [float("nan"), 0.0, 1.0, 3.0]),
        (("levels", "discrimination"), 0),
        (("reference",), {"one": 0}),
        (("reference",), {"one": 50, "other": 50}),
        (("tiers", "low"), []),
        (("published", 0, "scores"), {"gpt-5": 2.0}),
        (("published", 0, "source"), ""),
    ],
)
def test_a_scale_that_cannot_be_meant_is_refused(
    place: tuple[str | int, ...], value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = yaml.safe_load(yaml.safe_dump(SHIPPED))
    inner = broken
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path = tmp_path / "scale.yaml"
    path.write_text(yaml.safe_dump(broken), encoding="utf-8")
    monkeypatch.setattr(reference, "_PATH", path)
    reference.read_reference.cache_clear()
    try:
        with pytest.raises(BadArtifact, match=r"scale\.yaml cannot be used .* restore it"):
            reference.read_reference()
    finally:
        reference.read_reference.cache_clear()


@pytest.mark.parametrize("line", ["m,nan,5,1,h", "m,1,0,1,h", "m,1,inf,1,h", ",1,5,1,h", "m,1,5"])
def test_an_ability_that_is_none_is_refused_by_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "abilities.csv"
    path.write_text(f"model,points,uncertainty,attempts,histories\n{line}\n", encoding="utf-8")
    with pytest.raises(BadArtifact, match="line 2, cannot be read as abilities"):
        known_abilities(path)


def test_the_example_of_the_readme_follows_from_the_files_that_ship() -> None:
    shipped = reference.read_reference()

    def percent(model: str, level: int) -> int:
        points = known_abilities()[model].points
        z = shipped.discrimination * points / 100 - shipped.difficulty[level]
        return round(100 / (1 + math.exp(-z)))

    assert (shipped.discrimination, known_abilities()["gpt-5-nano"].points) == (3.3, 63.7)
    assert [percent("gpt-5-nano", level) for level in (0, 2, 3)] == [99, 69, 25]
    assert [percent("gemini-2.5-pro", level) for level in (0, 2, 3)] == [100, 88, 52]
