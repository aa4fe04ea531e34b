"""What is on and what is off: the features of the server and of its callers, and callers without a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["BASELINES", "EVERYTHING", "VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """Which features are on.

    Attributes:
        name: for tables.
        fixed: who chooses a model without asking the server: that with the highest mean P(adequate), the
            cheapest one, or chance; ``None``: the server is asked.
        rules: the routing table that ships; else there is none.
        health: breakers leave models out that fail; callers report failures.
        failover: a caller whose call fails asks for another model; else it repeats the call, after a wait.
        learning: quotes learn from settled calls how long answers are and how long models take.
        deferral: batch work waits while a minute has more requests than the busiest one of a calm hour.
        limits: the settings have what providers allow, where the condition has them allow less than plenty.
        headers: callers report what providers say of their limits.
        explore: share of the decisions that is left to chance.
    """

    name: str
    fixed: Literal["best", "cheapest", "random"] | None = None
    rules: bool = True
    health: bool = True
    failover: bool = True
    learning: bool = True
    deferral: bool = True
    limits: bool = True
    headers: bool = True
    explore: float = 0.0


EVERYTHING: Final = Variant("everything")
BASELINES: Final = (
    Variant("baseline: always the best model", fixed="best"),
    Variant("baseline: always the cheapest model", fixed="cheapest"),
    Variant("baseline: any model by chance", fixed="random"),
)
VARIANTS: Final = (
    EVERYTHING,
    Variant("without rules", rules=False),
    Variant("without health", health=False),
    Variant("without failover", failover=False),
    Variant("without health and failover", health=False, failover=False),
    Variant("without learning", learning=False),
    Variant("without load limits", limits=False, headers=False),
    Variant("reported headers alone", limits=False),
    Variant("without deferral", deferral=False),
    Variant("without load limits and deferral", deferral=False, limits=False, headers=False),
    Variant("with 5 % exploration", explore=0.05),
    *BASELINES,
)
"""A further feature is a field of :class:`Variant` and a line here."""
