"""``model_card.md``: data, training, performance and limits of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.classifier.manifest import BundleManifest
from training.evaluation.baselines import LABELS
from training.evaluation.unseen_figures import unseen_verdict

__all__ = ["model_card"]

_DEMONSTRATION = """> [!CAUTION]
> **DEMONSTRATION ONLY, NOT A REAL MODEL.** The history behind this bundle was made up by a generator.
> No model answered any prompt, and every figure below describes the generator. The bundle shows that
> the pipeline runs. **Do not route real prompts with it**; train on a real history with
> `make train HISTORY=… OUT=…`.
"""

_UNKNOWN, _NOT_LABELLED = "unknown", "not labelled"
"""The language of prompts without one, in a manifest and in its card."""


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _ranged(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None or bounds is None or None in bounds:
        return _number(value)
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """A Markdown table; the first ``words`` columns are left-aligned, the rest are numbers."""
    lines = [header, ["---"] * words + ["---:"] * (len(header) - words), *rows]
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped) + "\n"


def _evidence(manifest: BundleManifest, tiers: bool) -> str:
    """What P(adequate) rests on besides outcomes, where the arms are on the scale of ability."""
    known = manifest.evidence
    if known is None:
        return ""
    untried = (
        "requests of the project, and prompts of histories that grade no answers"
        if tiers
        else "requests of the project"
    )
    strictness = (
        "Expect P(adequate) to be off by the strictness of your judge until you train on your own attempts."
        if tiers
        else "Measured attempts decide on work like that of the histories, and annotation on work that they "
        "lack."
    )
    strength = (
        f"all annotated requests together have {known.share:.0%} of the weight"
        if known.share is not None and not tiers
        else f"at even odds it counts as {known.weight:g} attempts of each arm"
    )
    words = (
        f"P(adequate) rests on {known.measured:,} prompts that models attempted, and on "
        f"{known.annotated:,} that nobody did: {untried}. Language models annotated them with a level on a "
        "rubric, and wrote the requests; nobody has compared their annotation with people's. It is a prior, "
        f"not an outcome: {strength}, and a prompt that was attempted is not taken from its annotation. "
        f"Judges differ in what they let pass; the levels stand between strict and lenient ones. {strictness}"
    )
    return f"\n{words}\n"


def _data(manifest: BundleManifest, tiers: bool) -> str:
    table = _rows(
        ("history", "prompts", "attempts", "adequate from", "licence", "sha256"),
        [
            (
                source.name,
                f"{source.prompts:,}",
                f"{source.attempts:,}",
                f"quality {source.adequacy_threshold:g}",
                source.licence or "not stated",
                f"`{source.sha256[:12]}`",
            )
            for source in manifest.histories
        ],
    )
    languages = ", ".join(
        f"{_NOT_LABELLED if code == _UNKNOWN else code} {count:,}"
        for code, count in sorted(manifest.languages.items(), key=lambda item: -item[1])
    )
    return (
        f"## Data\n\n{table}\nTraining prompts by language: {languages}. Training data sha256 "
        f"`{manifest.training_data_sha256}`. The histories are not part of the bundle; "
        "`seen_prompts.bin` holds keyed hashes of the prompts, from which no prompt can be recovered.\n"
        f"{_evidence(manifest, tiers)}"
    )


def _placed_arms(manifest: BundleManifest, report: Mapping[str, Any]) -> str:
    """Arms on the scale: what stands for a tier today is not what answered in the histories."""
    rows = []
    for arm in manifest.arms:
        figures = report["arms"].get(arm.name, {})
        rows.append(
            (
                arm.name,
                ", ".join(f"`{model}`" for model in arm.models),
                _number(arm.ability, 0),
                f"{arm.attempts:,}",
                f"{arm.adequate_share:.1%}",
                _number(figures.get("mean_quality")),
            )
        )
    header = (
        "tier", "stands today for", "points", "attempts of those who stood for it in the histories",
        "adequate", "held-out quality",
    )  # fmt: skip
    return (
        "## Arms\n\nAn arm is the mean ability of the models that stand for its tier today, on a scale where "
        "Llama-3.1-8B has 0 points and Gemini 2.5 Pro 100. In the histories others stood for it, mostly less "
        "able ones; attempts and quality are theirs, and figures of performance are at their abilities.\n\n"
        + _rows(header, rows, words=2)
    )


def _arms(manifest: BundleManifest, report: Mapping[str, Any], tiers: bool) -> str:
    if tiers:
        return _placed_arms(manifest, report)
    rows = []
    for arm in manifest.arms:
        figures = report["arms"].get(arm.name, {})
        price = arm.reference_price
        rows.append(
            (
                arm.name,
                arm.tier,
                ", ".join(f"`{model}`" for model in arm.models),
                _number(arm.ability, 0),
                "–" if price is None else f"{price.input} / {price.output}",
                f"{arm.attempts:,}",
                f"{arm.adequate_share:.1%}",
                _number(figures.get("mean_quality")),
                _number(
                    None
                    if figures.get("mean_cost_usd") is None
                    else 1000 * figures["mean_cost_usd"],
                    4,
                ),
            )
        )
    header = (
        "arm", "tier", "models", "points", "USD per million tokens, in / out", "training attempts",
        "adequate", "held-out quality", "held-out USD per 1,000 prompts",
    )  # fmt: skip
    return "## Arms\n\n" + _rows(header, rows, words=3)


def _training(manifest: BundleManifest, settings: Mapping[str, Any]) -> str:
    lines = [
        f"- Encoder `{manifest.encoder.name}` ({manifest.encoder.dimensions} dimensions, sha256 "
        f"`{manifest.encoder.sha256[:12]}`) and {len(manifest.features)} lexical features.",
        "- Heads pooled over the attempts of all arms: logistic regressions (an intercept per arm, a shared "
        "slope, deviations per arm under heavier regularisation) and trees on the lexical features; stacked "
        "and calibrated per arm on prompts held out of each fit.",
        "- Output lengths: a linear model per arm on all inputs, then small forests for the median and the "
        "ninth decile, adjusted conformally on prompts held out of each fit.",
        f"- Seed {manifest.split.seed}; {manifest.split.holdout:.0%} of the prompts are held out, by a "
        "hash of the prompt; prompts of equal text stay together.",
    ]
    lines += [f"- {name[:1].upper()}{name[1:]}: {value}" for name, value in settings.items()]
    if manifest.mlflow_run_id:
        lines.append(f"- MLflow run `{manifest.mlflow_run_id}`.")
    return "## How it was trained\n\n" + "\n".join(lines) + "\n"


def _pairs(report: Mapping[str, Any]) -> str:
    parts = []
    for pair, ours in report["pairs"].items():
        routers = [("**this bundle**", ours)] + [
            (label, report["baselines"][name][pair])
            for name, label in LABELS.items()
            if name in report["baselines"]
        ]
        rows = [
            (
                label,
                _ranged(figures["apgr"], figures["apgr_interval"]),
                _number(figures["within_category_apgr"]),
                _number(figures.get("held_out_category_apgr")),
                _number(figures["cpt50"]),
                _number(figures["cpt80"]),
            )
            for label, figures in routers
        ]
        header = (
            f"{pair} ({ours['n']:,} prompts)",
            "APGR",
            "within category",
            "held-out category",
            "CPT 50 %",
            "CPT 80 %",
        )
        parts.append(_rows(header, rows))
    return "\n".join(parts)


def _money(report: Mapping[str, Any]) -> str:
    if report["aiq"] is None:
        return "No prompt has every arm's quality and cost, so there are no figures on money.\n"
    rows = [("**this bundle**", _ranged(report["aiq"], report["aiq_interval"]))]
    rows += [
        (LABELS.get(name, name), _number(value)) for name, value in report["aiq_baselines"].items()
    ]
    rows += [
        ("single arms (zero router)", _number(report["aiq_zero"])),
        ("oracle", _number(report["aiq_oracle"])),
    ]
    costs = [
        (
            f"{float(share):.0%}",
            _ranged(cost, report["cost_at_quality_interval"][share]),
        )
        for share, cost in report["cost_at_quality"].items()
    ]
    return (
        _rows(("router", "AIQ"), rows)
        + "\n"
        + _rows(("of the strongest arm's quality", "cost as a share of always using it"), costs)
    )


def _performance(report: Mapping[str, Any]) -> str:
    return (
        f"## Held-out performance\n\n{report['n_prompts']:,} prompts that training did not see, from "
        "the same histories (in-domain). Brackets: 95 % bootstrap intervals over prompts. Baselines "
        f"were fitted on the {report['baselines_fitted_on']}. APGR and CPT as RouteLLM defines them "
        "(random is .5), AIQ as RouterBench does, over the cost range of the single arms.\n\n"
        f"{_pairs(report)}\n{_money(report)}"
    )


def _calibration(report: Mapping[str, Any]) -> str:
    rows = [
        (name, *(_number(arm[key]) for key in ("ece", "ece_floor", "brier", "auc")))
        for name, arm in report["arms"].items()
    ]
    return (
        "## Calibration of P(adequate)\n\nECE over 15 bins of equal mass, beside its floor: the ECE "
        "that perfect calibration would show on as many prompts.\n\n"
        + _rows(("arm", "ECE", "floor", "Brier", "AUC"), rows)
    )


def _languages(report: Mapping[str, Any]) -> str:
    arms = list(report["arms"])
    rows = [
        (
            _NOT_LABELLED if code == _UNKNOWN else code,
            f"{slice_['n']:,}" + (" (too few)" if slice_["few"] else ""),
            _number(slice_["apgr"]),
            *(_number(None if slice_["few"] else slice_["mean_quality"][arm]) for arm in arms),
            *(_number(slice_["ece"][arm]) for arm in arms),
            _number(slice_["length"]["coverage_p90"]),
        )
        for code, slice_ in report["by_language"].items()
    ]
    header = (
        "language",
        "prompts",
        f"APGR {arms[0]}>{arms[-1]}",
        *(f"quality {arm}" for arm in arms),
        *(f"ECE {arm}" for arm in arms),
        "p90 of the length, coverage",
    )
    return "## By language\n\n" + _rows(header, rows)


def _not_measured(histories: int) -> str:
    if histories == 1:
        return (
            "Not measured: one history. The figures below hold for work like its own and say nothing of "
            "other work. To measure it, train on two histories or more without `--arms`, each with models "
            "that are known elsewhere: each is then left out in turn."
        )
    return (
        "Not measured: this run left no history out. Without `--arms` and `--no-unseen-sources`, each of "
        "several histories is left out in turn."
    )


def _unseen(report: Mapping[str, Any], histories: int) -> str:
    sources = report.get("unseen_sources")
    if not sources:
        return f"## Unseen sources\n\n{_not_measured(histories)}\n"
    rows = [
        (
            name,
            f"{one['prompts']:,}",
            ", ".join(
                f"{arm} {one['said'][arm]:.2f} / {real:.2f}" for arm, real in one["real"].items()
            ),
            f"{_number(one['worst_ece'])} / {_number(one['worst_ece_floor'])}",
            _ranged(one["apgr"], one["apgr_interval"]),
            _number(one["nearest_apgr"]),
            _number(one["length_apgr"]),
            _number(one["coverage_p90"]),
            "–" if one["policy"] is None else f"{one['policy']['gain']:+.3f}",
        )
        for name, one in sources.items()
    ]
    header = (
        "source left out", "prompts", "P(adequate) said / real", "worst ECE / floor", "APGR",
        "25 nearest prompts", "prompt length", "p90 of the length, coverage",
        "default policy over a constant choice at equal cost",
    )  # fmt: skip
    return (
        "## Unseen sources\n\nEach source was left out in turn and judged by a fit on all others, at the "
        "abilities and the talkativeness of the models that answered: what to expect on work that is in no "
        f"history. Random order has an APGR of .5.\n\n{unseen_verdict(sources)}\n\n"
        + _rows(header, rows, words=3)
    )


def _limits(manifest: BundleManifest, report: Mapping[str, Any]) -> str:
    labelled = sorted(code for code in manifest.languages if code != _UNKNOWN)
    languages = (
        f"in these languages: {', '.join(labelled)}"
        if labelled
        else "whose languages are not labelled (column `language`)"
    )
    worst = [
        pair
        for pair, ours in report["pairs"].items()
        for rival in ("length", "knn", "multinomial", "independent")
        if (found := ours["gain_over"].get(rival)) is not None
        and (found["interval"][0] is None or found["interval"][0] <= 0)
    ]
    lines = [
        "- The bundle predicts which arms are likely to be adequate. It does not judge safety, and it must "
        "not decide alone where a wrong answer does harm.",
        f"- It was trained on prompts like those of its histories, {languages}. Expect worse predictions on "
        "other topics and languages: a large part of what any router of this kind does is to recognise the "
        "topic (compare APGR with its value within categories).",
        "- An arm stands for the models listed above at the time of their attempts. Other models of "
        "a tier are assumed to behave alike; this was not measured."
        if manifest.evidence is None
        else "- A model of the catalog is judged by its own attempts, else by published scores, else as its "
        "tier: then all models of the tier are alike, and only their prices differ.",
        "- It reads the head and the tail of a long prompt, not its middle.",
    ]
    if any(not arm.has_lengths for arm in manifest.arms):
        without = ", ".join(arm.name for arm in manifest.arms if not arm.has_lengths)
        lines.append(f"- No output lengths were known for: {without}.")
    if worst:
        lines.append(
            "- Not shown to beat every baseline (the 95 % interval of the difference in APGR reaches "
            f"zero) on: {', '.join(dict.fromkeys(worst))}."
        )
    lines += [f"- {note[0].upper()}{note[1:]}." for note in report.get("notes", [])]
    return "## Limits of use\n\n" + "\n".join(lines) + "\n"


def model_card(
    manifest: BundleManifest,
    report: Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    tiers: bool = False,
) -> str:
    """The text of ``model_card.md``.

    Args:
        manifest: of the bundle; ``files`` is not read, for the card is one of them.
        report: of :func:`evaluation_report.evaluate`, on the held-out prompts.
        settings: further facts on the training, such as hyperparameters, name → value.
        notes: from reading the histories.
        tiers: whether the arms are today's tiers, and not models of the histories.
    """
    title = f"# {manifest.name}\n"
    if manifest.demonstration:
        title = f"# {manifest.name}: DEMONSTRATION, NOT REAL\n\n{_DEMONSTRATION}"
    summary = (
        "A Mitsumori bundle: for a prompt it gives the probability that each arm answers "
        f"adequately. Made {manifest.created:%Y-%m-%d}, bundle format {manifest.format_version}. "
        "The classifier is licensed under Apache-2.0; the licences of the data are listed below, that of the "
        "encoder's weights is beside the encoder.\n"
    )
    return "\n".join(
        [
            title,
            summary,
            _data(manifest, tiers)
            + ("\n" + "\n".join(f"- {note}" for note in notes) + "\n" if notes else ""),
            _arms(manifest, report, tiers),
            _training(manifest, settings or {}),
            _unseen(report, len(manifest.histories)),
            _performance(report),
            _calibration(report),
            _languages(report),
            _limits(manifest, report),
        ]
    )
