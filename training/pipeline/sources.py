"""What a training run reads: the outcomes of the arms, and today's tiers on the scale of ability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from router.core.errors import InvalidInput
from training.histories import demonstration
from training.histories.history import History, read_history
from training.histories.ladders import standard_of
from training.histories.outcome_table import HistoryTable, ReadOptions, read_table, tabulate_all
from training.histories.outcomes import Outcomes
from training.plan import TrainingPlan
from training.scale.placement import PlacedTiers, place_tiers, unlinked_histories
from training.scale.reference import read_reference

__all__ = ["Sources", "read_sources"]


@dataclass(frozen=True)
class Sources:
    """What a training run reads.

    Attributes:
        table: the outcomes of the arms.
        placed: today's tiers on the scale, where several histories are pooled by tier; ``None``: the arms are
            models of the histories.
        compared: outcomes in histories that compare answers with those of a strong model: they tell whether
            P(adequate) holds there, and teach nothing but lengths. ``None``: there are none.
        unlinked: histories that nothing links to the scale: their attempts count as those of the tiers.
    """

    table: HistoryTable
    placed: PlacedTiers | None = None
    compared: Outcomes | None = None
    unlinked: tuple[str, ...] = ()


def read_sources(plan: TrainingPlan) -> Sources:
    """Read the histories of a plan, or make up the one of the demonstration.

    The models of one history have attempts of their own at all its prompts, which tell more than a scale.

    Raises:
        InvalidInput: the histories cannot be read, or the arms are not theirs.
    """
    if plan.histories and (plan.reading.arms is not None or len(plan.histories) == 1):
        return Sources(read_table(plan.histories, plan.reading))
    if plan.histories:
        return _pooled_by_tier(plan)
    if plan.reading.arms is not None:
        raise InvalidInput(
            "--arms needs a --history; the demonstration history has arms of its own", field="arms"
        )
    made = demonstration.demonstration_history(plan.seed)
    reading = ReadOptions(arms=demonstration.ARMS, prices=demonstration.PRICES)
    return Sources(tabulate_all([made], reading))


def _pooled_by_tier(plan: TrainingPlan) -> Sources:
    skip = plan.reading.skip_bad_rows
    histories = [read_history(path, skip_bad_rows=skip) for path in plan.histories]
    standards = [
        standard_of(one, adequate_at=plan.reading.adequate_at, judge=plan.reading.judge)
        for one in histories
    ]
    graded, compared = (
        [
            one
            for one, standard in zip(histories, standards, strict=True)
            if standard.grades == grades
        ]
        for grades in ("answers", "comparisons")
    )
    table = tabulate_all(graded or histories, plan.reading)
    if table.outcomes.arms != tuple(read_reference().tiers):
        return Sources(table)
    unlinked = unlinked_histories(histories)
    notes = tuple(
        f"{name}: none of its models is known elsewhere, so nothing links it to the scale of ability; "
        "its models are taken for what their tiers are today"
        for name in unlinked
    )
    table = replace(table, notes=(*table.notes, *notes))
    if set(unlinked) >= {one.name for one in graded or histories}:
        return Sources(table)
    linked = [
        (one, standard)
        for one, standard in zip(histories, standards, strict=True)
        if one.name not in unlinked
    ]
    placed = place_tiers([one for one, _ in linked], [standard for _, standard in linked])
    return Sources(
        replace(table, notes=(*table.notes, *placed.notes)),
        placed,
        _compared(compared, plan.reading, table.outcomes.arms) if graded and compared else None,
        unlinked,
    )


def _compared(
    histories: Sequence[History], reading: ReadOptions, arms: tuple[str, ...]
) -> Outcomes | None:
    """Their outcomes, without those of arms that the others lack."""
    outcomes = tabulate_all(histories, replace(reading, need_prices=False)).outcomes
    return outcomes if outcomes.arms == arms else None
