"""A server with credentials, over real sockets: who may do what, and what a tenant can learn of another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mitsumori import Admin, CallFailed, Router, route_request
from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2, router_pb2_grpc
from router.access.caller import Caller
from router.access.gate import Gate
from router.access.key_store import KeyStore
from router.core.errors import InvalidInput
from router.ledger.memory import MemoryLedger
from router.routing.router import Router as RoutingRouter
from router.rpc.assembly import build_reservations
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.readiness import PATIENCE_S, wait_until
from tests.tokens import AUDIENCE, ISSUER, Issuer

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """A server with a key store, a ledger and an audit log."""

    server: RunningServer
    store: KeyStore
    ledger: MemoryLedger
    audit: Path

    def key(self, tenant: str = "acme", *roles: str, **rights: Any) -> str:
        """A new key. The server has not seen the store for less than a second, so this waits until it has."""
        given: dict[str, Any] = {"labels": {}, "scopes": {}, "expires": None, **rights}
        text, _ = self.store.create(
            name="k", tenant=tenant, roles=roles or ["route", "settle", "read", "admin"], **given
        )
        return text

    @contextmanager
    def router(self, key: str, **options: Any) -> Iterator[Router]:
        with Router(self.server.address, timeout_s=PATIENCE_S, api_key=key, **options) as client:
            yield client

    @contextmanager
    def admin(self, key: str) -> Iterator[Admin]:
        with Admin(self.server.admin_address, timeout_s=PATIENCE_S, api_key=key) as client:
            yield client

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@contextmanager
def world_of(
    settings: Settings, router: RoutingRouter, folder: Path, **changes: Any
) -> Iterator[World]:
    ledger = MemoryLedger()
    audit = folder / "audit.jsonl"
    store = KeyStore(folder / "keys.json")
    named = {"key_store": store.path, "audit_log": audit, "failed_logins_per_minute": 10_000}
    changed = settings.model_copy(update={**named, **changes})
    if changed.key_store is not None and not store.path.exists():
        store.create(name="first", tenant="*", roles=["read"], labels={}, scopes={}, expires=None)
    server = start(changed, build_reservations(changed, router, ledger))
    server.mark_serving()
    try:
        yield World(server, store, ledger, audit)
    finally:
        server.drain()


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Keys that are there before the server starts."""
    store = KeyStore(tmp_path / "keys.json")
    everything = ["route", "settle", "read", "admin"]

    def make(tenant: str, roles: list[str] = everything, **rights: Any) -> str:
        given: dict[str, Any] = {"labels": {}, "scopes": {}, "expires": None, **rights}
        return store.create(name="k", tenant=tenant, roles=roles, **given)[0]

    return {
        "acme": make("acme"),
        "beta": make("beta"),
        "search": make("acme", labels={"team": "search"}),
        "router": make("acme", ["route"]),
        "operator": make("*"),
        "expired": make("acme", expires=datetime.now(UTC) - timedelta(seconds=1)),
    }


@pytest.fixture
def world(
    settings: Settings, router: RoutingRouter, tmp_path: Path, keys: dict[str, str]
) -> Iterator[World]:
    with world_of(settings, router, tmp_path) as made:
        yield made


def refusal(call: Any, *args: Any, **options: Any) -> tuple[str, str, str]:
    """Code, reason and message of a call that is refused."""
    with pytest.raises(CallFailed) as caught:
        call(*args, **options)
    return caught.value.code, caught.value.reason, caught.value.message


def test_a_key_opens_what_its_roles_allow(world: World, keys: dict[str, str]) -> None:
    with world.router(keys["acme"]) as client, world.admin(keys["acme"]) as admin:
        decision = client.route("What is 2 + 2?", scope={"user": "u1"}, request_id="r1")
        assert decision.id == "r1"
        assert client.settle("r1", input_tokens=9, output_tokens=9).spent.nanos > 0
        (row,) = admin.decisions(admin_pb2.DecisionFilter())
        assert row.decision_id == "r1"
        assert row.labels["tenant"] == "acme"
    with world.router(keys["router"]) as client, world.admin(keys["router"]) as admin:
        assert client.route("What is 2 + 2?").model
        denied = refusal(client.release, "r1")
        assert denied[:2] == ("PERMISSION_DENIED", "ROLE_MISSING")
        assert refusal(admin.limits)[:2] == ("PERMISSION_DENIED", "ROLE_MISSING")
        assert admin.models().models  # any role sees the catalog


def test_no_wrong_expired_or_malformed_credential_gets_in(
    world: World, keys: dict[str, str]
) -> None:
    with Router(world.server.address, timeout_s=PATIENCE_S) as client:
        assert refusal(client.route, "hello")[:2] == ("UNAUTHENTICATED", "NO_CREDENTIAL")
        batch = client.quote_batch([route_request("hello")])
        assert refusal(list, batch)[:2] == ("UNAUTHENTICATED", "NO_CREDENTIAL")
    with Admin(world.server.address, timeout_s=PATIENCE_S) as admin:
        for call in (admin.limits, admin.models, admin.corrections):
            assert refusal(call)[:2] == ("UNAUTHENTICATED", "NO_CREDENTIAL")
    said = set()
    for wrong in (keys["expired"], keys["acme"][:-1], "mk_", "x" * 5000, Issuer().token()):
        with world.router(wrong) as client:
            said.add(refusal(client.route, "hello"))
    assert len(said) == 1
    assert next(iter(said))[:2] == ("UNAUTHENTICATED", "INVALID_CREDENTIAL")
    assert world.ledger.decisions() == []


def test_health_is_answered_to_anyone(world: World) -> None:
    with grpc.insecure_channel(world.server.address) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=PATIENCE_S
        )
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_the_tenant_comes_from_the_credential(world: World, keys: dict[str, str]) -> None:
    with world.router(keys["search"]) as client:
        client.route("hello", request_id="r1")
        for scope in ({"tenant": "beta"}, {"team": "ads"}):
            assert refusal(client.route, "hello", scope=scope)[:2] == (
                "PERMISSION_DENIED", "GIVEN_BY_CREDENTIAL",
            )  # fmt: skip
            # In a batch, what is not allowed costs itself an error, and the rest nothing.
            requests = [route_request("hello", scope=scope), route_request("hello")]
            refused, quoted, last = client.quote_batch(requests)
            assert (refused.index, refused.error.reason) == (0, "GIVEN_BY_CREDENTIAL")
            assert (quoted.index, quoted.WhichOneof("result")) == (1, "response")
            assert (last.summary.quoted, last.summary.failed) == (1, 1)
    (row,) = world.ledger.decisions()
    assert (row.labels["tenant"], row.labels["team"]) == ("acme", "search")


def everything_about(world: World, key: str, decision_id: str) -> list[Any]:
    """What a caller learns who knows or guesses the id of a decision."""
    with world.router(key) as client, world.admin(key) as admin:
        usage = {"input_tokens": 1, "output_tokens": 1}
        cost: dict[str, Any] = {"cost_usd": "0.01", "reason": "a slip"}
        page = admin_pb2.ListDecisionsRequest(page_token=decision_id)
        found = [
            refusal(client.settle, decision_id, **usage),
            refusal(client.settle, decision_id, **usage, tenant="acme"),
            refusal(client.release, decision_id),
            refusal(client.release, decision_id, tenant="acme"),
            refusal(client.reroute, decision_id, route_request("hello", request_id="r9")),
            refusal(admin.call, admin._stub.ListDecisions, page),
            refusal(admin.amend, decision_id, **cost),
            refusal(admin.amend, decision_id, **cost, tenant="acme"),
            client.route("What is 2 + 2?", request_id=decision_id).model,
            admin.erase({"user": "u1"}, LATER),
        ]
        client.release(decision_id)
    return json.loads(json.dumps(found).replace(decision_id, "ID"))  # type: ignore[no-any-return]


def test_no_answer_depends_on_the_ids_of_another_tenant(world: World, keys: dict[str, str]) -> None:
    with world.router(keys["acme"]) as client:
        client.route("What is 2 + 2?", request_id="taken", scope={"user": "u1"})
    taken = everything_about(world, keys["beta"], "taken")
    assert taken == everything_about(world, keys["beta"], "never")
    assert [code for code, *_ in taken[:8]] == [
        "NOT_FOUND", "PERMISSION_DENIED", "NOT_FOUND", "PERMISSION_DENIED", "NOT_FOUND", "NOT_FOUND",
        "NOT_FOUND", "PERMISSION_DENIED",
    ]  # fmt: skip
    # The full id, as an operator sees it, is of no more use.
    assert everything_about(world, keys["beta"], "acme:taken")[0][0] == "NOT_FOUND"
    with world.router(keys["acme"]) as client:  # it is untouched
        assert client.release("taken")


def test_no_answer_tells_how_another_tenant_names_its_labels(
    world: World, keys: dict[str, str]
) -> None:
    def limit(tenant: str, label: str) -> limit_pb2.Limit:
        return limit_pb2.Limit(
            limit_id=f"{tenant}:m",
            scope={label: "x"},
            unit=limit_pb2.UNIT_MONEY,
            window=limit_pb2.WINDOW_MONTH,
            hard=10**12,
        )

    with world.admin(keys["acme"]) as admin:
        admin.set_limit(limit("acme", "merger"))
    for name, expected in (("acme", ["merger"]), ("beta", [])):
        with world.router(keys[name]) as client:
            reasons = client.route("hello", scope={"mergers": "x"}).message.reasons
            known = [
                reason.facts["known_label"] for reason in reasons if "known_label" in reason.facts
            ]
            assert known == expected
    with world.admin(keys["beta"]) as admin:
        reply = admin.call(
            admin._stub.SetLimit, admin_pb2.SetLimitRequest(limit=limit("beta", "mergers"))
        )
        assert list(reply.notes) == []


def test_a_tenant_sees_and_sets_its_own_limits_alone(world: World, keys: dict[str, str]) -> None:
    def limit(name: str, **scope: str) -> limit_pb2.Limit:
        return limit_pb2.Limit(
            limit_id=name,
            scope=scope,
            unit=limit_pb2.UNIT_REQUESTS,
            window=limit_pb2.WINDOW_DAY,
            hard=0,
        )

    with world.admin(keys["operator"]) as operator:
        operator.set_limit(limit("all-acme", tenant="acme"))
    with world.admin(keys["beta"]) as admin:
        assert admin.limits() == []
        assert refusal(admin.delete_limit, "all-acme") == refusal(admin.delete_limit, "never-made")
        assert refusal(admin.set_limit, limit("all-acme"))[0] == "PERMISSION_DENIED"
        assert refusal(admin.delete_limit, "beta:never")[0] == "NOT_FOUND"
        admin.set_limit(limit("beta:none"))
        assert [each.limit.limit_id for each in admin.limits()] == ["beta:none"]
    with world.admin(keys["acme"]) as admin:
        assert [each.limit.limit_id for each in admin.limits()] == ["all-acme"]
        assert refusal(admin.delete_limit, "all-acme")[0] == "PERMISSION_DENIED"
    with world.router(keys["beta"]) as client:
        assert refusal(client.route, "hello")[1] == "LIMIT_NEVER_FITS"


def test_usage_and_the_log_are_the_tenants_own(world: World, keys: dict[str, str]) -> None:
    for name in ("acme", "beta", "search"):
        with world.router(keys[name]) as client:
            client.route("hello", request_id=name)
    seen = {}
    for name in ("acme", "beta", "search", "operator"):
        with world.admin(keys[name]) as admin:
            seen[name] = [row.decision_id for row in admin.decisions(admin_pb2.DecisionFilter())]
            (total,) = admin.usage(admin_pb2.DecisionFilter(), [])
            assert total.decisions == len(seen[name])
    assert seen == {
        "acme": ["acme", "search"],
        "beta": ["beta"],
        "search": ["search"],
        "operator": ["acme:acme", "beta:beta", "acme:search"],
    }
    with world.admin(keys["acme"]) as admin:
        other = admin_pb2.DecisionFilter(labels={"tenant": "beta"})
        assert refusal(admin.usage, other, [])[0] == "PERMISSION_DENIED"
        assert refusal(list, admin.decisions(other))[0] == "PERMISSION_DENIED"


def test_decisions_from_before_there_were_credentials_stay_the_tenants(
    settings: Settings, router: RoutingRouter, tmp_path: Path, keys: dict[str, str]
) -> None:
    with world_of(settings, router, tmp_path) as world:
        open_settings = settings.model_copy(update={"audit_log": tmp_path / "a"})
        before = start(open_settings, build_reservations(open_settings, router, world.ledger))
        before.mark_serving()
        with Router(before.address, timeout_s=PATIENCE_S) as client:
            for name in ("old-1", "old-2", "old-3"):
                client.route("hello", scope={"tenant": "acme"}, request_id=name)
        before.drain()
        with world.router(keys["beta"]) as client:
            assert refusal(client.release, "old-1")[0] == "NOT_FOUND"
        with world.router(keys["acme"]) as client, world.admin(keys["acme"]) as admin:
            assert client.settle("old-1", input_tokens=1, output_tokens=1).spent.nanos >= 0
            assert client.release("old-2")
            pages = admin_pb2.ListDecisionsRequest(page_size=1)
            first = admin.call(admin._stub.ListDecisions, pages)
            pages.page_token = first.next_page_token
            second = admin.call(admin._stub.ListDecisions, pages)
            assert [page.decisions[0].decision_id for page in (first, second)] == ["old-1", "old-2"]


def test_the_same_request_gets_the_same_answer_again(world: World, keys: dict[str, str]) -> None:
    with world.router(keys["acme"]) as client:
        request = route_request("What is 2 + 2?", request_id="r1")
        assert client.send(request) == client.send(request)
        other = route_request("What is 3 + 3?", request_id="r1")
        assert refusal(client.send, other)[0] == "ALREADY_EXISTS"
        moved = client.reroute("r1", route_request("What is 2 + 2?", request_id="r2"))
        assert moved.id == "r2"
        unnamed = route_request("What is 2 + 2?")
        unnamed.request_id = ""
        made = client.send(unnamed).decision_id
        assert client.release(made)
    assert len(world.ledger.decisions()) == 3


def test_new_and_revoked_keys_count_without_a_restart(world: World) -> None:
    text = world.key("acme", "route")

    def answers() -> bool:
        with world.router(text) as client:
            try:
                return bool(client.route("hello").model)
            except CallFailed:
                return False

    wait_until(answers, what="for the new key")
    world.store.revoke(world.store.keys()[-1].id)
    wait_until(lambda: not answers(), what="for the end of the key")
    with world.router(text) as client:
        assert refusal(client.route, "hello")[:2] == ("UNAUTHENTICATED", "INVALID_CREDENTIAL")


def test_a_revoked_key_ends_the_streams_that_it_has_opened(world: World) -> None:
    text = world.key("acme", "route")
    asked: SimpleQueue[router_pb2.QuoteBatchRequest] = SimpleQueue()
    one = router_pb2.QuoteBatchRequest(request=route_request("hello"))
    with grpc.insecure_channel(world.server.address) as channel, world.router(text) as client:

        def is_answered() -> bool:
            try:
                return bool(client.route("hello", quote_only=True).model)
            except CallFailed:
                return False

        wait_until(is_answered, what="for the new key")
        stream = router_pb2_grpc.RouterServiceStub(channel).QuoteBatch(
            iter(asked.get, None),
            metadata=(("authorization", f"Bearer {text}"),),
            timeout=PATIENCE_S,
        )
        asked.put(one)
        assert next(stream).response.chosen.model
        world.store.revoke(world.store.keys()[-1].id)
        wait_until(lambda: not is_answered(), what="for the end of the key")
        asked.put(one)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_an_error_while_a_credential_is_checked_tells_nothing_of_itself(
    world: World, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Caller:
        raise ValueError("canary-4711")

    monkeypatch.setattr(Gate, "caller", fail)
    with world.router(keys["acme"]) as client:
        code, reason, message = refusal(client.route, "hello")
    assert (code, reason) == ("INTERNAL", "INTERNAL")
    assert "canary" not in message


def test_who_guesses_is_told_to_wait(
    settings: Settings, router: RoutingRouter, tmp_path: Path, keys: dict[str, str]
) -> None:
    with (
        world_of(settings, router, tmp_path, failed_logins_per_minute=3) as world,
        world.router(keys["acme"]) as client,
        world.router("mk_aaaaaaaaaa_" + "x" * 43) as guesser,
    ):
        client.route("hello")
        reasons = [refusal(guesser.route, "hello")[1] for _ in range(4)]
        assert reasons[:3] == ["INVALID_CREDENTIAL"] * 3
        assert reasons[3] == "TOO_MANY_FAILED_LOGINS"
        assert client.route("hello").model  # the same address, and known before
        with world.router(keys["router"]) as newcomer:
            assert newcomer.route("hello").model  # and one that was not


def test_administration_is_on_the_record(world: World, keys: dict[str, str]) -> None:
    limit = limit_pb2.Limit(
        limit_id="m", unit=limit_pb2.UNIT_MONEY, window=limit_pb2.WINDOW_MONTH, hard=5
    )
    with world.admin(keys["operator"]) as admin:
        admin.set_limit(limit)
        admin.delete_limit("m")
        refusal(admin.delete_limit, "m")
        admin.erase({"user": "u1"}, LATER)
        admin.limits()
    said = [(line["action"], line["outcome"]) for line in world.audited()]
    assert said == [
        ("SetLimit", "asked"), ("SetLimit", "done"), ("DeleteLimit", "asked"), ("DeleteLimit", "done"),
        ("DeleteLimit", "asked"), ("DeleteLimit", "refused"), ("EraseDecisions", "asked"),
        ("EraseDecisions", "done"),
    ]  # fmt: skip
    for line in world.audited():
        assert line["who"].startswith("key mk_")
        assert line["peer"] == "127.0.0.1"
    assert world.audited()[0]["request"]["limit"]["limit_id"] == "m"
    assert keys["operator"] not in world.audit.read_text()


def test_what_an_administrator_may_not_do_is_on_the_record_too(
    world: World, keys: dict[str, str]
) -> None:
    with world.admin(keys["beta"]) as admin:
        assert refusal(admin.delete_limit, "acme:m")[1] == "GIVEN_BY_CREDENTIAL"
        assert refusal(admin.erase, {"tenant": "acme"}, LATER)[1] == "GIVEN_BY_CREDENTIAL"
    said = [(line["action"], line["outcome"], line["reason"]) for line in world.audited()]
    assert said == [
        ("DeleteLimit", "refused", "GIVEN_BY_CREDENTIAL"),
        ("EraseDecisions", "refused", "GIVEN_BY_CREDENTIAL"),
    ]
    assert world.audited()[0]["request"] == {"limit_id": "acme:m"}


def test_a_settlement_is_amended_by_an_administrator_and_on_the_record(
    world: World, keys: dict[str, str]
) -> None:
    with world.router(keys["acme"]) as client, world.admin(keys["acme"]) as admin:
        client.route("What is 2 + 2?", request_id="r1")
        client.settle("r1", input_tokens=9, output_tokens=9)
        assert admin.amend("r1", cost_usd="0.01", reason="a slip").spent.nanos == 10_000_000
    with world.admin(keys["search"]) as admin:  # confined to a team
        denied = refusal(admin.amend, "r1", cost_usd="0.02", reason="a slip")
        assert denied[0] == "PERMISSION_DENIED"
    (row,) = world.ledger.decisions()
    assert row.actual is not None
    assert row.actual.money == 10_000_000
    asked, done, confined = world.audited()
    assert (confined["action"], confined["outcome"]) == ("AmendSettlement", "refused")
    assert (asked["action"], asked["outcome"], done["outcome"]) == (
        "AmendSettlement", "asked", "done",
    )  # fmt: skip
    assert asked["request"]["decision_id"] == "acme:r1"
    assert asked["request"]["reason"] == "a slip"


def test_without_the_audit_log_nothing_is_administered(world: World, keys: dict[str, str]) -> None:
    world.audit.mkdir()
    with Admin(
        world.server.address, timeout_s=PATIENCE_S, attempts=1, api_key=keys["operator"]
    ) as admin:
        limit = limit_pb2.Limit(
            limit_id="m", unit=limit_pb2.UNIT_MONEY, window=limit_pb2.WINDOW_MONTH, hard=5
        )
        assert refusal(admin.set_limit, limit)[:2] == ("UNAVAILABLE", "AUDIT_LOG_UNAVAILABLE")
        assert admin.limits() == []


def test_a_token_of_the_issuer_is_a_credential(
    settings: Settings, router: RoutingRouter, tmp_path: Path
) -> None:
    issuer = Issuer()
    (tmp_path / "jwks.json").write_bytes(issuer.jwks())
    named = {
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_keys": str(tmp_path / "jwks.json"),
    }
    with world_of(settings, router, tmp_path, key_store=None, **named) as world:

        def client(token: Any) -> Router:
            return Router(world.server.address, timeout_s=PATIENCE_S, token=token)

        made: list[str] = []

        def current() -> str:
            made.append(issuer.token(labels={"team": "search"}))
            return made[-1]

        with client(current) as good:
            good.route("hello")
            assert next(iter(good.quote_batch([route_request("hello")]))).response.chosen.model
            assert len(made) == 2
            assert refusal(good.release, "x")[:2] == ("PERMISSION_DENIED", "ROLE_MISSING")
        for wrong in (
            Issuer().token(),
            issuer.token(lifetime=-timedelta(minutes=1)),
            issuer.token(aud="other"),
            issuer.token(iss="https://other.example"),
            issuer.token(tenant=None),
        ):
            with client(wrong) as bad:
                assert refusal(bad.route, "hello")[:2] == ("UNAUTHENTICATED", "INVALID_CREDENTIAL")
    (row,) = world.ledger.decisions()
    assert (row.labels["tenant"], row.labels["team"]) == ("acme", "search")


def test_administration_has_a_port_of_its_own_off_the_public_one(
    settings: Settings, router: RoutingRouter, tmp_path: Path, keys: dict[str, str]
) -> None:
    with world_of(settings, router, tmp_path, admin_port=0) as world:
        assert world.server.admin_address != world.server.address
        with world.admin(keys["operator"]) as admin:
            assert admin.limits() == []
        with Admin(world.server.address, timeout_s=PATIENCE_S, api_key=keys["operator"]) as public:
            assert refusal(public.limits)[0] == "UNIMPLEMENTED"
        with grpc.insecure_channel(world.server.admin_address) as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Route(router_pb2.RouteRequest(), timeout=PATIENCE_S)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("place", [{"host": "0.0.0.0"}, {"admin_host": "0.0.0.0", "admin_port": 0}])
def test_nothing_is_served_to_others_without_tls_and_credentials(
    settings: Settings,
    router: RoutingRouter,
    tmp_path: Path,
    keys: dict[str, str],
    place: dict[str, Any],
) -> None:
    changed = settings.model_copy(update={**place, "key_store": tmp_path / "keys.json"})
    with pytest.raises(InvalidInput) as caught:
        start(changed, build_reservations(changed, router, MemoryLedger()))
    assert caught.value.reason == "INSECURE"


def test_an_operator_who_means_it_serves_others_in_the_clear_and_without_reflection(
    settings: Settings, router: RoutingRouter, tmp_path: Path, keys: dict[str, str]
) -> None:
    outside = {"host": "0.0.0.0", "admin_port": 0, "insecure": True}
    with world_of(settings, router, tmp_path, **outside) as world:
        address = f"127.0.0.1:{world.server.port}"
        with Router(address, timeout_s=PATIENCE_S, api_key=keys["acme"]) as client:
            assert client.route("hello").model
        assert world.server.admin_address.startswith("127.0.0.1:")
        with world.admin(keys["operator"]) as admin:
            assert admin.limits() == []
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
