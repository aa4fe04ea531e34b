"""Where no model can be chosen: the fewest things to relax, and the quote that there would be then. Pure.

Whatever is relaxed lets in all models that nothing else keeps out. So the smallest set that helps at all is
the one that some model needs, and there is no need to search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from router.core.changes import Change, Lever, changed, obstacles
from router.core.errors import Exhausted, MitsumoriError, NotPossible
from router.core.goals import quote_of
from router.core.inputs import Inputs
from router.core.limits import Unit
from router.core.money import format_usd, short_usd
from router.core.plurals import counted
from router.core.task_cap import TASK
from router.core.types import Candidate

__all__ = ["Relaxation", "advised", "nearest"]

_MOST_TOLD = 3
"""Changes that a message names."""
_FACTS = 64
"""Characters of a name in a message, which has to fit into the header of a status."""
_OF_THE_CALLER = (
    Lever.MAX_PRICE,
    Lever.MAX_LATENCY,
    Lever.MAX_FIRST_TOKEN,
    Lever.REGIONS,
    Lever.CAPABILITIES,
    Lever.TIERS,
    Lever.MODELS,
)
"""What the caller can relax; the rest is the operator's. Earlier ones are relaxed first."""
_WITHOUT_ADVICE = frozenset(
    {
        *("LIMIT_DEFERRED", "RULE_DEFERRED", "LOAD_DEFERRED"),
        *("PROVIDERS_FULL", "PROVIDER_LIMIT_NEVER_FITS"),
    }
)
"""Reasons of refusals that are meant, since the work can wait, or that name what there is and when."""


@dataclass(frozen=True, slots=True)
class Relaxation:
    """What to relax.

    Attributes:
        changes: all of which are needed, at least one.
        chosen: the model that is chosen then, with its quote.
    """

    changes: tuple[Change, ...]
    chosen: Candidate


def nearest(inputs: Inputs) -> Relaxation | None:
    """The smallest set of changes with which a model can be chosen; ``None``: no change helps.

    Of sets of one size the caller's constraints come before rules and limits, then those whose bound rises by
    the smallest share, then the cheapest model.

    Args:
        inputs: of a decision that is refused.
    """
    inputs = inputs._replace(exploration=None)
    strict = inputs.after_giving_way()
    found = [(needed, each) for each in inputs.candidates if (needed := obstacles(each, strict))]
    if not found:
        return None
    changes, _ = min(found, key=lambda one: _distance(*one))
    try:
        return Relaxation(changes, changed(inputs, *changes).decide().chosen)
    except MitsumoriError:  # batch work that is deferred
        return None


def _distance(
    changes: Sequence[Change], candidate: Candidate
) -> tuple[int, int, float, list[int], int, str]:
    order = [
        _OF_THE_CALLER.index(each.lever) if each.lever in _OF_THE_CALLER else len(_OF_THE_CALLER)
        for each in changes
    ]
    others = sum(each.lever not in _OF_THE_CALLER for each in changes)
    price = quote_of(candidate).price.expected
    return len(changes), others, max(map(_rise, changes)), order, price, candidate.model.id


def _rise(change: Change) -> float:
    """By what share of it a bound rises; names count as one that doubles."""
    if change.lever is Lever.LIMIT:
        return change.value / change.now if change.now else math.inf
    if not change.value:
        return 1.0
    return change.value / change.now - 1 if change.now else math.inf


def advised(error: MitsumoriError, inputs: Inputs) -> MitsumoriError:
    """A refusal with the nearest feasible quote, in its message and its metadata.

    Args:
        error: of :meth:`Inputs.decide`.
        inputs: of that decision.
    """
    found = None if error.reason in _WITHOUT_ADVICE else nearest(inputs)
    if found is None or not isinstance(error, NotPossible | Exhausted):
        return error
    told = [_remedy(each) for each in found.changes[:_MOST_TOLD]]
    more = len(found.changes) - len(told)
    price = quote_of(found.chosen).price
    then = (
        f"{_name(found.chosen.model.id)} would be chosen, for {short_usd(price.expected)} "
        f"expected and {format_usd(price.high)} at most in nine of ten calls"
    )
    listed = " and ".join(told) + (f" and {more} more" if more else "")
    said = len(told) == 1 and told[0] in error.message
    message = (
        f"{error.message}; then {then}"
        if said
        else f"{error.message}; nearest: {listed}, then {then}"
    )
    facts = {
        "feasible_model": found.chosen.model.id,
        "feasible_expected_price_usd": format_usd(price.expected)[1:],
        "feasible_high_price_usd": format_usd(price.high)[1:],
        "relaxations": str(len(found.changes)),
    }
    for place, each in enumerate(found.changes[:_MOST_TOLD], start=1):
        facts[f"relax_{place}"] = _field(each)
        facts[f"relax_{place}_to"] = _to(each)
    return type(error)(
        message, reason=error.reason, field=error.field, metadata={**error.metadata, **facts}
    )


def _name(name: str) -> str:
    return name if len(name) <= _FACTS else f"{name[:_FACTS]}…"


def _is_cap(change: Change) -> bool:
    return change.lever is Lever.LIMIT and change.name.startswith(TASK)


def _field(change: Change) -> str:
    """What is relaxed: a field of the request, a rule or limit by its name, or a task whose cap."""
    if change.lever in _OF_THE_CALLER:
        return f"constraints.{change.lever.value}"
    if _is_cap(change):
        return change.name
    return f"{change.lever.value} {change.name}"


def _to(change: Change) -> str:
    """The value that is needed, as text: a bound, a name to allow, or how much more of a limit."""
    if change.lever is Lever.MAX_PRICE or change.unit is Unit.MONEY:
        return format_usd(int(change.value))[1:]
    if change.lever in (Lever.MAX_LATENCY, Lever.MAX_FIRST_TOKEN):
        return f"{change.value:.6f}".rstrip("0").rstrip(".")
    if change.lever is Lever.LIMIT:
        return str(int(change.value))
    return "" if change.lever is Lever.RULE else change.name


def _amount(change: Change) -> str:
    """How much more there has to be under a limit, with its unit."""
    nouns = {
        Unit.TOKENS: "token",
        Unit.REQUESTS: "request",
        Unit.CONCURRENT: "concurrent request",
    }
    if change.unit is None or change.unit is Unit.MONEY:
        return f"${_to(change)}"
    return counted(int(change.value), nouns[change.unit])


def _remedy(change: Change) -> str:
    field, to, name = _field(change), _to(change), _name(change.name)
    match change.lever:
        case Lever.MAX_PRICE:
            return f"raise {field} to at least ${to}"
        case Lever.MAX_LATENCY | Lever.MAX_FIRST_TOKEN:
            return f"raise {field} to at least {to} s"
        case Lever.CAPABILITIES:
            return f"leave {name} out of {field}"
        case Lever.REGIONS:
            return f"allow {name} in {field}" if name else f"leave out {field}"
        case Lever.RULE:
            return f"have the rule {name} of the routing table changed"
        case Lever.LIMIT:
            of = "the cap of" if _is_cap(change) else "limit"
            return f"{_amount(change)} more under {of} {name}"
    return f"allow {name} in {field}"
