"""One history of a company: its models are the arms, and what is known of other models places these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from router.catalog.catalog import load_catalog
from router.classifier.bundle import load_bundle
from router.classifier.manifest import ReferencePrice
from router.classifier.model_ability import known_place, p_of_model
from router.core.ability import Ability, p_at
from router.paths import ENCODERS
from tests.builders import model
from tests.training.pooled_world import TOPICS, attempts
from training.histories.outcome_table import ReadOptions
from training.pipeline.sources import NOTHING_LINKS
from training.pipeline.training_run import TrainingResult, fit
from training.plan import TrainingPlan
from training.requests.request_set import read_requests
from training.scale import arm_placement

PROMPTS = 300
MODELS = {"gpt-5-nano": 0.4, "acme-1": 0.7, "gemini-9-preview": 1.1}


def fitted(folder: Path, models: dict[str, float]) -> TrainingResult:
    """The topic of a prompt decides the length of its answers, so that words tell it. Costs are logged."""
    history = folder / "own.jsonl"
    rows = [
        row
        | {
            "output_tokens": row["output_tokens"] * 4 ** ("joke" not in row["prompt"]),
            "cost_usd": 0.001 * models[row["model"]],
        }
        for row in attempts("own", models, PROMPTS, seed=8)
    ]
    history.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arms = dict(zip(("low", "medium", "high"), models, strict=True))
    plan = TrainingPlan(
        histories=(history,),
        out=folder / "bundle",
        reading=ReadOptions(arms=arms),
        cache=None,
    )
    some = read_requests()[::40]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arm_placement, "read_requests", lambda: some)
        return fit(plan, Console(quiet=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return fitted(tmp_path_factory.mktemp("own"), MODELS)


@pytest.fixture(scope="module")
def unlinked(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    nobody = {f"acme-{place}": ability for place, ability in enumerate(MODELS.values())}
    return fitted(tmp_path_factory.mktemp("unlinked"), nobody)


def test_the_arms_stand_on_the_scale_and_are_the_models_of_the_history(
    made: TrainingResult,
) -> None:
    points = [arm.ability for arm in made.manifest.arms]
    assert None not in points
    assert points == sorted(points, key=lambda one: one or 0.0)
    assert [arm.models for arm in made.manifest.arms] == [[name] for name in MODELS]


def test_an_arm_whose_costs_are_logged_has_the_price_of_the_catalog_where_that_knows_its_model(
    made: TrainingResult,
) -> None:
    (nano,) = (one for one in load_catalog().entries if one.spec.id == "gpt-5-nano")
    rates = nano.rates_at(made.manifest.created)
    low, medium, high = (arm.reference_price for arm in made.manifest.arms)
    assert rates is not None
    assert low == ReferencePrice(input=rates.input, output=rates.output)
    assert medium is None
    assert high is None


def test_the_model_of_an_arm_is_judged_by_its_attempts_whatever_tier_the_catalog_gives_it(
    made: TrainingResult,
) -> None:
    bundle = load_bundle(made.out, ENCODERS)
    score = bundle.score(f"own 9999: write {TOPICS[0]}, version 5")
    for name, arm in zip(MODELS, ("low", "medium", "high"), strict=True):
        p, basis = p_of_model(model(name), "low", bundle.manifest, score)
        assert p == score.p_adequate[arm]
        assert basis == f"{PROMPTS} attempts of its own"
        known = known_place(name, bundle.manifest)
        assert known is not None
        assert 1 < known.uncertainty < 30, "its ability is measured, and no measurement is exact"


def test_another_model_stands_where_it_stood_elsewhere_or_in_the_catalog(
    made: TrainingResult,
) -> None:
    bundle = load_bundle(made.out, ENCODERS)
    score = bundle.score(f"own 9999: write {TOPICS[3]}, version 5")
    arms = bundle.manifest.arms
    known = bundle.manifest.abilities["gpt-4o-mini"]
    p, basis = p_of_model(model("gpt-4o-mini"), "high", bundle.manifest, score)
    expected = p_at(
        [score.p_adequate[arm.name] for arm in arms],
        [arm.ability or 0.0 for arm in arms],
        known.points,
        known.uncertainty,
    )
    assert p == pytest.approx(expected)
    assert basis.startswith(f"{known.attempts:,} attempts of its own in ")
    published = Ability(75.0, 10.0, "exam X, 2026-04-09")
    told = p_of_model(model("acme-9", ability=published), "low", bundle.manifest, score)
    assert told[1] == "exam X, 2026-04-09"


def test_annotated_requests_teach_beside_the_attempts(made: TrainingResult) -> None:
    evidence = made.manifest.evidence
    assert evidence is not None
    assert PROMPTS / 2 < evidence.measured < PROMPTS, "some prompts are held out"
    assert evidence.annotated > 100
    assert 0 < evidence.weight < 1
    card = (made.out / "model_card.md").read_text(encoding="utf-8")
    assert evidence.share is not None
    assert 0.05 < evidence.share <= 0.1 / 1.1, "attempts weigh ten times as much"
    assert f"annotated requests together have {evidence.share:.0%} of the weight" in card
    assert "## Unseen sources\n\nNot measured: one history." in card
    assert "stands today for" not in card, "the arms are models of the history"


def test_it_says_what_the_models_of_the_catalog_rest_on(made: TrainingResult) -> None:
    total = len(load_catalog().entries)
    counts = made.catalog.counts
    assert made.catalog.measured == ("gpt-5-nano",)
    assert "ministral-8b-2512" in made.catalog.known, "the catalog gives it an ability"
    assert "self-hosted/llama-3.1-8b-instruct" in made.catalog.known, "an ability ships"
    assert "gpt-6.1-sol" in made.catalog.tier
    assert sum(counts.values()) == total
    line = f"of the {total} models of the catalog 1 was measured in these histories"
    assert line in str(made.catalog)
    assert line in (made.out / "model_card.md").read_text(encoding="utf-8").replace("Of", "of")


def test_where_nothing_links_the_arms_it_says_so_and_every_model_is_as_its_tier(
    unlinked: TrainingResult,
) -> None:
    assert NOTHING_LINKS in unlinked.notes
    assert [arm.ability for arm in unlinked.manifest.arms] == [None] * 3
    assert unlinked.manifest.evidence is None
    assert unlinked.manifest.abilities == {}
    assert unlinked.catalog.counts == {
        "measured": 0,
        "known": 0,
        "tier": len(load_catalog().entries),
    }
    assert NOTHING_LINKS in (unlinked.out / "model_card.md").read_text(encoding="utf-8")
    bundle = load_bundle(unlinked.out, ENCODERS)
    score = bundle.score("Hello!")
    published = Ability(75.0, 10.0, "exam X, 2026-04-09")
    told = p_of_model(model("new", ability=published), "low", bundle.manifest, score)
    assert told == (score.p_adequate["low"], "its tier, low")
