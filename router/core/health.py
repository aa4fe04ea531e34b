"""What a decision is told of the health of models, and what it makes of it. Pure.

Where every model that could be chosen is unhealthy, health does not say which to choose: the decision is made
as if all were healthy, and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from router.core.breaker import Breaker, HealthPolicy
from router.core.types import Candidate, Reason

__all__ = ["ALL_HEALTHY", "FALLBACKS", "Health", "fallback_chain", "health_of", "left_out"]

FALLBACKS = 3
"""The most models of a fallback chain."""
_ENOUGH = 2
"""Models of a provider of which none answers, that make the provider the culprit."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of all models at one moment.

    Attributes:
        models: id → why it is unhealthy, as a phrase; those that may be tried again soonest come first.
        providers: name → why it is unhealthy. Its models that have not failed themselves are, too.
        due: id → the phrase of :attr:`models`, for those that one call may try now. They count as healthy.
        max_ejected_share: most of the models of a tier that are left out, 0..1; 0: health does not matter.
        failed_providers: that failed this very request before. Others go first.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    due: Mapping[str, str] = field(default_factory=dict)
    max_ejected_share: float = 1.0
    failed_providers: frozenset[str] = frozenset()

    @property
    def without_probes(self) -> Health:
        """The same for a decision that no call follows: nothing is tried."""
        if not self.due:
            return self
        return replace(self, models={**self.due, **self.models}, due={})

    def why(self, candidate: Candidate) -> str | None:
        """Why a candidate is unhealthy, as a phrase; ``None``: it is healthy, or may be tried."""
        model = candidate.model
        found = self.models.get(model.id)
        if found is None and model.id not in self.due:
            found = self.providers.get(model.provider)
        return found


ALL_HEALTHY = Health()


def health_of(
    breakers: Mapping[tuple[str, str], Breaker],
    now: float,
    policy: HealthPolicy,
    voter: str = "",
) -> Health:
    """The health of all models.

    A provider is unhealthy where at least two of its models are, and none of the others has answered since
    the first of them was left out.

    Args:
        breakers: by provider and id of the model; a model without one is healthy.
        now: seconds since the epoch.
        policy: the share of models that may be left out.
        voter: whose requests it is for, where breakers are of many.
    """
    opened = sorted(
        (each.retry_at_of(voter), model, provider)
        for (provider, model), each in breakers.items()
        if each.opened_at is not None
    )
    if not opened:
        return ALL_HEALTHY
    models: dict[str, str] = {}
    due: dict[str, str] = {}
    tries = policy.max_ejected_share > 0  # else nothing is left out that could be tried again
    for _, model, provider in opened:
        breaker = breakers[provider, model]
        found = due if tries and breaker.takes_probe(now, voter) else models
        found[model] = _told(breaker, now, voter)
    providers = {
        provider: f"{failing} of its models fail"
        for provider in {each for _, _, each in opened}
        if (failing := _failing_models(provider, breakers)) >= _ENOUGH
    }
    return Health(models, providers, due, policy.max_ejected_share)


def _told(breaker: Breaker, now: float, voter: str) -> str:
    if breaker.takes_probe(now, voter):
        return breaker.cause
    retry_at = breaker.retry_at_of(voter)
    if now >= retry_at:
        return f"{breaker.cause}; a call is trying it"
    again = datetime.fromtimestamp(retry_at, UTC)
    return f"{breaker.cause}; tried again from {again:%H:%M:%S} UTC"


def _failing_models(provider: str, breakers: Mapping[tuple[str, str], Breaker]) -> int:
    """How many models of a provider fail; 0 where another has answered meanwhile."""
    its = [breaker for (name, _), breaker in breakers.items() if name == provider]
    since = [each.since for each in its if each.opened_at is not None]
    first = min(since)
    if any(each.opened_at is None and each.answered_at >= first for each in its):
        return 0
    return len(since)


def left_out(
    eligible: Sequence[Candidate], health: Health
) -> tuple[Mapping[str, str], Sequence[Reason]]:
    """The candidates that are left out for health, id → name of the exclusion; and the reasons.

    Args:
        eligible: candidates that could be chosen, at least one; their order does not matter.
        health: of all models.
    """
    told = {each.model.id: why for each in eligible if (why := health.why(each)) is not None}
    out: dict[str, str] = {}
    reasons: list[Reason] = []
    if health.max_ejected_share == 0:
        told = {}
    if told and len(told) == len(eligible):
        text = "every model that could be chosen is unhealthy: chosen as if all were healthy"
        reasons.append(Reason("ALL_UNHEALTHY", text, told))
    elif told:
        out = dict.fromkeys(_ejected(eligible, told, health), "unhealthy")
        reasons.append(_ejected_reason(told, out, health))
    if health.failed_providers:
        failed = [
            each.model.id
            for each in eligible
            if each.model.provider in health.failed_providers and each.model.id not in out
        ]
        if len(failed) + len(out) < len(eligible):
            out.update(dict.fromkeys(failed, "of_a_failed_provider"))
    return out, reasons


def _ejected(
    eligible: Sequence[Candidate], unhealthy: Collection[str], health: Health
) -> Iterable[str]:
    """Ids of the unhealthy candidates, of each tier at most the share that may be left out.

    Of too many, those stay that are tried again soonest, before them those that did not fail themselves.
    """
    soonest = {model: place for place, model in enumerate(health.models)}
    for tier in {each.model.tier for each in eligible}:
        ids = [each.model.id for each in eligible if each.model.tier == tier]
        failing = sorted(
            (each for each in ids if each in unhealthy), key=lambda one: (soonest.get(one, -1), one)
        )
        share = health.max_ejected_share
        most = max(count for count in range(len(ids) + 1) if count / len(ids) <= share)
        yield from failing[-max(most, 1) :]


def _ejected_reason(told: Mapping[str, str], out: Collection[str], health: Health) -> Reason:
    listed = ", ".join(f"{model} ({told[model]})" for model in sorted(out))
    text = f"left out because calls to them fail: {listed}"
    kept = sorted(told.keys() - out)
    if kept:
        text += (
            f"; kept, since at most {health.max_ejected_share:.0%} of a tier are left out:"
            f" {', '.join(kept)}"
        )
    return Reason("MODELS_UNHEALTHY", text, {each: told[each] for each in sorted(out)})


def fallback_chain(
    ranked: Sequence[Candidate], health: Health = ALL_HEALTHY
) -> tuple[Candidate, ...]:
    """The models to try next, in this order, should the chosen one fail.

    As long as there is one, each is the best of a provider that has not failed by then; after that, the best
    of those that are left. A model that is being tried is in no chain.

    Args:
        ranked: the chosen candidate, then the other eligible ones, best first.
        health: of all models.
    """
    chosen, *left = ranked
    if health.due:
        left = [each for each in left if each.model.id not in health.due]
    failed = {chosen.model.provider}
    chain: list[Candidate] = []
    while left and len(chain) < FALLBACKS:
        place = next((at for at, each in enumerate(left) if each.model.provider not in failed), 0)
        chain.append(left.pop(place))
        failed.add(chain[-1].model.provider)
    return tuple(chain)
