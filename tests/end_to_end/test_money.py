"""Money over a real socket: holds, settlements, limits, re-routes and batches, on the SQLite ledger."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

import mitsumori
from mitsumori import CallFailed, Usd, route_request
from mitsumori.money import money_of, nanos_of
from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2, router_pb2_grpc
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S

PROOF = "Prove that every bounded sequence of real numbers has a convergent subsequence."
USD = 1_000_000_000
NANO: dict[str, Any] = {"models": ["gpt-5-nano"], "max_output_tokens": 1000}


@dataclass
class Shop:
    router: mitsumori.Router
    admin: mitsumori.Admin

    def route(self, prompt: str, **wishes: Any) -> router_pb2.RouteResponse:
        return self.router.route(prompt, **wishes).message

    def limit(self, limit_id: str, hard: int | None, **more: object) -> None:
        fields: dict[str, object] = {
            "unit": limit_pb2.UNIT_MONEY, "window": limit_pb2.WINDOW_MONTH, "hard": hard, **more,
        }  # fmt: skip
        self.admin.set_limit(limit_pb2.Limit(limit_id=limit_id, **fields))  # type: ignore[arg-type]

    def status(self, limit_id: str, **labels: str) -> limit_pb2.LimitStatus:
        return next(
            s for s in self.admin.limits(labels or {"any": "x"}) if s.limit.limit_id == limit_id
        )


@pytest.fixture
def shop(tmp_path: Path, settings: Settings, router: Router) -> Iterator[Shop]:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite", clock=lambda: NOON)
    running = start(settings, build_reservations(settings, router, ledger))
    running.mark_serving()
    with (
        mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client,
        mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin,
    ):
        yield Shop(client, admin)
    running.drain()
    ledger.close()


def held(reply: router_pb2.RouteResponse) -> int:
    return nanos_of(reply.hold.amount)


def refusal(call: object) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        call()  # type: ignore[operator]
    return caught.value


def test_a_hold_is_the_quotes_high_price_and_counts_at_once(shop: Shop) -> None:
    shop.limit("search", USD, scope={"team": "search"})
    reply = shop.route(PROOF, scope={"team": "search"}, **NANO)
    assert held(reply) == nanos_of(reply.chosen.quote.price.high)
    (status,) = reply.limits
    assert (status.held, status.spent) == (held(reply), 0)
    assert status.remaining == USD - held(reply)
    assert shop.status("search", team="search").held == held(reply)
    assert status.reset_time.ToJsonString() == "2026-12-01T00:00:00Z"


def test_settling_turns_the_hold_into_spend_and_gives_the_rest_back(shop: Shop) -> None:
    shop.limit("search", USD, scope={"team": "search"})
    reply = shop.route(PROOF, scope={"team": "search"}, **NANO)
    settled = shop.router.settle(reply.decision_id, input_tokens=20, output_tokens=100)
    spent = 20 * 50 + 100 * 400  # $0.05 and $0.40 per million tokens
    assert settled.spent == Usd(spent)
    status = shop.status("search", team="search")
    assert (status.spent, status.held) == (spent, 0)


def test_the_same_report_may_come_again_and_another_may_not(shop: Shop) -> None:
    reply = shop.route(PROOF)
    first = shop.router.settle(reply.decision_id, input_tokens=20, output_tokens=100)
    again = shop.router.settle(reply.decision_id, input_tokens=20, output_tokens=100)
    assert (first.repeated, again.repeated) == (False, True)
    other = refusal(lambda: shop.router.settle(reply.decision_id, input_tokens=1, output_tokens=1))
    assert other.code == "ALREADY_EXISTS"


def test_a_call_that_cost_more_than_its_hold_is_booked_whole_and_flagged(shop: Shop) -> None:
    shop.limit("all", USD)
    reply = shop.route(PROOF, **NANO)
    settled = shop.router.settle(
        reply.decision_id, input_tokens=20, output_tokens=900, cost_usd=Usd(held(reply) + 7)
    )
    assert settled.overage == Usd(7)
    assert shop.status("all").spent == held(reply) + 7


def test_a_call_of_a_model_from_elsewhere_is_booked_at_its_cost(shop: Shop) -> None:
    shop.limit("search", USD, scope={"team": "search"})
    reply = shop.route(PROOF, scope={"team": "search"}, **NANO)
    shop.router.settle(
        reply.decision_id,
        input_tokens=20,
        output_tokens=10,
        model="in-house-7b",
        cost_usd=Usd(5_000),
    )
    assert shop.status("search", team="search").spent == 5_000


def test_a_strict_hold_covers_the_worst_that_an_estimated_tokenizer_can_do(
    settings: Settings, router: Router
) -> None:
    strict = settings.model_copy(update={"strict": True})
    running = start(strict, build_reservations(strict, router, MemoryLedger()))
    with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
        claude = {"models": ["claude-haiku-5-5"], "max_output_tokens": 100}
        reply = client.route("日本語で答えて", **claude).message
        offer = reply.chosen.quote
        assert offer.input_tokens.worst == 3 * 7 + 3 + 4 > offer.input_tokens.tokens
        assert held(reply) == nanos_of(offer.price.worst)
        assert reply.hold.tokens == offer.input_tokens.worst + 100
        settled = client.settle(
            reply.decision_id, input_tokens=offer.input_tokens.worst, output_tokens=100
        )
        assert settled.overage == Usd(0)
    running.drain()


def test_a_released_hold_is_free_again_and_cannot_be_settled(shop: Shop) -> None:
    shop.limit("all", USD)
    reply = shop.route(PROOF)
    assert shop.router.release(reply.decision_id) is True
    assert shop.router.release(reply.decision_id) is False
    assert shop.status("all").held == 0
    error = refusal(lambda: shop.router.settle(reply.decision_id, input_tokens=1, output_tokens=1))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "ALREADY_RELEASED")


def test_unknown_and_foreign_decisions_look_alike(shop: Shop) -> None:
    mine = shop.route(PROOF, scope={"tenant": "a"})
    unknown = refusal(lambda: shop.router.release("nothing"))
    foreign = refusal(lambda: shop.router.release(mine.decision_id, tenant="b"))
    settle = refusal(
        lambda: shop.router.settle(mine.decision_id, input_tokens=1, output_tokens=1, tenant="b")
    )
    assert {unknown.code, foreign.code, settle.code} == {"NOT_FOUND"}
    assert shop.router.release(mine.decision_id, tenant="a") is True


def test_a_zero_limit_means_zero(shop: Shop) -> None:
    shop.limit("nothing", 0)
    error = refusal(lambda: shop.route(PROOF))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "LIMIT_NEVER_FITS")
    assert error.metadata["limit"] == "nothing"


def test_waiting_for_holds_and_being_out_of_money_have_different_reasons(shop: Shop) -> None:
    price = held(shop.route(PROOF, **NANO))
    shop.limit("tight", price)
    first = shop.route(PROOF, **NANO)
    waiting = refusal(lambda: shop.route(PROOF, **NANO))
    assert (waiting.reason, waiting.metadata["held"]) == ("LIMIT_WAIT_FOR_HOLDS", str(price))
    shop.router.settle(first.decision_id, input_tokens=20, output_tokens=1, cost_usd=Usd(price))
    spent = refusal(lambda: shop.route(PROOF, **NANO))
    assert (spent.reason, spent.metadata["resets"]) == (
        "LIMIT_EXHAUSTED",
        "2026-12-01T00:00:00+00:00",
    )


def test_no_number_of_callers_at_once_gets_past_a_hard_limit(shop: Shop) -> None:
    price = held(shop.route(PROOF, **NANO))
    shop.limit("ten", 10 * price)

    def attempt(_: int) -> str:
        try:
            shop.route(PROOF, **NANO)
        except CallFailed as error:
            return error.reason
        return "granted"

    with ThreadPoolExecutor(16) as pool:
        outcomes = Counter(pool.map(attempt, range(60)))
    assert outcomes == {"granted": 10, "LIMIT_WAIT_FOR_HOLDS": 50}
    assert shop.status("ten").held == 10 * price


def test_a_repeated_request_gets_its_answer_even_where_the_limit_is_full_by_now(shop: Shop) -> None:
    price = held(shop.route(PROOF, **NANO))
    shop.limit("one", price)
    first = shop.route(PROOF, **NANO, request_id="repeated")
    assert shop.route(PROOF, **NANO, request_id="repeated") == first
    assert shop.status("one").held == price


def test_quoting_only_holds_nothing(shop: Shop) -> None:
    shop.limit("all", USD)
    reply = shop.route(PROOF, quote_only=True)
    assert not reply.HasField("hold")
    assert shop.status("all").held == 0


def test_a_soft_limit_warns_first_and_a_hard_limit_downgrades_before_it_refuses(shop: Shop) -> None:
    free = shop.route(PROOF, quality_target=0.99)
    shop.limit("soft", None, soft=1)
    warned = shop.route(PROOF, quality_target=0.99)
    assert warned.chosen.model == free.chosen.model
    codes = [reason.code for reason in warned.reasons]
    assert router_pb2.REASON_CODE_SOFT_LIMIT in codes
    shop.limit("soft", shop.status("soft").held + held(free) // 2, soft=1)
    cheaper = shop.route(PROOF, quality_target=0.99)
    assert cheaper.chosen.quote.price.high.nanos < free.chosen.quote.price.high.nanos


def test_a_soft_limit_can_prefer_the_cheaper_or_forbid_the_top(shop: Shop) -> None:
    wish: dict[str, Any] = {"willingness_to_pay_usd": 1000}
    assert shop.route(PROOF, **wish).chosen.tier == "high"
    shop.limit("s", None, soft=0, on_soft=limit_pb2.SOFT_ACTION_FORBID_TOP_TIER)
    downgraded = shop.route(PROOF, **wish)
    assert downgraded.chosen.tier != "high"
    assert downgraded.reasons[0].code == router_pb2.REASON_CODE_DOWNGRADED
    shop.limit("s", None, soft=0, on_soft=limit_pb2.SOFT_ACTION_PREFER_CHEAPER)
    cheapest = shop.route(PROOF, **wish, max_alternatives=100)
    prices = [
        nanos_of(option.quote.price.expected)
        for option in (cheapest.chosen, *cheapest.alternatives)
    ]
    assert prices[0] == min(prices)


def test_batch_work_waits_where_a_soft_limit_defers_it(shop: Shop) -> None:
    shop.limit("s", None, soft=0, on_soft=limit_pb2.SOFT_ACTION_DEFER_BATCH)
    assert refusal(lambda: shop.route(PROOF, batch=True)).reason == "LIMIT_DEFERRED"
    assert shop.route(PROOF).chosen.model


def test_a_paced_budget_gives_way_in_quality_before_it_is_gone(shop: Shop) -> None:
    wish: dict[str, Any] = {"quality_target": 0.75}
    free = shop.route(PROOF, **wish)
    assert free.chosen.tier == "high"
    # 75 % of November is over at noon on the 23rd; the budget is all but spent.
    shop.limit("paced", held(free) * 10, paced=True)
    for _ in range(8):
        last = shop.route(PROOF, tiers=["high"])
    assert last.chosen.tier == "high"
    paced = shop.route(PROOF, **wish)
    assert router_pb2.REASON_CODE_PACED in {reason.code for reason in paced.reasons}
    assert paced.chosen.tier != "high"


def test_rerouting_moves_the_hold_to_another_model_in_one_step(shop: Shop) -> None:
    shop.limit("all", USD)
    first = shop.route(PROOF)
    second = shop.router.reroute(
        first.decision_id, route_request(PROOF), failed_models=[first.chosen.model]
    ).message
    assert second.chosen.model != first.chosen.model
    assert shop.status("all").held == held(second)
    error = refusal(lambda: shop.router.reroute(first.decision_id, route_request(PROOF)))
    assert error.code == "NOT_FOUND"


def test_a_reroute_that_is_refused_leaves_the_old_hold(shop: Shop) -> None:
    first = shop.route(PROOF, **NANO)
    shop.limit("nothing", 0)
    error = refusal(lambda: shop.router.reroute(first.decision_id, route_request(PROOF)))
    assert error.reason == "LIMIT_NEVER_FITS"
    shop.admin.delete_limit("nothing")
    assert shop.router.release(first.decision_id) is True


def test_a_reroute_may_use_what_it_gives_back(shop: Shop) -> None:
    model = shop.route(PROOF, quote_only=True, **NANO).chosen.model
    price = held(shop.route(PROOF, **NANO, scope={"team": "other"}))
    shop.limit("search", price, scope={"team": "search"})
    shop.limit("places", 1, unit=limit_pb2.UNIT_CONCURRENT, window=limit_pb2.WINDOW_TOTAL,
               scope={"team": "search"})  # fmt: skip
    scope = {"team": "search"}
    first = shop.route(PROOF, scope=scope, **NANO)
    again = route_request(PROOF, scope=scope, **NANO)
    second = shop.router.reroute(first.decision_id, again).message
    assert second.chosen.model == model
    assert shop.status("search", team="search").held == price
    assert [(status.held, status.remaining) for status in second.limits] == [(1, 0), (price, 0)]


def test_a_batch_is_priced_with_an_interval_of_the_sum(shop: Shop) -> None:
    shop.limit("search", USD, scope={"team": "search"})
    prompts = [f"What is {n} times {n}?" for n in range(40)] + [""]
    # One tier, so that the prices are alike: else a few dear answers are the whole sum.
    low = ["low"]
    requests = [route_request(text, scope={"team": "search"}, tiers=low) for text in prompts]
    replies = list(shop.router.quote_batch(iter(requests)))
    assert [reply.index for reply in replies[:-1]] == list(range(41))
    assert replies[40].error.reason == "INVALID_INPUT"
    summary = replies[-1].summary
    assert (summary.quoted, summary.failed) == (40, 1)
    singles = [reply.response.chosen.quote.price for reply in replies[:40]]
    total = summary.recommended.price
    assert nanos_of(total.expected) == sum(nanos_of(price.expected) for price in singles)
    width = nanos_of(total.high) - nanos_of(total.low)
    widths = [nanos_of(price.high) - nanos_of(price.low) for price in singles]
    # Errors within a batch are partly shared: wider than if they were independent, narrower than if
    # all answers came out long together.
    assert math.hypot(*widths) < width < 0.9 * sum(widths)
    expected = [nanos_of(price.price.expected) for price in summary.per_model]
    assert expected == sorted(expected)
    assert summary.recommended.fits
    assert summary.recommended.tightest_limit.limit.limit_id == "search"
    assert shop.status("search", team="search").held == 0


def test_accountants_see_usage_by_group_and_every_decision(shop: Shop) -> None:
    for team in ("search", "search", "ads"):
        reply = shop.route(PROOF, scope={"team": team}, **NANO)
        shop.router.settle(reply.decision_id, input_tokens=20, output_tokens=100, quality=0.5)
    shop.route(PROOF, scope={"team": "ads"}, **NANO)
    rows = shop.admin.usage(admin_pb2.DecisionFilter(), ["team", "day"])
    table = {tuple(row.group): (row.decisions, nanos_of(row.spent), row.tokens) for row in rows}
    assert table == {
        ("ads", "2026-11-23"): (2, 41_000, 120),
        ("search", "2026-11-23"): (2, 82_000, 240),
    }
    (whole,) = shop.admin.usage(admin_pb2.DecisionFilter(labels={"team": "search"}), [])
    assert (whole.settled, whole.overruns) == (2, 0)
    reserved, unused = nanos_of(whole.reserved), nanos_of(whole.unused)
    assert reserved - unused == nanos_of(whole.spent)
    settled = admin_pb2.DecisionFilter(
        labels={"team": "ads"}, state=admin_pb2.DECISION_STATE_SETTLED
    )
    (row,) = shop.admin.decisions(settled)
    assert row.labels["model"] == "gpt-5-nano"
    assert '"propensity": 1.0' in row.record_json
    assert '"quality": 0.5' in row.record_json
    assert PROOF not in row.record_json


BAD_LIMITS: dict[str, tuple[dict[str, object], str]] = {
    "no id": ({"limit_id": ""}, "limit.limit_id"),
    "no unit": ({"unit": 0}, "limit.unit"),
    "unknown unit": ({"unit": 99}, "limit.unit"),
    "no window": ({"window": 0}, "limit.window"),
    "negative": ({"hard": -1}, "limit.hard"),
    "soft above hard": ({"soft": 3, "hard": 2}, "limit.soft"),
    "no value": ({"hard": None}, "limit.hard"),
    "time zone": ({"time_zone": "Mars/Olympus"}, "limit.time_zone"),
    "concurrent by day": ({"unit": 4, "window": 3}, "limit.window"),
    "scope": ({"scope": {"Team": "x"}}, "limit.scope"),
    "overflowing": ({"hard": 2**63 - 1}, "limit.hard"),
    "soft negative": ({"soft": -1}, "limit.soft"),
    "unknown model": ({"scope": {"model": "gpt-99"}}, "limit.scope.model"),
    "unknown provider": ({"scope": {"provider": "nobody"}}, "limit.scope.provider"),
    "unknown tier": ({"scope": {"tier": "highest"}}, "limit.scope.tier"),
    "unknown action": ({"on_soft": 9}, "limit.on_soft"),
}


@pytest.mark.parametrize(("change", "field"), BAD_LIMITS.values(), ids=BAD_LIMITS.keys())
def test_a_wrong_limit_names_its_field(shop: Shop, change: dict[str, object], field: str) -> None:
    fields: dict[str, object] = {
        "limit_id": "x", "unit": limit_pb2.UNIT_MONEY, "window": limit_pb2.WINDOW_DAY, "hard": 1,
        **change,
    }  # fmt: skip
    error = refusal(lambda: shop.admin.set_limit(limit_pb2.Limit(**fields)))  # type: ignore[arg-type]
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)


BAD_REPORTS: dict[str, tuple[dict[str, object], str]] = {
    "negative": ({"input_tokens": -1}, "input_tokens"),
    "overflow": ({"output_tokens": 2**40}, "output_tokens"),
    "more cached than sent": ({"cached_input_tokens": 21}, "cached_input_tokens"),
    "more reasoning than output": ({"reasoning_tokens": 11}, "reasoning_tokens"),
    "cost overflows": ({"cost": money_of(2**62)}, "cost"),
    "quality NaN": ({"quality": float("nan")}, "quality"),
    "latency negative": ({"latency": Duration(seconds=-1)}, "latency"),
    "first token negative": (
        {"first_token_latency": Duration(seconds=-1)},
        "first_token_latency",
    ),
    "first token after the last": (
        {"latency": Duration(seconds=1), "first_token_latency": Duration(seconds=1, nanos=1)},
        "first_token_latency",
    ),
    "unknown model without its cost": ({"model": "gpt-99"}, "model[0]"),
    "model without end": ({"model": "m" * 201, "cost": money_of(1)}, "model"),
}


@pytest.mark.parametrize(("change", "field"), BAD_REPORTS.values(), ids=BAD_REPORTS.keys())
def test_a_wrong_report_names_its_field_and_changes_nothing(
    shop: Shop, change: dict[str, object], field: str
) -> None:
    reply = shop.route(PROOF)
    fields: dict[str, Any] = {
        "decision_id": reply.decision_id, "input_tokens": 20, "output_tokens": 10,
        "outcome": router_pb2.OUTCOME_SUCCESS, **change,
    }  # fmt: skip
    # As a message: our own client would not send most of these.
    stub = router_pb2_grpc.RouterServiceStub(shop.router.channel)  # type: ignore[no-untyped-call]
    error = refusal(lambda: shop.router.call(stub.Settle, router_pb2.SettleRequest(**fields)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)
    assert shop.router.release(reply.decision_id) is True
