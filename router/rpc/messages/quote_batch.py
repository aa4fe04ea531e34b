"""The summary of a batch as a message."""

from __future__ import annotations

from datetime import datetime, timedelta

from mitsumori.money import fill_money
from mitsumori.v1 import router_pb2
from router.core.errors import MitsumoriError
from router.core.load import Load
from router.core.schedule import earliest_finish
from router.routing.batch_totals import BatchTotals, ModelTotal
from router.rpc.messages.limit import fill_limit_status

__all__ = ["fill_error", "render_summary"]


def fill_error(target: router_pb2.QuoteError, error: MitsumoriError) -> None:
    """Write why a request could not be quoted, and when it could be sent, where that is why."""
    target.reason, target.text = error.reason, error.message
    not_before = error.metadata.get("not_before")
    if not_before is not None:
        target.not_before_time.FromDatetime(datetime.fromisoformat(not_before))


def _fill_price(
    target: router_pb2.BatchPrice, model: str, total: ModelTotal, load: Load, now: datetime
) -> None:
    target.model = model
    target.tokens = total.tokens
    price = total.price
    fill_money(target.price.low, price.low)
    fill_money(target.price.expected, price.expected)
    fill_money(target.price.high, price.high)
    fill_money(target.price.worst, price.worst)
    target.fits = total.fits
    if total.tightest is not None:
        fill_limit_status(target.tightest_limit, total.tightest)
    finish = earliest_finish(total.demands.items(), load)
    if finish is not None:
        target.earliest_finish_time.FromDatetime(now + timedelta(seconds=finish.seconds))
        target.slowest_limit = finish.limit


def render_summary(batch: BatchTotals, load: Load, now: datetime) -> router_pb2.BatchSummary:
    """The summary that ends the stream of a batch.

    Args:
        batch: its totals.
        load: how far limits of providers are used, for batch work.
        now: from which the work is planned, aware.
    """
    summary = router_pb2.BatchSummary(quoted=batch.quoted, failed=batch.failed)
    _fill_price(summary.recommended, "", batch.recommended, load, now)
    for model, total in batch.models:
        _fill_price(summary.per_model.add(), model, total, load, now)
    return summary
