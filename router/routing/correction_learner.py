"""Keeps the corrections of quotes up to date from the decision log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.corrections import Corrections, learn
from router.core.types import Lengths
from router.decision_log.record import observations
from router.ledger.base import Ledger

__all__ = ["CorrectionLearner"]


@dataclass
class CorrectionLearner:
    """Learns anew from the latest settled decisions, whenever it is told to.

    Nothing is kept but the latest result: every replica that reads the same log learns the same.

    Attributes:
        ledger: whose log is read.
        levels: names of labels from the widest scope to the narrowest.
        count: how many settled decisions are read, the newest; 0 learns nothing.
        allowances: for hidden reasoning, by model: a part of what quotes foretell.
        corrections: what was learned last; replaced as a whole, so that any thread may read it.
    """

    ledger: Ledger
    levels: Sequence[str]
    count: int
    allowances: Mapping[str, Lengths]
    corrections: Corrections = field(default_factory=Corrections)

    def refresh(self) -> None:
        """Read the log and learn.

        Raises:
            Unavailable: the store cannot be read; what was learned before stays.
        """
        if self.count:
            seen = observations(self.ledger, self.count, self.allowances)
            self.corrections = learn(seen, self.levels)
