"""Logs of decisions for tests: made by the real router, settled, changed, exported, replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from typer.testing import CliRunner

from router.cli.demo import PROMPTS
from router.cli.main import app
from router.core.types import Constraints, Importance, Message, Prompt
from router.decision_log.export import usd, write_table
from router.decision_log.reader import LoggedDecision
from router.decision_log.reader import logged as logged_row
from router.decision_log.record import LoggedUsage
from router.decision_log.record_json import with_usage
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import RouteQuery, Router
from router.routing.settlement import UsageReport
from router.rpc.assembly import build_reservations
from router.settings import Settings


def prompts(count: int) -> list[str]:
    """Varied prompts, each with words of its own."""
    texts = [text[:400] for _, text in PROMPTS]
    return [f"{texts[place % len(texts)]} (case {place})" for place in range(count)]


def fill(
    ledger: Any, router: Router, texts: Sequence[str], *, seed: int = 7, **kept: Any
) -> dict[str, float]:
    """Decide on each text and settle it, good with the promised probability; what was promised."""
    reservations = build_reservations(Settings(ledger="memory:", **kept), router, ledger)
    rng = np.random.default_rng(seed)
    promised = {}
    for place, text in enumerate(texts):
        chosen: list[Any] = []

        def render(held: Any, chosen: list[Any] = chosen) -> bytes:
            chosen.append(held.routed.decision.chosen)
            return b""

        prompt = Prompt((Message("system", "Be brief."), Message("user", text)))
        query = RouteQuery("", {"team": "a"}, prompt, Constraints(), None, Importance.MEDIUM, "", 1)
        reservations.decide(query, f"d{place:04}", "f" * 64, render)
        model, p = chosen[0].model.id, chosen[0].p_adequate
        promised[f"d{place:04}"] = p
        details = {
            "outcome": "success", "quality": float(rng.random() < p), "input_tokens": 50,
            "output_tokens": 100,
        }  # fmt: skip
        cost = chosen[0].quote.price.expected
        reservations.reports.settle(
            f"d{place:04}", "", "s" * 64, UsageReport(model, 50, 0, 100, cost, details)
        )
    return promised


def rows_of(ledger: Any) -> list[LoggedDecision]:
    rows = [logged_row(one) for one in ledger.decisions(count=10_000)]
    assert all(isinstance(row, LoggedDecision) for row in rows)
    return rows


def logged(router: Router, texts: Sequence[str], **kept: Any) -> list[LoggedDecision]:
    ledger = MemoryLedger()
    fill(ledger, router, texts, **kept)
    return rows_of(ledger)


def with_record(row: LoggedDecision, **changes: Any) -> LoggedDecision:
    return replace(row, record=msgspec.structs.replace(row.record, **changes))


def usage_of(row: LoggedDecision) -> LoggedUsage:
    assert row.record.usage is not None
    return row.record.usage


def with_usage_of(row: LoggedDecision, **changes: Any) -> LoggedDecision:
    return with_record(row, usage=msgspec.structs.replace(usage_of(row), **changes))


def with_candidates(row: LoggedDecision, **changes: Any) -> LoggedDecision:
    """Every candidate with these fields."""
    changed = [msgspec.structs.replace(one, **changes) for one in row.record.candidates]
    return with_record(row, candidates=tuple(changed))


def exported(ledger: SqliteLedger, target: Path) -> Path:
    """As ``mitsumori decisions --out`` writes it, without the columns that are for accountants."""
    rows = [
        [row.id, row.state.value, row.created.isoformat(),
         None if row.actual is None else usd(row.actual.money),
         " ".join(f"{k}={v}" for k, v in sorted(row.labels.items())),
         with_usage(row.record, row.usage)]
        for row in ledger.decisions(count=10_000)
    ]  # fmt: skip
    columns = ("decision_id", "state", "created", "spent_usd", "labels", "record")
    write_table(target, columns, rows)
    return target


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["replay", *words], catch_exceptions=False)
