"""A server that is watched: what it exports, the traces of its calls, and what no output may hold."""

from __future__ import annotations

import base64
import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from mitsumori import CallFailed, Router
from mitsumori.v1 import prompt_pb2, router_pb2, router_pb2_grpc
from router.access.key_store import KeyStore
from router.cli.demo import serving
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router as RoutingRouter
from router.rpc.assembly import build_reservations
from router.rpc.measurement import occupancy_job
from router.rpc.server import RunningServer, start
from router.settings import METRICS_PORT, Settings
from router.telemetry.export import open_telemetry
from router.telemetry.meters import Meters
from router.telemetry.metric_names import METRICS
from tests.collector import Collector, attributes_of, collector
from tests.deploy.programs import program
from tests.deploy.test_monitoring import EXPRESSIONS, OF_SCRAPING, RECORDED, series_names, used
from tests.end_to_end.test_admission import ClosedStore
from tests.end_to_end.test_process import run
from tests.readiness import PATIENCE_S, wait_until
from tests.router.ledger.builders import DOLLAR, limit

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BUDGET = limit("search", 10 * DOLLAR, scope={"team": "search"})
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)


def scrape(address: str, *, open_metrics: bool = False) -> str:
    accept = "application/openmetrics-text" if open_metrics else "text/plain"
    asked = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def series_of(text: str) -> dict[str, set[str]]:
    """Names of labels by name of series, as a parser of the format reads them."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the series with this name and these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@dataclass
class Process:
    """A server as a process of its own.

    Attributes:
        address: of the service.
        log: its log file.
    """

    address: str
    log: Path
    metrics: str = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = next(
            line["metrics_address"] for line in self.lines() if line["event"] == "serving"
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def process_with(folder: Path, *flags: str) -> Iterator[Process]:
    path = folder / "log"
    with path.open("w") as log:
        ready = [
            "--log-level",
            "info",
            "--metrics-port",
            "0",
            "--ledger",
            f"sqlite:{folder / 'ledger'}",
        ]
        with serving(*ready, *flags, log=log) as (address, _):
            wait_until(lambda: '"serving"' in path.read_text())
            yield Process(address, path)


@dataclass
class Watched:
    """A server in this process with its meters."""

    server: RunningServer
    meters: Meters
    ledger: Ledger
    text: Any


@contextmanager
def watched(
    settings: Settings, router: RoutingRouter, ledger: Ledger | None = None
) -> Iterator[Watched]:
    telemetry = open_telemetry()
    ledger = ledger or MemoryLedger(observer=telemetry.meters)
    running = start(
        settings,
        build_reservations(settings, router, ledger, telemetry.meters),
        telemetry=telemetry,
    )
    running.mark_serving()
    try:
        yield Watched(running, telemetry.meters, ledger, telemetry.text)
    finally:
        running.drain()
        ledger.close()
        telemetry.close()


def some_calls(address: str) -> None:
    """One of each kind that anything is measured of."""
    with Router(address, timeout_s=PATIENCE_S) as client:
        decisions = [client.route(f"What is 2 + {n}?", scope={"team": "search"}) for n in range(3)]
        client.settle(decisions[0].id, input_tokens=10, output_tokens=20)
        client.release(decisions[1].id)
        with pytest.raises(CallFailed):
            client.settle("unknown", input_tokens=1, output_tokens=1)


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────


def test_what_dashboards_and_rules_ask_for_is_what_a_running_server_exports(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "ledger")) as ledger:
        ledger.set_limit(BUDGET)
    with process_with(tmp_path) as process:
        some_calls(process.address)
        with Router(process.address, timeout_s=PATIENCE_S) as client:
            routed_to = client.route("What is 2 + 3?").id
            client.report_outcome(routed_to, "rate_limited", retry_after_s=60.0)
        wait_until(lambda: "mitsumori_limit_headroom_ratio" in scrape(process.metrics))
        text = scrape(process.metrics)
    exported = series_of(text)
    wanted: set[str] = set()
    for expression in EXPRESSIONS:
        series, labels = used(expression)
        series -= RECORDED | {"up"}
        wanted |= series
        offered = {label for name in series for label in exported.get(name, ())}
        assert series <= set(exported), expression
        assert labels - OF_SCRAPING <= offered, expression
    # And the other way round: all that is exported is written down, and somebody asks for it.
    assert {name: set(labels) for name, labels in series_names().items()} == exported
    asked = " ".join(wanted)
    assert [metric.name for metric in METRICS if metric.name not in asked] == []


@pytest.mark.deploy
def test_promtool_accepts_what_a_server_exports(settings: Settings, router: RoutingRouter) -> None:
    import subprocess

    with watched(settings, router) as world:
        some_calls(world.server.address)
        done = subprocess.run(
            [program("promtool", needed=False), "check", "metrics"],
            input=world.text(False),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_calls_and_their_outcomes_are_counted(settings: Settings, router: RoutingRouter) -> None:
    with watched(settings, router) as world:
        world.ledger.set_limit(BUDGET)
        some_calls(world.server.address)
        occupancy_job(world.ledger, world.meters).do()
        text = world.text(False)
        calls = "rpc_server_call_duration_seconds_count"
        service = "mitsumori.v1.RouterService"
        assert value(text, calls, rpc_method=f"{service}/Route", rpc_response_status_code="OK") == 3
        assert value(text, calls, rpc_method=f"{service}/Settle") == 2
        failed = {"rpc_method": f"{service}/Settle", "rpc_response_status_code": "NOT_FOUND"}
        assert value(text, calls, **failed) == 1
        assert value(text, "mitsumori_refusals_total", reason="NOT_FOUND") == 1
        assert value(text, "mitsumori_decisions_total") == 3
        assert value(text, "mitsumori_holds_total", state="settled") == 1
        assert value(text, "mitsumori_open_holds") == 1
        (state,) = world.ledger.view([{"team": "search"}])[0]
        left = 1 - (state.spent + state.held) / 10**10
        assert left < 1
        assert value(text, "mitsumori_limit_headroom_ratio", limit="search") == pytest.approx(left)
        assert value(text, "mitsumori_held_usd") == pytest.approx(state.held / 10**9)
        assert state.spent > 0
        assert value(text, "mitsumori_spent_usd_total") == pytest.approx(state.spent / 10**9)


def test_a_repeated_request_is_one_decision_and_a_repeated_report_one_settlement(
    settings: Settings, router: RoutingRouter
) -> None:
    with (
        watched(settings, router) as world,
        Router(world.server.address, timeout_s=PATIENCE_S) as client,
    ):
        for _ in range(3):
            client.route("What is 2 + 2?", request_id="again")
            client.settle("again", input_tokens=1, output_tokens=1)
        text = world.text(False)
    assert value(text, "mitsumori_decisions_total") == 1
    assert value(text, "mitsumori_holds_total", state="settled") == 1
    assert value(text, "mitsumori_quote_error_ratio_count") == 1


def test_models_that_callers_make_up_count_as_one(
    settings: Settings, router: RoutingRouter
) -> None:
    with (
        watched(settings, router) as world,
        Router(world.server.address, timeout_s=PATIENCE_S) as client,
    ):
        for number in range(3):
            made = client.route("What is 2 + 2?")
            client.settle(
                made.id, model=f"made up {number}", input_tokens=1, output_tokens=1, cost_usd="0.01"
            )
        text = world.text(False)
    tokens = "gen_ai_client_token_usage_count"
    assert value(text, tokens) == 6
    assert value(text, tokens, gen_ai_request_model="other", gen_ai_provider_name="other") == 6


def test_a_call_that_is_not_our_callers_fault_is_counted_with_its_code(
    settings: Settings, router: RoutingRouter, tmp_path: Path
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    with (
        watched(settings, router, ledger) as world,
        Router(world.server.address, timeout_s=PATIENCE_S, attempts=1) as client,
    ):
        ledger.close()
        with pytest.raises(CallFailed):
            client.route("What is 2 + 2?")
        world.server.health.check_store(ledger)
        text = world.text(False)
    unavailable = {"rpc_response_status_code": "UNAVAILABLE"}
    assert value(text, "rpc_server_call_duration_seconds_count", **unavailable) == 1
    assert value(text, "mitsumori_store_up") == 0


@pytest.mark.parametrize("why", ["no credential", "overload"])
def test_a_call_that_is_refused_without_a_thread_is_counted_and_traced_like_any_other(
    settings: Settings, router: RoutingRouter, tmp_path: Path, why: str
) -> None:
    spans, store, changes = InMemorySpanExporter(), ClosedStore(), dict[str, Any]()
    telemetry = open_telemetry(ratio=0.0, spans_to=spans)
    if why == "overload":
        changes = {"workers": 1, "queue_wait_s": 0.001}
        code, reason = "RESOURCE_EXHAUSTED", "OVERLOADED"
    else:
        keys = KeyStore(tmp_path / "keys.json")
        keys.create(name="k", tenant="acme", roles=["route"], labels={}, scopes={}, expires=None)
        changes = {"key_store": keys.path}
        code, reason = "UNAUTHENTICATED", "NO_CREDENTIAL"
    changed = settings.model_copy(update=changes)
    running = start(changed, build_reservations(changed, router, store), telemetry=telemetry)
    running.mark_serving()
    with grpc.insecure_channel(running.address) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        request = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="hello"))
        busy = []
        if why == "overload":  # one works, and one waits
            busy = [stub.Route.future(request, timeout=PATIENCE_S)]
            assert store.came.acquire(timeout=PATIENCE_S)
            busy += [stub.Route.future(request, timeout=PATIENCE_S) for _ in range(20)]
            wait_until(lambda: any(call.done() for call in busy))
        for number in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Route(request, timeout=PATIENCE_S, metadata=SAMPLED if number else ())
            assert caught.value.code().name == code
        counted = sum(call.done() for call in busy) + 3
        text = telemetry.text(False)
        store.opened.set()
    running.drain()
    telemetry.close()
    of_route = {"rpc_method": "mitsumori.v1.RouterService/Route", "rpc_response_status_code": code}
    assert value(text, "rpc_server_call_duration_seconds_count", **of_route) == counted
    assert value(text, "mitsumori_refusals_total", reason=reason) == counted
    traced = [dict(span.attributes or {})["error.type"] for span in spans.get_finished_spans()]
    assert traced == [code] * 2


def test_a_batch_is_one_call(settings: Settings, router: RoutingRouter) -> None:
    with watched(settings, router) as world:
        with grpc.insecure_channel(world.server.address) as channel:
            prompts = [
                router_pb2.QuoteBatchRequest(
                    request=router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text=f"What is {n}?"))
                )
                for n in range(3)
            ]
            stub = router_pb2_grpc.RouterServiceStub(channel)
            assert len(list(stub.QuoteBatch(iter(prompts), timeout=PATIENCE_S))) == 4
        method = "mitsumori.v1.RouterService/QuoteBatch"
        wait_until(
            lambda: value(world.text(False), "rpc_server_call_duration_seconds_count", rpc_method=method) == 1
        )  # fmt: skip


def test_a_metrics_port_that_was_asked_for_and_is_taken_ends_the_start_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("serve", "--port", "0", "--ledger", "memory:", "--metrics-port", port)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "--metrics-port" in line


def test_without_a_port_of_its_own_a_second_server_starts_without_the_endpoint_and_says_so(
    tmp_path: Path,
) -> None:
    def is_said() -> bool:
        with ExitStack() as opened:
            with suppress(OSError):  # another program may have it, which serves as well
                opened.enter_context(socket.create_server(("127.0.0.1", METRICS_PORT)))
            log = tmp_path / "log"
            with log.open("w") as file, serving("--ledger", "memory:", log=file) as (address, _):
                some_calls(address)
            lines = [json.loads(text) for text in log.read_text().splitlines()]
            return [(line["event"], line["port"]) for line in lines] == [
                ("metrics_not_offered", METRICS_PORT)
            ]

    wait_until(is_said)  # unless the other program lets go of it meanwhile


# ── traces ────────────────────────────────────────────────────────────────────────────────────────


def routed(address: str, text: str, **options: Any) -> None:
    with grpc.insecure_channel(address) as channel:
        request = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text=text))
        router_pb2_grpc.RouterServiceStub(channel).Route(request, timeout=PATIENCE_S, **options)


def test_a_call_that_its_caller_traces_has_spans_ids_in_the_log_and_an_exemplar(
    tmp_path: Path,
) -> None:
    with collector() as received:
        flags = ("--otlp-endpoint", received.endpoint, "--trace-ratio", "0")
        with process_with(tmp_path, *flags) as process:
            routed(process.address, "What is 2 + 2?", metadata=SAMPLED)
            routed(process.address, "What is 2 + 3?")
            assert f'trace_id="{TRACE}"' in scrape(process.metrics, open_metrics=True)
        lines = [line for line in process.lines() if line["event"] == "routed"]
    by_name = {span.name: span for span in received.spans}
    call = by_name.pop("mitsumori.v1.RouterService/Route")
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, SPAN)
    assert set(by_name) == {
        "features",
        "encode",
        "classify",
        "quote",
        "rules",
        "decide",
        "hold",
    }
    assert {span.parent_span_id for span in by_name.values()} == {call.span_id}
    told = attributes_of(call)
    assert told["rpc.response.status_code"] == "OK"
    assert told["gen_ai.request.model"] == lines[0]["model"]
    assert (lines[0]["trace_id"], lines[0]["span_id"]) == (TRACE, call.span_id.hex())
    assert "trace_id" not in lines[1]
    assert {metric.instrument for metric in METRICS} - received.metrics == {
        "mitsumori.limit_headroom_ratio",
        "mitsumori.quote_error_ratio",
        "mitsumori.spent",
        "gen_ai.client.token.usage",
        "mitsumori.refusals",
        "mitsumori.ejections",
    }


def test_a_collector_that_is_away_fails_no_call_and_no_shutdown(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # `serving` says so where the server does not leave with 0.
        with process_with(tmp_path, "--otlp-endpoint", endpoint, "--trace-ratio", "1") as process:
            some_calls(process.address)
    assert "Traceback" not in process.log.read_text()


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────

CANARIES = {
    "prompt": "canary-prompt-4711",
    "request": "canary-request-4712",
    "model": "canary-model-4714",
    "state": "canary-state-4715",
    "header": "canary-header-4716",
}


def calls_with_canaries(address: str, key: str) -> None:
    """Every kind of call, also ones that fail, with a canary wherever a caller can write."""
    metadata = (
        *SAMPLED,
        ("tracestate", f"vendor={CANARIES['state']}"),
        ("x-note", CANARIES["header"]),
        ("authorization", f"Bearer {key}"),
    )
    wrong = (("authorization", "Bearer " + key[:-4] + "xxxx"),)
    prompt = prompt_pb2.Prompt(text=f"Repeat {CANARIES['prompt']} please")
    route = router_pb2.RouteRequest(prompt=prompt)
    with grpc.insecure_channel(address) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        reply = stub.Route(route, metadata=metadata, timeout=PATIENCE_S)
        settle = router_pb2.SettleRequest(
            decision_id=reply.decision_id, model=CANARIES["model"], input_tokens=1, output_tokens=1
        )
        settle.cost.units = 0
        settle.cost.nanos = 1000
        settle.cost.currency_code = "USD"
        stub.Settle(settle, metadata=metadata, timeout=PATIENCE_S)
        batch = [router_pb2.QuoteBatchRequest(request=route)]
        list(stub.QuoteBatch(iter(batch), metadata=metadata, timeout=PATIENCE_S))
        damaged = channel.unary_unary("/mitsumori.v1.RouterService/Route")
        too_long = router_pb2.RouteRequest(prompt=prompt, request_id=CANARIES["request"] * 100)
        of_no_model = router_pb2.RouteRequest(prompt=prompt)
        of_no_model.constraints.allowed_models.append(CANARIES["model"])
        for call in (
            lambda: stub.Route(route, metadata=wrong, timeout=PATIENCE_S),
            lambda: stub.Route(too_long, metadata=metadata, timeout=PATIENCE_S),
            lambda: stub.Route(of_no_model, metadata=metadata, timeout=PATIENCE_S),
            lambda: stub.Release(
                router_pb2.ReleaseRequest(decision_id=CANARIES["request"]),
                metadata=metadata, timeout=PATIENCE_S,
            ),
            lambda: damaged(CANARIES["prompt"].encode(), metadata=metadata, timeout=PATIENCE_S),
        ):  # fmt: skip
            with pytest.raises(grpc.RpcError):
                call()


def everything(process: Process, received: Collector, scrapes: list[str]) -> dict[str, str]:
    return {
        "log": process.log.read_text(),
        "collector": " ".join(str(request) for request in received.requests)
        + " ".join(repr(request.SerializeToString()) for request in received.requests),
        "metrics": " ".join(scrapes),
    }


def test_no_prompt_no_secret_and_no_key_is_in_logs_spans_or_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-token=canary-token-4717")
    store = KeyStore(tmp_path / "keys.json")
    key, _ = store.create(
        name="caller", tenant="acme", roles=["route", "settle"], labels={}, scopes={}, expires=None
    )
    with collector() as received:
        flags = ("--otlp-endpoint", received.endpoint, "--trace-ratio", "1")
        with process_with(tmp_path, *flags, "--key-store", str(store.path)) as process:
            calls_with_canaries(process.address, key)
            scrapes = [scrape(process.metrics), scrape(process.metrics, open_metrics=True)]
    said = everything(process, received, scrapes)
    assert (
        "x-collector-token",
        "canary-token-4717",
    ) in received.headers  # it is used, and only there
    # All three were really written to.
    assert '"refused"' in said["log"]
    assert "UNAUTHENTICATED" in said["metrics"]
    assert {attributes_of(span).get("error.type") for span in received.spans} >= {
        "UNAUTHENTICATED",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
    }
    secrets = {**CANARIES, "key": key, "token": "canary-token-4717"}
    # Only the standard hands this on, to the collector that the caller's own trace goes to.
    of_the_trace = {("collector", "state")}
    for output, text in said.items():
        for kind, secret in secrets.items():
            hidden = (secret, base64.b64encode(secret.encode()).decode().rstrip("="))
            if (output, kind) not in of_the_trace:
                assert not any(form in text for form in hidden), (output, kind)
