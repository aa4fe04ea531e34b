"""Traffic simulated from a history: its prompts go through the real router, its attempts are the outcomes.

It lets goals be tried before they serve, and gives replay a log where none exists yet or where the truth
must be known. The service decides deterministically; :func:`simulate_traffic` leaves a share of the choices
to chance and logs the probability of each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from router.catalog.catalog import Catalog, parse_catalog
from router.catalog.tokens import TokenCounter
from router.classifier.bundle import Bundle
from router.core.conversation import NO_CONVERSATION, Conversation
from router.core.exploration import explored
from router.core.health import ALL_HEALTHY, Health
from router.core.load import NO_LOAD, Load
from router.core.types import (
    Candidate,
    Constraints,
    Exploration,
    Goal,
    Importance,
    Message,
    MissCosts,
    Prompt,
)
from router.decision_log.reader import LoggedDecision, logged
from router.ledger.memory import MemoryLedger
from router.routing.reservations import HeldDecision, Reservations
from router.routing.router import Assessment, RoutedDecision, RouteQuery, Router
from router.routing.settlement import UsageReport
from training.histories.outcome_table import NOMINAL_OUTPUT_TOKENS, HistoryTable
from training.histories.outcomes import Outcomes

__all__ = ["candidates_of", "catalog_of", "simulate_traffic"]

_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_FINGERPRINT = "0" * 64
_ROOM = 1_000_000
_NINE_DECIMALS = Decimal("0.000000001")
_ANY_REGRET = 1e9
"""So large that no candidate is too dear."""


def _usd_per_mtok(table: HistoryTable, arm: str) -> tuple[Decimal, Decimal]:
    """Input and output price of an arm; where costs were logged, all of the mean cost on the output."""
    rates = table.rates[arm]
    if rates is not None:
        return rates.input, rates.output
    place = table.outcomes.arms.index(arm)
    there = table.outcomes.judged[:, place]
    tokens = table.outcomes.output_tokens[there, place]
    mean = float(np.nanmean(tokens)) if np.isfinite(tokens).any() else NOMINAL_OUTPUT_TOKENS
    nanos = float(table.outcomes.cost_nanos[there, place].mean())
    return Decimal(0), (Decimal(nanos) / Decimal(mean) / 1000).quantize(_NINE_DECIMALS)


def catalog_of(table: HistoryTable) -> Catalog:
    """A catalog of the models that stand for the arms of a table, each arm a tier."""
    arms = table.outcomes.arms
    models = []
    for arm in arms:
        given, produced = _usd_per_mtok(table, arm)
        models.append(
            {
                "id": table.models[arm][0],
                "provider": "history",
                "tier": arm,
                "context_window": _ROOM,
                "max_output_tokens": _ROOM // 10,
                "speed": {"first_token_s": 1, "output_tokens_per_s": 100},
                "prices": [
                    {
                        "from": "1970-01-01",
                        "input_usd_per_mtok": f"{given:f}",
                        "output_usd_per_mtok": f"{produced:f}",
                    }
                ],
            }
        )
    nominal = dict.fromkeys(("p50", "p90", "p99"), NOMINAL_OUTPUT_TOKENS)
    content = json.dumps(
        {"tiers": list(arms), "default_lengths": dict.fromkeys(arms, nominal), "models": models}
    )
    return parse_catalog(content.encode(), name="the catalog of the history's arms")


def _query(text: str, goal: Goal | None) -> RouteQuery:
    prompt = Prompt((Message("user", text),))
    return RouteQuery("", {}, prompt, Constraints(), goal, Importance.MEDIUM, "", 0)


def candidates_of(test: Outcomes, bundle: Bundle, catalog: Catalog) -> list[tuple[Candidate, ...]]:
    """What serving would choose from at each prompt: a model of every arm, with P(adequate) and quote.

    Args:
        test: ``n`` prompts.
        bundle: gives P(adequate) and lengths.
        catalog: of :func:`catalog_of`.
    """
    router = _exploring_router(bundle, catalog, 0.0, seed=0)
    return [router.assess(_query(text, None)).candidates for text in test.texts]


@dataclass(frozen=True)
class _ExploringRouter(Router):
    """A router that takes, with probability ``share``, any candidate alike instead of the best.

    Other than in serving, all candidates take part, whatever they cost and whatever goal was asked for.
    """

    share: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def decide(
        self,
        query: RouteQuery,
        assessed: Assessment,
        candidates: Sequence[Candidate],
        health: Health = ALL_HEALTHY,
        draw: float | None = None,
        load: Load = NO_LOAD,
        conversation: Conversation = NO_CONVERSATION,
    ) -> RoutedDecision:
        """Decide as in serving, then explore."""
        routed = super().decide(query, assessed, candidates, health, draw, load, conversation)
        ranked = routed.decision.ranked
        if not self.share or len(ranked) == 1:
            return routed
        found = explored(Exploration(self.share, _ANY_REGRET, float(self.rng.random())), ranked)
        taken = sorted(ranked, key=lambda each: each.model.id != found.chosen)
        decision = replace(routed.decision, ranked=tuple(taken), explored=found, fallbacks=())
        return replace(routed, decision=decision)


def _exploring_router(
    bundle: Bundle, catalog: Catalog, explore: float, *, seed: int
) -> _ExploringRouter:
    return _ExploringRouter(
        bundles=lambda: bundle,
        catalog=catalog,
        tokens=TokenCounter(),
        default_goals=MissCosts(),
        quote_ttl=timedelta(minutes=5),
        now=lambda: _MOMENT,
        share=explore,
        rng=np.random.default_rng(seed),
    )


def simulate_traffic(
    test: Outcomes,
    bundle: Bundle,
    catalog: Catalog,
    goal: Goal,
    *,
    explore: float = 0.0,
    rounds: int = 1,
    seed: int = 0,
) -> list[LoggedDecision]:
    """Decide on every prompt, hold, and settle with what the history knows of the chosen arm.

    Args:
        test: ``n`` prompts that were answered by every arm; others are left out.
        bundle: decides.
        catalog: of :func:`catalog_of`.
        goal: of every request.
        explore: 0..1, share of the choices that is left to chance.
        rounds: how often every prompt comes, ≥ 1.
        seed: of the exploration.

    Returns:
        The log, oldest first, with the propensity of every choice.
    """
    router = _exploring_router(bundle, catalog, explore, seed=seed)
    ledger = MemoryLedger(clock=lambda: _MOMENT)
    reservations = Reservations(router, ledger, strict=False, hold_ttl_s=300.0)
    prompts = [int(row) for _ in range(rounds) for row in np.flatnonzero(test.complete)]
    for place, row in enumerate(prompts):
        _decide_and_settle(reservations, f"d{place:08}", test, row, goal)
    rows = map(logged, ledger.decisions(count=len(prompts)))
    return [row for row in rows if isinstance(row, LoggedDecision)]


def _decide_and_settle(
    reservations: Reservations, identity: str, test: Outcomes, row: int, goal: Goal
) -> None:
    held: list[HeldDecision] = []

    def keep(one: HeldDecision) -> bytes:
        held.append(one)
        return b""

    reservations.decide(_query(test.texts[row], goal), identity, _FINGERPRINT, keep)
    reservations.reports.settle(
        identity, "", _FINGERPRINT, _usage(test, row, held[0].routed.decision.chosen)
    )


def _usage(test: Outcomes, row: int, chosen: Candidate) -> UsageReport:
    """What the history knows of the chosen arm, as a caller would report it."""
    assert chosen.quote is not None  # noqa: S101 — a chosen candidate has a quote
    arm = test.arms.index(chosen.model.tier)
    given, tokens = chosen.quote.input_tokens.tokens, test.output_tokens[row, arm]
    produced = NOMINAL_OUTPUT_TOKENS if np.isnan(tokens) else int(tokens)
    details = {
        "outcome": "success",
        "quality": float(test.quality[row, arm]),
        "input_tokens": given,
        "output_tokens": produced,
    }
    return UsageReport(chosen.model.id, given, 0, produced, int(test.cost_nanos[row, arm]), details)
