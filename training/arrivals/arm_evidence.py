"""What a new arm is fitted on: judged attempts, and what the bundle predicts for their prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import Bundle
from training.arrivals.arm_plan import ArmPlan, check_attempts, check_judge
from training.arrivals.arm_posterior import Attempts, logits
from training.encoders.embedding import EncodedPrompts, encode_prompts, features_of
from training.evaluation.bundle_predictions import BundlePredictions, predict, unseen_prompts
from training.histories.history import read_history
from training.histories.ladders import check_prices
from training.histories.outcome_table import HistoryTable, ReadOptions, tabulate_all
from training.histories.outcomes import Outcomes

__all__ = ["ArmEvidence", "gather_evidence", "read_attempts"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ArmEvidence:
    """Judged attempts in the order in which they are learnt, with the bundle's predictions for their prompts.

    Attributes:
        outcomes: ``n`` prompts, one arm: the new one.
        prompts: the same, as the bundle reads them.
        predicted: of the tier's arm alone.
        new: bool ``(n,)``, which prompts the bundle was not trained on.
        known: whether the bundle records its training prompts.
    """

    outcomes: Outcomes
    prompts: EncodedPrompts
    predicted: BundlePredictions
    new: npt.NDArray[np.bool_]
    known: bool

    @property
    def attempts(self) -> Attempts:
        """What the posterior is fitted on, ``n`` attempts."""
        weights = self.outcomes.weights
        return Attempts(
            logits(self.predicted.predictions.first[:, 0]),
            self.outcomes.adequate[:, 0],
            self.new,
            np.ones(len(self.outcomes)) if weights is None else weights[:, 0],
        )

    @property
    def lengths(self) -> tuple[Floats, Floats]:
        """The tier's quantiles ``(m, 3)`` and the tokens ``(m,)`` of attempts where both are known."""
        tokens, tier = self.outcomes.output_tokens[:, 0], self.predicted.lengths[:, 0]
        both = ~np.isnan(tokens) & ~np.isnan(tier).any(axis=1)
        return tier[both], tokens[both]


def read_attempts(arrival: ArmPlan) -> HistoryTable:
    """The table of outcomes of the new arm alone, from all histories of the plan.

    Raises:
        InvalidInput: a history cannot be read or lacks the model, judges are mixed, or a price is of no
            model in the table.
    """
    reading = arrival.reading
    histories = [
        read_history(path, skip_bad_rows=reading.skip_bad_rows) for path in arrival.histories
    ]
    check_judge(arrival, histories)
    asked = ReadOptions(
        {arrival.arm: arrival.model},
        reading.judge,
        reading.adequate_at,
        reading.prices,
        reading.skip_bad_rows,
        need_prices=False,
    )
    table = tabulate_all(histories, asked)
    check_prices(reading.prices, table.models)
    return table


def gather_evidence(
    arrival: ArmPlan, bundle: Bundle, outcomes: Outcomes, console: Console
) -> ArmEvidence:
    """Put the judged attempts in a random order, and predict for their prompts.

    Args:
        arrival: which arm to which bundle.
        bundle: the bundle of ``arrival``, loaded.
        outcomes: of :func:`read_attempts`, one arm.
        console: where the progress of encoding goes.

    Raises:
        InvalidInput: fewer judged attempts than :data:`arm_plan.MIN_ATTEMPTS`.
        MitsumoriError: the cache cannot be used.
    """
    # A file may be sorted by kind of prompt.
    shuffled = np.random.default_rng(arrival.seed).permutation(len(outcomes))
    outcomes = outcomes.rows(shuffled[outcomes.judged[shuffled, 0]])
    check_attempts(arrival, len(outcomes))
    texts = outcomes.texts.tolist()
    features = features_of(texts)[:, : bundle.classifier.features]
    prompts = encode_prompts(
        bundle.encoder, texts, cache=arrival.cache, console=console, features=features
    )
    predicted = predict(bundle, prompts, [arrival.tier])
    new = unseen_prompts(bundle, arrival.bundle, outcomes)
    everything = np.ones(len(outcomes), dtype=bool)
    return ArmEvidence(
        outcomes, prompts, predicted, everything if new is None else new, new is not None
    )
