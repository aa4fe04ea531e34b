"""A real server keeps within the limits of providers: it shifts, defers, says when, learns of headers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import mitsumori
from mitsumori import Admin, CallFailed, Decision, rate_limits_from_headers, route_request
from mitsumori.v1 import limit_pb2, router_pb2
from router.cli.demo import serving
from router.cli.main import app
from router.core.errors import BadArtifact, MitsumoriError
from router.core.load import AccountLimits, ProviderLimits
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
TEN = ProviderLimits(requests_per_minute=10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


class LimitedServer:
    """A server with limits of providers, and connections to it."""

    def __init__(self, settings: Settings, router: Router, clock: ManualClock) -> None:
        self._settings, self._router, self._clock = settings, router, clock
        self.ledger, self.catalog = MemoryLedger(clock), router.catalog

    @contextmanager
    def client(self, limits: dict[str, ProviderLimits] | None = None) -> Iterator[mitsumori.Router]:
        own = self._settings.model_copy(update={"provider_limits": limits or {}})
        made = build_router(
            own,
            self._clock,
            catalog=self._router.catalog,
            bundle=self._router.bundle,
            tokens=self._router.tokens,
        )
        running = start(own, build_reservations(own, made, self.ledger))
        running.mark_serving()
        self.address = running.address
        try:
            with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
                yield client
        finally:
            running.drain()


@pytest.fixture
def limited(settings: Settings, router: Router, clock: ManualClock) -> LimitedServer:
    return LimitedServer(settings, router, clock)


@pytest.fixture
def usual(client: mitsumori.Router) -> Decision:
    """The choice where nothing is limited."""
    return client.route(PROMPT, quote_only=True)


def settle(client: mitsumori.Router, decision: Decision, **report: Any) -> None:
    client.settle(decision.id, input_tokens=10, output_tokens=10, **report)


def shifted(decision: Decision) -> list[str]:
    return [each.text for each in decision.reasons if each.code == "LOAD_SHIFTED"]


def refused(client: mitsumori.Router, **wish: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        client.route(PROMPT, **wish)
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    return caught.value


def test_a_full_account_shifts_the_choice_and_a_settlement_gives_it_back(
    limited: LimitedServer, usual: Decision
) -> None:
    provider, model = usual.chosen.provider, usual.model
    with limited.client({provider: ProviderLimits(requests_in_flight=1)}) as client:
        first = client.route(PROMPT)
        assert (first.model, shifted(first)) == (model, [])
        other = client.route(PROMPT)
        assert other.chosen.provider != provider
        assert shifted(other) == [
            f"{model} has no room for this call: requests_in_flight of {provider} is 1 of 1; "
            f"{other.model} was chosen instead"
        ]
        assert provider not in {each.provider for each in (*other.alternatives, *other.fallbacks)}
        assert client.route(PROMPT, quote_only=True).model == model  # no call follows
        settle(client, first)
        assert client.route(PROMPT).model == model
        stored = limited.ledger.decision(other.id)
        assert stored is not None
        record = parse(stored.record)
        assert model in record.full
        assert model not in {each.model for each in record.candidates}
        assert "LOAD_SHIFTED" in record.reasons


def test_a_released_call_and_one_that_is_rerouted_give_their_place_back(
    limited: LimitedServer, usual: Decision
) -> None:
    limits = {usual.chosen.provider: ProviderLimits(requests_in_flight=1, requests_per_minute=3)}
    with limited.client(limits) as client:
        client.release(client.route(PROMPT).id)
        first = client.route(PROMPT)
        assert first.model == usual.model
        client.reroute(first.id, route_request(PROMPT), failed_models=[first.model])
        second = client.route(PROMPT)
        assert second.model == usual.model
        settle(client, second)
        # Two began in this minute, and nine tenths of three are two.
        assert client.route(PROMPT).model != usual.model


def test_what_matters_less_stops_earlier(
    limited: LimitedServer, usual: Decision, clock: ManualClock
) -> None:
    model = usual.model
    wish: dict[str, Any] = {"models": [model]}
    for importance, most in (("low", 8), ("medium", 9), ("high", 10)):
        with limited.client({usual.chosen.provider: TEN}) as client:
            for _ in range(most):
                client.route(PROMPT, importance=importance, **wish)
            error = refused(client, importance=importance, **wish)
            assert error.reason == "PROVIDERS_FULL"
            assert error.metadata["used"] == str(most)
            assert error.metadata["model"] == model
            assert error.metadata["not_before"] == "2026-11-23T12:01:01.000+00:00"
            assert error.retry_after_s == 61.0
    with limited.client({usual.chosen.provider: TEN}) as client:
        for _ in range(7):
            client.route(PROMPT, batch=True, importance="high", **wish)
        assert refused(client, batch=True, importance="high", **wish).reason == "LOAD_DEFERRED"
        assert client.route(PROMPT, **wish).model == model
        clock.advance(seconds=61)
        assert client.route(PROMPT, batch=True, **wish).model == model


def test_deferred_work_is_planned_listed_and_decided_when_its_turn_comes(
    limited: LimitedServer, usual: Decision, clock: ManualClock
) -> None:
    wish: dict[str, Any] = {"models": [usual.model], "batch": True, "scope": {"team": "nightly"}}
    with (
        limited.client({usual.chosen.provider: TEN}) as client,
        Admin(limited.address, timeout_s=PATIENCE_S) as admin,
    ):
        for _ in range(7):
            client.route(PROMPT, **wish)
        turns = []
        for name in ("a", "b", "c"):
            error = refused(client, request_id=name, **wish)
            turns.append(datetime.fromisoformat(error.metadata["not_before"]))
            assert error.message.startswith(
                f"requests_per_minute of {usual.chosen.provider}: batch work waits; send it again at or after"
            )
        # Seven of ten in a minute: one every 60/7 seconds, after the minute is over.
        assert [(each - NOON).total_seconds() for each in turns] == pytest.approx(
            [61.0, 61.0 + 60 / 7, 61.0 + 120 / 7], abs=0.001
        )
        listed = admin.deferred({"team": "nightly"}).requests
        assert [(each.decision_id, each.refusals) for each in listed] == [
            ("a", 1),
            ("b", 1),
            ("c", 1),
        ]
        assert listed[1].waits_for == f"{usual.chosen.provider} requests_per_minute"
        assert not admin.deferred({"team": "other"}).requests
        assert not admin.deferred({"team": "nightly"}).limits
        (limit,) = admin.deferred().limits
        assert (limit.account, limit.limit) == (usual.chosen.provider, "requests_per_minute")
        assert (limit.used, limit.usable_by_batch, limit.most) == (7, 7, 10)
        again = refused(client, request_id="a", **wish)
        assert datetime.fromisoformat(again.metadata["not_before"]) == turns[0]
        shown = CliRunner().invoke(
            app,
            ["defer", "list", "--label", "team=nightly", "--server", limited.address, "--json"],
        )
        assert shown.exit_code == 0, shown.output
        rows = yaml.safe_load(shown.output)["requests"]
        assert [(row["decision_id"], row["refusals"]) for row in rows] == [
            ("a", 2),
            ("b", 1),
            ("c", 1),
        ]
        table = CliRunner().invoke(app, ["defer", "list", "--server", limited.address])
        assert "LOAD_DEFERRED" in table.output
        assert "Limits of providers" in table.output
        clock.advance(seconds=61)
        assert client.route(PROMPT, request_id="a", **wish).id == "a"
        assert [each.decision_id for each in admin.deferred().requests] == ["b", "c"]


def test_what_a_provider_says_in_its_headers_shifts_the_choice_until_its_reset(
    limited: LimitedServer, usual: Decision, clock: ManualClock
) -> None:
    told = rate_limits_from_headers(
        {
            "x-ratelimit-limit-requests": "100",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "30s",
        }
    )
    with limited.client() as client:
        settle(client, client.route(PROMPT), rate_limits=told)
        other = client.route(PROMPT)
        assert other.model != usual.model
        assert shifted(other) == [
            f"{usual.model} has no room for this call: reported_requests of "
            f"{usual.chosen.provider}/{usual.model} is 100 of 100; {other.model} was chosen instead"
        ]
        clock.advance(
            seconds=3
        )  # ten of the hundred are back, so that medium work has room for none yet
        assert client.route(PROMPT).model != usual.model
        assert client.route(PROMPT, importance="high", models=[usual.model]).model == usual.model
        clock.advance(seconds=27)
        assert client.route(PROMPT).model == usual.model


def test_an_outcome_carries_headers_too(limited: LimitedServer, usual: Decision) -> None:
    told = router_pb2.RateLimits(tokens=router_pb2.RateLimit(limit=1_000, remaining=1))
    with limited.client() as client:
        first = client.route(PROMPT)
        client.report_outcome(first.id, "refused", rate_limits=told)
        assert client.route(PROMPT).model != usual.model


def test_what_one_tenant_reports_of_headers_takes_no_model_from_another(
    limited: LimitedServer, usual: Decision
) -> None:
    told = router_pb2.RateLimits(
        requests=router_pb2.RateLimit(limit=1, remaining=0),
        tokens=router_pb2.RateLimit(limit=1, remaining=0),
    )
    own, other = {"tenant": "liar"}, {"tenant": "acme"}
    with limited.client() as client:
        made = client.route(PROMPT, scope=own)
        for model in (entry.spec.id for entry in limited.catalog.entries):
            client.report_outcome(made.id, "refused", tenant="liar", model=model, rate_limits=told)
        assert refused(client, scope=own).reason == "PROVIDER_LIMIT_NEVER_FITS"
        assert client.route(PROMPT, scope=other).model == usual.model
        assert client.route(PROMPT).model == usual.model
        # A batch is told of what its own tenant reported.
        request = route_request(PROMPT, scope=other)
        *_, last = client.quote_batch([request])
        assert not last.summary.recommended.slowest_limit


def test_a_settlement_counts_on_the_limits_of_all_what_one_call_can_take(
    limited: LimitedServer, usual: Decision
) -> None:
    window = next(
        each.at(NOON).context_window
        for each in limited.catalog.entries
        if each.spec.id == usual.model
    )
    limits = {usual.chosen.provider: ProviderLimits(tokens_per_minute=100 * window)}
    with (
        limited.client(limits) as client,
        Admin(limited.address, timeout_s=PATIENCE_S) as admin,
    ):
        made = client.route(PROMPT)
        client.settle(made.id, input_tokens=99_000_000, output_tokens=0, cost_usd=0)
        (limit,) = admin.deferred().limits
        assert limit.used == window
        assert client.route(PROMPT).model == usual.model


@pytest.mark.parametrize(
    ("limit", "remaining", "reset_s", "message"),
    [
        (0, 0, None, "rate_limits.tokens.limit: must be 1 to 1,000,000,000,000,000; leave "
         "rate_limits.tokens out where it is not known"),
        (-5, 0, None, "rate_limits.tokens.limit: must be 1 to"),
        (10, 11, None, "rate_limits.tokens.remaining: must be 0 or more, and not more than limit"),
        (10, -1, None, "rate_limits.tokens.remaining: must be 0 or more"),
        (10, 1, -1, "rate_limits.tokens.reset: must be 0 seconds to 31 days"),
        (10, 1, 31 * 86_400 + 1, "rate_limits.tokens.reset: must be 0 seconds to 31 days"),
    ],
)  # fmt: skip
def test_headers_that_contradict_each_other_are_refused_by_field(
    client: mitsumori.Router, limit: int, remaining: int, reset_s: int | None, message: str
) -> None:
    told = router_pb2.RateLimits(tokens=router_pb2.RateLimit(limit=limit, remaining=remaining))
    if reset_s is not None:
        told.tokens.reset.seconds = reset_s
    decision = client.route(PROMPT)
    for report in (
        lambda: settle(client, decision, rate_limits=told),
        lambda: client.report_outcome(decision.id, "refused", rate_limits=told),
    ):
        with pytest.raises(CallFailed) as caught:
            report()
        assert caught.value.code == "INVALID_ARGUMENT"
        assert caught.value.message.startswith(message)
    settle(client, decision)  # nothing was booked


def test_a_batch_is_told_when_it_can_be_finished(limited: LimitedServer, usual: Decision) -> None:
    request = route_request(PROMPT, models=[usual.model])
    provider = usual.chosen.provider
    with limited.client({provider: TEN}) as client:
        *_, last = client.quote_batch([request] * 14)
        recommended = last.summary.recommended
        finish = recommended.earliest_finish_time.ToDatetime(UTC) - NOON
        # Seven at once, seven more in a minute, and the answer of the last.
        latency = usual.quote.latency.p50_s
        assert finish.total_seconds() == pytest.approx(60 + latency, abs=0.01)
        assert recommended.slowest_limit == f"requests_per_minute of {provider}"
    with limited.client() as client:
        *_, last = client.quote_batch([request])
        assert not last.summary.recommended.HasField("earliest_finish_time")


def test_the_command_line_shows_when_a_batch_can_be_finished(
    limited: LimitedServer, usual: Decision, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(f'"{PROMPT} {at}"' for at in range(9)))
    words = ["quote", str(file), "--model", usual.model, "--server"]
    with limited.client({usual.chosen.provider: ProviderLimits(requests_per_minute=3)}):
        shown = CliRunner().invoke(app, [*words, limited.address], env={"COLUMNS": "300"})
        # Two of three at once, and three and a half minutes for the other seven.
        assert "earliest finish" in shown.output
        assert "2026-11-23T12:03:2" in shown.output
        assert f"requests_per_minute of {usual.chosen.provider}" in shown.output
    with limited.client():
        shown = CliRunner().invoke(app, [*words, limited.address])
        assert "earliest finish" not in shown.output


def test_a_limit_that_resets_says_when_deferred_work_may_come(limited: LimitedServer) -> None:
    with limited.client() as client, Admin(limited.address, timeout_s=PATIENCE_S) as admin:
        admin.set_limit(
            limit_pb2.Limit(
                limit_id="day",
                unit=limit_pb2.UNIT_MONEY,
                window=limit_pb2.WINDOW_DAY,
                soft=0,
                on_soft=limit_pb2.SOFT_ACTION_DEFER_BATCH,
            )
        )
        midnight = NOON + timedelta(hours=12)
        first, second = (refused(client, batch=True) for _ in range(2))
        assert (first.reason, first.retry_after_s) == ("LIMIT_DEFERRED", 12 * 3600.0)
        assert datetime.fromisoformat(first.metadata["not_before"]) == midnight
        assert second.retry_after_s == pytest.approx(12 * 3600 + 0.1)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"opneai": TEN}, "provider_limits.opneai: the catalog has no such provider; it has "),
        (
            {"openai": ProviderLimits(models={"gpt-1": AccountLimits(5)})},
            "provider_limits.openai.models.gpt-1: the catalog has no such model of openai; it has ",
        ),
    ],
)
def test_limits_of_what_the_catalog_does_not_have_keep_the_server_from_starting(
    settings: Settings, router: Router, limits: dict[str, ProviderLimits], message: str
) -> None:
    own = settings.model_copy(update={"provider_limits": limits})
    with pytest.raises(BadArtifact) as caught:
        build_reservations(own, router, MemoryLedger())
    assert caught.value.message.startswith(message)


def killed_after_one_call(*words: str) -> Decision:
    with (
        suppress(MitsumoriError),  # it does not stop cleanly
        serving(*words) as (address, process),
        mitsumori.Router(address, timeout_s=PATIENCE_S) as client,
    ):
        made = client.route(PROMPT)
        process.send_signal(signal.SIGKILL)
    return made


def test_a_killed_server_remembers_what_is_in_flight(tmp_path: Path, usual: Decision) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(
        yaml.safe_dump({"provider_limits": {usual.chosen.provider: {"requests_in_flight": 1}}})
    )
    words = ("--config", str(config), "--ledger", f"sqlite:{tmp_path / 'ledger.sqlite'}")
    first = killed_after_one_call(*words)
    provider = first.chosen.provider
    with (
        serving(*words) as (address, _),
        mitsumori.Router(address, timeout_s=PATIENCE_S) as client,
    ):
        assert client.route(PROMPT).chosen.provider != provider
        settle(client, first)
        assert client.route(PROMPT).chosen.provider == provider
