"""Exclusions: why a candidate cannot be chosen, and the error where none can. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from router.core.errors import NotPossible
from router.core.goals import quote_of
from router.core.limit_effects import binding_limit
from router.core.money import format_usd
from router.core.quotes import output_cap
from router.core.ruling import NO_RULING, Ruling
from router.core.task_cap import is_cap
from router.core.types import Candidate, Constraints, Quote, Reason

__all__ = ["arm_prices", "blocked", "exclusion", "exclusion_reasons", "no_eligible_model", "unmet"]

_BY_RULE = "by_rule_"
"""Begins the name of an exclusion by the rule that follows."""


def exclusion(
    candidate: Candidate, constraints: Constraints, ruling: Ruling = NO_RULING
) -> str | None:
    """Why a candidate is excluded, as a stable lower-case name; ``None`` if it is eligible.

    Args:
        candidate: with its quote and limits.
        constraints: what the caller allows.
        ruling: what the routing table allows.
    """
    return unmet(candidate, constraints, ruling) or blocked(candidate)


def blocked(candidate: Candidate) -> str | None:
    """The exclusion of a candidate that a hard limit blocks; ``None`` if none does."""
    blocked = binding_limit(candidate)
    if blocked is None:
        return None
    return "limit_task_cap" if is_cap(blocked[0].limit) else f"limit_{blocked[1].value}"


def unmet(candidate: Candidate, constraints: Constraints, ruling: Ruling) -> str | None:
    """The exclusion of a candidate that cannot be chosen whatever the limits; ``None`` if it can."""
    model, quote = candidate.model, candidate.quote
    if constraints.models and not model.is_one_of(constraints.models):
        return "not_in_allowed_models"
    if constraints.tiers and model.tier not in constraints.tiers:
        return "not_in_allowed_tiers"
    if model.retired is not None:
        return "retired"
    if constraints.regions and constraints.regions.isdisjoint(model.regions):
        return "not_in_regions"
    if not constraints.capabilities <= model.capabilities:
        return "lacks_capability"
    if candidate.p_adequate is None:
        return "unknown_to_the_classifier"
    if quote is None:
        return "no_price"
    if output_cap(model, quote.input_tokens.tokens, constraints.max_output_tokens) < 1:
        return "context_window_too_small"
    if constraints.max_price_nanos is not None and quote.price.high > constraints.max_price_nanos:
        return "over_max_price"
    if constraints.max_latency_s is not None and quote.latency.p90_s > constraints.max_latency_s:
        return "over_max_latency"
    if constraints.max_first_token_s is not None and not _answers_within(
        quote, constraints.max_first_token_s
    ):
        return "over_max_first_token"
    forbidding = ruling.forbids(candidate, constraints.regions)
    return None if forbidding is None else f"{_BY_RULE}{forbidding}"


def _answers_within(quote: Quote, seconds: float) -> bool:
    """Whether nine in ten calls have their first token within a time; false where that is not known."""
    return quote.first_token is not None and quote.first_token.p90_s <= seconds


def arm_prices(
    candidates: Sequence[Candidate], constraints: Constraints, ruling: Ruling = NO_RULING
) -> dict[str, int]:
    """By arm, the expected price in nano-dollars of its cheapest candidate that may be chosen.

    Args:
        candidates: with their quotes.
        constraints: what the caller allows.
        ruling: what the routing table allows.
    """
    prices: dict[str, int] = {}
    for each in candidates:
        if (
            each.arm is None
            or each.quote is None
            or exclusion(each, constraints, ruling) is not None
        ):
            continue
        price = each.quote.price.expected
        prices[each.arm] = min(price, prices.get(each.arm, price))
    if not prices and ruling.gives_way:
        return arm_prices(candidates, constraints, ruling.after_giving_way())
    return prices


def exclusion_reasons(excluded: Counter[str]) -> Iterable[Reason]:
    """A reason that counts the exclusions by name, if there are any."""
    if excluded:
        yield Reason(
            "MODELS_EXCLUDED",
            f"models left out: {_listed(excluded)}",
            {name: str(count) for name, count in excluded.items()},
        )


def _listed(excluded: Counter[str]) -> str:
    return ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in sorted(excluded.items())
    )


def no_eligible_model(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    ruling: Ruling,
    excluded: Counter[str],
) -> NotPossible:
    """The error when no candidate meets the constraints: why each was excluded, and a remedy."""
    remedies = {
        "over_max_price": "raise constraints.max_price",
        "over_max_latency": "raise constraints.max_latency",
        "over_max_first_token": "raise constraints.max_first_token",
        "context_window_too_small": "shorten the prompt",
        "no_price": "give the models a price in the catalog",
        "unknown_to_the_classifier": "serve a bundle that has arms for these tiers",
        "lacks_capability": "ask for fewer required_capabilities",
        "not_in_regions": "allow more constraints.regions, or have the catalog say where models are served",
        "retired": "allow other models",
    }
    # The remedy is for the constraint that is checked last: its candidates met all the others.
    order = list(remedies)
    nearest = min(
        (name for name in excluded if name in remedies), key=order.index, default="lacks_capability"
    )
    metadata = {name: str(count) for name, count in excluded.items()}
    if nearest == "over_max_price":
        cheapest = min(
            quote_of(c).price.high
            for c in candidates
            if exclusion(c, constraints, ruling) == nearest
        )
        metadata["cheapest_high_price_usd"] = format_usd(cheapest)[1:]
        remedies[nearest] += f" to at least {format_usd(cheapest)}"
    if nearest == "retired":
        remedies[nearest] = f"{_retirements(candidates, constraints)}; {remedies[nearest]}"
    remedy = remedies[nearest] if nearest in excluded else "allow more models or tiers"
    by_rules = sorted(name for name in excluded if name.startswith(_BY_RULE))
    if by_rules:
        # What the rules leave out met all constraints.
        told = ", ".join(name.removeprefix(_BY_RULE) for name in by_rules)
        remedy = f"the routing table leaves none of those that do ({told}); ask its operator to change it"
    return NotPossible(
        f"no model meets the constraints ({_listed(excluded)}); {remedy}",
        reason="NO_ELIGIBLE_MODEL",
        field="constraints",
        metadata=metadata,
    )


def _retirements(candidates: Sequence[Candidate], constraints: Constraints) -> str:
    """Which models would meet the constraints, had they not retired; at most three of them."""
    told = [
        f"{each.model.id} retired on {each.model.retired}"
        for each in candidates
        if exclusion(each, constraints) == "retired"
    ]
    return ", ".join(told[:3] + (["and others"] if len(told) > 3 else []))
