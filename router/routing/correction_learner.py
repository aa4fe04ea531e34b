"""Learns the corrections of quotes from the decision log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.core.corrections import Corrections, Observation, learn
from router.core.latency import TimedCall, learn_timings
from router.core.types import Lengths, Speed
from router.decision_log.observation import newest_settled, observation_of, timed_call_of
from router.ledger.base import Ledger

__all__ = ["CorrectionLearner"]


@dataclass
class CorrectionLearner:
    """Learns corrections from the newest settled decisions.

    Every refresh starts from nothing, so that all replicas that read the same log learn the same.

    Attributes:
        ledger: holds the decision log.
        levels: names of labels, from the widest scope to the narrowest.
        count: how many of the newest settled decisions are read, ≥ 0; 0 learns nothing.
        allowances: model id → allowance for hidden reasoning, which is part of the quotes.
        speeds: model id → speed by the catalog; the latency of other models is not learned.
        corrections: the result of the last refresh; replaced as a whole, so that any thread may read it.
    """

    ledger: Ledger
    levels: Sequence[str]
    count: int
    allowances: Mapping[str, Lengths]
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    corrections: Corrections = field(default_factory=Corrections)

    def refresh(self) -> None:
        """Read the log and replace :attr:`corrections`.

        Raises:
            Unavailable: the store cannot be read; the corrections stay as they are.
        """
        if not self.count:
            return
        observed: list[Observation] = []
        timed: list[TimedCall] = []
        for row in newest_settled(self.ledger, self.count):
            if (seen := observation_of(row, self.allowances)) is not None:
                observed.append(seen)
            if (call := timed_call_of(row, self.allowances)) is not None:
                timed.append(call)
        learned = learn(observed, self.levels)
        self.corrections = replace(learned, timings=learn_timings(timed, self.speeds, learned))
