"""The model card says what a reader must know."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from router.classifier.features.lexical import FEATURES
from router.classifier.manifest import (
    Arm,
    BundleManifest,
    EncoderReference,
    Evidence,
    HistorySource,
    ReferencePrice,
    Split,
)
from tests.training.worlds import report_on, world
from training.export.model_card import model_card


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    rows, truth = world(300)
    return report_on(rows, truth)


def manifest(**changes: Any) -> BundleManifest:
    arms = [
        Arm(
            name=name, tier=name, models=[f"model|{name}"], attempts=300, adequate_share=0.5,
            reference_price=ReferencePrice(input=Decimal("0.10"), output=Decimal("0.40")),
            has_lengths=name != "high",
        )
        for name in ("low", "medium", "high")
    ]  # fmt: skip
    values = {
        "format_version": 1, "name": "test", "created": datetime(2026, 1, 2, tzinfo=UTC),
        "demonstration": False, "arms": arms, "features": list(FEATURES),
        "encoder": EncoderReference(name="static", sha256="e" * 64, dimensions=8),
        "adequacy_threshold": 0.5,
        "histories": [
            HistorySource(
                name="mmlu_pro", sha256="d" * 64, prompts=300, attempts=900, adequacy_threshold=0.5,
                licence="Apache-2.0",
            )
        ],
        "training_data_sha256": "f" * 64, "split": Split(seed=42, holdout=0.2),
        "languages": {"en": 200, "ja": 100}, "mlflow_run_id": "abc", "metrics": {}, "files": {},
    }  # fmt: skip
    return BundleManifest(**(values | changes))


def test_it_has_every_part(report: dict[str, Any]) -> None:
    card = model_card(manifest(), report, settings={"C": 0.003}, notes=["one judge was left out"])
    for part in ("Data", "Arms", "How it was trained", "Held-out performance", "Calibration",
                 "By language", "Limits of use"):  # fmt: skip
        assert f"\n## {part}" in card
    for fact in ("mmlu_pro", "Apache-2.0", "Seed 42", "- C: 0.003", "one judge was left out",
                 "MLflow run `abc`", "prompt length alone", "kNN", "en 200, ja 100",
                 "No output lengths were known for: high", "model\\|low", "0.10 / 0.40"):  # fmt: skip
        assert fact in card
    ours = report["pairs"]["low>high"]
    low, high = ours["apgr_interval"]
    assert f"{ours['apgr']:.3f} [{low:.3f}, {high:.3f}]" in card
    assert "DEMONSTRATION" not in card


def test_every_table_is_rectangular(report: dict[str, Any]) -> None:
    widths: list[int] = []
    for line in [*model_card(manifest(), report).splitlines(), ""]:
        if line.startswith("|"):
            widths.append(line.replace("\\|", "").count("|"))
        else:
            assert len(set(widths)) <= 1
            widths = []


def test_a_demonstration_is_loud(report: dict[str, Any]) -> None:
    card = model_card(manifest(demonstration=True), report)
    assert card.startswith("# test: DEMONSTRATION, NOT REAL")
    assert "Do not route real prompts" in card


def test_figures_that_are_missing_are_dashes() -> None:
    rows, truth = world(100, censored=True)
    report = report_on(rows, truth)
    card = model_card(manifest(mlflow_run_id=None), report)
    assert "no figures on money" in card
    assert "None" not in card
    assert "nan" not in card.replace("finance", "")


def test_a_language_of_few_prompts_has_dashes_for_figures(report: dict[str, Any]) -> None:
    languages = {"ja": report["by_language"]["ja"] | {"n": 12, "few": True, "apgr": None}}
    card = model_card(manifest(), report | {"by_language": languages})
    (line,) = [line for line in card.splitlines() if line.startswith("| ja ")]
    assert "12 (too few)" in line
    assert f"{languages['ja']['mean_quality']['low']:.3f}" not in line


def test_what_the_report_warns_of_stands_in_the_limits_of_use(report: dict[str, Any]) -> None:
    warning = "arm low costs more than medium and is adequate less often"
    card = model_card(manifest(), {**report, "notes": [warning]})
    assert f"- {warning[0].upper()}{warning[1:]}." in card.partition("## Limits of use")[2]


def test_annotation_is_told_apart_from_outcomes(report: dict[str, Any]) -> None:
    evidence = Evidence(measured=1_500, annotated=700, weight=8.2)
    card = model_card(manifest(format_version=4, evidence=evidence), report)
    assert "1,500 prompts that models attempted, and on 700 that nobody did" in card
    assert "It is a prior, not an outcome: at even odds it counts as 8.2 attempts" in card
    assert "prior" not in model_card(manifest(), report)


def test_beside_attempts_of_one_history_annotation_is_told_by_its_share(
    report: dict[str, Any],
) -> None:
    evidence = Evidence(measured=1_500, annotated=7_000, weight=0.001, share=0.0909)
    card = model_card(manifest(format_version=4, evidence=evidence), report)
    assert "all annotated requests together have 9% of the weight" in card
    assert "0.001" not in card.partition("## Arms")[0]


def test_one_history_says_that_unseen_sources_were_not_measured_and_how_they_would_be(
    report: dict[str, Any],
) -> None:
    (part,) = re.findall(r"## Unseen sources\n\n(.*)\n", model_card(manifest(), report))
    assert part.startswith("Not measured: one history.")
    assert "train on two histories or more" in part
    several = manifest().histories * 2
    assert "Not measured: this run left no history out." in model_card(
        manifest(histories=several), report
    )


def test_prompts_without_a_language_are_not_labelled(report: dict[str, Any]) -> None:
    slices = {"unknown": report["by_language"]["ja"]}
    card = model_card(manifest(languages={"unknown": 300}), report | {"by_language": slices})
    assert "Training prompts by language: not labelled 300." in card
    assert "| not labelled |" in card
    assert "whose languages are not labelled (column `language`)" in card
    assert "unknown" not in card
    mixed = model_card(manifest(languages={"unknown": 3, "ja": 9}), report)
    assert "in these languages: ja. Expect" in mixed
