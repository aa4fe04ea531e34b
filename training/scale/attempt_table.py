"""The attempts of all models of several histories as one table, and their prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from router.core.model_names import canonical_name
from training.histories.aggregation import COLUMNS, aggregate_attempts
from training.histories.history import History
from training.histories.judges import choose_judge
from training.histories.ladders import Standard
from training.histories.split import group_of

__all__ = ["AttemptTable", "MeasuredPrompts", "attempt_table"]

MIN_TASK = 100
"""Fewest prompts of a category for which it may be harder or easier than the rest of its history."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class AttemptTable:
    """Attempts of all histories, ``a`` of them.

    Attributes:
        models: names, in the form of :func:`model_names.canonical_name`.
        histories: names, in the order in which they were given.
        tasks: names of groups of prompts that may differ in difficulty, such as the tasks of a history.
        prompts: how many different prompts there are.
        model: intp ``(a,)``, place in ``models``; the others likewise.
        history: intp ``(a,)``.
        prompt: intp ``(a,)``, 0 … prompts − 1. A prompt of two histories is one prompt.
        task: intp ``(prompts,)``, the task of each prompt.
        adequate: float64 ``(a,)``, 1 where a model's mean quality at a prompt is adequate, else 0.
    """

    models: tuple[str, ...]
    histories: tuple[str, ...]
    tasks: tuple[str, ...]
    prompts: int
    model: Places
    history: Places
    prompt: Places
    task: Places
    adequate: Floats


@dataclass(frozen=True)
class MeasuredPrompts:
    """The prompts of an :class:`AttemptTable`, in its order.

    Attributes:
        texts: ``n`` prompts.
        groups: ``n`` keys of :func:`split.group_of`, distinct.
        languages: ``n`` codes, ``""`` where unknown.
        sources: ``n`` names of the first history that has the prompt.
        graded: bool ``(n,)``, whether a history that grades each answer for itself has it.
    """

    texts: npt.NDArray[np.object_]
    groups: npt.NDArray[np.object_]
    languages: npt.NDArray[np.object_]
    sources: npt.NDArray[np.object_]
    graded: npt.NDArray[np.bool_]


class _Numbers:
    """Numbers names in the order in which they come."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def of(self, names: Iterable[str]) -> Places:
        found = [self.places.setdefault(name, len(self.places)) for name in names]
        return np.asarray(found, dtype=np.intp)


def _judged(history: History, standard: Standard) -> Iterator[pd.DataFrame]:
    """The judged attempts by the judge that counts."""
    judge = choose_judge(history.counts, standard.judge, history.name)
    for attempts in history.batches(columns=COLUMNS):
        judged = attempts["quality"].notna()
        kept = judged & ~attempts["category"].isin(list(standard.left_out))
        theirs = judge.theirs(attempts[kept], judged[kept])
        if len(theirs):
            yield theirs


def attempt_table(
    histories: Sequence[History], standards: Sequence[Standard]
) -> tuple[AttemptTable, MeasuredPrompts]:
    """The judged attempts of every model.

    Args:
        histories: checked.
        standards: how each was graded; one that grades nothing gives no attempts.

    Returns:
        The table, and its prompts. Both are empty where nothing was judged.

    Raises:
        InvalidInput: as :func:`judges.choose_judge`.
    """
    models, prompts, tasks, names = _Numbers(), _Numbers(), _Numbers(), _Numbers()
    columns: dict[str, list[npt.NDArray[np.generic]]] = {
        name: [] for name in ("model", "history", "prompt", "adequate")
    }
    rows: list[tuple[str, str, str, str, str]] = []
    graded: list[bool] = []
    for history, standard in zip(histories, standards, strict=True):
        if standard.grades == "nothing":
            continue
        place = {model: at for at, model in enumerate(history.models)}
        found = aggregate_attempts(_judged(history, standard), place, len(place))
        if not len(found.texts):
            continue
        groups = [group_of(text) for text in found.texts]
        of_prompt = prompts.of(groups)
        for at, group in enumerate(groups):
            if of_prompt[at] == len(rows):
                category = found.categories[at] or ""
                task = f"{history.name}: {category}"
                rows.append(
                    (
                        found.texts[at],
                        group,
                        found.languages[at] or "",
                        history.name,
                        task,
                    )
                )
                graded.append(False)
            if standard.grades == "answers":
                graded[of_prompt[at]] = True
        judged = ~np.isnan(found.quality)
        row, model = np.nonzero(judged)
        of_model = models.of(canonical_name(name) for name in history.models)
        columns["model"].append(of_model[model])
        columns["history"].append(np.full(len(row), names.of([history.name])[0]))
        columns["prompt"].append(of_prompt[row])
        columns["adequate"].append(
            (found.quality[judged] >= standard.adequate_at).astype(np.float64)
        )
    described = np.array(rows, dtype=object).reshape(len(rows), 5)
    of_task = tasks.of(_pooled_tasks(described[:, 4], described[:, 3]))

    def column(name: str, kind: type) -> npt.NDArray[np.generic]:
        return np.concatenate([np.zeros(0), *columns[name]]).astype(kind)

    table = AttemptTable(
        models=tuple(models.places),
        histories=tuple(names.places),
        tasks=tuple(tasks.places),
        prompts=len(rows),
        model=column("model", np.intp),  # type: ignore[arg-type]
        history=column("history", np.intp),  # type: ignore[arg-type]
        prompt=column("prompt", np.intp),  # type: ignore[arg-type]
        task=of_task,
        adequate=column("adequate", np.float64),  # type: ignore[arg-type]
    )
    texts, groups_of_rows, languages, sources, _ = described.T
    kept = np.array(graded, dtype=bool)
    return table, MeasuredPrompts(texts, groups_of_rows, languages, sources, kept)


def _pooled_tasks(
    tasks: npt.NDArray[np.object_], sources: npt.NDArray[np.object_]
) -> Iterator[str]:
    """The task of each prompt; small ones are pooled with the rest of their history."""
    names, counts = np.unique(tasks.astype(str), return_counts=True)
    size = dict(zip(names, counts, strict=True))
    for task, source in zip(tasks, sources, strict=True):
        yield task if size[task] >= MIN_TASK else source
