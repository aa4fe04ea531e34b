"""The report of ``evaluate`` as a page: the baselines beside the bundle in every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from training.evaluation.baselines import LABELS
from training.evaluation.unseen_figures import unseen_verdict
from training.pages.page import (
    Grid,
    Line,
    Page,
    Part,
    Picture,
    VerdictBox,
    number,
    picture_of,
    ranged,
    rendered,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gate_grid", "report_page"]

Report = Mapping[str, Any]

BUNDLE = "this bundle"
PICTURES = {
    "cost_quality": "Mean cost against mean quality: this bundle, the baselines, single arms and the oracle.",
    "reliability": "Predicted P(adequate) against the observed share, for each arm.",
    "label_distribution": "How many prompts needed which arm, by language.",
    "confusion": "Label against the likeliest label.",
}
_MEBI = 1 << 20


def _pictures(figures: Mapping[str, Figure], *names: str) -> list[Picture]:
    return [picture_of(figures[name], PICTURES[name]) for name in names if name in figures]


def _bounds(bounds: Sequence[float | None] | None) -> str:
    if bounds is None or None in bounds:
        return "–"
    return f"[{bounds[0]:+z.3f}, {bounds[1]:+z.3f}]"


def _thousand(usd: float | None) -> str:
    return "–" if usd is None else f"{1000 * usd:.4f}"


def gate_grid(figures: Sequence[Mapping[str, Any]]) -> Grid:
    """The figures of the promotion gate as a table."""
    held = {True: "yes", False: "no", None: ""}
    lines = [
        Line(
            [
                one["figure"], number(one["value"], 4), one["unit"],
                "" if one["target"] is None else number(one["target"], 1), held[one["holds"]],
            ],
            strong=one["target"] is not None,
        )
        for one in sorted(figures, key=lambda one: one["target"] is None)  # what decides, first
    ]  # fmt: skip
    return Grid(
        ("figure", "value", "unit", "target", "holds"),
        lines,
        note="The gate decides by lower bounds of 95 % intervals by paired bootstrap. Figures without a "
        "target are context.",
        wordy=(0, 2),
    )


def _routing(report: Report) -> Part:
    grids = []
    for pair, ours in report["pairs"].items():
        routers = [("", BUNDLE, ours)] + [
            (name, label, report["baselines"][name][pair])
            for name, label in LABELS.items()
            if name in report["baselines"]
        ]
        lines = [
            Line(
                [
                    label, ranged(one["apgr"], one["apgr_interval"]), _lead(ours, name),
                    number(one["within_category_apgr"]), number(one.get("held_out_category_apgr")),
                    number(one["cpt50"]), number(one["cpt80"]),
                ],
                strong=one is ours,
            )
            for name, label, one in routers
        ]  # fmt: skip
        header = (
            "router", "APGR [95 %]", "bundle's lead", "within category", "held-out category",
            "CPT 50", "CPT 80",
        )  # fmt: skip
        grids.append(Grid(header, lines, title=f"{pair} ({ours['n']:,} prompts)"))
    return Part(
        "Ranking prompts",
        (
            "APGR: share of the quality gap between two arms that is recovered, averaged over all shares of "
            "prompts sent to the strong arm; random is .5. CPT: share of prompts that the strong arm needs "
            "for 50 or 80 % of the gap. Within category: APGR inside each category, where recognising the "
            "category does not help. Held-out category: on categories that training did not see, as "
            "measured when the bundle was trained.",
        ),
        grids,
    )


def _unseen(report: Report) -> Part:
    """Sources that were left out: what a company sees on work that is in no history."""
    sources = report.get("unseen_sources") or {}
    title = "Unseen sources"
    if not sources:
        words = "Not measured: that takes several histories, pooled by tier."
        return Part(title, (words,))
    judged = [
        Line(
            [
                name, f"{one['prompts']:,}",
                "  ".join(f"{arm} {one['said'][arm]:.2f} / {real:.2f}" for arm, real in one["real"].items()),
                f"{number(one['worst_ece'])} / {number(one['worst_ece_floor'])}",
                ranged(one["apgr"], one["apgr_interval"]),
                f"{number(one['nearest_apgr'])} / {number(one['length_apgr'])}",
                number(one["coverage_p90"], 2),
            ]
        )
        for name, one in sources.items()
    ]  # fmt: skip
    priced = [(name, one["policy"]) for name, one in sources.items() if one["policy"] is not None]
    chosen = [
        Line(
            [
                name, number(one["quality"]), number(one["constant_quality"]),
                ranged(one["gain"], one["gain_interval"], sign=True),
                f"{one['saved']:.1%}", number(one["lost"]),
            ]
        )
        for name, one in priced
    ]  # fmt: skip
    return Part(
        title,
        (
            "Each source was left out in turn and judged by a fit on all others, at the abilities of the "
            "models that answered. This is what to expect on work that is in no history; figures on held-out "
            "prompts of known sources, further down, are better.",
            unseen_verdict(sources),
        ),
        (
            Grid(
                (
                    "source", "prompts", "P(adequate) said / real", "worst ECE / floor", "APGR [95 %]",
                    "nearest / length", "p90 covers",
                ),
                judged,
                note="APGR: of the weakest and the strongest arm; random order has .5. Nearest / length: "
                "that of the 25 nearest prompts of other sources, and of prompt length alone. "
                "p90 covers: share of answers within the quoted 90th percentile, to be .85 to .95; "
                "old models answer more briefly than today's, for whom lengths are quoted.",
                wordy=(0, 2),
            ),
            Grid(
                (
                    "source", "quality", "constant choice at equal cost", "gain [95 %]",
                    "saved against the strongest arm", "quality lost by that",
                ),
                chosen,
                title="The default policy at medium importance",
                note="A constant choice sends every prompt to one arm, or a fixed share to each of two.",
            ),
        ),
    )  # fmt: skip


def _lead(ours: Report, baseline: str) -> str:
    found = ours["gain_over"].get(baseline)
    return "" if found is None else ranged(found["difference"], found["interval"], sign=True)


def _money(report: Report, figures: Mapping[str, Figure]) -> Part:
    if report["aiq"] is None:
        words = "No prompt has every arm's quality and cost, so there are no figures on money."
        return Part("Money", (words,))
    aiq = [Line([BUNDLE, ranged(report["aiq"], report["aiq_interval"])], strong=True)]
    aiq += [
        Line([LABELS.get(name, name), number(value)])
        for name, value in report["aiq_baselines"].items()
    ]
    aiq += [
        Line(["single arms (zero router)", number(report["aiq_zero"])]),
        Line(["oracle", number(report["aiq_oracle"])]),
        Line(["bundle over single arms, 95 %", _bounds(report["aiq_over_zero_interval"])]),
    ]
    net = report["net_of_router"]
    costs = [
        Line(
            [
                f"{float(share):.0%}", ranged(cost, report["cost_at_quality_interval"][share]),
                _saving(net["saving"][share]),
            ],
            strong=True,
        )
        for share, cost in report["cost_at_quality"].items()
    ]  # fmt: skip
    gains = [
        Line([f"always {arm}", ranged(one["gain"], one["interval"], sign=True)])
        for arm, one in report["quality_gain_at_cost"].items()
    ]
    single = report["baselines"]["single"]
    oracle = report["baselines"]["oracle"]
    arms = [
        Line([f"always {arm}", number(one["mean_quality"]), _thousand(one["mean_cost_usd"])])
        for arm, one in single.items()
    ]
    arms.append(
        Line(["oracle", number(oracle["mean_quality"]), _thousand(oracle["mean_cost_usd"])])
    )
    own = 1e6 * net["usd_per_prompt"]
    return Part(
        "Money",
        (f"{report['priced_prompts']:,} prompts have every arm's quality and cost.",),
        (
            Grid(
                ("router", "AIQ [95 %]"), aiq, title="Quality over the whole range of cost",
                note="AIQ: mean quality over costs from the cheapest to the most expensive single arm. A "
                "sweep is a little too good by chance; the promotion gate subtracts that.",
            ),
            Grid(
                ("of the strongest arm's quality", "cost as a share of always using it [95 %]",
                 "saving, net of the router's time [95 %]"),
                costs, title="Cost at equal quality",
                note=f"The router's own time costs {own:.3f} USD per million prompts at "
                f"{net['core_hour_usd']:g} USD per core and hour.",
            ),
            Grid(
                ("at no higher cost than", "gain in quality [95 %]"), gains,
                title="Quality at equal cost",
                note="At single points of a sweep; two points are never mixed.",
            ),
            Grid(("one arm for all", "quality", "USD per 1,000"), arms, title="Single arms and oracle"),
        ),
        _pictures(figures, "cost_quality"),
    )  # fmt: skip


def _saving(found: Report | None) -> str:
    if found is None:
        return "–"
    low, high = found["interval"]
    return f"{found['saving']:.1%} [{low:.1%}, {high:.1%}]"


def _calibration(report: Report, figures: Mapping[str, Figure]) -> Part:
    lines = [
        Line(
            [name, f"{arm['n']:,}", number(arm["adequate_share"])]
            + [number(arm[key]) for key in ("ece", "ece_floor", "brier", "auc")]
        )
        for name, arm in report["arms"].items()
    ]
    header = ("arm", "attempts", "adequate", "ECE", "floor", "Brier", "AUC")
    arms = list(report["arms"])
    languages = [
        Line(
            [language, f"{one['n']:,}"]
            + [f"{number(one['ece'][arm])} / {number(one['ece_floor'][arm])}" for arm in arms]
        )
        for language, one in report["by_language"].items()
    ]
    return Part(
        "Calibration",
        (
            "ECE over 15 bins of equal mass, beside its floor: the ECE that perfect calibration would show "
            "on as many attempts. Only the excess over the floor is an error.",
        ),
        (
            Grid(header, lines, title="By arm"),
            Grid(
                ("language", "prompts", *(f"{arm}: ECE / floor" for arm in arms)),
                languages,
                title="By language",
                note="A dash: fewer than 100 attempts.",
            ),
        ),
        _pictures(figures, "reliability"),
    )


def _lengths(report: Report) -> Part:
    found = report["length"]
    if not found["arms"]:
        return Part("Output length", ("The bundle or the history has no output lengths.",))
    keys = ("coverage_p50", "coverage_p90", "pinball_ratio_p50", "pinball_ratio_p90")
    lines = [Line([arm, *(number(one[key]) for key in keys)]) for arm, one in found["arms"].items()]
    lines.append(Line(["mean of the arms", *(number(found[key]) for key in keys)], strong=True))
    lines.append(Line(["baseline: the arm's global quantile", "0.500", "0.900", "1.000", "1.000"]))
    header = ("arm", "coverage of p50", "coverage of p90", "pinball ratio .5", "pinball ratio .9")
    return Part(
        "Output length",
        (
            "Coverage: share of attempts at or below the predicted quantile. Pinball ratio: loss over that "
            "of one quantile for all prompts of the arm; below 1, predicting from the prompt is better.",
        ),
        (Grid(header, lines),),
    )


def _speed(report: Report) -> Part:
    timed = report["encode_ms"]
    rows = {"all": timed} | timed["by_characters"]
    lines = [
        Line(
            [key, f"{one['n']:,}", number(one["p50"], 2), number(one["p99"], 2)],
            strong=key == "all",
        )
        for key, one in rows.items()
    ]
    sizes = [
        Line([words, "–" if value is None else f"{value / _MEBI:.1f}"])
        for words, value in (
            ("bundle on disk", report["footprint"]["bundle"]),
            ("encoder on disk, shared by bundles", report["footprint"]["encoder"]),
            ("resident memory, both loaded", report["footprint"]["resident"]),
        )
    ]
    return Part(
        "Speed and size",
        ("Encode and classify, one prompt at a time on one core.",),
        (
            Grid(("characters", "prompts", "p50, ms", "p99, ms"), lines),
            Grid(("size", "MiB"), sizes),
        ),
    )


def _tokens(found: Report | None) -> list[str]:
    """Real and quoted tokens of a category: medians, 90th percentiles, the share covered."""
    if found is None:
        return ["–", "–", "–"]
    return [
        f"{found['real_p50']:,.0f} / {found['quoted_p50']:,.0f}",
        f"{found['real_p90']:,.0f} / {found['quoted_p90']:,.0f}",
        number(found["coverage_p90"], 2),
    ]


def _slices(report: Report, key: str, title: str, note: str = "") -> Grid:
    arms = list(report["arms"])
    spoken = key == "by_language"
    lines = [
        Line(
            [name, f"{one['n']:,}", number(one["apgr"])]
            # Only languages are marked as too few.
            + [number(None if one.get("few") else one["mean_quality"][arm]) for arm in arms]
            + ([number(one["length"]["coverage_p90"])] if spoken else _tokens(one.get("length")))
        )
        for name, one in report[key].items()
    ]
    header = [key.removeprefix("by_"), "prompts", f"APGR {arms[0]}>{arms[-1]}"]
    header += [f"quality, {arm}" for arm in arms]
    header += (
        ["coverage of the p90 of the length"]
        if spoken
        else ["tokens p50, real / quoted", "p90, real / quoted", "p90 covers"]
    )
    return Grid(header, lines, title=title, note=note)


def _verdict(report: Report) -> VerdictBox:
    gate = report["gate"]
    if gate["passes"]:
        return VerdictBox(True, "Beats the best single arm at equal cost and prompt length alone.")
    text = "The promotion gate would refuse this bundle, even without a champion:"
    return VerdictBox(False, text, gate["reasons"])


def report_page(report: Report, figures: Mapping[str, Figure], facts: Mapping[str, str]) -> str:
    """The report as one self-contained HTML page.

    Args:
        report: as ``python -m training evaluate`` writes it.
        figures: of :func:`plots.render`.
        facts: the bundle and the data, name → value, shown at the top.
    """
    parts = [
        _unseen(report),
        Part("Promotion gate", (), (gate_grid(report["gate"]["figures"]),)),
        _routing(report),
        _money(report, figures),
        _calibration(report, figures),
        Part(
            "Labels",
            (
                "The label of a prompt is the cheapest adequate arm; none where no arm was adequate.",
            ),
            pictures=_pictures(figures, "label_distribution", "confusion"),
        ),
        _lengths(report),
        _speed(report),
        Part(
            "Slices",
            (),
            (
                _slices(
                    report,
                    "by_language",
                    "By language",
                    "A dash: fewer than 100 prompts, too few for a figure.",
                ),
                _slices(report, "by_category", "By category"),
            ),
        ),
        Part("Notes", [f"{note}." for note in report["notes"]]),
    ]
    return rendered(
        Page(
            title=f"Evaluation of {report['bundle']}",
            subtitle=f"{report['n_prompts']:,} prompts, baselines fitted on the "
            f"{report['baselines_fitted_on']}. Brackets: 95 % bootstrap intervals over prompts.",
            facts=list(facts.items()),
            parts=parts,
            verdict=_verdict(report),
        )
    )
