"""The report: its keys are fixed, and its figures say what they claim."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from router.core.errors import MitsumoriError
from tests.training.worlds import report_on, world
from training.commands.outputs import write_json
from training.commands.report_tables import print_report
from training.evaluation.evaluation_report import json_ready
from training.evaluation.metrics import apgr

PAIR_KEYS = {"apgr", "apgr_interval", "cpt50", "cpt80", "within_category_apgr", "n"}


@pytest.fixture(scope="module")
def report() -> dict[str, object]:
    rows, truth = world(900)
    lengths = np.tile([150.0, 300.0, 500.0], (900, 3, 1))
    return report_on(rows, truth, lengths=lengths)


def test_the_fixed_interface_is_whole(report: dict) -> None:
    assert report["n_prompts"] == 900
    assert set(report["arms"]) == {"low", "medium", "high"}
    for arm in report["arms"].values():
        assert {"mean_quality", "mean_cost_usd", "auc", "ece", "ece_floor", "brier"} <= set(arm)
    pairs = {"low>medium", "low>high", "medium>high"}
    assert set(report["pairs"]) == pairs
    for figures in report["pairs"].values():
        assert set(figures) >= PAIR_KEYS
    assert {"aiq", "aiq_zero", "aiq_oracle"} <= set(report)
    assert set(report["cost_at_quality"]) == {"1.00", "0.99", "0.95"}
    for name in ("length", "knn", "multinomial", "independent", "random"):
        assert set(report["baselines"][name]) == pairs
        assert set(report["baselines"][name]["low>high"]) == PAIR_KEYS
    assert set(report["baselines"]["single"]) == {"low", "medium", "high"}
    assert set(report["length"]) == {
        "arms", "coverage_p50", "coverage_p90", "pinball_ratio_p50", "pinball_ratio_p90",
    }  # fmt: skip
    assert set(report["by_language"]) == {"en", "ja"}
    assert set(report["by_category"]) == {"maths", "law", "unknown"}


def test_it_is_json(report: dict) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_truth_ranks_better_than_chance_and_its_interval_says_so(report: dict) -> None:
    figures = report["pairs"]["low>high"]
    low, high = figures["apgr_interval"]
    assert low < figures["apgr"] < high
    assert figures["gain_over"]["random"]["interval"][0] > 0
    chance = report["baselines"]["random"]["low>high"]["apgr"]
    assert figures["gain_over"]["random"]["difference"] == pytest.approx(figures["apgr"] - chance)


def test_the_truth_is_calibrated(report: dict) -> None:
    for arm in report["arms"].values():
        assert arm["ece"] < arm["ece_floor"] + 0.02


def test_money_is_in_order(report: dict) -> None:
    assert report["aiq_zero"] < report["aiq"] < report["aiq_oracle"]
    costs = report["cost_at_quality"]
    assert 0 < costs["0.95"] <= costs["0.99"] <= costs["1.00"] <= 1
    assert report["baselines"]["oracle"]["mean_quality"] >= max(
        arm["mean_quality"] for arm in report["arms"].values()
    )
    assert report["arms"]["low"]["mean_cost_usd"] < report["arms"]["high"]["mean_cost_usd"]


def test_slices_add_up(report: dict) -> None:
    assert sum(part["n"] for part in report["by_language"].values()) == 900
    assert sum(part["n"] for part in report["by_category"].values()) == 900
    japanese = report["by_language"]["ja"]
    assert not japanese["few"]
    assert japanese["ece"]["low"] is not None
    assert 0 < japanese["length"]["coverage_p50"] <= japanese["length"]["coverage_p90"] < 1


def test_a_language_of_few_prompts_says_so_and_shows_no_noise() -> None:
    rows, truth = world(300)
    languages = np.array(["de"] * 99 + ["en"] * 201, dtype=object)
    outcomes = replace(rows.outcomes, languages=languages)
    lengths = np.tile([150.0, 300.0, 500.0], (300, 3, 1))
    report = report_on(replace(rows, outcomes=outcomes), truth, lengths=lengths)
    found = report["by_language"]
    assert found["de"]["n"] == 99
    assert found["de"]["few"]
    assert found["de"]["apgr"] is None
    assert set(found["de"]["ece"].values()) == {None}
    assert set(found["de"]["length"].values()) == {None}
    assert not found["en"]["few"]
    assert found["en"]["apgr"] is not None
    out = io.StringIO()
    print_report(report, Console(file=out, width=200))
    lines = out.getvalue().splitlines()
    german, english = (
        next(line for line in lines if line.startswith(f"│ {code} ")) for code in ("de", "en")
    )
    assert "too few" in german
    assert not any(mark in german for mark in ("0.", "–"))
    assert f"{found['en']['length']['coverage_p90']:.3f}" in english


def test_the_same_seed_gives_the_same_report(report: dict) -> None:
    rows, truth = world(900)
    lengths = np.tile([150.0, 300.0, 500.0], (900, 3, 1))
    again = report_on(rows, truth, lengths=lengths)
    assert again == report


def test_baselines_can_be_fitted_on_training_rows() -> None:
    rows, truth = world(600)
    train, test = rows.take(np.arange(400)), rows.take(np.arange(400, 600))
    known = (train.outcomes, train.embeddings, train.features)
    report = report_on(test, truth[400:], train=known)
    assert report["baselines_fitted_on"] == "training rows"
    assert report["length"]["coverage_p90"] is None


def test_the_arms_own_quantiles_have_ratio_one() -> None:
    rows, truth = world(300)
    tokens = rows.outcomes.output_tokens
    quantiles = np.quantile(tokens, [0.5, 0.9, 0.99], axis=0).T
    lengths = np.tile(quantiles, (300, 1, 1))
    lengths[:, 0] = np.nan  # an arm without lengths does not count
    report = report_on(rows, truth, lengths=lengths)
    assert set(report["length"]["arms"]) == {"medium", "high"}
    assert report["length"]["pinball_ratio_p50"] == pytest.approx(1)
    assert report["length"]["pinball_ratio_p90"] == pytest.approx(1)
    assert report["length"]["coverage_p90"] == pytest.approx(0.9, abs=0.01)


def test_pairs_use_the_prompts_that_both_arms_answered() -> None:
    rows, truth = world(600)
    quality = rows.outcomes.quality.copy()
    quality[:150, 0] = np.nan
    rows = replace(rows, outcomes=replace(rows.outcomes, quality=quality))
    report = report_on(rows, truth)
    assert report["pairs"]["low>high"]["n"] == 450
    assert report["pairs"]["medium>high"]["n"] == 600
    assert report["priced_prompts"] == 450
    score = truth[150:, 2] - truth[150:, 0]
    assert report["pairs"]["low>high"]["apgr"] == apgr(quality[150:, 0], quality[150:, 2], score)


@pytest.mark.parametrize(("censored", "costs"), [(True, True), (False, False)])
def test_what_the_rows_cannot_give_is_null_with_a_reason(censored: bool, costs: bool) -> None:
    rows, truth = world(300, censored=censored, costs=costs)
    report = report_on(rows, truth)
    assert report["aiq"] is None
    assert report["cost_at_quality"] == {"1.00": None, "0.99": None, "0.95": None}
    assert any("null" in note for note in report["notes"])
    assert (report["pairs"]["low>high"]["apgr"] is None) is censored
    json.dumps(report, allow_nan=False)


def test_a_handful_of_prompts_is_no_error() -> None:
    rows, truth = world(3)
    report = report_on(rows, truth)
    assert report["n_prompts"] == 3
    json.dumps(report, allow_nan=False)


def test_plain_knows_numpy() -> None:
    made = json_ready(
        {"a": np.float64("nan"), 1: np.array([1.0, np.inf]), "c": (np.int64(2), True)}
    )
    assert made == {"a": None, "1": [1.0, None], "c": [2, True]}


def test_the_printed_report_has_the_baselines_beside_the_bundle(report: dict) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_report(report, console)
    text = console.file.getvalue()
    for word in (
        "this bundle",
        "length",
        "knn",
        "multinomial",
        "independent",
        "random",
        "oracle",
        "zero router",
    ):
        assert word in text
    assert f"{report['aiq']:.3f}" in text


def test_a_report_is_written_whole(report: dict, tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.json"
    write_json(report, target)
    write_json(report, target)
    assert json.loads(target.read_text()) == report
    assert [path.name for path in target.parent.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MitsumoriError, match="--json"):
        write_json({}, tmp_path / "file" / "report.json")


def test_an_arm_that_costs_more_and_is_adequate_less_often_is_named() -> None:
    rows, truth = world(300)
    outcomes = rows.outcomes
    assert not any("costs more" in note for note in report_on(rows, truth)["notes"])
    dear = outcomes.cost_nanos.copy()
    dear[:] = [3_000_000, 2_000_000, 5_000_000]
    notes = report_on(replace(rows, outcomes=replace(outcomes, cost_nanos=dear)), truth)["notes"]
    low, medium = outcomes.adequate.mean(axis=0)[:2]
    assert [note for note in notes if "costs more" in note] == [
        "arm low costs more than medium and is adequate less often: 3 against 2 USD per 1,000 prompts, "
        f"{low:.1%} against {medium:.1%}, on 300 prompts that both answered; give it another model with "
        "--arms, or leave it out"
    ]


def test_arms_that_cost_the_same_are_not_compared() -> None:
    rows, truth = world(300)
    same = np.full_like(rows.outcomes.cost_nanos, 2_000_000)
    report = report_on(replace(rows, outcomes=replace(rows.outcomes, cost_nanos=same)), truth)
    assert not any("costs more" in note for note in report["notes"])


def test_quoted_lengths_stand_beside_real_ones_in_every_category(report: dict) -> None:
    for name, part in report["by_category"].items():
        found = part["length"]
        assert 0 < found["real_p50"] <= found["real_p90"], name
        assert 0 < found["quoted_p50"] <= found["quoted_p90"], name
        assert 0 <= found["coverage_p90"] <= 1, name
