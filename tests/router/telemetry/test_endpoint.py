"""The endpoint for Prometheus: whoever reaches it can neither hang it nor fill it."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from router.telemetry import endpoint as module
from router.telemetry.endpoint import MetricsEndpoint
from tests.readiness import PATIENCE_S, wait_until


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    with MetricsEndpoint("127.0.0.1", 0, lambda wants_open: f"open {wants_open}\n") as made:
        yield made


def get(endpoint: MetricsEndpoint, path: str = "/metrics", accept: str = "") -> tuple[str, str]:
    """The kind of the answer, and its text."""
    asked = urllib.request.Request(f"http://{endpoint.address}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_it_answers_in_the_format_that_is_asked_for(endpoint: MetricsEndpoint) -> None:
    assert get(endpoint) == ("text/plain; version=0.0.4; charset=utf-8", "open False\n")
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert get(endpoint, "/metrics?x=1", f"{kind},*/*;q=0.1") == (kind, "open True\n")


def test_nothing_else_is_there(endpoint: MetricsEndpoint) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(endpoint, "/")
    assert refused.value.code == 404
    refused.value.close()


def test_connections_that_send_nothing_are_few_and_keep_nobody_from_scraping(
    endpoint: MetricsEndpoint,
) -> None:
    host, _, port = endpoint.address.rpartition(":")
    with ExitStack() as opened:
        silent = [
            opened.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
            for _ in range(7)
        ]
        assert get(endpoint)[1] == "open False\n"
        silent += [
            opened.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
            for _ in range(20)
        ]
        # What is too much is turned away at once, and a place is free again after a while.
        assert silent[-1].recv(1) == b""

        def scraped() -> bool:
            try:
                return get(endpoint)[1] == "open False\n"
            except (OSError, urllib.error.URLError):
                return False

        wait_until(scraped, what="for a place")


def test_metrics_that_cannot_be_made_are_an_error_to_be_seen() -> None:
    def fail(_: bool) -> str:
        raise KeyError("canary-4711")

    told: list[Exception] = []
    with (
        MetricsEndpoint("127.0.0.1", 0, fail, told.append) as endpoint,
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        get(endpoint)
    with refused.value as answer:
        assert (answer.code, "canary" in answer.read().decode()) == (500, False)
    assert [type(error) for error in told] == [KeyError]


def test_connections_that_send_a_byte_at_a_time_are_cut_off(
    endpoint: MetricsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WHOLE_S", 0.2)
    monkeypatch.setattr(module._Handler, "timeout", PATIENCE_S)  # none of them is silent
    host, _, port = endpoint.address.rpartition(":")
    with ExitStack() as opened:
        for _ in range(8):
            slow = opened.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
            slow.sendall(b"GET /")
        assert slow.recv(1) == b""


def test_a_port_that_is_taken_is_an_error(endpoint: MetricsEndpoint) -> None:
    port = int(endpoint.address.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        MetricsEndpoint("127.0.0.1", port, str)


def test_after_the_end_nobody_listens() -> None:
    endpoint = MetricsEndpoint("127.0.0.1", 0, str)
    endpoint.close()
    with pytest.raises(urllib.error.URLError):
        get(endpoint)
