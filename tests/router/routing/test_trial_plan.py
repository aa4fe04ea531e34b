"""The settings of shadow and canary: what they take, and how they say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.classifier.registry import RegistryAddress
from router.core.canary import Margins
from router.core.errors import InvalidInput
from router.routing.trial_plan import CanaryPlan
from router.rpc.settings_change import settings_version
from router.settings import Settings
from router.settings_sources import load_settings


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "settings.yaml"
    path.write_text(text)
    return load_settings(config=path)


def test_a_shadow_takes_all_requests_and_a_canary_a_twentieth_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    found = settings_of(tmp_path, "shadow: {rules: a.yaml}\ncanary: {catalog: b.yaml}\n")
    assert found.shadow is not None
    assert (found.shadow.rules, found.shadow.bundle, found.shadow.share) == (
        Path("a.yaml"),
        None,
        1,
    )
    assert found.canary is not None
    assert (found.canary.share, found.canary.scope, found.canary.run) == (0.05, {}, "")
    assert found.canary.margins == Margins(quality=0.01, cost=0.05, errors=0.01)


def test_nothing_is_tried_unless_it_is_set() -> None:
    assert (Settings().shadow, Settings().canary) == (None, None)


def test_a_bundle_may_be_one_of_the_registry(tmp_path: Path) -> None:
    text = "registry: sqlite:///m.db\nshadow: {bundle: 'models:/mitsumori@next'}\n"
    found = settings_of(tmp_path, text)
    assert found.shadow is not None
    assert found.shadow.bundle == RegistryAddress("mitsumori", "next", None)
    assert len(found.shadow.version) == len(settings_version(found)) == 12


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shadow: {}", "setting shadow: name what is tried: a bundle, a catalog or rules"),
        ("canary: {share: 0.1}", "setting canary: name what is tried"),
        (
            "shadow: {rules: a, share: -0.1}",
            "shadow.share: Input should be greater than or equal to 0",
        ),
        ("shadow: {rules: a, share: 1.1}", "shadow.share: Input should be less than or equal to 1"),
        ("canary: {rules: a, share: 0}", "canary.share: Input should be greater than 0"),
        ("canary: {rules: a, share: 1}", "canary.share: Input should be less than 1"),
        ("canary: {rules: a, share: .nan}", "canary.share: Input should be "),
        ("canary: {rules: a, scope: {Team: x}}", "canary.scope: 'Team' is not a label"),
        (
            "canary: {rules: a, scope: {team: ''}}",
            "canary.scope: the value of team must be 1 to 1000",
        ),
        ("canary: {rules: a, quality_margin: 1.01}", "canary.quality_margin: Input should be less"),
        ("canary: {rules: a, cost_margin: -1}", "canary.cost_margin: Input should be greater"),
        ("canary: {rules: a, error_margin: 2}", "canary.error_margin: Input should be less"),
        ("canary: {rule: a}", "canary.rule: Extra inputs are not permitted"),
        ("shadow: {bundle: 'models:/x'}", "shadow.bundle"),
        ("canary: {bundle: 'models:/x@y'}", "bundle models:/x@y needs the setting registry"),
    ],
)
def test_a_wrong_plan_names_the_setting_in_one_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_of(tmp_path, text)
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


def test_another_run_is_another_plan() -> None:
    plans = [
        CanaryPlan(rules=Path("a")),
        CanaryPlan(rules=Path("a"), run="again"),
        CanaryPlan(rules=Path("a"), share=0.1),
        CanaryPlan(rules=Path("b")),
    ]
    assert len({plan.version for plan in plans}) == 4
    assert plans[0].version == CanaryPlan(rules=Path("a")).version
