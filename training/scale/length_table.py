"""The output lengths of all models of several histories as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.core.model_names import canonical_name
from training.histories.aggregation import COLUMNS, aggregate_attempts
from training.histories.history import History
from training.histories.ladders import Standard
from training.histories.split import group_of
from training.scale.families import first_of_family

__all__ = ["LengthTable", "length_table"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class LengthTable:
    """Lengths of ``a`` attempts at ``n`` prompts.

    Families are those of :func:`families.first_of_family`.

    Attributes:
        texts: ``n`` prompts with attempts, distinct by :func:`split.group_of`.
        families: names of the families, each that of its first history.
        instructed: of each family, whether its models were told the form of the answer.
        family: intp ``(n,)``, place in ``families`` of each prompt.
        models: canonical names.
        prompt: intp ``(a,)``, 0 … n − 1.
        model: intp ``(a,)``, place in ``models``.
        logs: float64 ``(a,)`` ≥ 0, logarithms of output tokens.
    """

    texts: npt.NDArray[np.object_]
    families: tuple[str, ...]
    instructed: tuple[bool, ...]
    family: Places
    models: tuple[str, ...]
    prompt: Places
    model: Places
    logs: Floats

    def without(self, family: int) -> LengthTable:
        """The table without the attempts at the prompts of one family; the prompts stay in their places."""
        kept = self.family[self.prompt] != family
        return LengthTable(
            self.texts,
            self.families,
            self.instructed,
            self.family,
            self.models,
            self.prompt[kept],
            self.model[kept],
            self.logs[kept],
        )


def length_table(histories: Sequence[History], standards: Sequence[Standard]) -> LengthTable:
    """The known lengths of the visible answers of every model; repeated attempts are averaged.

    All attempts count, whoever judged them: an answer is as long for one judge as for another.

    Args:
        histories: checked; those without output tokens give no attempts.
        standards: of each of them.
    """
    read = []
    for history, standard in zip(histories, standards, strict=True):
        place = {model: at for at, model in enumerate(history.models)}
        found = aggregate_attempts(history.batches(columns=COLUMNS), place, len(place))
        row, model = np.nonzero(~np.isnan(found.answer_tokens))
        if len(row):
            read.append((history, standard, found, row, model))
    groups = [[group_of(text) for text in found.texts] for _, _, found, _, _ in read]
    names = [history.name for history, *_ in read]
    first = first_of_family(names, groups)
    places = sorted(set(first))
    prompts: dict[str, int] = {}
    models: dict[str, int] = {}
    texts: list[str] = []
    family: list[int] = []
    columns: list[list[npt.NDArray[np.generic]]] = [[], [], []]
    for (history, _, found, row, model), keys, start in zip(read, groups, first, strict=True):
        of_prompt = np.zeros(len(keys), dtype=np.intp)
        for at in np.unique(row):
            if keys[at] not in prompts:
                prompts[keys[at]] = len(prompts)
                texts.append(found.texts[at])
                family.append(places.index(start))
            of_prompt[at] = prompts[keys[at]]
        of_model = [models.setdefault(canonical_name(name), len(models)) for name in history.models]
        columns[0].append(of_prompt[row])
        columns[1].append(np.array(of_model, dtype=np.intp)[model])
        columns[2].append(np.log(np.maximum(found.answer_tokens[row, model], 1.0)))
    prompt, model, logs = (np.concatenate([np.zeros(0), *parts]) for parts in columns)
    return LengthTable(
        np.array(texts, dtype=object),
        tuple(names[at] for at in places),
        tuple(read[at][1].instructed for at in places),
        np.array(family, dtype=np.intp),
        tuple(models),
        prompt.astype(np.intp),
        model.astype(np.intp),
        logs.astype(np.float64),
    )
