"""What a reviewer reads first of a report: a verdict in one sentence, five figures, and few metrics.

All of it is computed from the report that ``python -m training evaluate`` writes; the rest of its figures
stays in files. The module is pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "MOST_METRICS",
    "DecidingFigure",
    "deciding_figures",
    "flattened",
    "headline_metrics",
    "markdown_table",
    "metric_name",
    "summary",
    "verdict",
    "version_tags",
]

Report = Mapping[str, Any]

MOST_METRICS = 40
"""Most metrics of a run, so that a chart page and a comparison of two runs can be read."""
_KEY_LIMIT = 250
_MEBI = 1 << 20


def metric_name(name: str) -> str:
    """A name as MLflow takes it: ``low>high`` becomes ``low to high``, and ``95 %`` becomes ``95 pct``."""
    plain = re.sub(r"\s*>\s*", " to ", name).replace(",", "").replace("%", "pct")
    return re.sub(r"[^\w\-. /]", "_", plain, flags=re.ASCII)[:_KEY_LIMIT]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a nested report, under the path of its keys.

    ``{"pairs": {"low>high": {"apgr": .6}}}`` gives ``{"pairs/low>high/apgr": .6}``; the parts of an interval
    end in ``/low`` and ``/high``. What is no number is left out.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flattened(value, f"{key}/")
        elif isinstance(value, list) and len(value) == 2:
            found |= flattened(dict(zip(("low", "high"), value, strict=True)), f"{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = float(value)
    return found


def _at(report: Report, *path: str) -> Any:
    """The value at a path of keys; ``None`` where a key is missing."""
    found: Any = report
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


# --- Metrics -----------------------------------------------------------------------------------


def _pairs(report: Report) -> list[str]:
    """The pairs of arms, that of the widest span first."""
    arms = list(report.get("arms") or {})
    place = {name: rank for rank, name in enumerate(arms)}

    def span(pair: str) -> int:
        weak, _, strong = pair.partition(">")
        return place.get(weak, 0) - place.get(strong, 0)

    return sorted(report.get("pairs") or {}, key=span)


def _worst_arm(report: Report) -> tuple[str, float, float | None] | None:
    """The arm of the largest calibration error over its floor: name, ECE, floor."""
    known = [
        (name, one["ece"], one.get("ece_floor"))
        for name, one in (report.get("arms") or {}).items()
        if one.get("ece") is not None
    ]
    return max(known, key=lambda one: one[1] - (one[2] or 0.0), default=None)


def _gate_figures(report: Report) -> list[Mapping[str, Any]]:
    return _at(report, "gate", "figures") or []


def _gate_bounds(report: Report) -> list[tuple[str, float | None]]:
    """The bounds by which the gate decides, each above 0 where the bundle is better."""
    return [
        (one["figure"], one["value"])
        for one in _gate_figures(report)
        if one["target"] is not None and re.match(r"(AIQ|APGR)\b.* over ", one["figure"])
    ]


def _candidates(report: Report) -> Iterator[tuple[str, Any]]:
    """Names and values, the most important first; MLflow's pages sort by name, hence the numbers."""
    passes = _at(report, "gate", "passes")
    yield "1 gate/passes", None if passes is None else float(passes)
    for name, value in _gate_bounds(report):
        yield f"1 gate/{name}", value
    yield from _unseen(report)
    yield "2 money/AIQ", report.get("aiq")
    yield "2 money/AIQ of the best single arms", report.get("aiq_zero")
    costs = report.get("cost_at_quality") or {}
    yield "2 money/cost share at equal quality", costs.get("1.00")
    yield "2 money/cost share at 95 pct quality", costs.get("0.95")
    yield "2 money/saving net of router", _at(report, "net_of_router", "saving", "1.00", "saving")
    worst = _worst_arm(report)
    if worst is not None:
        yield "4 calibration/ECE worst arm", worst[1]
        yield "4 calibration/ECE floor of that arm", worst[2]
    for number, pair in enumerate(_pairs(report)):
        found = report["pairs"][pair]
        yield f"3 ranking/APGR {pair}", found.get("apgr")
        if number == 0:
            yield f"3 ranking/APGR {pair} - lower bound", (found.get("apgr_interval") or [None])[0]
        yield (
            f"3 ranking/APGR over prompt length {pair}",
            _at(found, "gain_over", "length", "difference"),
        )
        yield f"3 ranking/APGR unfamiliar category {pair}", found.get("held_out_category_apgr")
    for level in ("p50", "p90"):
        yield f"5 length/coverage of {level}", _at(report, "length", f"coverage_{level}")
        yield f"5 length/pinball ratio {level}", _at(report, "length", f"pinball_ratio_{level}")
    for level in ("p50", "p99"):
        yield f"6 speed/{level} ms", _at(report, "encode_ms", level)
    size = _at(report, "footprint", "bundle")
    yield "6 speed/bundle MiB", None if size is None else size / _MEBI
    yield "7 data/held-out prompts", report.get("n_prompts")
    for arm, found in (report.get("arms") or {}).items():
        yield f"4 calibration/ECE {arm}", found.get("ece")
        yield f"4 calibration/AUC {arm}", found.get("auc")
        yield f"4 calibration/Brier {arm}", found.get("brier")


def _unseen(report: Report) -> Iterator[tuple[str, Any]]:
    """The worst of the sources that were left out."""
    sources = list((report.get("unseen_sources") or {}).values())
    if not sources:
        return
    yield "1 unseen/ECE worst source", max(one["worst_ece"] for one in sources)
    yield "1 unseen/APGR mean", sum(one["apgr"] for one in sources) / len(sources)
    covered = [one["coverage_p90"] for one in sources if one["coverage_p90"] is not None]
    yield "1 unseen/coverage of p90 worst source", min(covered, default=None)
    gains = [one["policy"]["gain"] for one in sources if one["policy"] is not None]
    yield "1 unseen/policy over constant worst source", min(gains, default=None)


def headline_metrics(report: Report) -> dict[str, float]:
    """At most :data:`MOST_METRICS` figures of a report under names that people read.

    Args:
        report: as ``evaluate`` writes it; figures that it lacks are left out.
    """
    known = {
        metric_name(name): float(value)
        for name, value in _candidates(report)
        if isinstance(value, int | float) and math.isfinite(value)
    }
    return dict(list(known.items())[:MOST_METRICS])


# --- Words -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecidingFigure:
    """One of the five figures that decide whether a bundle is any good.

    Attributes:
        key: name of the tag of a registered version.
        name: what it is.
        value: of this bundle, with its 95 % interval where it has one.
        beside: what to hold it against.
    """

    key: str
    name: str
    value: str
    beside: str


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _ranged(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None or not bounds or None in bounds:
        return _number(value)
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _percent(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None:
        return "–"
    known = bool(bounds) and None not in (bounds or ())
    return f"{value:.1%}" + (f" [{bounds[0]:.1%}, {bounds[1]:.1%}]" if known and bounds else "")


def deciding_figures(report: Report) -> list[DecidingFigure]:
    """The five that decide: quality, cost, ranking, calibration, lengths; a dash for an unknown one."""
    luck = [one["value"] for one in _gate_figures(report) if "by chance" in one["figure"]]
    zero = report.get("aiq_zero")
    chance = f", with luck alone {_number(zero + luck[0])}" if luck and zero is not None else ""
    pairs = _pairs(report)
    pair = pairs[0] if pairs else ""
    ranked = report["pairs"][pair] if pairs else {}
    length = _at(report, "baselines", "length", pair, "apgr")
    worst = _worst_arm(report)
    return [
        DecidingFigure(
            "aiq",
            "Quality at equal cost (AIQ)",
            _ranged(report.get("aiq"), report.get("aiq_interval")),
            f"best single arms {_number(zero)}{chance}",
        ),
        DecidingFigure(
            "cost_at_equal_quality",
            "Cost at the strongest arm's quality",
            _percent(
                _at(report, "cost_at_quality", "1.00"),
                _at(report, "cost_at_quality_interval", "1.00"),
            ),
            "always the strongest arm 100.0%",
        ),
        DecidingFigure(
            "apgr",
            f"Ranking of prompts (APGR {metric_name(pair)})"
            if pair
            else "Ranking of prompts (APGR)",
            _ranged(ranked.get("apgr"), ranked.get("apgr_interval")),
            f"prompt length {_number(length)}, random 0.500",
        ),
        DecidingFigure(
            "ece_worst_arm",
            "Calibration of the worst arm (ECE)",
            "–" if worst is None else f"{worst[1]:.3f} ({worst[0]})",
            f"perfect calibration {_number(None if worst is None else worst[2])}",
        ),
        DecidingFigure(
            "length_p90_coverage",
            "Lengths at or below the predicted p90",
            _percent(_at(report, "length", "coverage_p90"), None),
            "goal 90.0%",
        ),
    ]


def verdict(report: Report) -> str:
    """One sentence: whether the bundle is better than what needs no classifier, and why not."""
    gate = report.get("gate")
    if gate is None:
        return "Not judged by the promotion gate."
    if gate["passes"]:
        beaten = "the best single arm at equal cost, and prompt length alone"
        return f"Passes the promotion gate: it beats {beaten}."
    # Of each reason what precedes its numbers, which are among the figures.
    reasons = [re.split(r"[:;]", reason)[0] for reason in gate["reasons"]]
    listed = " and ".join([", ".join(reasons[:-1]), reasons[-1]] if reasons[1:] else reasons)
    return f"Refused by the promotion gate: it {listed}."


def version_tags(report: Report) -> dict[str, str]:
    """The verdict and the five figures, as tags of a registered version or a run."""
    figures = {one.key: f"{one.value}; {one.beside}" for one in deciding_figures(report)}
    return {"verdict": verdict(report), **figures}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def summary(report: Report, *, demonstration: bool = False) -> str:
    """The verdict and the five figures, in Markdown.

    Args:
        report: as ``evaluate`` writes it.
        demonstration: whether made-up data is behind it, which is said first.
    """
    warned = "DEMONSTRATION: trained on made-up data.\n\n" if demonstration else ""
    rows = [(one.name, one.value, one.beside) for one in deciding_figures(report)]
    table = markdown_table(("figure", "this bundle", "beside it"), rows)
    reasons = "\n".join(f"- {one}" for one in _at(report, "gate", "reasons") or [])
    why = f"Why it was refused:\n\n{reasons}\n" if reasons else ""
    # Plain words first: lists of versions show the source of the first line.
    return f"{warned}{verdict(report)}\n\n{table}\n\nBrackets: 95 % intervals.\n\n{why}"
