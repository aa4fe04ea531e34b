"""Counterfactuals: what would have to change for a candidate to take part, and to be the choice. Pure.

Each is tried: the decision, made again with it, chooses the candidate, and does not with one nano-dollar, one
unit of a limit or a millionth less of it. Nothing is left to chance then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from router.core.changes import GRID, Change, Lever, changed, obstacles
from router.core.decision import set_aside
from router.core.errors import MitsumoriError
from router.core.exclusions import exclusion
from router.core.goals import at_stake, lowered, quote_of, ranked_by
from router.core.inputs import Inputs
from router.core.limit_effects import pace, soft_limits_passed
from router.core.limits import LimitState, SoftAction, pace_relaxation
from router.core.load import NO_LOAD, PROVIDER_FULL, full_accounts
from router.core.money import MAX_NANOS
from router.core.types import Candidate, Goal, MissCost, QualityTarget

__all__ = ["Contest", "choice", "exclusions", "needs"]

_HURDLES = 5
"""Constraints, rules and limits; a rule that had given way; the health of a model; that of its provider; a
soft limit."""
_MOST_LIMITS = 4
"""Of soft limits that act, the most of which each is tried alone."""
_CHANGING = frozenset({SoftAction.PREFER_CHEAPER, SoftAction.FORBID_TOP_TIER})


def choice(inputs: Inputs) -> Candidate | None:
    """What is chosen; ``None``: the decision is refused."""
    try:
        return inputs.decide().chosen
    except MitsumoriError:
        return None


def exclusions(inputs: Inputs) -> Iterator[tuple[str, str]]:
    """The id of each candidate that is left out, and why."""
    inputs = inputs.in_force()
    eligible = []
    for each in inputs.candidates:
        name = exclusion(each, inputs.constraints, inputs.ruling)
        if name is None:
            eligible.append(each)
        else:
            yield each.model.id, name
    out: Mapping[str, str] = {}
    if eligible:
        out, _ = set_aside(inputs.candidates, eligible, inputs.health, inputs.conversation)
        yield from out.items()
    if inputs.load is not NO_LOAD:
        well = [each for each in eligible if each.model.id not in out]
        yield from dict.fromkeys(full_accounts(well, inputs.load), PROVIDER_FULL).items()


# --- To take part ------------------------------------------------------------------------------


def needs(candidate: Candidate, inputs: Inputs) -> tuple[Change, ...]:
    """All that it takes for a candidate that was left out to take part; empty: nothing helps.

    Args:
        candidate: of the inputs.
        inputs: of the decision, without exploration.
    """
    found: tuple[Change, ...] = ()
    model = candidate.model.id
    # What constraints, rules and limits leave, health may leave out, and then a soft limit. A rule that has
    # given way may apply again as soon as a constraint is relaxed.
    for _ in range(_HURDLES):
        (candidate,) = [each for each in inputs.candidates if each.model.id == model]
        more = _hurdle(candidate, inputs)
        if not more:
            break
        found += more
        inputs = changed(inputs, *more)
    return found


def _hurdle(candidate: Candidate, inputs: Inputs) -> tuple[Change, ...]:
    """What a candidate needs to come past what leaves it out first; empty: nothing does, or nothing helps."""
    model = candidate.model
    match dict(exclusions(inputs)).get(model.id):
        case "unhealthy":
            return (Change(Lever.HEALTH, model.id),)
        case "of_a_failed_provider":
            return (Change(Lever.FAILED_PROVIDER, model.provider),)
        case str() as name if name == PROVIDER_FULL:
            return ()  # only time helps
        case str():
            return obstacles(candidate, inputs.in_force()) or ()
    if model.tier != inputs.top_tier or model.id in {
        each.model.id for each in inputs.decide().ranked
    }:
        return ()
    return tuple(
        _more(state, state.spent + state.held + _amount(candidate, state) - limit.soft)
        for state in soft_limits_passed(candidate, SoftAction.FORBID_TOP_TIER)
        if (limit := state.limit).soft is not None
    )


# --- To be the choice --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contest:
    """A decision in which nothing is left to chance.

    Attributes:
        inputs: that it is made from.
        ranked: the candidates that take part, the choice first.
        unlimited: the ranking without soft limits and pacing, with what a soft limit forbids.
        goal: for this prompt.
        pursued: the same, lowered by pacing.
        kept: the share of it that pacing leaves, 0..1.
    """

    inputs: Inputs
    ranked: tuple[Candidate, ...]
    unlimited: tuple[Candidate, ...]
    goal: Goal
    pursued: Goal
    kept: float

    @classmethod
    def of(cls, inputs: Inputs) -> Contest:
        """The contest of a decision.

        Args:
            inputs: that it is made from; its exploration does not count.

        Raises: as :meth:`Inputs.decide`.
        """
        inputs = inputs._replace(exploration=None)
        ranked = inputs.decide().ranked
        out = dict(exclusions(inputs))
        eligible = [each for each in inputs.candidates if each.model.id not in out]
        goal = at_stake(inputs.goal, inputs.complexity)
        relaxation, _ = pace(ranked, inputs.moment)
        unlimited = tuple(ranked_by(goal, eligible))
        return cls(inputs, ranked, unlimited, goal, lowered(goal, relaxation), 1 - relaxation)

    @property
    def best(self) -> Candidate:
        """The choice."""
        return self.ranked[0]

    def _wins(self, candidate: Candidate, *changes: Change) -> bool:
        chosen = choice(changed(self.inputs, *changes))
        return chosen is not None and chosen.model.id == candidate.model.id

    def changes(self, candidate: Candidate) -> Iterator[Change]:
        """Changes of which each alone makes a candidate the choice that takes part."""
        yield from self._better(candidate)
        yield from self._cheaper(candidate)
        yield from self._other_goal(candidate)
        for name in self.acting(candidate):
            yield from self._roomier(candidate, name)
        for rule in self.inputs.ruling.rules:
            if rule.effects.goal is self.inputs.ruling.goal is not None:
                change = Change(Lever.RULE, rule.name)
                if self._wins(candidate, change):
                    yield change
                return

    def _better(self, candidate: Candidate) -> Iterator[Change]:
        now = _p(candidate)

        def at(value: int) -> Change:
            return Change(Lever.P_ADEQUATE, candidate.model.id, value / GRID, now)

        least = int(now * GRID) + 1
        for guess in sorted(self._enough(candidate)):
            found = _least(
                lambda value: self._wins(candidate, at(value)),
                max(math.ceil(guess * GRID), least),
                least - 1,
                GRID,
            )
            if found is not None:
                yield at(found)
                return

    def _enough(self, candidate: Candidate) -> Iterable[float]:
        """P(adequate) with which a candidate may be the choice."""
        goal, ahead = self.pursued, self.best
        if isinstance(goal, QualityTarget):
            highest = max(_p(each) for each in self.ranked)
            return {goal.p_adequate, highest - goal.regret, highest + goal.regret}
        if not goal.nanos:
            return ()
        more = quote_of(candidate).price.expected - quote_of(ahead).price.expected
        return (_p(ahead) + more / goal.nanos,)

    def _cheaper(self, candidate: Candidate) -> Iterator[Change]:
        now, goal = quote_of(candidate).price.expected, self.pursued

        def at(value: int) -> Change:
            return Change(Lever.PRICE, candidate.model.id, value, now, rises=False)

        stake = 0 if isinstance(goal, QualityTarget) else goal.nanos
        lead = math.ceil((_p(self.best) - _p(candidate)) * stake)
        price = quote_of(self.best).price.expected
        for most in sorted({price - lead, price}, reverse=True):
            found = _least(lambda value: self._wins(candidate, at(-value)), -most, -now, 0)
            if found is not None:
                yield at(-found)
                return

    def _other_goal(self, candidate: Candidate) -> Iterator[Change]:
        goal = self.goal
        if isinstance(goal, QualityTarget):
            yield from self._other_target(candidate, goal)
            return
        if not self.kept:
            return  # pacing leaves nothing of it
        lever = Lever.MISS_COST if isinstance(goal, MissCost) else Lever.WILLINGNESS_TO_PAY
        low, high = self._span(candidate)

        def at(value: int) -> Change:
            return Change(lever, "", abs(value), goal.nanos, rises=value >= 0)

        def wins(value: int) -> bool:
            return self._wins(candidate, at(value))

        # Pacing lowers what is at stake.
        least, most = math.ceil(low / self.kept), math.floor(high / self.kept)
        found = None
        if least <= most:
            found = _least(wins, max(least, goal.nanos + 1), goal.nanos, MAX_NANOS)
            if found is None and most > 0:
                found = _least(wins, max(-most, 1 - goal.nanos), -goal.nanos, -1)
        if found is not None:
            yield at(found)

    def _span(self, candidate: Candidate) -> tuple[float, float]:
        """From and up to which stake, nano-dollars ≥ 0, price − P(adequate) × stake is the least of all."""
        low, high = 0.0, float(MAX_NANOS)
        price, p = quote_of(candidate).price.expected, _p(candidate)
        for other in self.ranked:
            dearer, better = price - quote_of(other).price.expected, p - _p(other)
            if better > 0:
                low = max(low, dearer / better)
            elif better < 0:
                high = min(high, dearer / better)
        return low, high

    def _other_target(self, candidate: Candidate, goal: QualityTarget) -> Iterator[Change]:
        now, p, price = goal.p_adequate, _p(candidate), quote_of(candidate).price.expected
        rises = p >= now

        def at(value: int) -> Change:
            return Change(Lever.QUALITY_TARGET, "", value / GRID, now, rises=rises)

        def wins(value: int) -> bool:
            return self._wins(candidate, at(value))

        if rises:
            cheaper = [
                _p(each)
                for each in self.ranked
                if _p(each) < p and quote_of(each).price.expected <= price
            ]
            guess = math.floor(max(cheaper, default=now) * GRID) + 1
            found = _least(wins, guess, math.floor(now * GRID), GRID)
        else:
            below = _least(
                lambda value: wins(-value), -math.floor(p * GRID), -math.ceil(now * GRID), 0
            )
            found = None if below is None else -below
        if found is not None:
            yield at(found)

    def acting(self, candidate: Candidate) -> Sequence[str]:
        """Ids of the limits whose soft value or pace may change the choice, at most a few."""
        found = {
            state.limit.id
            for each in (candidate, self.best, self.unlimited[0])
            for state in each.limits
            if self._acts(each, state)
        }
        return sorted(found)[:_MOST_LIMITS]

    def _acts(self, candidate: Candidate, state: LimitState) -> bool:
        limit, moment = state.limit, self.inputs.moment
        if limit.paced and moment is not None and pace_relaxation(state, moment) > 0:
            return True
        return limit.on_soft in _CHANGING and state.passes_soft(_amount(candidate, state))

    def _roomier(self, candidate: Candidate, name: str) -> Iterator[Change]:
        """How much more of a limit makes a candidate the choice."""
        states = [
            (each, state)
            for each in self.inputs.candidates
            for state in each.limits
            if state.limit.id == name
        ]
        state = states[0][1]
        over = [
            one.spent + one.held + _amount(each, one) - one.limit.soft
            for each, one in states
            if one.limit.soft is not None
        ]

        def wins(value: int) -> bool:
            return self._wins(candidate, _more(state, value))

        # Mostly it is the room that one of the models lacks; a pace can be ahead by any amount.
        guesses = [*sorted(each for each in over if each > 0)[:_MOST_LIMITS], MAX_NANOS]
        for guess in guesses:
            found = _least(wins, guess, 0, MAX_NANOS)
            if found is not None:
                yield _more(state, found)
                return


def _p(candidate: Candidate) -> float:
    return candidate.p_adequate or 0.0


def _amount(candidate: Candidate, state: LimitState) -> int:
    return 0 if candidate.amounts is None else candidate.amounts.of(state.limit.unit)


def _more(state: LimitState, amount: int) -> Change:
    """More room under a limit."""
    limit = state.limit
    now = limit.hard if limit.hard is not None else limit.soft or 0
    return Change(Lever.LIMIT, limit.id, amount, now, unit=limit.unit)


def _least(holds: Callable[[int], bool], guess: int, low: int, high: int) -> int | None:
    """The least number for which something holds though it does not for the number below; ``None``: none.

    Args:
        holds: monotone between ``low`` and the result.
        guess: near the result, usually a little off by rounding.
        low: for which it does not hold.
        high: the largest number that comes into question.
    """
    upper = next(
        (at for slack in (0, 1, 2, 64) if low < (at := guess + slack) <= high and holds(at)), None
    )
    if upper is None:
        return None
    step = 1
    while upper - step > low and holds(upper - step):
        upper -= step
        step *= 2
    below = max(upper - step, low)
    while upper - below > 1:
        middle = (upper + below) // 2
        if holds(middle):
            upper = middle
        else:
            below = middle
    return None if below == low and holds(low) else upper
