"""A canary against the rest: on which side a request is, what is counted of each, and when it halts.

Quality, cost per call and errors are compared, each by :mod:`router.core.sequential_test` with a third of
:data:`ALPHA`, so that a canary that is no worse than its margins allow is halted with probability
:data:`ALPHA` at most, however long it runs and however often it is looked at.

A cost is counted as a share of ten times what a call of the rest usually costs, and at most as 1: a few calls
at a hundred times that would hide everything else. What is usual is learnt from the first calls, which are
not compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from router.core.money import short_usd
from router.core.sequential_test import NOTHING_SEEN, Stream, log_evidence, reaches

__all__ = [
    "ALPHA",
    "CAP",
    "LEARNT_FROM",
    "Check",
    "CountedCall",
    "Halt",
    "Margins",
    "Side",
    "Tally",
    "draw_of",
    "evidence",
    "halt_of",
]

ALPHA: Final = 0.05
"""The probability of halting a canary that is no worse than its margins allow, at most."""
CAP: Final = 10
"""A call counts at most as so many usual ones."""
LEARNT_FROM: Final = 30
"""Calls of the rest from whose mean the usual cost is learnt."""
_BITS = 53
_ENOUGH: Final = math.log(3 / ALPHA)
"""Evidence at which one of the three comparisons is lost."""

Check = Literal["quality", "cost", "errors"]
"""A comparison of the canary with the rest."""


@dataclass(frozen=True)
class Margins:
    """How much worse than the rest a canary may be.

    Attributes:
        quality: in mean quality, 0..1.
        cost: in mean cost per call, as a share of that of the rest, ≥ 0.
        errors: in the share of calls that fail, 0..1.
    """

    quality: float = 0.01
    cost: float = 0.05
    errors: float = 0.01


@dataclass(frozen=True, slots=True)
class CountedCall:
    """What became of a call.

    Attributes:
        failed: whether it failed.
        cost: nano-dollars ≥ 0; ``None`` where it is not known.
        quality: 0..1; ``None`` where nobody judged it.
    """

    failed: bool
    cost: int | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """What is counted of one side.

    Attributes:
        quality: of judged calls.
        cost: of calls, as shares of :data:`CAP` usual ones, at most 1.
        errors: 1 for a call that failed, 0 for any other.
    """

    quality: Stream = NOTHING_SEEN
    cost: Stream = NOTHING_SEEN
    errors: Stream = NOTHING_SEEN

    def __add__(self, other: Side) -> Side:
        return Side(
            self.quality + other.quality, self.cost + other.cost, self.errors + other.errors
        )

    def with_call(self, call: CountedCall, usual: int | None) -> Side:
        """The side with one more call.

        Args:
            call: what became of it.
            usual: cost of a call, nano-dollars > 0; ``None``: not known, and then its cost is not counted.
        """
        made = replace(self, errors=self.errors.with_value(float(call.failed)))
        if call.quality is not None:
            made = replace(made, quality=made.quality.with_value(call.quality))
        if call.cost is not None and usual:
            made = replace(made, cost=made.cost.with_value(min(call.cost / (CAP * usual), 1.0)))
        return made


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of a canary and of the rest.

    Tallies of one canary, kept in several processes, may be added where they have the usual cost in common.

    Attributes:
        canary: calls that it decided.
        rest: calls of its scope that it did not decide.
        usual: cost of a call, nano-dollars > 0; ``None``: not known yet.
        learning: number and nano-dollars of the calls of the rest from which it is learnt.
    """

    canary: Side = field(default_factory=Side)
    rest: Side = field(default_factory=Side)
    usual: int | None = None
    learning: tuple[int, int] = (0, 0)

    def __add__(self, other: Tally) -> Tally:
        return replace(self, canary=self.canary + other.canary, rest=self.rest + other.rest)

    def with_call(self, call: CountedCall, *, took: bool) -> Tally:
        """The tally with one more call.

        Args:
            call: what became of it.
            took: whether the canary decided it.
        """
        if took:
            return replace(self, canary=self.canary.with_call(call, self.usual))
        made = replace(self, rest=self.rest.with_call(call, self.usual))
        if self.usual is not None or call.cost is None:
            return made
        calls, nanos = self.learning[0] + 1, self.learning[1] + call.cost
        # Where calls cost nothing there is nothing to compare, until one does.
        usual = round(nanos / calls) if calls >= LEARNT_FROM else 0
        return replace(made, usual=usual or None, learning=(calls, nanos))

    def with_usual(self, usual: int) -> Tally:
        """The tally with the usual cost of another one, nano-dollars > 0; costs counted by its own go."""
        if self.usual == usual:
            return self
        return Tally(
            replace(self.canary, cost=NOTHING_SEEN),
            replace(self.rest, cost=NOTHING_SEEN),
            usual,
            self.learning,
        )


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a canary was halted.

    Attributes:
        check: which comparison it lost.
        text: the same for people, with the figures.
    """

    check: Check
    text: str


def evidence(tally: Tally, margins: Margins) -> Mapping[Check, float]:
    """The evidence that the canary is worse than its margins allow, by check: at 1 it is halted.

    The logarithm of the evidence as a share of what :data:`ALPHA` asks for, ≥ 0.

    Args:
        tally: of all processes.
        margins: of the canary.
    """
    return {
        check: log_evidence(larger, smaller, factor=factor, margin=margin) / _ENOUGH
        for check, larger, smaller, factor, margin in _suspicions(tally, margins)
    }


def halt_of(tally: Tally, margins: Margins) -> Halt | None:
    """Why a canary must halt now; ``None``: it need not.

    Args:
        tally: of all processes.
        margins: of the canary.
    """
    for check, larger, smaller, factor, margin in _suspicions(tally, margins):
        if reaches(_ENOUGH, larger, smaller, factor=factor, margin=margin):
            return Halt(check, _told(check, tally, margins))
    return None


def _suspicions(
    tally: Tally, margins: Margins
) -> Iterator[tuple[Check, Stream, Stream, float, float]]:
    """What would be wrong: a mean that is above another one times a factor, plus a margin."""
    canary, rest = tally.canary, tally.rest
    yield "quality", rest.quality, canary.quality, 1.0, margins.quality
    yield "cost", canary.cost, rest.cost, 1 + margins.cost, 0.0
    yield "errors", canary.errors, rest.errors, 1.0, margins.errors


def _told(check: Check, tally: Tally, margins: Margins) -> str:
    canary, rest = getattr(tally.canary, check), getattr(tally.rest, check)
    if check == "quality":
        told, allowed = "mean quality {}", f"more than {margins.quality:g} lower"
        means = [format(each.mean, ".3f") for each in (canary, rest)]
    elif check == "errors":
        told, allowed = (
            "{} of calls fail",
            f"more than {100 * margins.errors:g} percentage points higher",
        )
        means = [format(each.mean, ".1%") for each in (canary, rest)]
    else:
        most = CAP * (tally.usual or 0)
        told, allowed = "{} per call", f"more than {100 * margins.cost:g}% higher"
        means = [short_usd(round(each.mean * most)) for each in (canary, rest)]
    return (
        f"{check}: {told.format(means[0])} over {canary.count:,} settled calls of the canary, {means[1]} "
        f"over {rest.count:,} of the rest; {allowed}, at an error of {ALPHA:.0%} over the whole run"
    )


def draw_of(tenant: str, unit: str) -> float:
    """The number that puts a request on a side, 0 ≤ draw < 1: a canary of share s takes those below s.

    It depends on nothing else, so that every process and every restart finds the same, and a share that
    grows keeps whom it has. It is no secret: who chooses ids can choose sides.

    Args:
        tenant: label of the request; empty where it has none.
        unit: what stays on one side: the id of the conversation, or of the decision where there is none.
    """
    digest = hashlib.blake2b(digest_size=8, person=b"canary")
    for text in (tenant, unit):
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)} ".encode())
        digest.update(encoded)
    return float((int.from_bytes(digest.digest()) >> (64 - _BITS)) / (1 << _BITS))
