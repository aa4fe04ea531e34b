"""What the ledger keeps of a task besides its labels and its cap, as JSON."""

from __future__ import annotations

from msgspec import Struct

from router.core.types import PriceRange

__all__ = ["TaskRecord"]


class TaskRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task as it was quoted when it began. A field may be added with a default; unknown fields are ignored.

    Attributes:
        model: that would be chosen for the first turn.
        price_nanos: of the quote.
        turns: that were expected.
        max_turns: the most that were expected.
        input_tokens: of the turns expected.
        max_input_tokens: of the most turns.
        output_tokens: of the turns expected.
        max_output_tokens: of the most turns.
        fitting_turns: how many turns fit the context window.
        price_table: version of the prices.
        models: to which its turns are confined, sorted; empty: any.
        tiers: likewise.
    """

    model: str
    price_nanos: PriceRange
    turns: int
    max_turns: int
    input_tokens: int
    max_input_tokens: int
    output_tokens: int
    max_output_tokens: int
    fitting_turns: int
    price_table: str
    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
