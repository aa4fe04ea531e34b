"""The real server on a port of loopback, with the simulated clock, and the real client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.simulation.agenda import Agenda, Process
from benchmarks.simulation.variants import Variant
from mitsumori import Admin
from mitsumori import Router as Client
from mitsumori.v1 import limit_pb2
from router.core.corrections import LEARN_EVERY_S
from router.ledger.memory import MemoryLedger
from router.routing.correction_learner import CorrectionLearner
from router.routing.provider_load import ProviderLoad
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import start
from router.rules.routing_table import load_rules
from router.settings import Settings

__all__ = ["Served", "served", "settings_of"]

_PATIENCE_S = 120.0
"""Real seconds for a call: a busy machine must not change what is simulated."""
BATCH_LIMIT = "batch-work"


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        client: connected to it.
        learner: of its quotes.
        admin_address: where limits are set.
    """

    client: Client
    learner: CorrectionLearner
    admin_address: str

    def learn(self, until_s: float, agenda: Agenda) -> Process:
        """What the server does beside its calls, every five simulated minutes.

        Args:
            until_s: when it ends, simulated seconds.
            agenda: tells the time.
        """
        while agenda.now_s < until_s:
            yield LEARN_EVERY_S
            self.learner.refresh()


def settings_of(variant: Variant, folder: Path, allowed: Mapping[str, int]) -> Settings:
    """The settings of the server.

    Args:
        variant: what is on.
        folder: for an empty routing table, where there shall be none.
        allowed: calls per minute, by provider.
    """
    empty = folder / "no-rules.yaml"
    empty.write_text("rules: []\n", encoding="utf-8")
    return Settings(
        port=0,
        drain_s=1,
        ledger="memory:",
        log_level="error",
        rules=None if variant.rules else empty,
        correct_from=Settings().correct_from if variant.learning else 0,
        explore=variant.explore,
        health={} if variant.health else {"max_ejected_share": 0},
        provider_limits={
            name: {"requests_per_minute": calls}
            for name, calls in allowed.items()
            if variant.limits
        },
        prompt_key="the same draws each time",
    )


@contextmanager
def served(
    variant: Variant,
    base: Router,
    agenda: Agenda,
    folder: Path,
    busiest: int,
    allowed: Mapping[str, int],
) -> Iterator[Served]:
    """Serve on a free port until the block ends.

    Args:
        variant: what is on.
        base: with bundle, catalog and tokenizers, which all servers share.
        agenda: tells the time.
        folder: for files.
        busiest: requests in the busiest minute of a calm hour.
        allowed: calls per minute, by provider that does not allow plenty.
    """
    settings = settings_of(variant, folder, allowed)
    ledger = MemoryLedger(agenda.now)
    catalog = base.catalog
    learner = CorrectionLearner(
        ledger,
        settings.correct_by,
        settings.correct_from,
        catalog.reasoning_allowances,
        catalog.speeds,
    )
    load = ProviderLoad(settings.provider_limits, agenda.now)
    router = replace(
        base,
        now=agenda.now,
        corrections=lambda: learner.corrections,
        rules=load_rules(settings.rules),
        explore=settings.explore,
        in_flight=load.all_in_flight,
    )
    reservations = build_reservations(settings, router, ledger, load=load)
    running = start(settings, reservations)
    try:
        reservations.warm_up()
        running.mark_serving()
        if variant.deferral:
            with Admin(running.admin_address or running.address, timeout_s=_PATIENCE_S) as admin:
                admin.set_limit(
                    limit_pb2.Limit(
                        limit_id=BATCH_LIMIT,
                        unit=limit_pb2.UNIT_REQUESTS,
                        window=limit_pb2.WINDOW_MINUTE,
                        soft=busiest,
                        on_soft=limit_pb2.SOFT_ACTION_DEFER_BATCH,
                    )
                )
        with Client(running.address, timeout_s=_PATIENCE_S) as client:
            yield Served(client, learner, running.admin_address or running.address)
    finally:
        running.drain()
        ledger.close()
