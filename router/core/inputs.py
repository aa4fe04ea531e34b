"""All that a decision is made from, as one value: to make it again, or with something changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from router.core.conversation import NO_CONVERSATION, Conversation
from router.core.decision import decide
from router.core.errors import MitsumoriError
from router.core.health import ALL_HEALTHY, Health
from router.core.load import NO_LOAD, Load
from router.core.ruling import NO_RULING, Ruling
from router.core.types import Candidate, Constraints, Decision, Exploration, Goal

__all__ = ["Inputs"]


class Inputs(NamedTuple):
    """The arguments of :func:`~router.core.decision.decide`, which says what each of them is.

    Attributes:
        candidates: every model of the catalog.
        constraints: what the caller allows.
        goal: what the choice aims for.
        ruling: what the routing table allows.
        health: of all models.
        load: how far limits of providers are used.
        complexity: of the prompt, 0..1.
        batch: whether the work can wait.
        top_tier: the highest tier of the catalog.
        moment: for pacing, aware.
        exploration: how much is left to chance.
        conversation: up to this turn.
        next_goal: the goal if the rule that gives :attr:`goal` did not hold; ``None``: no rule gives it.
    """

    candidates: Sequence[Candidate]
    constraints: Constraints
    goal: Goal
    ruling: Ruling = NO_RULING
    health: Health = ALL_HEALTHY
    load: Load = NO_LOAD
    complexity: float = 1.0
    batch: bool = False
    top_tier: str | None = None
    moment: datetime | None = None
    exploration: Exploration | None = None
    conversation: Conversation = NO_CONVERSATION
    next_goal: Goal | None = None

    def decide(self) -> Decision:
        """Make the decision.

        Raises: as :func:`~router.core.decision.decide`.
        """
        return decide(
            self.candidates,
            self.constraints,
            self.goal,
            ruling=self.ruling,
            health=self.health,
            load=self.load,
            complexity=self.complexity,
            batch=self.batch,
            top_tier=self.top_tier,
            moment=self.moment,
            exploration=self.exploration,
            conversation=self.conversation,
        )

    def in_force(self) -> Inputs:
        """The same, less the rules that give way for them: what a change would still have to overcome."""
        if not self.ruling.gives_way:
            return self
        try:
            gave_way = self.decide().rules_gave_way
        except MitsumoriError:
            gave_way = True
        return self.after_giving_way() if gave_way else self

    def after_giving_way(self) -> Inputs:
        """The same without the rules that give way."""
        return self._replace(ruling=self.ruling.after_giving_way())
