"""The summary of a batch as a message."""

from __future__ import annotations

from mitsumori.money import fill_money
from mitsumori.v1 import router_pb2
from router.routing.batch_totals import BatchTotals, ModelTotal
from router.rpc.messages.limit import fill_limit_status

__all__ = ["render_summary"]


def _fill_price(target: router_pb2.BatchPrice, model: str, total: ModelTotal) -> None:
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


def render_summary(batch: BatchTotals) -> router_pb2.BatchSummary:
    """The summary that ends the stream of a batch."""
    summary = router_pb2.BatchSummary(quoted=batch.quoted, failed=batch.failed)
    _fill_price(summary.recommended, "", batch.recommended)
    for model, total in batch.models:
        _fill_price(summary.per_model.add(), model, total)
    return summary
