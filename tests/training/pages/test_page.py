"""Pages: self-contained, escaped, with something to say where a figure is missing."""

from __future__ import annotations

import re

import pytest
from matplotlib.figure import Figure

from tests.training.worlds import report_on, world
from training.evaluation.baselines import baseline_scores
from training.evaluation.evaluation_report import json_ready
from training.evaluation.footprint import net_of_router
from training.evaluation.predictions import Predictions
from training.evaluation.promotion_gate import gate
from training.export.classifier_graph import label_distribution
from training.pages.page import (
    Grid,
    Line,
    Page,
    Part,
    VerdictBox,
    number,
    picture_of,
    ranged,
    rendered,
)
from training.pages.plots import render
from training.pages.report_page import report_page


def page(**more: object) -> str:
    grid = Grid(
        ("arm", "APGR"), [Line(["low"], group=True), Line(["<b>low</b>", "0.5"], strong=True)]
    )
    part = Part("A & B", ("Words.",), (grid,), (picture_of(Figure(), "nothing"),))
    return rendered(Page("Title", "subtitle", [("Arms", "<script>x</script>")], (part,), **more))  # type: ignore[arg-type]


def test_nothing_is_fetched_and_nothing_runs() -> None:
    html = page()
    assert re.findall(r'(?:src|href)="(?!data:|#)', html) == []
    assert "url(" not in html
    assert "<script" not in html
    assert "default-src 'none'" in html


def test_names_of_strangers_are_escaped() -> None:
    html = page()
    assert "&lt;b&gt;low&lt;/b&gt;" in html
    assert "A &amp; B" in html


def test_a_verdict_gives_its_reasons() -> None:
    html = page(verdict=VerdictBox(False, "Refused", ("does not beat prompt length",)))
    assert 'class="verdict no"' in html
    assert "<li>does not beat prompt length</li>" in html


def test_a_figure_gives_the_same_bytes_again() -> None:
    assert picture_of(Figure(), "x") == picture_of(Figure(), "x")


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (None, None, "–"),
        (0.5, None, "0.500"),
        (0.5, [None, None], "0.500"),
        (0.5, [0.4, 0.6], "0.500 [0.400, 0.600]"),
        (-0.00001, [-0.1, 0.1], "0.000 [-0.100, 0.100]"),
    ],
)
def test_numbers_and_intervals(
    value: float | None, bounds: list[float | None] | None, text: str
) -> None:
    assert ranged(value, bounds) == text


def test_a_missing_number_is_a_dash() -> None:
    assert number(None) == "–"


@pytest.mark.parametrize(("censored", "costs"), [(False, True), (True, True), (False, False)])
def test_a_report_is_a_page_however_little_is_known(censored: bool, costs: bool) -> None:
    rows, truth = world(60, censored=censored, costs=costs)
    baselines = baseline_scores(None, rows, seed=1)
    report = report_on(rows, truth, seed=1, baselines=baselines)
    timed = {"p50": 1.0, "p99": 2.0, "mean": 1.1, "n": 60}
    report |= {
        "encode_ms": {**timed, "by_characters": {"0-255": timed}},
        "footprint": {"bundle": 1, "encoder": 2, "resident": None},
        "gate": json_ready(
            gate(
                rows.outcomes, Predictions(truth), baselines=baselines, champion=None, seed=1
            ).as_dict()
        ),
        "bundle": "small@0123",
    }
    report["net_of_router"] = net_of_router(report, 0.05)
    figures = render(
        rows.outcomes, Predictions(truth), label_distribution(truth), baselines=baselines, seed=1
    )
    html = report_page(report, figures, {"Arms": "low"})
    assert "small@0123" in html
    assert ("there are no figures on money" in html) == (censored or not costs)
    assert "nan" not in re.sub(r"base64,[^\"]+", "", html)
