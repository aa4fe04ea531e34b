"""The report of an evaluation as tables in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

__all__ = ["print_report"]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _with_interval(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None or bounds is None or None in bounds:
        return _number(value)
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _table(title: str, first: str, *columns: str) -> Printed:
    made = Printed(title=title, title_justify="left", header_style="bold")
    made.add_column(first, no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right")
    return made


def _arms_table(report: Mapping[str, Any]) -> Printed:
    made = _table(
        "Arms", "arm", "quality", "USD per 1,000", "AUC", "ECE", "floor", "Brier", "attempts"
    )
    for name, arm in report["arms"].items():
        cost = None if arm["mean_cost_usd"] is None else 1000 * arm["mean_cost_usd"]
        made.add_row(
            name,
            _number(arm["mean_quality"]),
            _number(cost, 4),
            *(_number(arm[key]) for key in ("auc", "ece", "ece_floor", "brier")),
            f"{arm['n']:,}",
        )
    return made


def _pairs_table(report: Mapping[str, Any]) -> Printed:
    made = _table(
        "Ranking prompts between two arms",
        "router",
        "APGR [95 %]",
        "in category",
        "new category",
        "CPT 50",
        "CPT 80",
    )
    baselines = report["baselines"]
    named = [name for name in baselines if name not in ("single", "oracle")]
    for pair, ours in report["pairs"].items():
        routers = {"this bundle": ours} | {name: baselines[name][pair] for name in named}
        made.add_row(f"{pair} ({ours['n']:,})", style="bold")
        for name, figures in routers.items():
            made.add_row(
                f"  {name}",
                _with_interval(figures["apgr"], figures["apgr_interval"]),
                _number(figures["within_category_apgr"]),
                _number(figures.get("held_out_category_apgr")),
                _number(figures["cpt50"]),
                _number(figures["cpt80"]),
                style="bold cyan" if name == "this bundle" else None,
            )
        made.add_section()
    return made


def _money_table(report: Mapping[str, Any]) -> Printed | None:
    if report["aiq"] is None:
        return None
    made = _table(
        f"Money ({report['priced_prompts']:,} prompts; cost as a share of always using the strongest arm)",
        "figure",
        "value [95 %]",
    )
    made.add_row("AIQ", _with_interval(report["aiq"], report["aiq_interval"]), style="bold")
    for name, value in report["aiq_baselines"].items():
        made.add_row(f"AIQ, {name}", _number(value))
    made.add_row("AIQ, single arms (zero router)", _number(report["aiq_zero"]))
    made.add_row("AIQ, oracle", _number(report["aiq_oracle"]))
    for share, cost in report["cost_at_quality"].items():
        made.add_row(
            f"cost at {float(share):.0%} of the strongest arm's quality",
            _with_interval(cost, report["cost_at_quality_interval"][share]),
        )
    return made


def _languages_table(report: Mapping[str, Any]) -> Printed:
    arms = list(report["arms"])
    title = f"Languages: APGR {arms[0]}>{arms[-1]}, mean quality of each arm, worst ECE"
    made = _table(title, "language", "prompts", "APGR", *arms, "ECE / floor", "p90 coverage")
    for code, one in report["by_language"].items():
        if one["few"]:
            made.add_row(code, f"{one['n']:,}", "too few")
            continue
        errors = [(one["ece"][arm], one["ece_floor"][arm]) for arm in arms]
        worst = max((pair for pair in errors if pair[0] is not None), default=(None, None))
        made.add_row(
            code,
            f"{one['n']:,}",
            _number(one["apgr"]),
            *(_number(one["mean_quality"][arm]) for arm in arms),
            f"{_number(worst[0])} / {_number(worst[1])}",
            _number(one["length"]["coverage_p90"]),
        )
    return made


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The report as tables, the baselines beside the bundle."""
    console.print(_arms_table(report), _pairs_table(report))
    money = _money_table(report)
    if money is not None:
        console.print(money)
    console.print(_languages_table(report))
    encode = report.get("encode_ms")
    if encode:
        console.print(
            f"encode and classify: p50 {_number(encode['p50'], 2)} ms, "
            f"p99 {_number(encode['p99'], 2)} ms over {encode['n']} prompts",
            highlight=False,
        )
    for note in report["notes"]:
        console.print(f"· {note}", highlight=False, markup=False)
