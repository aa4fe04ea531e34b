"""A real server leaves out a model that fails, tries it again, and takes it back; callers fall back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from typer.testing import CliRunner

import mitsumori
from mitsumori import Admin, CallFailed, Decision, route_request
from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2
from router.cli.main import app
from router.core.types import Importance
from router.decision_log.record_json import parse
from router.ledger.memory import MemoryLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations, build_router
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S
from tests.router.ledger.builders import ManualClock

PROMPT = "Summarise in one sentence why the sky is blue."


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def address(settings: Settings, router: Router, clock: ManualClock) -> Iterator[str]:
    own = settings.model_copy(update={"health": Settings().health})
    made = build_router(
        own, clock, catalog=router.catalog, bundle=router.bundle, tokens=router.tokens
    )
    running = start(own, build_reservations(own, made, MemoryLedger(clock)))
    running.mark_serving()
    yield running.address
    running.drain()


@pytest.fixture
def client(address: str) -> Iterator[mitsumori.Router]:
    with mitsumori.Router(address, timeout_s=PATIENCE_S) as made:
        yield made


def settle(client: mitsumori.Router, decision: Decision, **report: object) -> None:
    client.settle(decision.id, input_tokens=10, output_tokens=10, **report)  # type: ignore[arg-type]


def failing(client: mitsumori.Router, times: int = 5) -> str:
    """The model that answers the prompt; it has failed so often."""
    for _ in range(times):
        decision = client.route(PROMPT)
        settle(client, decision, outcome="server_error")
    return decision.model


def reasons(decision: Decision) -> list[str]:
    return [each.text for each in decision.reasons if each.code == "MODELS_UNHEALTHY"]


def test_a_model_that_fails_five_times_is_left_out_tried_once_and_taken_back(
    client: mitsumori.Router, clock: ManualClock
) -> None:
    model = failing(client, times=4)
    assert client.route(PROMPT).model == model == failing(client, times=1)
    others = client.route(PROMPT)
    assert others.model != model
    assert reasons(others) == [
        f"left out because calls to them fail: {model} (5 failures in a row, the last: server error; "
        "tried again from 12:00:30 UTC)"
    ]
    assert model not in [each.model for each in (*others.alternatives, *others.fallbacks)]
    clock.advance(seconds=29.9)
    assert client.route(PROMPT).model != model
    clock.advance(seconds=0.1)
    assert client.route(PROMPT, quote_only=True).model != model
    tried = client.route(PROMPT)
    assert tried.model == model
    assert reasons(tried) == [
        f"this call tries {model} again: 5 failures in a row, the last: server error"
    ]
    assert client.route(PROMPT).model != model
    settle(client, tried)
    again = client.route(PROMPT)
    assert (again.model, reasons(again)) == (model, [])


def test_a_try_that_fails_waits_twice_as_long(client: mitsumori.Router, clock: ManualClock) -> None:
    model = failing(client)
    clock.advance(seconds=30)
    settle(client, client.route(PROMPT), outcome="timeout")
    clock.advance(seconds=59)
    assert client.route(PROMPT).model != model
    clock.advance(seconds=1)
    assert client.route(PROMPT).model == model


def test_a_try_that_is_released_leaves_its_place_to_the_next(
    client: mitsumori.Router, clock: ManualClock
) -> None:
    model = failing(client)
    clock.advance(seconds=30)
    tried = client.route(PROMPT)
    assert client.route(PROMPT).model != model
    client.release(tried.id)
    assert client.route(PROMPT).model == model


def test_a_refused_hold_does_not_take_the_place_of_a_try(
    client: mitsumori.Router, address: str, clock: ManualClock
) -> None:
    model = failing(client)
    clock.advance(seconds=30)
    full = limit_pb2.Limit(
        limit_id="full",
        scope={"team": "poor"},
        unit=limit_pb2.UNIT_MONEY,
        window=limit_pb2.WINDOW_DAY,
        hard=0,
    )
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        admin.set_limit(full)
    with pytest.raises(CallFailed, match="limit full"):
        client.route(PROMPT, scope={"team": "poor"})
    assert client.route(PROMPT).model == model


def test_a_prompt_that_is_refused_filtered_or_too_long_is_not_the_model_s_fault(
    client: mitsumori.Router,
) -> None:
    model = client.route(PROMPT).model
    for outcome in ("refused", "content_filtered", "context_overflow"):
        for _ in range(5):
            settle(client, client.route(PROMPT), outcome=outcome)
    assert client.route(PROMPT).model == model


def test_a_rate_limit_with_a_wait_is_respected_at_once(
    client: mitsumori.Router, clock: ManualClock
) -> None:
    first = client.route(PROMPT)
    settle(client, first, outcome="rate_limited", retry_after_s=7)
    assert client.route(PROMPT).model != first.model
    clock.advance(seconds=7)
    assert client.route(PROMPT).model == first.model


def test_the_reply_says_what_to_try_next_and_reroute_takes_it(
    client: mitsumori.Router, address: str
) -> None:
    request = route_request(PROMPT)
    first = Decision.of(client.send(request))
    assert 1 <= len(first.fallbacks) <= 3
    assert first.fallbacks[0].provider != first.chosen.provider
    prices = {each.model: each.quote.price for each in first.alternatives}
    for each in first.fallbacks:
        assert prices.get(each.model, each.price) == each.price
        assert each.price.expected.nanos > 0
    second = client.reroute(
        first.id, route_request(PROMPT), failed_models=[first.model], outcome="overloaded"
    )
    assert second.model == first.fallbacks[0].model
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        health = {each.model: each.health for each in admin.models().models}
    assert health[first.model].failures == 1


def test_where_the_prompt_is_to_blame_the_next_best_is_chosen_of_any_provider(
    client: mitsumori.Router, address: str
) -> None:
    first = client.route(PROMPT)
    second = client.reroute(
        first.id, route_request(PROMPT), failed_models=[first.model], outcome="content_filtered"
    )
    assert second.model == first.alternatives[0].model
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        health = {each.model: each.health for each in admin.models().models}
    assert health[first.model].failures == 0


def test_reroutes_count_as_failures_and_a_repeated_one_counts_once(
    client: mitsumori.Router,
) -> None:
    for _ in range(4):
        first, again = client.route(PROMPT), route_request(PROMPT)
        for _ in range(3):
            client.reroute(first.id, again, failed_models=[first.model])
    last = client.route(PROMPT)
    assert last.model == first.model
    client.reroute(last.id, route_request(PROMPT), failed_models=[first.model])
    assert client.route(PROMPT).model != first.model


def test_attempts_that_nobody_settles_are_reported_alone(client: mitsumori.Router) -> None:
    decision = client.route(PROMPT, quote_only=True)
    counted = [client.report_outcome(decision.id, "timeout", attempt=n) for n in (0, 0, 1, 2, 3)]
    assert counted == [True, False, True, True, True]
    assert client.route(PROMPT).model == decision.model
    assert client.report_outcome(decision.id, "timeout", model=decision.model, attempt=4)
    assert client.route(PROMPT).model != decision.model


def test_the_command_line_names_the_models_that_fail(
    client: mitsumori.Router, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    working = CliRunner().invoke(app, ["models", "--server", address])
    assert "Health: calls to every model succeed, as far as was reported." in working.output
    model = failing(client)
    found = CliRunner().invoke(app, ["models", "--server", address])
    assert (
        f"unhealthy: {model}, 5 failures in a row, the last: server error, tried again from "
        "2026-11-23T12:00:30Z" in found.output
    )


def test_operators_see_which_models_are_left_out(client: mitsumori.Router, address: str) -> None:
    model = failing(client)
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        found = {each.model: each.health for each in admin.models().models}
        rows = list(admin.decisions(admin_pb2.DecisionFilter(), newest_first=True))
    health = found.pop(model)
    assert health.state == admin_pb2.HEALTH_STATE_UNHEALTHY
    assert health.cause == "5 failures in a row, the last: server error"
    assert health.retry_time.ToDatetime() == (NOON + timedelta(seconds=30)).replace(tzinfo=None)
    assert {each.state for each in found.values()} == {admin_pb2.HEALTH_STATE_HEALTHY}
    assert parse(rows[0].record_json).unhealthy == ()
    decision = client.route(PROMPT)
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        row = next(iter(admin.decisions(admin_pb2.DecisionFilter(), newest_first=True)))
    record = parse(row.record_json)
    assert (row.decision_id, record.unhealthy) == (decision.id, (model,))
    assert record.importance is Importance.MEDIUM


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"outcome": 1}, "decision_id: must not be empty"),
        ({"decision_id": "d"}, "outcome: must be set: it is all that is reported"),
        ({"decision_id": "d", "outcome": 77}, "outcome: must be a known outcome"),
        ({"decision_id": "d", "outcome": 2, "attempt": 100}, "attempt: must be 0 to 99"),
        ({"decision_id": "d", "outcome": 2, "model": "m" * 201}, "model: must have at most 200"),
        ({"decision_id": "d", "outcome": 2}, "decision_id: there is no such decision; report with"),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(
    client: mitsumori.Router, request_: dict[str, object], message: str
) -> None:
    report = router_pb2.ReportOutcomeRequest(**request_)  # type: ignore[arg-type]
    with pytest.raises(CallFailed, match=message):
        client.call(client._stub.ReportOutcome, report)


def test_a_report_of_a_model_that_is_not_in_the_catalog_is_refused(
    client: mitsumori.Router,
) -> None:
    decision = client.route(PROMPT)
    with pytest.raises(CallFailed, match="model"):
        client.report_outcome(decision.id, "error", model="gpt-5-nanoo")
    with pytest.raises(CallFailed, match="no such decision"):
        client.report_outcome(decision.id, "error", tenant="another")


def test_a_reroute_after_success_or_without_a_model_is_refused(client: mitsumori.Router) -> None:
    decision = client.route(PROMPT)
    with pytest.raises(CallFailed, match="outcome: must be one for which another model is needed"):
        client.reroute(
            decision.id, route_request(PROMPT), failed_models=[decision.model], outcome="success"
        )
    with pytest.raises(CallFailed, match="failed_models: must name the models that failed"):
        client.reroute(decision.id, route_request(PROMPT), outcome="error")
