"""Drift on made-up worlds: quiet where nothing changed, and loud, by name, where something did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.classifier.features.lexical import FEATURES, SCRIPTS, scripts_of
from training.drift import drift_report, two_sample_tests
from training.drift.drift_report import DriftReport, drift
from training.drift.traffic import SettledOutcomes, Traffic

ARMS = ("low", "high")
PROMISED = {"low": 0.005, "high": 0.0}
PLACE = {name: place for place, name in enumerate(FEATURES)}


def features_of(rng: np.random.Generator, n: int) -> np.ndarray:
    """English prompts of a log-normal length, every tenth with code."""
    made = np.abs(rng.normal(0.05, 0.02, (n, len(FEATURES)))).astype(np.float32)
    made[:, PLACE["log_characters"]] = rng.normal(5.5, 0.8, n)
    made[:, PLACE["log_words"]] = made[:, PLACE["log_characters"]] - 1.7
    made[:, PLACE["code_markers"]] = rng.random(n) < 0.1
    made[:, PLACE["latin_share"]] = 0.9 + rng.normal(0, 0.02, n)
    made[:, [PLACE[name] for name in ("kana_share", "han_share", "other_letter_share")]] = 0
    return made


def traffic(seed: int, n: int = 400) -> Traffic:
    """A sample of the same world for every seed: outcomes happen as often as was promised."""
    rng = np.random.default_rng(seed)
    features = features_of(rng, n)
    hard = features[:, PLACE["log_characters"]] - 5.5 + rng.normal(0, 1, n)
    p_adequate = 1 / (1 + np.exp(-np.stack([0.2 - hard, 1.5 - 0.6 * hard], axis=1)))
    arms = rng.integers(2, size=n)
    promised = p_adequate[np.arange(n), arms]
    weeks = np.array([f"2026-W{40 + place * 4 // n}" for place in range(n)], dtype=object)
    return Traffic(
        ARMS,
        features,
        scripts_of(features),
        p_adequate,
        rng.normal(size=(n, 16)).astype(np.float32),
        SettledOutcomes(arms, promised, rng.random(n) < promised, weeks),
    )


def drifted(report: DriftReport) -> set[str]:
    return {finding.what for finding in report.findings if finding.drifted}


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (drift_report, two_sample_tests):
        monkeypatch.setattr(module, "DRAWS", 999)


def test_where_nothing_changed_alarms_are_no_more_frequent_than_stated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the sizes, which would keep most of the alarms away, and with a rate that can be seen.
    for module in (drift_report, two_sample_tests):
        monkeypatch.setattr(module, "DRAWS", 399)
    for bound in ("AUC_BOUND", "PSI_BOUND", "ECE_BOUND"):
        monkeypatch.setattr(drift_report, bound, -1.0)
    alpha, worlds = 0.1, 120
    alarms = [
        drift(traffic(2 * one, 300), traffic(2 * one + 1, 300), {}, alpha=alpha, seed=one).drifted
        for one in range(worlds)
    ]
    # 21 or more of 120 come up less than once in a hundred times at a rate of one in ten.
    assert 0 < sum(alarms) < 21


def test_where_nothing_changed_nothing_is_said_to_have_drifted(few_draws: None) -> None:
    report = drift(traffic(1), traffic(2), PROMISED, alpha=0.02, seed=3)
    assert {finding.what for finding in report.findings} == {
        "vectors", "form", "length", "language", "score of low", "score of high",
        "calibration of low", "calibration of high",
    }  # fmt: skip
    assert not report.drifted
    assert report.untold == ()


def test_japanese_prompts_are_found_and_named(few_draws: None) -> None:
    recent = traffic(2)
    features = recent.features.copy()
    new = np.arange(len(features)) % 4 == 0
    features[new, PLACE["kana_share"]] = 0.5
    features[new, PLACE["latin_share"]] = 0.0
    report = drift(
        traffic(1), replace(recent, features=features, scripts=scripts_of(features)), PROMISED,
        alpha=0.02, seed=3,
    )  # fmt: skip
    assert drifted(report) == {"language", "form"}
    language = next(one for one in report.findings if one.what == "language")
    assert "Japanese: 25.0% of recent prompts, 0.0% of training prompts" in language.words
    assert "Japanese" in language.remedy
    form = next(one for one in report.findings if one.what == "form")
    assert "kana_share" in form.words


def test_the_sample_of_an_older_bundle_is_compared_in_the_features_it_has(
    few_draws: None,
) -> None:
    reference, recent = traffic(1), traffic(2)
    old = replace(reference, features=reference.features[:, :18])
    assert not drift(old, recent, PROMISED, alpha=0.02, seed=3).drifted
    features = recent.features.copy()
    features[:, PLACE["asks_code"]] += 0.5  # no feature of before
    assert not drift(old, replace(recent, features=features), PROMISED, alpha=0.02, seed=3).drifted
    features[:, PLACE["code_markers"]] += 0.5
    assert "form" in drifted(
        drift(old, replace(recent, features=features), PROMISED, alpha=0.02, seed=3)
    )


def test_longer_prompts_are_found_and_named(few_draws: None) -> None:
    recent = traffic(2)
    features = recent.features.copy()
    features[:, PLACE["log_characters"]] += 0.8
    report = drift(traffic(1), replace(recent, features=features), PROMISED, alpha=0.02, seed=3)
    assert drifted(report) == {"length", "form"}
    length = next(one for one in report.findings if one.what == "length")
    now, then = (int(word) for word in length.words.replace(",", "").split() if word.isdigit())
    assert now > 1.5 * then


def test_other_topics_show_in_the_vectors(few_draws: None) -> None:
    recent = traffic(2)
    moved = recent.embeddings + np.linspace(0.8, 0, 16, dtype=np.float32)
    report = drift(traffic(1), replace(recent, embeddings=moved), PROMISED, alpha=0.02, seed=3)
    assert drifted(report) == {"vectors"}


def test_an_arm_that_does_not_keep_its_promise_is_named_and_the_week_is_seen(
    few_draws: None,
) -> None:
    recent = traffic(2, n=1600)
    settled = recent.settled
    late = (settled.weeks >= "2026-W42") & (settled.arms == 1)
    rng = np.random.default_rng(5)
    adequate = settled.adequate & ~(late & (rng.random(len(settled)) < 0.4))
    report = drift(
        traffic(1), replace(recent, settled=replace(settled, adequate=adequate)), PROMISED,
        alpha=0.02, seed=3,
    )  # fmt: skip
    assert drifted(report) == {"calibration of high"}
    (found,) = (one for one in report.findings if one.drifted)
    assert "too high" in found.words
    assert "quality target higher" in found.remedy
    weeks = report.weeks["high"]
    assert list(weeks) == ["2026-W40", "2026-W41", "2026-W42", "2026-W43"]
    assert max(weeks[week].excess for week in list(weeks)[:2]) < 0.05
    assert min(weeks[week].excess for week in list(weeks)[2:]) > 0.1


def test_what_a_bundle_never_promised_is_no_drift(few_draws: None) -> None:
    recent = traffic(2, n=3000)
    settled = recent.settled
    # Off by .03 from the start, and said so.
    off = replace(
        recent, settled=replace(settled, p_adequate=np.clip(settled.p_adequate - 0.03, 0, 1))
    )
    told = drift(traffic(1), off, {"low": 0.03, "high": 0.03}, alpha=0.02, seed=3)
    assert not told.drifted


def test_what_is_missing_is_said_and_the_rest_compared(few_draws: None) -> None:
    bare = Traffic(ARMS, scripts=traffic(1).scripts, untold=("vectors: none kept",))
    report = drift(bare, traffic(2, n=150), PROMISED, alpha=0.02, seed=3)
    assert [finding.what for finding in report.findings] == ["language"]
    assert "vectors: none kept" in report.untold
    assert any("calibration of low" in line and "too few" in line for line in report.untold)


@pytest.mark.parametrize(
    ("shares", "script"),
    [
        ({"latin_share": 0.9}, "Latin script"),
        ({"latin_share": 0.4, "kana_share": 0.3, "han_share": 0.2}, "Japanese"),
        ({"han_share": 0.9}, "Chinese characters"),
        ({"other_letter_share": 0.9}, "another script"),
        ({"digit_share": 0.9}, "no letters"),
    ],
)
def test_scripts_are_seen_in_the_features(shares: dict[str, float], script: str) -> None:
    features = np.zeros((1, len(FEATURES)), dtype=np.float32)
    for name, share in shares.items():
        features[0, PLACE[name]] = share
    assert SCRIPTS[int(scripts_of(features)[0])] == script
