"""What a training run reads: the outcomes of the arms, and today's tiers on the scale of ability."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from router.catalog.catalog import load_catalog
from router.core.errors import InvalidInput
from training.histories import demonstration
from training.histories.history import History, read_history
from training.histories.judges import choose_judge
from training.histories.ladders import Standard, has_ladder, standard_of
from training.histories.outcome_table import (
    HistoryTable,
    ReadOptions,
    named_apart,
    tabulate_all,
)
from training.histories.outcomes import Outcomes
from training.plan import TrainingPlan, check_table
from training.scale.arm_placement import PlacedArms, place_arms
from training.scale.placement import PlacedTiers, place_tiers, unlinked_histories
from training.scale.reference import read_reference

__all__ = ["NOTHING_LINKS", "Sources", "read_sources"]

NOTHING_LINKS = (
    "nothing links the arms to the scale of ability, for no model that the histories grade is known "
    "elsewhere: P(adequate) of a model of the catalog is that of its tier, whatever model stood for it; let "
    "a known model answer some of the prompts, or give that of an arm an ability in the catalog (--catalog)"
)
"""Why the arms are on no scale, what follows, and the remedy."""


@dataclass(frozen=True)
class Sources:
    """What a training run reads.

    Attributes:
        table: the outcomes of the arms.
        placed: today's tiers on the scale, where several histories are pooled by tier; ``None``: the arms are
            models of the histories.
        arms: such models on the scale; ``None``: there are none, or nothing links them to it.
        compared: outcomes in histories that compare answers with those of a strong model: they tell whether
            P(adequate) holds there, and teach nothing but lengths. ``None``: there are none, or no source is
            left out.
        unlinked: histories that nothing links to the scale: their attempts count as those of the tiers.
    """

    table: HistoryTable
    placed: PlacedTiers | None = None
    arms: PlacedArms | None = None
    compared: Outcomes | None = None
    unlinked: tuple[str, ...] = ()


def read_sources(plan: TrainingPlan) -> Sources:
    """Read the histories of a plan, or make up the one of the demonstration.

    The models of one history have attempts of their own at all its prompts, which tell more than a scale;
    this places other models between them.

    Raises:
        InvalidInput: the histories cannot be read, or the arms are not theirs or stand in the wrong order.
    """
    if plan.histories:
        skip = plan.reading.skip_bad_rows
        histories = named_apart([read_history(path, skip_bad_rows=skip) for path in plan.histories])
        if plan.reading.arms is not None or len(histories) == 1:
            return _own_models(plan, histories)
        return _pooled_by_tier(plan, histories)
    if plan.reading.arms is not None:
        raise InvalidInput(
            "--arms needs a --history; the demonstration history has arms of its own", field="arms"
        )
    made = demonstration.demonstration_history(plan.seed)
    reading = ReadOptions(arms=demonstration.ARMS, prices=demonstration.PRICES)
    return Sources(tabulate_all([made], reading))


def _standards(plan: TrainingPlan, histories: Sequence[History]) -> dict[str, Standard]:
    return {
        one.name: standard_of(one, adequate_at=plan.reading.adequate_at, judge=plan.reading.judge)
        for one in histories
    }


def _judged_as(models: Collection[str], history: History, standard: Standard) -> Standard:
    """The standard with the judge that counts for these models: others may have judged further ones."""
    counts = history.counts[history.counts["model"].isin(list(models))]
    judge = choose_judge(counts, standard.judge, history.name)
    return replace(standard, judge=judge.name) if judge.attempts else standard


def _own_models(plan: TrainingPlan, histories: Sequence[History]) -> Sources:
    table = tabulate_all(histories, plan.reading)
    check_table(table.outcomes)
    published = {
        one.spec.id: one.spec.ability
        for one in load_catalog(plan.catalog).entries
        if one.spec.ability is not None
    }
    arms = {arm: table.models[arm][0] for arm in table.outcomes.arms}
    standards = _standards(plan, histories)
    as_of_arms = [_judged_as(arms.values(), one, standards[one.name]) for one in histories]
    placed = place_arms(histories, as_of_arms, arms, published)
    notes = (NOTHING_LINKS,) if placed is None else placed.notes
    return Sources(replace(table, notes=(*table.notes, *notes)), arms=placed)


def _pooled_by_tier(plan: TrainingPlan, histories: Sequence[History]) -> Sources:
    _check_distinct(histories)
    standards = _standards(plan, histories)
    unlinked = unlinked_histories(histories)
    _check_linked(histories, unlinked)
    # Without a ladder a history joins the scale by its models, and has no part in the table of outcomes.
    tabled = [one for one in histories if has_ladder(one) or one.name in unlinked]
    graded, compared = (
        [one for one in tabled if standards[one.name].grades == grades]
        for grades in ("answers", "comparisons")
    )
    table = tabulate_all(graded or tabled or histories, plan.reading)
    roles = tuple(_roles(histories, standards, unlinked, graded or tabled))
    table = replace(table, notes=(*table.notes, *roles))
    linked = [one for one in histories if one.name not in unlinked]
    if table.outcomes.arms != tuple(read_reference().tiers) or not linked:
        return Sources(table)
    placed = place_tiers(linked, [standards[one.name] for one in linked])
    return Sources(
        replace(table, notes=(*table.notes, *placed.notes)),
        placed,
        compared=_compared(compared, plan.reading, table.outcomes.arms)
        if plan.unseen_sources and graded and compared
        else None,
        unlinked=unlinked,
    )


def _check_distinct(histories: Sequence[History]) -> None:
    first: dict[str, str] = {}
    for one in histories:
        if one.sha256 in first:
            raise InvalidInput(
                f"the histories {first[one.sha256]} and {one.name} are the same file; give it once",
                reason="HISTORY_TWICE",
                field="history",
            )
        first[one.sha256] = one.name


def _check_linked(histories: Sequence[History], unlinked: Collection[str]) -> None:
    for one in histories:
        if one.name in unlinked and not has_ladder(one):
            raise InvalidInput(
                f"the history {one.name} has no model that is known elsewhere, so nothing links it to the "
                "scale of ability, and no ladder says which of them stand for which tier; let a known model "
                "answer some of its prompts, or train on it alone with --arms low=MODEL,high=MODEL",
                reason="NOTHING_LINKS",
                field="history",
            )


def _roles(
    histories: Sequence[History],
    standards: Mapping[str, Standard],
    unlinked: Collection[str],
    tabled: Sequence[History],
) -> Iterator[str]:
    """What each history that is not in the table of outcomes is for, and which of the others stand alone."""
    names = {one.name for one in tabled}
    for one in histories:
        grades = standards[one.name].grades
        if one.name in unlinked:
            yield (
                f"{one.name}: none of its models is known elsewhere, so nothing links it to the scale of "
                "ability; its models are taken for what their tiers are today"
            )
        elif grades == "comparisons" and one.name not in names:
            yield (
                f"{one.name}: compares answers with another model's; it places models and tells lengths, and "
                "is a source left out, but no prompt of it teaches P(adequate)"
            )
        elif grades == "nothing":
            yield f"{one.name}: grades no answers; it tells lengths"
        elif one.name not in names:
            yield (
                f"{one.name}: no ladder says which of its models stand for which tier; its models are placed "
                "and its prompts teach, but it is not among the held-out figures"
            )


def _compared(
    histories: Sequence[History], reading: ReadOptions, arms: tuple[str, ...]
) -> Outcomes | None:
    """Their outcomes, without those of arms that the others lack."""
    outcomes = tabulate_all(histories, replace(reading, need_prices=False)).outcomes
    return outcomes if outcomes.arms == arms else None
