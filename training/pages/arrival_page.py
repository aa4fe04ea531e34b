"""The place of a new model on the scale of ability, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.core.plurals import counted
from training.pages.page import Grid, Line, Page, Part, number, rendered

__all__ = ["WAYS", "arrival_page", "place_words"]

Report = Mapping[str, Any]

WAYS = {
    "tier": "as its tier",
    "placed": "as placed",
    "with_strengths": "as placed, with strengths",
}
"""The ways of serving the model that the report compares."""


def place_words(report: Report) -> str:
    """The place in a sentence.

    Args:
        report: of :func:`arrival_report.arrival_report`.
    """
    ability = report["ability"]
    below, above = (
        "" if end is None else f"{end['model']} ({end['points']:.0f})" for end in report["between"]
    )
    where = (
        f"between {below} and {above}"
        if below and above
        else f"above {below}"
        if below
        else f"below {above}"
        if above
        else "alone on the scale"
    )
    return (
        f"{ability['points']:.0f} points [{ability['low']:.0f}, {ability['high']:.0f}] (90 %) by "
        f"{counted(report['attempts'], 'attempt')}, {where}; "
        f"its tier {report['tier']} is at {report['prior']['points']:.0f}"
    )


def _table(checked: Report) -> Grid:
    lines = [
        Line(
            [
                words,
                number(checked[way]["log_loss"], 4),
                number(checked[way]["ece"]),
                number(checked[way]["said"]),
                number(checked["real"]),
            ],
            strong=way == "placed",
        )
        for way, words in WAYS.items()
        if checked[way] is not None
    ]
    return Grid(
        ("served", "log-loss", "ECE", "mean P said", "real"),
        lines,
        note=f"{checked['folds']}-fold cross-validation: each attempt is predicted by a place that was "
        "fitted without the prompts of its fold.",
    )


def arrival_page(name: str, report: Report) -> str:
    """The report as one self-contained HTML page.

    Args:
        name: id of the model in the catalog.
        report: of :func:`arrival_report.arrival_report`.
    """
    seen = report["seen_prompts"]
    facts = [
        ("Model", report["model"]),
        ("Ability", place_words(report)),
        ("Placed in", report["parent"]),
        (
            "Attempts",
            f"{report['attempts']:,}, {report['adequate_share']:.1%} adequate"
            + ("" if seen is None else f"; {seen:,} at training prompts of the bundle"),
        ),
    ]
    return rendered(
        Page(
            title=f"The model {name}",
            subtitle="Placed on the scale of ability, without training.",
            facts=facts,
            parts=(
                Part(
                    "Its attempts, predicted",
                    (
                        "Before any attempt the model is served as its tier's arm. Its ability moves it "
                        "along the line through the arms, and strengths move it prompt by prompt.",
                    ),
                    (_table(report["cross_validation"]),),
                ),
                Part("Notes", [f"{note}." for note in report["notes"]]),
            ),
        )
    )
