"""What the routing table says of one request, as values that the decision respects. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from router.core.types import Candidate, Goal, Model, Reason

__all__ = ["NO_RULING", "Effects", "Rule", "Ruling"]


@dataclass(frozen=True, slots=True)
class Effects:
    """What a rule does where its condition holds. What is empty or ``None`` does nothing.

    Attributes:
        models: ids of the models that may be chosen; one of them forces it.
        forbidden_models: ids that may not be chosen.
        providers: that may be called.
        forbidden_providers: that may not be called.
        tiers: that may be chosen, of which a floor and a ceiling were made.
        capabilities: that the model must have.
        regions: in one of which the model must be served.
        max_price_nanos: upper bound of the 90th percentile of the price, nano-dollars.
        max_latency_s: upper bound of the 90th percentile of the latency, seconds.
        goal: what the choice aims for, instead of what the request asks for.
        defer: whether batch work is refused with the advice to send it later.
        explore: share of the decisions that is left to chance, 0..1, instead of that of the settings.
    """

    models: frozenset[str] = frozenset()
    forbidden_models: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    forbidden_providers: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    max_price_nanos: int | None = None
    max_latency_s: float | None = None
    goal: Goal | None = None
    defer: bool = False
    explore: float | None = None

    @property
    def binds(self) -> bool:
        """Whether there is a model that it may leave out."""
        return (
            self.max_price_nanos is not None
            or self.max_latency_s is not None
            or any(
                (
                    self.models,
                    self.forbidden_models,
                    self.providers,
                    self.forbidden_providers,
                    self.tiers,
                    self.capabilities,
                    self.regions,
                )
            )
        )

    def allows(self, model: Model) -> bool:
        """Whether a model may be chosen, whatever its quote."""
        return (
            (not self.models or model.is_one_of(self.models))
            and model.id not in self.forbidden_models
            and (not self.providers or model.provider in self.providers)
            and model.provider not in self.forbidden_providers
            and (not self.tiers or model.tier in self.tiers)
            and self.capabilities <= model.capabilities
            and (not self.regions or not self.regions.isdisjoint(model.regions))
        )

    def affords(self, candidate: Candidate) -> bool:
        """Whether the quote of a candidate, if it has one, is within the bounds."""
        quote = candidate.quote
        if quote is None:
            return True
        return (self.max_price_nanos is None or quote.price.high <= self.max_price_nanos) and (
            self.max_latency_s is None or quote.latency.p90_s <= self.max_latency_s
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule whose condition holds.

    Attributes:
        name: unique in its table.
        effects: what it does.
        text: the effects as a phrase for people, such as ``tier high or above``.
        gives_way: whether it does not apply where no model could be chosen otherwise. Its effects only leave
            models out.
    """

    name: str
    effects: Effects
    text: str
    gives_way: bool = False


@dataclass(frozen=True)
class Ruling:
    """The rules that apply to one request, in the order of the table.

    What they allow is what every one of them allows. Of goals the first counts, and of shares of exploration.

    Attributes:
        rules: whose conditions hold.
        version: of the table; empty: there is none.
        gave_way: rules whose conditions hold, too, but that do not apply.
    """

    rules: tuple[Rule, ...] = ()
    version: str = ""
    gave_way: tuple[Rule, ...] = ()

    def forbids(self, candidate: Candidate, regions: frozenset[str] = frozenset()) -> str | None:
        """The name of the first rule that forbids a candidate; ``None``: none does.

        A call is processed in one region. So the model must be served in one that all of the rules allow.

        Args:
            candidate: with its quote.
            regions: that the request allows; empty: any.
        """
        for rule in self._binding:
            effects = rule.effects
            if not effects.allows(candidate.model) or not effects.affords(candidate):
                return rule.name
            if effects.regions:
                regions = regions & effects.regions if regions else effects.regions
                if regions.isdisjoint(candidate.model.regions):
                    return rule.name
        return None

    @cached_property
    def _binding(self) -> tuple[Rule, ...]:
        return tuple([rule for rule in self.rules if rule.effects.binds])

    @cached_property
    def gives_way(self) -> bool:
        """Whether one of the rules that apply gives way."""
        return any(rule.gives_way for rule in self.rules)

    def after_giving_way(self) -> Ruling:
        """What is left of it where the rules that give way do so, all of them at once."""
        strict = tuple([rule for rule in self.rules if not rule.gives_way])
        giving = tuple([rule for rule in self.rules if rule.gives_way])
        return Ruling(strict, self.version, self.gave_way + giving)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rules that apply, in the order of the table."""
        return tuple([rule.name for rule in self.rules])

    @cached_property
    def goal(self) -> Goal | None:
        """What the choice shall aim for; ``None``: no rule says."""
        return next((r.effects.goal for r in self.rules if r.effects.goal is not None), None)

    @cached_property
    def explore(self) -> float | None:
        """Share of the decisions that is left to chance, 0..1; ``None``: no rule says."""
        return next((r.effects.explore for r in self.rules if r.effects.explore is not None), None)

    @cached_property
    def deferring(self) -> str | None:
        """The name of the first rule that defers batch work; ``None``: none does."""
        return next((rule.name for rule in self.rules if rule.effects.defer), None)

    @cached_property
    def reasons(self) -> Sequence[Reason]:
        """One for the rules whose conditions hold; none where no condition does."""
        facts = {rule.name: rule.text for rule in self.rules}
        facts |= {
            rule.name: f"{rule.text} (gave way, as no model was left)" for rule in self.gave_way
        }
        if not facts:
            return ()
        told = "; ".join(f"{name}: {text}" for name, text in facts.items())
        return (Reason("RULES_APPLIED", f"by the routing table, {told}", facts),)


NO_RULING = Ruling()
