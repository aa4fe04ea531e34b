"""Calls through Envoy, configured by the file that ships; only addresses and key files are replaced."""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import grpc
import pytest
import yaml

from mitsumori.v1 import admin_pb2, admin_pb2_grpc, prompt_pb2, router_pb2, router_pb2_grpc
from router.rpc.server import RunningServer
from tests.deploy.programs import program
from tests.readiness import PATIENCE_S, wait_until

pytestmark = pytest.mark.deploy
CONFIG = Path(__file__).parents[2] / "deploy/envoy/envoy.yaml"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def certificate(folder: Path) -> bytes:
    """A certificate for localhost in ``folder``, beside its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return (folder / "tls.crt").read_bytes()


class Envoy(NamedTuple):
    """One that runs: a channel through it, and the address at which it tells of itself."""

    channel: grpc.Channel
    admin: str

    def connections(self) -> int:
        """How many are open to the servers."""
        with urlopen(f"http://{self.admin}/clusters", timeout=PATIENCE_S) as told:
            counts = re.findall(r"::cx_active::(\d+)", told.read().decode())
        return sum(map(int, counts))


@pytest.fixture(scope="module")
def envoy_in_front(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Envoy]:
    folder = tmp_path_factory.mktemp("envoy")
    trusted = certificate(folder)
    config: Any = yaml.safe_load(
        CONFIG.read_text(encoding="utf-8").replace("/etc/envoy/tls", str(folder))
    )
    port = free_port()
    resources = config["static_resources"]
    resources["listeners"][0]["address"]["socket_address"] = {
        "address": "127.0.0.1",
        "port_value": port,
    }
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    cluster = resources["clusters"][0]
    cluster["type"] = "STATIC"
    # One server that answers, and one that is gone.
    for endpoint, at in zip(
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"],
        (server.port, free_port()),
        strict=True,
    ):
        endpoint["endpoint"]["address"]["socket_address"] = {
            "address": "127.0.0.1",
            "port_value": at,
        }
    (folder / "envoy.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    envoy = subprocess.Popen(
        [program("envoy"), "-c", folder / "envoy.yaml",
         "--concurrency", "1", "--log-path", folder / "log", "--disable-hot-restart",
         "--admin-address-path", folder / "admin"]
    )  # fmt: skip
    try:
        with grpc.secure_channel(
            f"localhost:{port}", grpc.ssl_channel_credentials(trusted)
        ) as channel:

            def answers() -> bool:
                assert envoy.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(grpc.RpcError):
                    route(channel)
                    return True
                return False

            wait_until(answers, what="for Envoy")
            yield Envoy(channel, (folder / "admin").read_text(encoding="utf-8"))
    finally:
        envoy.terminate()
        envoy.wait()


@pytest.fixture
def through_envoy(envoy_in_front: Envoy) -> grpc.Channel:
    return envoy_in_front.channel


def route(channel: grpc.Channel) -> router_pb2.RouteResponse:
    stub = router_pb2_grpc.RouterServiceStub(channel)  # type: ignore[no-untyped-call]
    request = router_pb2.RouteRequest(
        prompt=prompt_pb2.Prompt(text="What is 2 + 2?"), quote_only=True
    )
    reply: router_pb2.RouteResponse = stub.Route(request, timeout=PATIENCE_S)
    return reply


def test_every_call_is_answered_although_one_server_is_gone(through_envoy: grpc.Channel) -> None:
    assert [bool(route(through_envoy).chosen.model) for _ in range(20)] == [True] * 20


def test_a_stream_of_quotes_goes_through(through_envoy: grpc.Channel) -> None:
    stub = router_pb2_grpc.RouterServiceStub(through_envoy)  # type: ignore[no-untyped-call]
    prompt = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="Hello"))
    asked = [router_pb2.QuoteBatchRequest(request=prompt)]
    assert list(stub.QuoteBatch(iter(asked), timeout=PATIENCE_S))


def test_calls_at_once_use_several_connections_and_so_several_processes(
    envoy_in_front: Envoy,
) -> None:
    stub = router_pb2_grpc.RouterServiceStub(envoy_in_front.channel)  # type: ignore[no-untyped-call]
    prompt = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="Hello"))
    ends = [queue.SimpleQueue[router_pb2.QuoteBatchRequest | None]() for _ in range(20)]
    streams = [stub.QuoteBatch(iter(end.get, None), timeout=PATIENCE_S) for end in ends]
    for end, stream in zip(ends, streams, strict=True):  # all of them are open at once
        end.put(router_pb2.QuoteBatchRequest(request=prompt))
        next(stream)
    assert envoy_in_front.connections() >= 3
    for end in ends:
        end.put(None)
    assert all(next(stream).HasField("summary") for stream in streams)


def test_the_bounds_of_envoy_fit_together() -> None:
    [cluster] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["static_resources"]["clusters"]
    [options] = cluster["typed_extension_protocol_options"].values()
    calls = options["explicit_http_config"]["http2_protocol_options"]["max_concurrent_streams"]
    [bounds] = cluster["circuit_breakers"]["thresholds"]
    assert calls * bounds["max_connections"] == bounds["max_requests"]


def test_administration_is_not_reachable(through_envoy: grpc.Channel) -> None:
    stub = admin_pb2_grpc.AdminServiceStub(through_envoy)  # type: ignore[no-untyped-call]
    with pytest.raises(grpc.RpcError) as refused:
        stub.ListLimits(admin_pb2.ListLimitsRequest(), timeout=PATIENCE_S)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
