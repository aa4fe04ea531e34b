"""TLS with real certificates over real sockets, and what no output may hold."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mitsumori import Admin, CallFailed, Router, Tls
from router.access.key_store import KeyStore
from router.cli.demo import serving
from router.core.errors import BadArtifact
from router.ledger.memory import MemoryLedger
from router.routing.router import Router as RoutingRouter
from router.rpc import server as server_module
from router.rpc.assembly import build_reservations
from router.rpc.protection import AccessInput
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.certificates import Authority, Issued
from tests.readiness import PATIENCE_S, wait_until
from tests.tokens import Issuer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def server_with(
    settings: Settings, router: RoutingRouter, issued: Issued, **changes: Any
) -> Iterator[RunningServer]:
    named = {"tls_certificate": issued.certificate, "tls_key": issued.key}
    changed = settings.model_copy(update={**named, **changes})
    running = start(changed, build_reservations(changed, router, MemoryLedger()))
    running.mark_serving()
    try:
        yield running
    finally:
        running.drain()


def outcome(address: str, tls: Tls | bool | None) -> str:
    """``answered``, or the reason of the refusal. One attempt, since a handshake that fails stays failed."""
    with Router(address, timeout_s=PATIENCE_S, attempts=1, tls=tls) as client:
        try:
            return "answered" if client.route("hello", quote_only=True).model else ""
        except CallFailed as error:
            return f"{error.code} {error.reason}"


def test_a_client_that_trusts_the_root_is_answered_and_others_fail(
    settings: Settings, router: RoutingRouter, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    foreign = Authority(tmp_path / "foreign", "foreign")
    with server_with(settings, router, authority.issue("server")) as server:
        assert outcome(server.address, Tls(ca=authority.path)) == "answered"
        named = Tls(ca=authority.path, server_name="server.example")
        assert outcome(server.address, named) == "answered"
        wrong = Tls(ca=authority.path, server_name="other.example")
        assert outcome(server.address, wrong) == "UNAVAILABLE TLS_FAILED"
        assert outcome(server.address, Tls(ca=foreign.path)) == "UNAVAILABLE TLS_FAILED"
        assert outcome(server.address, tls=True) == "UNAVAILABLE TLS_FAILED"
        assert outcome(server.address, None) == "UNAVAILABLE CALL_FAILED"
        with (
            Router(server.address, timeout_s=PATIENCE_S, attempts=1) as plain,
            pytest.raises(CallFailed, match="connect with tls"),
        ):
            plain.route("hello")


def test_with_a_client_root_only_its_certificates_are_let_in(
    settings: Settings, router: RoutingRouter, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    foreign = Authority(tmp_path / "foreign", "foreign")

    def shown(client: Issued | None) -> Tls:
        if client is None:
            return Tls(ca=authority.path)
        return Tls(ca=authority.path, certificate=client.certificate, key=client.key)

    issued = authority.issue("server")
    with server_with(settings, router, issued, tls_client_ca=authority.path) as server:
        assert outcome(server.address, shown(authority.issue("client"))) == "answered"
        for client in (
            None,
            foreign.issue("client"),
            authority.issue("late", lifetime=-timedelta(hours=1)),
        ):
            assert outcome(server.address, shown(client)).startswith("UNAVAILABLE")


def _refused(given: AccessInput) -> str:
    refusal = given.status.refusal
    return "" if refusal is None else refusal.text


def test_a_new_certificate_serves_the_next_connection_and_a_bad_one_is_refused(
    settings: Settings, router: RoutingRouter, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "next").mkdir()
    renewed_by = Authority(tmp_path / "next", "next")
    issued = authority.issue("server")
    with server_with(settings, router, issued) as server:
        assert outcome(server.address, Tls(ca=authority.path)) == "answered"
        issued.certificate.write_text("damaged")
        (certificates,) = server.inputs
        wait_until(lambda: "no certificate in PEM form" in _refused(certificates))
        assert outcome(server.address, Tls(ca=authority.path)) == "answered"
        expired = renewed_by.issue("old", lifetime=-timedelta(hours=1))
        shutil.copy(expired.key, issued.key)
        shutil.copy(expired.certificate, issued.certificate)
        wait_until(lambda: "expired at" in _refused(certificates))
        assert outcome(server.address, Tls(ca=authority.path)) == "answered"
        renewed = renewed_by.issue("server")
        # Between the two copies they do not belong together, and the old ones serve.
        before = certificates.status.refusal
        shutil.copy(renewed.key, issued.key)
        wait_until(lambda: certificates.status.refusal != before)
        assert outcome(server.address, Tls(ca=authority.path)) == "answered"
        shutil.copy(renewed.certificate, issued.certificate)
        wait_until(lambda: outcome(server.address, Tls(ca=renewed_by.path)) == "answered")
        assert outcome(server.address, Tls(ca=authority.path)) == "UNAVAILABLE TLS_FAILED"


def test_files_that_cannot_serve_are_refused_at_the_start_by_name(
    settings: Settings, router: RoutingRouter, authority: Authority, tmp_path: Path
) -> None:
    good, other = authority.issue("server"), authority.issue("other")
    late = authority.issue("late", lifetime=-timedelta(seconds=1))
    text = tmp_path / "text"
    text.write_text("nothing")
    for certificate, key, told in (
        (late.certificate, late.key, "late.crt expired at"),
        (good.certificate, other.key, "is not that of the certificate"),
        (text, good.key, "text holds no certificate"),
        (good.certificate, text, "text is not a private key"),
        (tmp_path / "none", good.key, "none cannot be read"),
    ):
        with (
            pytest.raises(BadArtifact, match=told),
            server_with(settings, router, Issued(certificate, key)),
        ):
            pass
    with (
        pytest.raises(BadArtifact, match="text holds no certificate"),
        server_with(settings, router, good, tls_client_ca=text),
    ):
        pass


def cli(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=env,
    )


def test_the_whole_with_commands_and_no_secret_in_any_output(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = authority.issue("server"), authority.issue("client")
    store = KeyStore(tmp_path / "keys.json")
    made = cli("keys", "create", "ops", "--every-tenant", "--role", "admin", "--role", "route",
               "--role", "read", "--key-store", str(store.path))  # fmt: skip
    assert made.returncode == 0, made.stderr
    key, log = made.stdout.strip(), tmp_path / "log"
    secrets = [key.split("_", 2)[2], store.secret_path.read_text(), "canary-prompt-4711"]
    wrong = ["canary-wrong-key-4711", f"mk_aaaaaaaaaa_{'y' * 43}", Issuer().token()]
    flags = ["--tls-certificate", str(server.certificate), "--tls-key", str(server.key),
             "--tls-client-ca", str(authority.path), "--key-store", str(store.path),
             "--audit-log", str(tmp_path / "audit"), "--log-level", "debug"]  # fmt: skip
    shown = ["--ca", str(authority.path), "--client-certificate", str(client.certificate),
             "--client-key", str(client.key)]  # fmt: skip
    with log.open("w") as out, serving(*flags, log=out) as (address, _):
        at = ["--server", address, *shown]
        asked = cli(
            "route", "canary-prompt-4711", *at, "--timeout", "60", "--json", MITSUMORI_API_KEY=key
        )
        assert asked.returncode == 0, asked.stderr
        file = tmp_path / "key"
        file.write_text(f"{key}\n")
        limited = cli("limits", "set", "m", "--hard", "5", *at, "--api-key-file", str(file))
        assert limited.returncode == 0, limited.stderr
        healthy = cli("health", *at)
        assert (healthy.returncode, healthy.stdout) == (0, "SERVING\n"), healthy.stderr
        for unfit in ([], ["--ca", str(authority.path)]):
            unhealthy = cli("health", "--server", address, *unfit)
            assert unhealthy.returncode == 1
            assert ("client certificates" if unfit else "--tls") in unhealthy.stderr
        outputs = [asked.stdout + asked.stderr, limited.stdout + limited.stderr]
        for each in wrong:
            refused = cli("limits", "list", *at, MITSUMORI_API_KEY=each)
            assert refused.returncode == 2
            assert "not valid" in refused.stderr
            outputs.append(refused.stdout + refused.stderr)
    kept = [log.read_text(), (tmp_path / "audit").read_text(), *outputs]
    assert [secret for secret in [*secrets, *wrong] if any(secret in text for text in kept)] == []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    routed = next(line for line in lines if line["event"] == "routed")
    assert key.startswith(routed["caller"].removeprefix("key "))
    failed = [
        (line["credential"], line["why"]) for line in lines if line["event"] == "login_failed"
    ]
    assert failed == [
        ("token", "a token, and no jwt_issuer is set"),
        ("key mk_aaaaaaaaaa", "not a key of this store"),
        ("token", "a token, and no jwt_issuer is set"),
    ]
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o600


def test_who_loses_its_root_loses_its_open_connection_too(
    settings: Settings,
    router: RoutingRouter,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "_CERTIFIED_MS", 100)
    issued, client = authority.issue("server"), authority.issue("client")
    (tmp_path / "next").mkdir()
    trusted = tmp_path / "clients.pem"
    shutil.copy(authority.path, trusted)
    tls = Tls(ca=authority.path, certificate=client.certificate, key=client.key)
    with (
        server_with(settings, router, issued, tls_client_ca=trusted) as server,
        Router(server.address, timeout_s=PATIENCE_S, attempts=1, tls=tls) as caller,
    ):
        for _ in range(20):  # by new connections, without a call that fails
            assert caller.route("hello", quote_only=True).model
        shutil.copy(Authority(tmp_path / "next", "next").path, trusted)

        def is_refused() -> bool:
            try:
                caller.route("hello", quote_only=True)
            except CallFailed:
                return True
            return False

        wait_until(is_refused, what="for the end of the connection")


def test_handshakes_that_fail_write_nothing_past_the_log(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library of gRPC would write a line each, and wait for whoever reads them."""
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    issued, log = authority.issue("server"), tmp_path / "log"
    flags = ["--tls-certificate", str(issued.certificate), "--tls-key", str(issued.key)]
    with (
        log.open("w") as out,
        serving(*flags, "--log-level", "info", log=out) as (address, _),
    ):
        host, _, port = address.rpartition(":")
        for _ in range(10):
            with (
                socket.create_connection((host, int(port)), PATIENCE_S) as stranger,
                suppress(ConnectionError),
            ):
                stranger.sendall(b"this is no handshake\r\n" * 10)
                while stranger.recv(4096):
                    pass
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert "serving" in events


def test_administration_on_a_port_of_its_own_has_the_same_certificates(
    settings: Settings, router: RoutingRouter, authority: Authority, tmp_path: Path
) -> None:
    def administered(by: Authority) -> bool:
        with Admin(server.admin_address, timeout_s=1, tls=Tls(ca=by.path)) as admin:
            try:
                return admin.limits() == []
            except CallFailed:
                return False

    (tmp_path / "next").mkdir()
    renewed_by = Authority(tmp_path / "next", "next")
    issued = authority.issue("server")
    with server_with(settings, router, issued, admin_port=0) as server:
        assert server.admin_address != server.address
        assert outcome(server.address, Tls(ca=authority.path)) == "answered"
        wait_until(lambda: administered(authority))
        renewed = renewed_by.issue("server")
        shutil.copy(renewed.key, issued.key)
        shutil.copy(renewed.certificate, issued.certificate)
        wait_until(lambda: outcome(server.address, Tls(ca=renewed_by.path)) == "answered")
        wait_until(lambda: administered(renewed_by))
        assert not administered(authority)
