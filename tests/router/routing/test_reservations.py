"""The desk: decisions with their holds, and what calls really cost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.ledger.memory import MemoryLedger
from router.routing.reservations import Reservations
from router.routing.settlement import UsageReport
from router.rpc.assembly import build_reservations, build_router
from router.settings import Settings
from tests.router.ledger.builders import ManualClock, hold

CATALOG = """
tiers: [low, high]
default_lengths:
  low: {p50: 10, p90: 20, p99: 30}
  high: {p50: 10, p90: 20, p99: 30}
models:
  - id: mine
    provider: nobody
    tier: low
    max_output_tokens: 100
    speed: {first_token_s: 1, output_tokens_per_s: 10}
    prices:
      - {from: 2026-01-01, input_usd_per_mtok: "1", output_usd_per_mtok: "2"}
      - {from: 2026-12-01, input_usd_per_mtok: "3", output_usd_per_mtok: "4"}
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))


@pytest.fixture
def desk(tmp_path: Path, settings: Settings, clock: ManualClock) -> Reservations:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    changed = settings.model_copy(update={"catalog": path})
    return build_reservations(changed, build_router(changed, now=clock), MemoryLedger(clock))


def settled(desk: Reservations, name: str) -> int:
    """Nano-dollars booked for a call of 1,000 tokens in and 100 out, without a reported cost."""
    return desk.reports.settle(name, "acme", "report", UsageReport("", 1_000, 0, 100, None, {}))[1]


def test_a_call_costs_what_it_cost_when_it_was_decided(
    desk: Reservations, clock: ManualClock
) -> None:
    desk.ledger.hold(hold("last second of November", model="mine"))
    clock.advance(seconds=1)
    desk.ledger.hold(hold("first second of December", model="mine"))
    # Dollars per million tokens are thousands of nano-dollars per token.
    assert settled(desk, "last second of November") == 1_000 * 1_000 + 100 * 2_000
    assert settled(desk, "first second of December") == 1_000 * 3_000 + 100 * 4_000
