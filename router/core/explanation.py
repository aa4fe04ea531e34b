"""Explains a decision: of each candidate what it lost to, and what would have to change for it to be chosen.

Pure. A change is only told where the decision, made again with it, chooses the candidate, and does not with
one nano-dollar, one unit of a limit or a millionth less of it. Nothing is left to chance then.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from router.core.changes import GRID, Change, Lever, changed, obstacles
from router.core.errors import MitsumoriError
from router.core.exclusions import exclusion
from router.core.goals import at_stake, expected_cost, lowered, quote_of, ranked_by
from router.core.health import ALL_HEALTHY, left_out
from router.core.inputs import Inputs
from router.core.limit_effects import pace, soft_limits_passed
from router.core.limits import LimitState, SoftAction, pace_relaxation
from router.core.money import MAX_NANOS
from router.core.types import (
    Candidate,
    Decision,
    Explored,
    Goal,
    MissCost,
    QualityTarget,
    WillingnessToPay,
)

__all__ = [
    "EXAMINED",
    "OVER_SOFT_LIMIT",
    "Criterion",
    "Explained",
    "Explanation",
    "Loss",
    "explain",
]

EXAMINED = 32
"""The most candidates for which changes are looked for, best first: each takes a dozen decisions."""
OVER_SOFT_LIMIT = "over_soft_limit"
"""The exclusion of a candidate of the top tier that a soft limit forbids."""
_HURDLES = 4
"""Constraints, rules and limits; the health of a model; that of its provider; a soft limit."""
_MOST_LIMITS = 4
"""Of soft limits that act, the most of which each is tried alone."""


class Criterion(enum.Enum):
    """By what one candidate is behind another; it says what the gap of a :class:`Loss` is."""

    EXPECTED_COST = "expected_cost"
    """Its expected price plus the risk of a miss is higher: nano-dollars."""
    SURPLUS = "surplus"
    """The worth of the answer, weighed with P(adequate), less the expected price is lower: nano-dollars."""
    PRICE = "price"
    """Both reach the target, or are near enough to the best, and this one is dearer: nano-dollars."""
    TARGET = "target"
    """The other reaches the quality target: by how much this P(adequate) is below it."""
    NEAR_BEST = "near_best"
    """None reaches the target, and this one is too far below the best: by how much more than it may be."""
    TIE = "tie"
    """It is as good; the cheaper one, then the one of the earlier name goes first: nano-dollars of price."""
    SOFT_LIMIT = "soft_limit"
    """It would go first, did not the soft value or the pace of a limit act: nano-dollars of price."""
    CHANCE = "chance"
    """It is the best, and chance chose the other: the probability with which it would have been chosen."""
    NOT_KEPT = "not_kept"
    """It would go first by what is known, which does not say why it did not."""


@dataclass(frozen=True, slots=True)
class Loss:
    """To whom a candidate lost, and by how much.

    Attributes:
        to: id of the model that is ahead.
        criterion: by what.
        gap: how much, ≥ 0, as :attr:`criterion` says.
        limit: id of the limit that acts; empty: none.
    """

    to: str
    criterion: Criterion
    gap: float = 0
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """What became of one candidate.

    Attributes:
        candidate: with its quote.
        expected_cost: expected price plus risk under the goal, nano-dollars; ``None`` without a price or
            P(adequate), or where the goal is a quality target.
        place: 1 for the choice; 0: it was left out.
        exclusion: why it was left out, as a stable name; empty: it was not.
        needs: all that it would have taken to take part; empty: it did, or nothing helps.
        loss: what it lost to, or would still lose to if it took part; ``None``: nothing is ahead of it.
        changes: each of them alone would make it the choice; none for that which it is.
        examined: whether changes were looked for.
    """

    candidate: Candidate
    expected_cost: int | None
    place: int
    exclusion: str = ""
    needs: tuple[Change, ...] = ()
    loss: Loss | None = None
    changes: tuple[Change, ...] = ()
    examined: bool = True


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a decision came out as it did.

    Attributes:
        goal: for this prompt, as :func:`~router.core.goals.at_stake` makes it.
        complexity: of the prompt, 0..1.
        candidates: the choice, the others best first, then those that were left out.
        explored: what was left to chance; ``None``: nothing was.
    """

    goal: Goal
    complexity: float
    candidates: tuple[Explained, ...]
    explored: Explored | None = None


def explain(inputs: Inputs, decision: Decision) -> Explanation:
    """Why a decision came out as it did.

    Args:
        inputs: that it was made from.
        decision: what was decided.
    """
    return _Contest.of(inputs, decision).explanation()


@dataclass(frozen=True, slots=True)
class _Contest:
    """A decision that is being explained.

    Attributes:
        inputs: without exploration.
        decision: what was decided.
        best: the choice where nothing is left to chance.
        excluded: id → exclusion.
        goal: for this prompt.
        pursued: the same, lowered by pacing.
        kept: the share of it that pacing leaves, 0..1.
        places: id → place in the ranking without soft limits, from 0.
    """

    inputs: Inputs
    decision: Decision
    best: Candidate
    excluded: Mapping[str, str]
    goal: Goal
    pursued: Goal
    kept: float
    places: Mapping[str, int]

    @classmethod
    def of(cls, inputs: Inputs, decision: Decision) -> _Contest:
        inputs = inputs._replace(exploration=None)
        again = inputs.decide()
        excluded = dict(_exclusions(inputs))
        eligible = [each for each in inputs.candidates if each.model.id not in excluded]
        kept = {each.model.id for each in again.ranked}
        excluded |= {e.model.id: OVER_SOFT_LIMIT for e in eligible if e.model.id not in kept}
        goal = at_stake(inputs.goal, inputs.complexity)
        relaxation, _ = pace(again.ranked, inputs.moment)
        places = {each.model.id: at for at, each in enumerate(ranked_by(goal, eligible))}
        pursued = lowered(goal, relaxation)
        return cls(inputs, decision, again.chosen, excluded, goal, pursued, 1 - relaxation, places)

    def explanation(self) -> Explanation:
        ranked = self.decision.ranked
        known = {each.model.id for each in ranked}
        left = [each for each in self.inputs.candidates if each.model.id not in known]
        left.sort(key=lambda each: each.model.id)
        found = [self._ranked(each, at) for at, each in enumerate(ranked, start=1)]
        found += [self._left_out(each, at) for at, each in enumerate(left, start=len(ranked) + 1)]
        return Explanation(self.goal, self.inputs.complexity, tuple(found), self.decision.explored)

    def _ranked(self, candidate: Candidate, place: int) -> Explained:
        cost = self._cost(candidate)
        examined = place <= EXAMINED
        if candidate.model.id == self.best.model.id:
            return Explained(candidate, cost, place, loss=self._not_the_choice(place))
        loss = self._loss(candidate, self.best)
        # What chance chose is the choice already.
        changes = tuple(self._changes(candidate)) if examined and place > 1 else ()
        return Explained(candidate, cost, place, loss=loss, changes=changes, examined=examined)

    def _left_out(self, candidate: Candidate, number: int) -> Explained:
        model = candidate.model.id
        name, cost = self.excluded.get(model, ""), self._cost(candidate)
        if number > EXAMINED:
            return Explained(candidate, cost, 0, name, examined=False)
        needs = self._needs(candidate)
        if not needs:
            return Explained(candidate, cost, 0, name)
        then = self._choice(changed(self.inputs, *needs))
        if then is None or then.model.id == model:
            return Explained(candidate, cost, 0, name, needs)
        return Explained(candidate, cost, 0, name, needs, self._loss(candidate, then))

    def _cost(self, candidate: Candidate) -> int | None:
        goal = self.goal
        if isinstance(goal, QualityTarget) or candidate.quote is None:
            return None
        return None if candidate.p_adequate is None else expected_cost(candidate, goal.nanos)

    def _choice(self, inputs: Inputs) -> Candidate | None:
        """What is chosen from other inputs; ``None``: the decision is refused."""
        try:
            return inputs.decide().chosen
        except MitsumoriError:
            return None

    def _wins(self, candidate: Candidate, *changes: Change) -> bool:
        chosen = self._choice(changed(self.inputs, *changes))
        return chosen is not None and chosen.model.id == candidate.model.id

    # --- What it lost to ---

    def _not_the_choice(self, place: int) -> Loss | None:
        """What the best lost to, where it is not the choice."""
        chosen, explored = self.decision.chosen.model.id, self.decision.explored
        if place == 1:
            return None
        if explored is not None:
            return Loss(chosen, Criterion.CHANCE, explored.chances[explored.best])
        if any(reason.code == "DOWNGRADED" for reason in self.decision.reasons):
            return Loss(chosen, Criterion.SOFT_LIMIT)
        return Loss(chosen, Criterion.NOT_KEPT)

    def _loss(self, behind: Candidate, ahead: Candidate) -> Loss:
        """By what one candidate is behind another that goes before it."""
        to, goal = ahead.model.id, self.pursued
        price = quote_of(behind).price.expected - quote_of(ahead).price.expected
        places = self.places
        if places.get(behind.model.id, math.inf) < places.get(to, -1):
            limit = next(iter(self._acting(behind)), "")
            return Loss(to, Criterion.SOFT_LIMIT, max(price, 0), limit)
        if isinstance(goal, QualityTarget):
            return self._target_loss(goal, behind, ahead, price)
        gap = expected_cost(behind, goal.nanos) - expected_cost(ahead, goal.nanos)
        if gap <= 0:
            return Loss(to, Criterion.TIE, max(price, 0))
        worth = isinstance(goal, WillingnessToPay)
        return Loss(to, Criterion.SURPLUS if worth else Criterion.EXPECTED_COST, gap)

    def _target_loss(
        self, goal: QualityTarget, behind: Candidate, ahead: Candidate, price: int
    ) -> Loss:
        to, p, target = ahead.model.id, _p(behind), goal.p_adequate
        if _p(ahead) >= target > p:
            return Loss(to, Criterion.TARGET, target - p)
        if p < target:
            # Those that take part, and the one in question.
            best = max([p, _p(ahead), *(_p(each) for each in self.decision.ranked)])
            if p < best - goal.regret:
                return Loss(to, Criterion.NEAR_BEST, best - goal.regret - p)
        return Loss(to, Criterion.PRICE, price) if price > 0 else Loss(to, Criterion.TIE)

    # --- What would have to change ---

    def _needs(self, candidate: Candidate) -> tuple[Change, ...]:
        """All that it takes for a candidate that was left out to take part; empty: nothing helps."""
        needs: tuple[Change, ...] = ()
        inputs, model = self.inputs, candidate.model.id
        # What constraints, rules and limits leave, health may leave out, and then a soft limit.
        for _ in range(_HURDLES):
            (candidate,) = [each for each in inputs.candidates if each.model.id == model]
            more = _hurdle(candidate, inputs)
            if not more:
                break
            needs += more
            inputs = changed(inputs, *more)
        return needs

    def _changes(self, candidate: Candidate) -> Iterator[Change]:
        """Changes of which each alone makes a candidate the choice that takes part."""
        yield from self._better(candidate)
        yield from self._cheaper(candidate)
        yield from self._other_goal(candidate)
        for name in self._acting(candidate):
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
            highest = max(_p(each) for each in self.decision.ranked)
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
        for other in self.decision.ranked:
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
                for each in self.decision.ranked
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

    def _acting(self, candidate: Candidate) -> Sequence[str]:
        """Ids of the limits whose soft value or pace may change the choice, at most a few."""
        first = min(self.places, key=self.places.__getitem__, default="")
        concerned = [e for e in self.inputs.candidates if e.model.id == first]
        found = {
            state.limit.id
            for each in (candidate, self.best, *concerned)
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


_CHANGING = frozenset({SoftAction.PREFER_CHEAPER, SoftAction.FORBID_TOP_TIER})


def _exclusions(inputs: Inputs) -> Iterator[tuple[str, str]]:
    """The id of each candidate that is left out, and why."""
    eligible = []
    for each in inputs.candidates:
        name = exclusion(each, inputs.constraints, inputs.ruling)
        if name is None:
            eligible.append(each)
        else:
            yield each.model.id, name
    if eligible and inputs.health is not ALL_HEALTHY:
        yield from left_out(eligible, inputs.health)[0].items()


def _hurdle(candidate: Candidate, inputs: Inputs) -> tuple[Change, ...]:
    """What a candidate needs to come past what leaves it out first; empty: nothing does, or nothing helps."""
    model = candidate.model
    match dict(_exclusions(inputs)).get(model.id):
        case "unhealthy":
            return (Change(Lever.HEALTH, model.id),)
        case "of_a_failed_provider":
            return (Change(Lever.FAILED_PROVIDER, model.provider),)
        case str():
            return obstacles(candidate, inputs) or ()
    if model.tier != inputs.top_tier or model.id in {
        each.model.id for each in inputs.decide().ranked
    }:
        return ()
    return tuple(
        _more(state, state.spent + state.held + _amount(candidate, state) - limit.soft)
        for state in soft_limits_passed(candidate, SoftAction.FORBID_TOP_TIER)
        if (limit := state.limit).soft is not None
    )


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
