"""The histories of a run as datasets in MLflow: name, hash, split and counts, never a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.classifier.manifest import HistorySource
from training.histories.outcomes import Outcomes
from training.tracking.headline import markdown_table

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

__all__ = ["HELD_OUT", "TRAINING", "HistorySplit", "data_table", "dataset_input", "history_splits"]

TRAINING, HELD_OUT = "training", "held out"
_DIGEST_LIMIT = 36


@dataclass(frozen=True)
class HistorySplit:
    """What of a history a run used for one purpose.

    Attributes:
        history: the file's name without its suffix.
        sha256: of the file.
        split: :data:`TRAINING` or :data:`HELD_OUT`.
        prompts: distinct ones.
        attempts: at them, with a known quality.
    """

    history: str
    sha256: str
    split: str
    prompts: int
    attempts: int


def _split(source: HistorySource, split: str, outcomes: Outcomes) -> HistorySplit:
    rows = outcomes.sources == source.name
    attempts = int(outcomes.judged[rows].sum())
    return HistorySplit(source.name, source.sha256, split, int(rows.sum()), attempts)


def history_splits(
    histories: Sequence[HistorySource], train: Outcomes | None, test: Outcomes
) -> list[HistorySplit]:
    """What of each history was trained on and what was held out; what nothing was used of is left out.

    Args:
        histories: of the table.
        train: prompts that were trained on; ``None`` where nothing was trained.
        test: the held-out prompts, or those that were evaluated on.
    """

    def found() -> Iterator[HistorySplit]:
        for source in histories:
            if train is not None:
                yield _split(source, TRAINING, train)
            yield _split(source, HELD_OUT, test)

    return [one for one in found() if one.prompts]


def data_table(splits: Sequence[HistorySplit]) -> str:
    """The splits as a table in Markdown."""
    rows = [
        (one.history, one.split, f"{one.prompts:,}", f"{one.attempts:,}", f"`{one.sha256[:12]}`")
        for one in splits
    ]
    return markdown_table(("history", "split", "prompts", "attempts", "sha256"), rows)


def dataset_input(split: HistorySplit) -> DatasetInput:
    """The entry that MLflow keeps for a run.

    MLflow knows a dataset by name and digest, keeps the profile of the first run that named it, and takes it
    once per run. So the name says which split it is and how large; the digest is the start of the file's
    SHA-256, the whole of which is in the source.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    counts = {"prompts": split.prompts, "attempts": split.attempts}
    dataset = Dataset(
        name=f"{split.history} ({split.split}: {split.prompts:,} prompts, {split.attempts:,} attempts)",
        digest=split.sha256[:_DIGEST_LIMIT],
        source_type="history",
        source=json.dumps({"history": split.history, "sha256": split.sha256}),
        profile=json.dumps({"num_rows": split.attempts, **counts}),
    )
    tags = {"mlflow.data.context": split.split, "history": split.history, "sha256": split.sha256}
    tags |= {name: str(count) for name, count in counts.items()}
    return DatasetInput(dataset, [InputTag(key, value) for key, value in tags.items()])
