"""Learns the corrections of quotes from the decision log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.corrections import Corrections, learn
from router.core.types import Lengths
from router.decision_log.observation import observations
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
        corrections: the result of the last refresh; replaced as a whole, so that any thread may read it.
    """

    ledger: Ledger
    levels: Sequence[str]
    count: int
    allowances: Mapping[str, Lengths]
    corrections: Corrections = field(default_factory=Corrections)

    def refresh(self) -> None:
        """Read the log and replace :attr:`corrections`.

        Raises:
            Unavailable: the store cannot be read; the corrections stay as they are.
        """
        if self.count:
            seen = observations(self.ledger, self.count, self.allowances)
            self.corrections = learn(seen, self.levels)
