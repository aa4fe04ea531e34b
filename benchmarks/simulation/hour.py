"""One hour under one condition with one variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from benchmarks.simulation.agenda import Agenda
from benchmarks.simulation.caller import Answer, Caller
from benchmarks.simulation.conditions import CALM, Condition, Victims
from benchmarks.simulation.provider import Provider, World
from benchmarks.simulation.served import served
from benchmarks.simulation.traffic import HOUR_S, Asked
from benchmarks.simulation.truth import Truth
from benchmarks.simulation.variants import EVERYTHING, Variant
from router.core.types import Model
from router.routing.router import Router

__all__ = ["Hour", "Shared", "victims_of"]


@dataclass(frozen=True)
class Shared:
    """What all hours share.

    Attributes:
        router: with bundle, catalog and tokenizers.
        models: id → model, at the simulated time.
        truth: of the answers.
        folder: for files.
    """

    router: Router
    models: dict[str, Model]
    truth: Truth
    folder: Path


@dataclass(frozen=True)
class Hour:
    """An hour that was simulated.

    Attributes:
        condition: of it.
        variant: of it.
        traffic: its requests.
        answers: what became of them, in their order.
    """

    condition: Condition
    variant: Variant
    traffic: Sequence[Asked]
    answers: Sequence[Answer] = field(repr=False)

    @classmethod
    def simulate(
        cls,
        shared: Shared,
        traffic: Sequence[Asked],
        condition: Condition,
        variant: Variant,
        victims: Victims,
        advance: Callable[[], None] = lambda: None,
    ) -> Hour:
        """Run it.

        Args:
            shared: what all hours share.
            traffic: its requests.
            condition: of it.
            variant: of it.
            victims: of the condition.
            advance: called whenever a request has ended.
        """
        agenda = Agenda()
        world = World(agenda, traffic, shared.truth, condition, victims)
        names = {each.provider for each in shared.models.values()}
        with ExitStack() as stack:
            providers = {name: stack.enter_context(Provider(name, world)) for name in sorted(names)}
            client = None
            if variant.fixed is None:
                busiest = busiest_minute([each.arrival.at_s for each in traffic if not each.batch])
                allowed = condition.allowed(names, victims)
                running = stack.enter_context(
                    served(variant, shared.router, agenda, shared.folder, busiest, allowed)
                )
                client = running.client
                agenda.begin(0.0, running.learn(HOUR_S, agenda))
            choose = fixed_choice(variant, traffic, shared.truth)
            caller = Caller(variant, agenda, shared.truth, shared.models, providers, client, choose)
            for each in traffic:
                agenda.begin(each.arrival.at_s, caller.ask(each))
            ended = 0
            while agenda.step():
                for _ in range(len(caller.answers) - ended):
                    advance()
                ended = len(caller.answers)
        return cls(condition, variant, traffic, sorted(caller.answers, key=lambda a: a.number))


def fixed_choice(
    variant: Variant, traffic: Sequence[Asked], truth: Truth
) -> Callable[[Asked], str]:
    """How a caller chooses that does not ask the server.

    Args:
        variant: says how.
        traffic: over which models are compared.
        truth: draws.
    """
    known = sorted(set.intersection(*(set(each.expected_nanos) for each in traffic)))
    if variant.fixed == "best":
        best = max(known, key=lambda model: fmean(each.p_adequate[model] for each in traffic))
        return lambda _: best
    if variant.fixed == "cheapest":
        cheapest = min(
            known, key=lambda model: fmean(each.expected_nanos[model] for each in traffic)
        )
        return lambda _: cheapest
    return lambda asked: truth.draw("choice", asked.number).choice(known)


def busiest_minute(times_s: Sequence[float]) -> int:
    """The most of some moments that fall into one minute of the clock."""
    return max(Counter(int(at // 60) for at in times_s).values(), default=0)


def victims_of(calm: Hour, models: dict[str, Model]) -> Victims:
    """What is called most in a calm hour.

    Args:
        calm: that hour, with everything on.
        models: id → model.
    """
    assert (calm.condition, calm.variant) == (CALM, EVERYTHING)
    called = Counter(each.model for each in calm.answers if each.model)
    model = called.most_common(1)[0][0]
    by_provider: dict[str, list[float]] = {}
    for each in calm.answers:
        if each.model:
            by_provider.setdefault(models[each.model].provider, []).append(each.at_s)
    provider = max(by_provider, key=lambda name: len(by_provider[name]))
    return Victims(
        model, provider, {name: busiest_minute(times) for name, times in by_provider.items()}
    )
