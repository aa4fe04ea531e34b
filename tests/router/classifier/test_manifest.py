"""What a manifest must not say: numbers with which no call could be answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.classifier.hot_swap import FolderSource, ServedBundle
from router.classifier.manifest import MANIFEST, REMEDY, read_manifest
from router.core.errors import BadArtifact
from router.paths import DEFAULT_BUNDLE, ENCODERS

Change = Callable[[dict[str, Any]], object]


def written(folder: Path, change: Change) -> Path:
    """The shipped manifest, changed."""
    content = json.loads((DEFAULT_BUNDLE / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def with_points(*points: float | None) -> Change:
    def change(content: dict[str, Any]) -> None:
        for arm, at in zip(content["arms"], points, strict=True):
            arm["ability"] = at

    return change


def with_model(**told: Any) -> Change:
    """One model on the scale, of which this is told."""
    own = {"points": 60.0, "uncertainty": 5.0, "attempts": 10, "strengths": []}
    return lambda content: content.update(abilities={"own": own | told})


def with_arm(**told: Any) -> Change:
    return lambda content: content["arms"][0].update(told)


@pytest.mark.parametrize(
    "points",
    [
        (50.0, 70.0, 110.0),
        (56.4, 57.4, 58.4),
        (None, 70.0, 110.0),
        (50.0, None, 110.0),
        (None, None, None),
    ],
)
def test_abilities_of_arms_ascend_by_a_point_or_more(
    points: tuple[float | None, ...], tmp_path: Path
) -> None:
    manifest, _ = read_manifest(written(tmp_path, with_points(*points)))
    assert tuple(arm.ability for arm in manifest.arms) == points


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ((50.0, 50.0, 110.0), "arms.1.ability: 50 of medium must be at least 51, a point above that of low"),
        ((50.0, 50.9, 110.0), "arms.1.ability: 50.9 of medium must be at least 51"),
        ((50.0, 110.0, 70.0), "arms.2.ability: 70 of high must be at least 111"),
        ((110.0, None, 50.0), "arms.2.ability: 50 of high must be at least 111"),
    ],
)  # fmt: skip
def test_other_abilities_are_refused(
    points: tuple[float | None, ...], problem: str, tmp_path: Path
) -> None:
    folder = written(tmp_path, with_points(*points))
    with pytest.raises(BadArtifact) as caught:
        read_manifest(folder)
    assert caught.value.message.startswith(f"{folder / MANIFEST}: {problem}")
    assert caught.value.message.endswith(REMEDY)
    assert caught.value.reason == "BUNDLE_DAMAGED"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        *[
            (change, place)
            for wrong in (float("nan"), float("inf"), -float("inf"), True, "1", 1e400)
            for change, place in (
                (with_model(strengths=[0.5, wrong]), "abilities.own.strengths.1"),
                (with_model(uncertainty=wrong), "abilities.own.uncertainty"),
                (with_model(points=wrong), "abilities.own.points"),
                (with_arm(adequate_share=wrong), "arms.0.adequate_share"),
                (with_arm(ability=wrong), "arms.0.ability"),
                (lambda c, wrong=wrong: c["evidence"].update(weight=wrong), "evidence.weight"),
                (lambda c, wrong=wrong: c.update(adequacy_threshold=wrong), "adequacy_threshold"),
            )
        ],
        (with_model(strengths=[50.1]), "abilities.own.strengths.0"),
        (with_model(strengths=[-50.1]), "abilities.own.strengths.0"),
        (with_model(uncertainty=1000.1), "abilities.own.uncertainty"),
        (with_model(attempts=True), "abilities.own.attempts"),
        (with_model(attempts=3.5), "abilities.own.attempts"),
    ],
)
def test_numbers_are_finite_within_bounds_and_numbers(
    change: Change, place: str, tmp_path: Path
) -> None:
    with pytest.raises(BadArtifact) as caught:
        read_manifest(written(tmp_path, change))
    assert f"{MANIFEST}: {place}: " in caught.value.message
    assert caught.value.message.endswith(REMEDY)


def test_the_largest_strengths_and_uncertainty_are_read(tmp_path: Path) -> None:
    largest = with_model(strengths=[50, -50.0], uncertainty=1000)
    manifest, _ = read_manifest(written(tmp_path, largest))
    assert manifest.abilities["own"].strengths == (50.0, -50.0)


@pytest.mark.parametrize("version", [True, 4.0, "4", None, 0, 5])
def test_a_format_is_one_of_the_whole_numbers_that_are_known(version: Any, tmp_path: Path) -> None:
    folder = written(tmp_path, lambda content: content.update(format_version=version))
    with pytest.raises(BadArtifact, match=f"format {version!r}, this release reads") as caught:
        read_manifest(folder)
    assert caught.value.reason == "FORMAT_UNKNOWN"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_earlier_formats_place_nothing_on_the_scale(version: int, tmp_path: Path) -> None:
    def earlier(content: dict[str, Any]) -> None:
        content.update(format_version=version, abilities={}, evidence=None)
        with_points(None, None, None)(content)

    read_manifest(written(tmp_path, earlier))
    own = with_model()
    evidence: Change = lambda c: c.update(evidence={"measured": 1, "annotated": 1, "weight": 1.0})  # noqa: E731
    for change, name in (
        (with_points(50.0, 70.0, 110.0), "arms.ability"), (own, "abilities"), (evidence, "evidence"),
    ):  # fmt: skip
        folder = written(
            tmp_path, lambda content, change=change: (earlier(content), change(content))
        )
        with pytest.raises(BadArtifact) as caught:
            read_manifest(folder)
        assert f"{MANIFEST}: {name}: bundles have it from format 4 on" in caught.value.message


def test_brackets_without_end_are_no_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(BadArtifact, match="is not a bundle manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["static", "multilingual"])
def test_the_shipped_manifests_are_read(name: str) -> None:
    assert read_manifest(DEFAULT_BUNDLE.parent / name)[0].arms


def test_a_bundle_whose_tiers_are_equally_able_does_not_replace_a_good_one(tmp_path: Path) -> None:
    for file in DEFAULT_BUNDLE.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    served = ServedBundle(FolderSource(tmp_path), ENCODERS)
    before = served.current().version
    written(tmp_path, with_points(60.0, 60.0, 60.0))
    served.refresh()
    assert served.current().version == before
