"""The label of a prompt: the cheapest arm that handled it adequately."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from router.core.errors import InvalidInput
from router.core.types import NONE_LABEL
from training.histories.outcomes import Outcomes

__all__ = ["UNDETERMINED", "label_counts", "label_names", "label_positions", "write_labels"]

UNDETERMINED = -1
"""The position of a label that a censored history leaves open."""


def label_positions(outcomes: Outcomes) -> npt.NDArray[np.intp]:
    """The label of each prompt as a position on the ladder, ``(n,)``.

    ``k`` means ``none``. Where an arm that comes before the first adequate one has no judged attempt,
    the label is :data:`UNDETERMINED`; a history with all attempts never has such.
    """
    k = len(outcomes.arms)
    adequate, judged = outcomes.adequate, outcomes.judged
    first = np.where(adequate.any(axis=1), adequate.argmax(axis=1), k)
    unknown = np.where(judged.all(axis=1), k, (~judged).argmax(axis=1))
    return np.where(unknown < first, UNDETERMINED, first)


def label_names(outcomes: Outcomes) -> npt.NDArray[np.object_]:
    """The label of each prompt by name, ``(n,)``; ``None`` where it is undetermined."""
    names = np.array([*outcomes.arms, NONE_LABEL, None], dtype=object)
    return np.asarray(names[label_positions(outcomes)])


def label_counts(outcomes: Outcomes) -> dict[str, int]:
    """Prompts per label in the order of the ladder, then ``none``, then ``undetermined``."""
    positions = label_positions(outcomes)
    counts = {
        name: int((positions == place).sum())
        for place, name in enumerate([*outcomes.arms, NONE_LABEL])
    }
    return counts | {"undetermined": int((positions == UNDETERMINED).sum())}


def write_labels(outcomes: Outcomes, target: Path) -> None:
    """Write ``prompt_id`` and ``label`` (null where undetermined) as Parquet, JSONL or CSV.

    Raises:
        InvalidInput: the suffix is none of these, or the file cannot be written.
    """
    names = label_names(outcomes)
    frame = pd.DataFrame({"prompt_id": outcomes.prompt_ids, "label": names})
    kind = target.suffix.lower()
    if kind not in {".parquet", ".jsonl", ".ndjson", ".csv"}:
        raise InvalidInput(f"{target}: labels are written as .parquet, .jsonl or .csv", field="out")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == ".parquet":
            frame.to_parquet(target, index=False)
        elif kind == ".csv":
            frame.to_csv(target, index=False)
        else:
            lines = (
                json.dumps({"prompt_id": identity, "label": label}, ensure_ascii=False) + "\n"
                for identity, label in zip(outcomes.prompt_ids, names, strict=True)
            )
            target.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{target} cannot be written ({error.strerror}); name another --out", field="out"
        ) from None
