"""What the rooms above tell of a call; :class:`Observer` keeps nothing of it.

:class:`meters.Meters` keeps it as metrics. Without telemetry, as in replays and simulations, nothing of
OpenTelemetry is even loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.core.limits import LimitState

__all__ = ["OTHER", "UNOBSERVED", "Observer", "SettledCall"]

OTHER = "other"
"""Stands for what would be one label too many: a model outside the catalog, a reason after the hundredth."""


@dataclass(frozen=True, slots=True)
class SettledCall:
    """A report of usage that was booked.

    Attributes:
        model: that was called; :data:`OTHER` for one that is not in the catalog.
        provider: of the model; :data:`OTHER` likewise.
        input_tokens: ≥ 0.
        output_tokens: ≥ 0.
        booked: nano-dollars ≥ 0.
        quoted: the expected price in the quote, nano-dollars ≥ 0.
    """

    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    booked: int
    quoted: int


class Observer:
    """Is told what happens. Every method may be called from any thread, takes microseconds and never fails.

    None may be told the text of a prompt, a secret or a label of a caller.
    """

    def waited(self, seconds: float) -> None:
        """An admitted call waited this long for a worker, ≥ 0."""

    def refused(self, reason: str) -> None:
        """A call was refused, for the stable reason of its error."""

    def decided(self, model: str, provider: str, *, held: bool) -> None:
        """A decision was recorded for the first time.

        Args:
            model: id of the chosen model.
            provider: its provider.
            held: whether money is held for it.
        """

    def saw_limits(self, states: tuple[LimitState, ...], labels: Mapping[str, str]) -> None:
        """A decision saw these limits, which apply to its labels."""

    def settled(self, call: SettledCall) -> None:
        """A decision was settled, for the first time."""

    def ejected(self, model: str, provider: str) -> None:
        """Calls to a model fail, and it is left out for a while.

        Args:
            model: catalog id.
            provider: of the model.
        """

    def shadowed(self, result: str) -> None:
        """A shadow dealt with a copy of a request: ``agrees``, ``differs``, ``failed`` or ``dropped``."""

    def split(self, *, took: bool) -> None:
        """A request in the scope of a canary was put on a side.

        Args:
            took: whether the canary is to decide it.
        """

    def released(self) -> None:
        """A hold was released without spend."""

    def expired(self, holds: int) -> None:
        """This many holds, ≥ 0, ran out and were freed."""

    def committed(self, seconds: float, operations: int) -> None:
        """The ledger committed a group of operations, this long after it had begun, ≥ 0."""


UNOBSERVED = Observer()
"""Where nobody wants to be told."""
