"""The start of a notebook: a history, a bundle trained on a part of it, and the rest to judge it on.

Without any setting this is the demonstration history. The environment names another:

- ``HISTORY``: a file; relative to the working directory or to the checkout.
- ``ARMS``: ``low=MODEL,high=MODEL``, for a history that ``ladders.yaml`` does not know.
- ``PRICES``: ``NAME=IN,OUT`` in USD per million tokens, separated by spaces.
- ``BUNDLE``: a bundle to use instead of one trained here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.manifest import FORMAT_VERSION
from router.core.errors import InvalidInput
from router.paths import ENCODERS
from training.evaluation.baselines import EncodedOutcomes
from training.evaluation.bundle_predictions import unseen_prompts
from training.evaluation.comparison import TimedPredictions
from training.evaluation.evaluation_set import NamedBundle, predict_all
from training.histories import demonstration
from training.histories.history import History, read_history
from training.histories.ladders import parse_arms, parse_prices
from training.histories.outcome_table import HistoryTable, ReadOptions, tabulate_all
from training.histories.outcomes import Outcomes
from training.histories.split import SEED
from training.pipeline.training_run import fit
from training.plan import TrainingPlan

__all__ = ["BUILD", "UnseenPrompts", "Workbench", "open_workbench"]

_CHECKOUT = Path(__file__).resolve().parents[2]
BUILD = _CHECKOUT / "build"
"""Where bundles trained for notebooks and embeddings are kept, whatever the working directory."""

_DEMONSTRATION_HOLDOUT = 0.5
"""The demonstration is small, so half of it is held out."""
_HOLDOUT = 0.2


@dataclass(frozen=True)
class UnseenPrompts:
    """Prompts that the bundle was not trained on, with its predictions.

    Attributes:
        outcomes: ``n`` prompts, ``k`` arms.
        predicted: P(adequate) and lengths of the bundle.
        rows: the same prompts as the baselines read them.
    """

    outcomes: Outcomes
    predicted: TimedPredictions
    rows: EncodedOutcomes


@dataclass(frozen=True)
class Workbench:
    """A history and, once it is asked for, a bundle and its judgement of unseen prompts.

    Attributes:
        history: every attempt, checked.
        table: the attempts of the arms, one row per prompt.
        reading: how it was read.
        source: the history's file; ``None`` for the demonstration.
        directory: where the bundle lies, or will.
    """

    history: History
    table: HistoryTable
    reading: ReadOptions
    source: Path | None
    directory: Path

    @property
    def demonstration(self) -> bool:
        """Whether the attempts are made up."""
        return self.source is None

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle; trained now where there is none yet, which can take minutes.

        Raises:
            InvalidInput: the history cannot be trained on.
            BadArtifact: what lies in ``directory`` is damaged, or no bundle.
        """
        if not self.directory.exists():
            fit(
                TrainingPlan(
                    histories=() if self.source is None else (self.source,),
                    reading=ReadOptions() if self.source is None else self.reading,
                    holdout=_DEMONSTRATION_HOLDOUT if self.source is None else _HOLDOUT,
                    out=self.directory,
                    cache=BUILD / "cache" / "embeddings",
                ),
                Console(quiet=True),
            )
        return load_bundle(self.directory, ENCODERS)

    @cached_property
    def unseen(self) -> UnseenPrompts:
        """The prompts that the bundle was not trained on.

        Raises:
            InvalidInput: the bundle was trained on all of them, or lacks an arm.
        """
        test = self.table.outcomes
        fresh = unseen_prompts(self.bundle, self.directory, test)
        test = test if fresh is None else test.rows(fresh)
        contender = NamedBundle("the bundle", self.directory, self.bundle)
        missing_arms = [arm for arm in test.arms if arm not in contender.arms]
        if missing_arms or not len(test):
            why = (
                f"has no arm {' and '.join(missing_arms)}"
                if missing_arms
                else "was trained on every prompt"
            )
            raise InvalidInput(
                f"the bundle {why} of this history; unset BUNDLE, or name another HISTORY",
                reason="NOTHING_UNSEEN",
                field="BUNDLE",
            )
        cache = BUILD / "cache" / "embeddings"
        (predicted,), rows = predict_all(
            [contender], test, cache=cache, console=Console(quiet=True), seed=SEED, timed=False
        )
        return UnseenPrompts(test, predicted, rows)


def _existing_path(name: str, path: str) -> Path:
    """A path of the environment: notebooks run in a folder of their own, shells mostly do not.

    Raises:
        InvalidInput: there is nothing.
    """
    for candidate in (Path(path), _CHECKOUT / path):
        if candidate.exists():
            return candidate
    raise InvalidInput(f"{name}={path}: there is no such file or folder; correct it", field=name)


def _own_directory(history: History, table: HistoryTable) -> Path:
    """Another history, other arms or another format of bundles: another directory."""
    facts = [FORMAT_VERSION, history.sha256, dict(table.models)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return BUILD / "notebooks" / f"{history.name}-{digest[:8]}"


def open_workbench(environ: Mapping[str, str] = os.environ) -> Workbench:
    """Read the history that the environment names, else make the demonstration.

    Raises:
        InvalidInput: a variable is wrong, or the history cannot be read.
    """
    if environ.get("HISTORY"):
        source = _existing_path("HISTORY", environ["HISTORY"])
        history = read_history(source)
        reading = ReadOptions(
            arms=parse_arms(environ["ARMS"]) if environ.get("ARMS") else None,
            prices=parse_prices(environ.get("PRICES", "").split()),
        )
    else:
        source, history = None, demonstration.demonstration_history(SEED)
        reading = ReadOptions(arms=demonstration.ARMS, prices=demonstration.PRICES)
    table = tabulate_all([history], reading)
    directory = (
        _existing_path("BUNDLE", environ["BUNDLE"])
        if environ.get("BUNDLE")
        else _own_directory(history, table)
    )
    return Workbench(history, table, reading, source, directory)
