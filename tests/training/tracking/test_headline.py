"""What a reviewer reads first of a report."""

from __future__ import annotations

from typing import Any

import pytest

from training.tracking.headline import (
    MOST_METRICS,
    deciding_figures,
    flattened,
    headline_metrics,
    metric_name,
    summary,
    verdict,
    version_tags,
)

REPORT: dict[str, Any] = {
    "n_prompts": 500,
    "arms": {
        "low": {"ece": 0.05, "ece_floor": 0.02, "auc": 0.8, "brier": 0.2},
        "high": {"ece": 0.06, "ece_floor": 0.05, "auc": 0.7, "brier": 0.1},
    },
    "pairs": {
        "low>high": {
            "apgr": 0.65,
            "apgr_interval": [0.6, 0.7],
            "held_out_category_apgr": 0.6,
            "gain_over": {"length": {"difference": 0.1, "interval": [0.05, 0.15]}},
        }
    },
    "baselines": {"length": {"low>high": {"apgr": 0.55}}},
    "aiq": 0.8,
    "aiq_zero": 0.7,
    "aiq_interval": [0.75, 0.85],
    "cost_at_quality": {"1.00": 0.8, "0.95": 0.5},
    "cost_at_quality_interval": {"1.00": [0.7, 0.9]},
    "length": {"coverage_p50": 0.5, "coverage_p90": 0.88},
    "encode_ms": {"p50": 0.4, "p99": 1.2},
    "footprint": {"bundle": 2 << 20},
    "gate": {
        "passes": False,
        "reasons": [
            "does not beat prompt length: APGR +0.010 (95 % interval -0.010 to +0.030)",
            "was trained on made-up data; do not use it",
        ],
        "figures": [
            {"figure": "AIQ, gain by chance (subtracted)", "value": 0.01, "target": None},
            {"figure": "APGR over prompt length, lower 95 % bound", "value": -0.01, "target": 0.0},
            {"figure": "excess ECE over the champion's, low", "value": 0.02, "target": 0.0},
        ],
    },
}


def test_metrics_have_names_that_people_read() -> None:
    found = headline_metrics(REPORT)
    assert found["1 gate/passes"] == 0
    assert found["1 gate/APGR over prompt length lower 95 pct bound"] == -0.01
    assert found["2 money/cost share at equal quality"] == 0.8
    assert found["3 ranking/APGR low to high"] == 0.65
    assert found["3 ranking/APGR unfamiliar category low to high"] == 0.6
    assert found["4 calibration/ECE worst arm"] == 0.05  # .03 over its floor; that of high is .01
    assert found["5 length/coverage of p90"] == 0.88
    assert found["6 speed/bundle MiB"] == 2
    assert not [name for name in found if "champion" in name]
    # MLflow's pages sort by name: what decides is on top of a comparison of two runs.
    assert min(found).startswith("1 gate/")


def test_however_many_arms_there_are_the_metrics_stay_few_and_the_first_ones_stay() -> None:
    arms = {f"arm {number}": REPORT["arms"]["low"] for number in range(30)}
    pairs = {
        f"arm {weak}>arm {strong}": REPORT["pairs"]["low>high"]
        for weak in range(30)
        for strong in range(weak + 1, 30)
    }
    found = headline_metrics({**REPORT, "arms": arms, "pairs": pairs})
    assert len(found) == MOST_METRICS == 40
    assert next(iter(found)) == "1 gate/passes"
    assert "3 ranking/APGR arm 0 to arm 29" in found


@pytest.mark.parametrize("report", [{}, {"n_prompts": 3}, {"arms": {}, "pairs": {}, "aiq": None}])
def test_figures_that_are_not_known_are_left_out(report: dict[str, Any]) -> None:
    assert set(headline_metrics(report)) <= {"7 data/held-out prompts"}
    assert len(deciding_figures(report)) == 5
    assert "| Quality at equal cost (AIQ) | – | best single arms – |" in summary(report)


def test_the_verdict_is_one_sentence_and_the_numbers_follow() -> None:
    assert verdict(REPORT) == (
        "Refused by the promotion gate: it does not beat prompt length and was trained on made-up data."
    )
    assert verdict({**REPORT, "gate": {"passes": True, "reasons": []}}) == (
        "Passes the promotion gate: it beats the best single arm at equal cost, and prompt length alone."
    )
    assert (
        summary(REPORT)
        == """\
Refused by the promotion gate: it does not beat prompt length and was trained on made-up data.

| figure | this bundle | beside it |
| --- | --- | --- |
| Quality at equal cost (AIQ) | 0.800 [0.750, 0.850] | best single arms 0.700, with luck alone 0.710 |
| Cost at the strongest arm's quality | 80.0% [70.0%, 90.0%] | always the strongest arm 100.0% |
| Ranking of prompts (APGR low to high) | 0.650 [0.600, 0.700] | prompt length 0.550, random 0.500 |
| Calibration of the worst arm (ECE) | 0.050 (low) | perfect calibration 0.020 |
| Lengths at or below the predicted p90 | 88.0% | goal 90.0% |

Brackets: 95 % intervals.

Why it was refused:

- does not beat prompt length: APGR +0.010 (95 % interval -0.010 to +0.030)
- was trained on made-up data; do not use it
"""
    )


def test_a_demonstration_says_so_first() -> None:
    assert summary(REPORT, demonstration=True).startswith("DEMONSTRATION: ")


def test_a_version_has_the_verdict_and_the_figures_as_tags() -> None:
    tags = version_tags(REPORT)
    assert tags["verdict"] == verdict(REPORT)
    assert tags["apgr"] == "0.650 [0.600, 0.700]; prompt length 0.550, random 0.500"
    assert len(tags) == 6


def test_every_number_of_a_report_is_in_the_flat_table() -> None:
    report = {
        "n_prompts": 3,
        "pairs": {"low>high": {"apgr": 0.6, "apgr_interval": [0.5, 0.7], "cpt50": None}},
        "notes": ["a word"],
        "flag": True,
        "by_category": {"数学 (1)": {"n": 2}},
    }
    assert flattened(report) == {
        "n_prompts": 3.0,
        "pairs/low>high/apgr": 0.6,
        "pairs/low>high/apgr_interval/low": 0.5,
        "pairs/low>high/apgr_interval/high": 0.7,
        "by_category/数学 (1)/n": 2.0,
    }


def test_names_are_what_mlflow_takes() -> None:
    assert metric_name("APGR low>high, 95 % (数学)") == "APGR low to high 95 pct ____"
