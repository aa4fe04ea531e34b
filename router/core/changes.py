"""Changes of what a decision is made from: what stands in the way of a model, and what removes it.

Pure. Each change can be applied to :class:`~router.core.inputs.Inputs`, to make the decision again.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from router.core.inputs import Inputs
from router.core.limits import LimitState, Unit
from router.core.quotes import output_cap
from router.core.ruling import Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Goal,
    MissCost,
    PriceRange,
    QualityTarget,
    WillingnessToPay,
)

__all__ = ["GRID", "Change", "Lever", "changed", "obstacles"]

GRID = 1_000_000
"""Probabilities and seconds of a change are multiples of one by this."""


class Lever(enum.Enum):
    """What is changed. The value says in which of the three ways."""

    PRICE = "price"
    """The quote of :attr:`Change.name`: its expected price is at most the value, the rest in proportion."""
    P_ADEQUATE = "p_adequate"
    """P(adequate) of :attr:`Change.name` is at least the value."""
    MISS_COST = "miss_cost"
    """What a miss costs at the complexity of the prompt, at least or at most the value."""
    WILLINGNESS_TO_PAY = "willingness_to_pay"
    """What an adequate answer is worth, at least or at most the value."""
    QUALITY_TARGET = "quality_target"
    """P(adequate) to reach, at least or at most the value."""
    MAX_PRICE = "max_price"
    """The caller's bound is at least the value."""
    MAX_LATENCY = "max_latency"
    """Likewise, seconds."""
    MAX_FIRST_TOKEN = "max_first_token"  # noqa: S105 — no password
    """Likewise, seconds."""
    REGIONS = "regions"
    """The caller allows the region :attr:`Change.name`, too; empty: any region."""
    CAPABILITIES = "required_capabilities"
    """The caller does not require the capability :attr:`Change.name`."""
    TIERS = "allowed_tiers"
    """The caller allows the tier :attr:`Change.name`, too."""
    MODELS = "allowed_models"
    """The caller allows the model :attr:`Change.name`, too."""
    HEALTH = "health"
    """Calls to the model :attr:`Change.name` succeed."""
    FAILED_PROVIDER = "failed_provider"
    """The provider :attr:`Change.name` has not failed this request before."""
    RULE = "rule"
    """The rule :attr:`Change.name` of the routing table does not hold."""
    LIMIT = "limit"
    """What the limit :attr:`Change.name` allows is higher by the value: soft and hard value, and share."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        lever: what is changed.
        name: of what; empty where there is only one.
        value: nano-dollars, a probability, seconds, or an amount in the unit of a limit; 0 where the lever
            has none.
        now: what it is without the change; of a limit, what its hard value and its share allow, else its soft
            value.
        rises: whether the change is upwards, so that the value is a least one.
        unit: of a limit.
    """

    lever: Lever
    name: str = ""
    value: float = 0
    now: float = 0
    rises: bool = True
    unit: Unit | None = None


# --- What stands in the way --------------------------------------------------------------------


def obstacles(candidate: Candidate, inputs: Inputs) -> tuple[Change, ...] | None:
    """What keeps a candidate from taking part, as the changes that let it: all of them are needed.

    Health is not among them: see :func:`~router.core.health.left_out`.

    Args:
        candidate: of the inputs.
        inputs: of the decision, without rules that gave way; with the changes they may apply again.

    Returns:
        No change where it takes part; ``None`` where none helps: it has retired, has no price, no arm
        predicts for it, or the prompt does not fit.
    """
    model, quote, wanted = candidate.model, candidate.quote, inputs.constraints
    if model.retired is not None or quote is None or candidate.p_adequate is None:
        return None
    if output_cap(model, quote.input_tokens.tokens, wanted.max_output_tokens) < 1:
        return None
    first = quote.first_token
    if wanted.max_first_token_s is not None and first is None:
        return None
    found = list(_names_in_the_way(candidate, wanted, inputs.ruling))
    most = wanted.max_price_nanos
    if most is not None and quote.price.high > most:
        found.append(Change(Lever.MAX_PRICE, value=quote.price.high, now=most))
    seconds = [(Lever.MAX_LATENCY, wanted.max_latency_s, quote.latency.p90_s)]
    if first is not None:
        seconds.append((Lever.MAX_FIRST_TOKEN, wanted.max_first_token_s, first.p90_s))
    found += [
        Change(lever, value=_at_least(least), now=bound)
        for lever, bound, least in seconds
        if bound is not None and least > bound
    ]
    allowed = wanted.regions
    for change in found:
        if change.lever is Lever.REGIONS:
            allowed = allowed | {change.name} if change.name else frozenset()
    found += _rules_in_the_way(candidate, inputs.ruling, allowed)
    return (*found, *_limits_in_the_way(candidate))


def _at_least(seconds: float) -> float:
    """The least multiple of a millionth that is not below some seconds."""
    return math.ceil(seconds * GRID) / GRID


def _names_in_the_way(
    candidate: Candidate, wanted: Constraints, ruling: Ruling
) -> Iterable[Change]:
    model = candidate.model
    if wanted.models and not model.is_one_of(wanted.models):
        yield Change(Lever.MODELS, model.id)
    if wanted.tiers and model.tier not in wanted.tiers:
        yield Change(Lever.TIERS, model.tier)
    if wanted.regions and wanted.regions.isdisjoint(model.regions):
        of_rules = [r.effects.regions for r in ruling.rules if r.effects.regions]
        served = model.regions.intersection(*of_rules) or model.regions
        # Where a model is served may not be known: then only a caller that asks for no region can have it.
        yield Change(Lever.REGIONS, min(served, default=""))
    for name in sorted(wanted.capabilities - model.capabilities):
        yield Change(Lever.CAPABILITIES, name)


def _rules_in_the_way(
    candidate: Candidate, ruling: Ruling, regions: frozenset[str]
) -> Iterable[Change]:
    while (name := ruling.forbids(candidate, regions)) is not None:
        yield Change(Lever.RULE, name)
        ruling = _without(ruling, name)


def _without(ruling: Ruling, name: str) -> Ruling:
    return Ruling(tuple(rule for rule in ruling.rules if rule.name != name), ruling.version)


def _limits_in_the_way(candidate: Candidate) -> Iterable[Change]:
    """Of several balances of one limit, the fullest counts."""
    if candidate.amounts is None:
        return
    missing: dict[str, Change] = {}
    for state in candidate.limits:
        limit, amount = state.limit, candidate.amounts.of(state.limit.unit)
        ceiling = state.ceiling(amount)
        more = 0 if ceiling is None else state.spent + state.held + amount - ceiling
        if ceiling is None or more <= 0:
            continue
        if limit.id not in missing or missing[limit.id].value < more:
            missing[limit.id] = Change(Lever.LIMIT, limit.id, more, now=ceiling, unit=limit.unit)
    yield from (missing[name] for name in sorted(missing))


# --- Changing it -------------------------------------------------------------------------------


def changed(inputs: Inputs, *changes: Change) -> Inputs:
    """The inputs with changes.

    Args:
        inputs: of a decision.
        changes: what is changed, one after the other.
    """
    for change in changes:
        inputs = _APPLIED[change.lever](inputs, change)
    return inputs


def _each(inputs: Inputs, name: str, made: Callable[[Candidate], Candidate]) -> Inputs:
    return inputs._replace(
        candidates=[made(each) if each.model.id == name else each for each in inputs.candidates]
    )


def _priced(inputs: Inputs, change: Change) -> Inputs:
    value = int(change.value)

    def cheaper(candidate: Candidate) -> Candidate:
        quote, amounts = candidate.quote, candidate.amounts
        if quote is None or not quote.price.expected:
            return candidate
        before = quote.price.expected
        price = PriceRange(*(nanos * value // before for nanos in quote.price))
        if amounts is not None:
            amounts = amounts._replace(money=amounts.money * value // before)
        return candidate._replace(quote=quote._replace(price=price), amounts=amounts)

    return _each(inputs, change.name, cheaper)


def _adequate(inputs: Inputs, change: Change) -> Inputs:
    return _each(inputs, change.name, lambda each: each._replace(p_adequate=change.value))


def _aiming(inputs: Inputs, goal: Goal) -> Inputs:
    return inputs._replace(goal=goal)


def _target(inputs: Inputs, change: Change) -> Inputs:
    goal = inputs.goal
    kept = goal if isinstance(goal, QualityTarget) else QualityTarget(0.0)
    return _aiming(inputs, replace(kept, p_adequate=change.value))


def _asking(inputs: Inputs, field: str, value: Any) -> Inputs:
    return inputs._replace(constraints=replace(inputs.constraints, **{field: value}))


def _constrained(field: str) -> Callable[[Inputs, Change], Inputs]:
    def bounded(inputs: Inputs, change: Change) -> Inputs:
        bound = int(change.value) if change.lever is Lever.MAX_PRICE else change.value
        return _asking(inputs, field, bound)

    return bounded


def _allowing(field: str) -> Callable[[Inputs, Change], Inputs]:
    def allowed(inputs: Inputs, change: Change) -> Inputs:
        names: frozenset[str] = getattr(inputs.constraints, field)
        more = names | {change.name} if change.name else frozenset()
        return _asking(inputs, field, more)

    return allowed


def _demanding_less(inputs: Inputs, change: Change) -> Inputs:
    return _asking(inputs, "capabilities", inputs.constraints.capabilities - {change.name})


def _healthy(inputs: Inputs, change: Change) -> Inputs:
    health, name = inputs.health, change.name
    providers = {each.model.provider for each in inputs.candidates if each.model.id == name}

    def others(told: Mapping[str, str], names: set[str]) -> Mapping[str, str]:
        return {each: why for each, why in told.items() if each not in names}

    # A provider is no culprit any more as soon as one of its models answers.
    return inputs._replace(
        health=replace(
            health,
            models=others(health.models, {name}),
            providers=others(health.providers, providers),
        )
    )


def _provider_answers(inputs: Inputs, change: Change) -> Inputs:
    left = inputs.health.failed_providers - {change.name}
    return inputs._replace(health=replace(inputs.health, failed_providers=left))


def _unruled(inputs: Inputs, change: Change) -> Inputs:
    giving = next((r.name for r in inputs.ruling.rules if r.effects.goal is not None), None)
    left = inputs._replace(ruling=_without(inputs.ruling, change.name))
    if change.name == giving and inputs.next_goal is not None:
        left = _aiming(left, inputs.next_goal)
    return left


def _roomier(inputs: Inputs, change: Change) -> Inputs:
    more = int(change.value)

    def raised(state: LimitState) -> LimitState:
        limit = state.limit
        if limit.id != change.name:
            return state
        soft = None if limit.soft is None else limit.soft + more
        hard = None if limit.hard is None else limit.hard + more
        room = limit.room + more
        return replace(state, limit=replace(limit, soft=soft, hard=hard, room=room))

    # Candidates share the tuples of their limits, and shall go on sharing them.
    shared = {id(each.limits): each.limits for each in inputs.candidates}
    made = {name: tuple(map(raised, states)) for name, states in shared.items()}
    return inputs._replace(
        candidates=[each._replace(limits=made[id(each.limits)]) for each in inputs.candidates]
    )


_APPLIED: Mapping[Lever, Callable[[Inputs, Change], Inputs]] = {
    Lever.PRICE: _priced,
    Lever.P_ADEQUATE: _adequate,
    # The complexity is in the value already.
    Lever.MISS_COST: lambda inputs, change: inputs._replace(
        goal=MissCost(int(change.value)), complexity=1.0
    ),
    Lever.WILLINGNESS_TO_PAY: lambda inputs, change: _aiming(
        inputs, WillingnessToPay(int(change.value))
    ),
    Lever.QUALITY_TARGET: _target,
    Lever.MAX_PRICE: _constrained("max_price_nanos"),
    Lever.MAX_LATENCY: _constrained("max_latency_s"),
    Lever.MAX_FIRST_TOKEN: _constrained("max_first_token_s"),
    Lever.REGIONS: _allowing("regions"),
    Lever.CAPABILITIES: _demanding_less,
    Lever.TIERS: _allowing("tiers"),
    Lever.MODELS: _allowing("models"),
    Lever.HEALTH: _healthy,
    Lever.FAILED_PROVIDER: _provider_answers,
    Lever.RULE: _unruled,
    Lever.LIMIT: _roomier,
}
