"""Explains a decision: of each candidate what it lost to, and what would have to change for it to be chosen.

Pure. The changes are those of :mod:`router.core.counterfactuals`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

from router.core.changes import Change, changed
from router.core.counterfactuals import Contest, choice, exclusions, needs
from router.core.goals import expected_cost, quote_of
from router.core.inputs import Inputs
from router.core.types import Candidate, Decision, Explored, Goal, QualityTarget, WillingnessToPay

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
    OTHER = "other"
    """It would go first by the goal, and the reasons of the decision say why it did not."""


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
    return _Account.of(inputs, decision).explanation()


@dataclass(frozen=True, slots=True)
class _Account:
    """A decision that is being explained.

    Attributes:
        contest: the same, with nothing left to chance.
        decision: what was decided.
        excluded: id → exclusion.
        places: id → place in the ranking without soft limits, from 0.
    """

    contest: Contest
    decision: Decision
    excluded: Mapping[str, str]
    places: Mapping[str, int]

    @classmethod
    def of(cls, inputs: Inputs, decision: Decision) -> _Account:
        contest = Contest.of(inputs)
        places = {each.model.id: at for at, each in enumerate(contest.unlimited)}
        forbidden = places.keys() - {each.model.id for each in contest.ranked}
        excluded = dict(exclusions(contest.inputs)) | dict.fromkeys(forbidden, OVER_SOFT_LIMIT)
        return cls(contest, decision, excluded, places)

    def explanation(self) -> Explanation:
        ranked = self.decision.ranked
        known = {each.model.id for each in ranked}
        left = [each for each in self.contest.inputs.candidates if each.model.id not in known]
        left.sort(key=lambda each: each.model.id)
        found = [self._ranked(each, at) for at, each in enumerate(ranked, start=1)]
        found += [self._left_out(each, at) for at, each in enumerate(left, start=len(ranked) + 1)]
        return Explanation(
            self.contest.goal, self.contest.inputs.complexity, tuple(found), self.decision.explored
        )

    def _ranked(self, candidate: Candidate, place: int) -> Explained:
        cost = self._cost(candidate)
        examined = place <= EXAMINED
        if candidate.model.id == self.contest.best.model.id:
            return Explained(candidate, cost, place, loss=self._not_the_choice(place))
        loss = self._loss(candidate, self.contest.best)
        # What chance chose is the choice already.
        changes = tuple(self.contest.changes(candidate)) if examined and place > 1 else ()
        return Explained(candidate, cost, place, loss=loss, changes=changes, examined=examined)

    def _left_out(self, candidate: Candidate, number: int) -> Explained:
        model = candidate.model.id
        name, cost = self.excluded.get(model, ""), self._cost(candidate)
        if number > EXAMINED:
            return Explained(candidate, cost, 0, name, examined=False)
        needed = needs(candidate, self.contest.inputs)
        if not needed:
            return Explained(candidate, cost, 0, name)
        then = choice(changed(self.contest.inputs, *needed))
        if then is None or then.model.id == model:
            return Explained(candidate, cost, 0, name, needed)
        return Explained(candidate, cost, 0, name, needed, self._loss(candidate, then))

    def _cost(self, candidate: Candidate) -> int | None:
        goal = self.contest.goal
        if isinstance(goal, QualityTarget) or candidate.quote is None:
            return None
        return None if candidate.p_adequate is None else expected_cost(candidate, goal.nanos)

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
        return Loss(chosen, Criterion.OTHER)

    def _loss(self, behind: Candidate, ahead: Candidate) -> Loss:
        """By what one candidate is behind another that goes before it."""
        to, goal = ahead.model.id, self.contest.pursued
        price = quote_of(behind).price.expected - quote_of(ahead).price.expected
        places = self.places
        if places.get(behind.model.id, math.inf) < places.get(to, -1):
            limits = self.contest.acting(behind)
            if not limits:
                return Loss(to, Criterion.OTHER)
            return Loss(to, Criterion.SOFT_LIMIT, max(price, 0), limits[0])
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
            best = max([p, _p(ahead), *(_p(each) for each in self.contest.ranked)])
            if p < best - goal.regret:
                return Loss(to, Criterion.NEAR_BEST, best - goal.regret - p)
        return Loss(to, Criterion.PRICE, price) if price > 0 else Loss(to, Criterion.TIE)


def _p(candidate: Candidate) -> float:
    return candidate.p_adequate or 0.0
