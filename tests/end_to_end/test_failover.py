"""After a failed call the next of the chain is taken, at the price that was said, if limits allow it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mitsumori import Admin, CallFailed, Decision, Router, route_request
from mitsumori.v1 import limit_pb2, router_pb2
from router.core.breaker import HealthPolicy
from router.ledger.memory import MemoryLedger
from router.routing.router import Router as RouterCore
from router.rpc.assembly import build_reservations, build_router
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S
from tests.router.ledger.builders import ManualClock

PROMPT = "Summarise in one sentence why the sky is blue."


@pytest.fixture
def address(settings: Settings, router: RouterCore) -> Iterator[str]:
    clock = ManualClock(NOON)
    own = settings.model_copy(update={"health": HealthPolicy()})
    made = build_router(
        own, clock, catalog=router.catalog, bundle=router.bundle, tokens=router.tokens
    )
    running = start(own, build_reservations(own, made, MemoryLedger(clock)))
    running.mark_serving()
    yield running.address
    running.drain()


@pytest.fixture
def client(address: str) -> Iterator[Router]:
    with Router(address, timeout_s=PATIENCE_S) as made:
        yield made


@pytest.fixture
def admin(address: str) -> Iterator[Admin]:
    with Admin(address, timeout_s=PATIENCE_S) as made:
        yield made


def limit(name: str, hard: int, **scope: str) -> limit_pb2.Limit:
    return limit_pb2.Limit(
        limit_id=name,
        scope=scope,
        unit=limit_pb2.UNIT_MONEY,
        window=limit_pb2.WINDOW_DAY,
        hard=hard,
    )


def held(admin: Admin, name: str) -> int:
    (found,) = (each for each in admin.limits({"team": "any"}) if each.limit.limit_id == name)
    return found.held


def next_after(client: Router, before: Decision, *failed: str, **scope: str) -> Decision:
    return client.reroute(
        before.id,
        route_request(PROMPT, scope=scope),
        failed_models=[*failed, before.model],
        outcome="server_error",
    )


def test_each_failure_leads_to_the_next_of_the_chain_at_the_price_that_was_said(
    client: Router, admin: Admin
) -> None:
    admin.set_limit(limit("all", 10**12, team="*"))
    first = client.route(PROMPT, scope={"team": "any"})
    assert len(first.fallbacks) == 3
    providers = [first.chosen.provider, *(each.provider for each in first.fallbacks)]
    assert len(set(providers)) == 4
    decision, failed = first, []
    for promised in first.fallbacks:
        failed.append(decision.model)
        decision = next_after(client, decision, *failed, team="any")
        assert decision.model == promised.model
        assert decision.chosen.quote.price == promised.price
        assert promised.price.expected.nanos > 0
        assert held(admin, "all") == decision.chosen.quote.price.high.nanos  # of the newest alone


def test_the_limits_are_checked_again_and_what_does_not_fit_is_passed_over(
    client: Router, admin: Admin
) -> None:
    first = client.route(PROMPT)
    second, third = first.fallbacks[:2]
    admin.set_limit(limit("second", 0, model=second.model))
    assert next_after(client, first).model == third.model


def test_where_no_limit_allows_another_the_call_says_so_and_the_first_hold_stays(
    client: Router, admin: Admin
) -> None:
    admin.set_limit(limit("team", 10**12, team="*"))
    first = client.route(PROMPT, scope={"team": "any"})
    before = held(admin, "team")
    assert before == first.chosen.quote.price.high.nanos > 0
    admin.set_limit(limit("closed", 0))
    with pytest.raises(CallFailed, match="limit closed") as refusal:
        next_after(client, first, team="any")
    assert refusal.value.code == "RESOURCE_EXHAUSTED"
    assert held(admin, "team") == before
    client.settle(first.id, input_tokens=10, output_tokens=10)


def test_where_every_model_fails_the_choice_is_made_as_if_none_did(client: Router) -> None:
    found = client.route(PROMPT, quote_only=True, max_alternatives=100)
    names = [found.model, *(each.model for each in found.alternatives)]
    decision = client.route(PROMPT)
    for name in names:
        for attempt in range(5):
            client.report_outcome(decision.id, "server_error", model=name, attempt=attempt)
    again = client.route(PROMPT)
    assert again.model == found.model
    (reason,) = (each for each in again.reasons if each.code == "ALL_UNHEALTHY")
    assert reason.text == (
        "every model that could be chosen is unhealthy: chosen as if all were healthy"
    )
    assert set(reason.facts) >= {found.model}
    assert next_after(client, again).model != found.model


@pytest.mark.parametrize("decision_id", ["unknown", "x" * 128, "acme:1"])
def test_an_outcome_of_a_decision_that_is_not_known_is_not_found(
    client: Router, decision_id: str
) -> None:
    with pytest.raises(CallFailed, match="there is no such decision; report with") as refusal:
        client.report_outcome(decision_id, "timeout")
    assert refusal.value.code == "NOT_FOUND"


def test_a_reroute_of_a_decision_that_is_not_known_is_not_found(client: Router) -> None:
    request = router_pb2.RerouteRequest(
        decision_id="unknown",
        request=route_request(PROMPT),
        failed_models=[client.route(PROMPT).model],
    )
    with pytest.raises(CallFailed) as refusal:
        client.call(client._stub.Reroute, request)
    assert refusal.value.code == "NOT_FOUND"


def test_a_hostile_tenant_takes_no_model_from_the_others(client: Router, address: str) -> None:
    """A thousand server errors, of ten decisions, by every attempt that one can name."""
    model = client.route(PROMPT, scope={"tenant": "good"}).model
    for _ in range(10):
        decision = client.route(PROMPT, scope={"tenant": "bad"}, models=[model])
        for attempt in range(100):
            client.report_outcome(decision.id, "server_error", attempt=attempt, tenant="bad")
    assert client.route(PROMPT, scope={"tenant": "bad"}).model != model
    for tenant in ("good", "fair"):
        found = client.route(PROMPT, scope={"tenant": tenant})
        assert found.model == model
        assert not [each for each in found.reasons if each.code == "MODELS_UNHEALTHY"]
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        health = {each.model: each.health for each in admin.models().models}[model]
    assert health.cause.endswith("; for 1 tenant alone")


def test_a_fault_that_five_tenants_see_protects_the_sixth(client: Router) -> None:
    model = client.route(PROMPT, scope={"tenant": "new"}).model
    for number in range(5):
        tenant = f"tenant-{number}"
        assert client.route(PROMPT, scope={"tenant": "new"}, quote_only=True).model == model
        decision = client.route(PROMPT, scope={"tenant": tenant})
        client.settle(
            decision.id, input_tokens=10, output_tokens=0, outcome="timeout", tenant=tenant
        )
    assert client.route(PROMPT, scope={"tenant": "new"}).model != model
