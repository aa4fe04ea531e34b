"""Output lengths quoted against real ones, and the figures of each language and category."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from training.evaluation.calibration_metrics import ece, ece_floor
from training.evaluation.metrics import MIN_CATEGORY, Figures, apgr, coverage, mean, pinball
from training.histories.outcomes import Outcomes

__all__ = ["category_figures", "language_figures", "length_figures"]

Floats = npt.NDArray[np.float64]

MIN_SLICE = 100
"""Fewest prompts of a language for which its figures are reported; with fewer they are ``None``."""


def length_figures(test: Outcomes, lengths: Floats | None, train: Outcomes | None) -> Figures:
    """Coverage and pinball ratio of the length quantiles, mean over the arms that have lengths.

    The reference of an arm is its global quantile, of the training rows where they are given.

    Args:
        test: ``n`` prompts, ``k`` arms.
        lengths: float64 ``(n, k, 3)``, predicted output tokens at .5, .9 and .99; NaN for an arm without;
            ``None`` where none are predicted.
        train: the training rows.
    """
    report: Figures = {"arms": {}}
    for arm, name in enumerate(test.arms):
        if lengths is None:
            break
        rows = ~np.isnan(test.output_tokens[:, arm]) & ~np.isnan(lengths[:, arm]).any(axis=1)
        past = (train or test).output_tokens[:, arm]
        past = past[~np.isnan(past)]
        if not rows.any() or not len(past):
            continue
        actual = test.output_tokens[rows, arm]
        figures = {}
        for position, (key, level) in enumerate((("p50", 0.5), ("p90", 0.9))):
            predicted = lengths[rows, arm, position]
            reference = pinball(actual, float(np.quantile(past, level)), level)
            figures[f"coverage_{key}"] = coverage(actual, predicted)
            figures[f"pinball_ratio_{key}"] = (
                pinball(actual, predicted, level) / reference if reference > 0 else float("nan")
            )
        report["arms"][name] = figures
    for key in ("coverage_p50", "coverage_p90", "pinball_ratio_p50", "pinball_ratio_p90"):
        values = [figures[key] for figures in report["arms"].values()]
        report[key] = float(np.mean(values)) if values else None
    return report


def _slices(
    test: Outcomes,
    keys: npt.NDArray[np.object_],
    widest: Floats,
    more: Callable[[npt.NDArray[np.bool_]], Figures],
    least: int = MIN_CATEGORY,
) -> dict[str, Figures]:
    """Prompts, APGR of the widest pair and mean quality per arm, for each key.

    ``more`` adds figures; below ``least`` prompts that both arms answered the APGR is ``None``.
    """
    slices = {}
    for key in sorted(set(keys)):
        rows = keys == key
        both = rows & test.judged[:, 0] & test.judged[:, -1]
        enough = both.sum() >= least
        slices[str(key) or "unknown"] = {
            "n": int(rows.sum()),
            "apgr": apgr(test.quality[both, 0], test.quality[both, -1], widest[both])
            if enough
            else None,
            "mean_quality": {
                name: mean(test.quality[rows & test.judged[:, arm], arm])
                for arm, name in enumerate(test.arms)
            },
            **more(rows),
        }
    return slices


def language_figures(
    test: Outcomes, widest: Floats, p_adequate: Floats, lengths: Floats | None, *, seed: int
) -> dict[str, Figures]:
    """Language → prompts, APGR, mean quality, calibration per arm, coverage of the length quantiles.

    Args:
        test: ``n`` prompts, ``k`` arms.
        widest: float64 ``(n,)``, the score by which prompts go to the last arm instead of the first.
        p_adequate: float64 ``(n, k)``.
        lengths: float64 ``(n, k, 3)``; ``None`` where none are predicted.
        seed: of the draws that tell the floor of the calibration error.
    """
    more = _of_language(test, p_adequate, lengths, seed)
    return _slices(test, test.languages, widest, more, least=MIN_SLICE)


def category_figures(test: Outcomes, widest: Floats, lengths: Floats | None) -> dict[str, Figures]:
    """Category → prompts, APGR, mean quality, quoted lengths beside real ones.

    Args:
        test: ``n`` prompts, ``k`` arms.
        widest: float64 ``(n,)``, the score by which prompts go to the last arm instead of the first.
        lengths: float64 ``(n, k, 3)``; ``None`` where none are predicted.
    """
    return _slices(test, test.categories, widest, _of_category(test, lengths))


def _of_language(
    test: Outcomes, p_adequate: Floats, lengths: Floats | None, seed: int
) -> Callable[[npt.NDArray[np.bool_]], Figures]:
    """Further figures of a language: calibration per arm and coverage of the length quantiles."""

    def figures(rows: npt.NDArray[np.bool_]) -> Figures:
        few = bool(rows.sum() < MIN_SLICE)
        errors, floors = {}, {}
        for arm, name in enumerate(test.arms):
            chosen = rows & test.judged[:, arm]
            enough = chosen.sum() >= MIN_SLICE
            probability = p_adequate[chosen, arm]
            errors[name] = ece(test.adequate[chosen, arm], probability) if enough else None
            floors[name] = ece_floor(probability, seed=seed) if enough else None
        known_lengths = None if few or lengths is None else lengths[rows]
        length = length_figures(test.rows(rows), known_lengths, None)
        return {
            "few": few,
            "ece": errors,
            "ece_floor": floors,
            "length": {key: length[key] for key in ("coverage_p50", "coverage_p90")},
        }

    return figures


def _of_category(
    test: Outcomes, lengths: Floats | None
) -> Callable[[npt.NDArray[np.bool_]], Figures]:
    """Further figures of a category: quoted lengths against real ones, over all arms."""

    def figures(rows: npt.NDArray[np.bool_]) -> Figures:
        real = test.output_tokens[rows].ravel()
        quoted = (
            np.full((len(real), 3), np.nan) if lengths is None else lengths[rows].reshape(-1, 3)
        )
        known = ~np.isnan(real) & ~np.isnan(quoted).any(axis=1)
        if not known.any():
            return {"length": None}
        return {
            "length": {
                "real_p50": float(np.median(real[known])),
                "quoted_p50": float(np.median(quoted[known, 0])),
                "real_p90": float(np.quantile(real[known], 0.9)),
                "quoted_p90": float(np.median(quoted[known, 1])),
                "coverage_p90": coverage(real[known], quoted[known, 1]),
            }
        }

    return figures
