"""Which arm speaks for a model: its own where it has one, else that of its tier."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.catalog.catalog import load_catalog
from router.classifier.bundle import Outputs, complexity
from router.classifier.manifest import Arm
from router.core.types import Constraints, Importance, Message, Prompt
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_router
from router.settings import Settings
from tests.conftest import NOON

ASK = RouteQuery(
    "", {}, Prompt((Message("user", "Prove that there are infinitely many primes."),)),
    Constraints(), None, Importance.MEDIUM, "", 1,
)  # fmt: skip


def arms_by_model(router: Router) -> dict[str, tuple[str | None, float | None]]:
    found = router.assess(ASK).candidates
    return {one.model.id: (one.arm, one.p_adequate) for one in found}


@pytest.fixture
def newcomer(settings: Settings, tmp_path: Path) -> Router:
    """The shipped bundle, and a catalog with one more model that says no more than its tier and price."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "tiers: [low, medium, high]\n"
        "default_lengths:\n"
        + "".join(
            f"  {tier}: {{p50: 10, p90: 20, p99: 30}}\n" for tier in ("low", "medium", "high")
        )
        + "models:\n"
        + "".join(
            f"  - id: {name}\n"
            "    provider: nobody\n"
            f"    tier: {tier}\n"
            "    max_output_tokens: 1000\n"
            "    speed: {first_token_s: 1, output_tokens_per_s: 10}\n"
            "    prices:\n"
            '      - {from: 2026-01-01, input_usd_per_mtok: "1", output_usd_per_mtok: "2"}\n'
            for name, tier in (("veteran", "medium"), ("newcomer", "medium"), ("sage", "high"))
        )
    )
    return build_router(settings.model_copy(update={"catalog": catalog}), now=lambda: NOON)


def with_arm(router: Router, name: str, place: int) -> Router:
    """A bundle with another arm of the tier medium, whose figures nobody else has."""
    bundle = router.bundle
    arm = Arm(
        name=name, tier="medium", models=["m"], reference_price=None, attempts=100,
        adequate_share=0.5, has_lengths=True,
    )  # fmt: skip
    arms = [*bundle.manifest.arms]
    arms.insert(place, arm)
    manifest = bundle.manifest.model_copy(update={"arms": arms})

    class Wider:
        reads_tokens = bundle.classifier.reads_tokens
        features = bundle.classifier.features

        def outputs(self, *prompt: Any) -> Outputs:
            told = bundle.classifier.outputs(*prompt)
            return Outputs(
                np.insert(told.label_distribution, place, 0),
                np.insert(told.p_adequate, place, 0.123),
                np.insert(told.output_tokens, place, 7, axis=0),
            )

    wider = dataclasses.replace(bundle, manifest=manifest, classifier=Wider())  # type: ignore[arg-type]
    return dataclasses.replace(router, bundles=lambda: wider)


def test_a_model_that_only_has_a_tier_is_routable_at_once_with_the_tiers_arm(
    newcomer: Router,
) -> None:
    arms = arms_by_model(newcomer)
    assert arms["newcomer"] == arms["veteran"]
    assert arms["newcomer"][0] == "medium"
    ranked = newcomer.route(ASK).decision.ranked
    assert "newcomer" in {one.model.id for one in ranked}


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_an_arm_of_its_own_speaks_for_its_model_and_takes_the_tier_from_nobody(
    newcomer: Router, place: int
) -> None:
    before = arms_by_model(newcomer)
    after = arms_by_model(with_arm(newcomer, "newcomer", place))
    assert after["newcomer"] == ("newcomer", pytest.approx(0.123))
    assert after["veteran"] == before["veteran"]
    assert after["sage"] == before["sage"]


def test_of_arms_that_are_named_otherwise_than_their_tier_the_first_speaks_for_it(
    newcomer: Router,
) -> None:
    """As in a bundle whose arms are all single models."""
    router = with_arm(newcomer, "second", 2)
    manifest = router.bundle.manifest
    renamed = [
        arm.model_copy(update={"name": "first"}) if arm.name == "medium" else arm
        for arm in manifest.arms
    ]
    bundle = dataclasses.replace(
        router.bundle, manifest=manifest.model_copy(update={"arms": renamed})
    )
    arms = arms_by_model(dataclasses.replace(router, bundles=lambda: bundle))
    assert arms["veteran"][0] == "first"


def test_another_arm_of_a_tier_leaves_the_scale_of_complexity_as_it_is() -> None:
    three = complexity(np.array([0.2, 0.3, 0.4, 0.1]), ["low", "medium", "high"])
    four = complexity(np.array([0.2, 0.1, 0.2, 0.4, 0.1]), ["low", "medium", "medium", "high"])
    assert three == pytest.approx(four) == pytest.approx(0.3 * 0.5 + 0.5)


def test_every_model_of_the_shipped_catalog_has_an_arm_of_the_shipped_bundle(
    router: Router,
) -> None:
    tiers = {entry.spec.id: entry.spec.tier for entry in load_catalog().entries}
    assert {name: arm for name, (arm, _) in arms_by_model(router).items()} == tiers
