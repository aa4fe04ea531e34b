from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from router.access import key_sets
from router.access.key_sets import RemoteKeySet, is_address, watch_key_set
from router.access.tokens import read_key_set
from router.core.errors import BadArtifact, InvalidInput, Unavailable
from tests.readiness import wait_until
from tests.tokens import Issuer


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """A real web server that always answers the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"keys": 5}', b'{"keys": []}', b'{"keys": ["x"]}', b'{"keys": [{"kty": "RSA"}]}',
     b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}', b"\xff", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_key_set_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(BadArtifact) as caught:
        read_key_set(content, "keys.json")
    assert caught.value.message.startswith("keys.json ")


def test_keys_that_do_not_sign_are_left_out() -> None:
    listed = json.loads(Issuer().jwks())["keys"]
    both = json.dumps({"keys": [{**listed[0], "kid": "e", "use": "enc"}, {"kty": "new"}, *listed]})
    keys = read_key_set(both.encode(), "keys.json")
    assert keys.find("k1") is not None
    assert keys.find("e") is None
    assert keys.find(None) is keys.find("k1")  # the only one


def test_a_private_key_is_left_out_since_whoever_reads_it_could_sign() -> None:
    public = json.loads(Issuer().jwks())["keys"]
    private = {**public[0], "kid": "p", "d": "AQAB"}
    keys = read_key_set(json.dumps({"keys": [private, *public]}).encode(), "keys.json")
    assert keys.find("p") is None
    assert keys.find("k1") is not None
    with pytest.raises(BadArtifact, match="no public key"):
        read_key_set(json.dumps({"keys": [private]}).encode(), "keys.json")


def test_a_file_with_keys_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(Issuer("a").jwks())
    watched = watch_key_set(str(path))
    assert watched.current()[0].find("a") is not None
    path.write_bytes(Issuer("longer").jwks())
    watched.look()
    assert watched.current()[0].find("longer") is not None
    with pytest.raises(BadArtifact, match="cannot be read"):
        watch_key_set(str(tmp_path / "none"))


def test_keys_come_from_an_address() -> None:
    with answering(200, Issuer("a").jwks()) as address:
        assert is_address(address)
        assert RemoteKeySet(address).current()[0].find("a") is not None


@pytest.mark.parametrize(
    "address", ["http://id.example/jwks", "ftp://id.example/x", "file:///etc/passwd"]
)
def test_keys_are_not_taken_from_where_anyone_could_change_them(address: str) -> None:
    with pytest.raises(InvalidInput, match="https"):
        RemoteKeySet(address)


def test_no_secret_of_an_address_is_shown() -> None:
    for user in ("u:canary-4711@", ":canary-4711@", "canary-4711@"):
        with pytest.raises(InvalidInput, match="no user and password") as caught:
            RemoteKeySet(f"https://{user}id.example/jwks")
        assert "canary" not in caught.value.message
    with answering(200, Issuer("a").jwks()) as address:
        keys = RemoteKeySet(f"{address}?key=canary-4711#canary-4711")
        assert keys.status.location == address
    for answer in (b"[]", None):
        with answering(200 if answer else 500, answer or b"") as address:
            with pytest.raises((BadArtifact, Unavailable)) as refused:
                RemoteKeySet(f"{address}?key=canary-4711")
            assert address in refused.value.message
            assert "canary" not in refused.value.message


def test_an_address_that_does_not_answer_or_leads_elsewhere_is_said() -> None:
    with (
        answering(200, Issuer("a").jwks()) as good,
        answering(302, b"", Location=good) as address,
        pytest.raises(Unavailable),
    ):
        RemoteKeySet(address)
    with answering(500, b"") as address, pytest.raises(Unavailable) as caught:
        RemoteKeySet(address)
    assert address in caught.value.message
    with pytest.raises(Unavailable):  # it has closed
        RemoteKeySet(address)


@contextmanager
def sending(first: bytes, *parts: bytes) -> Iterator[str]:
    """A server that answers with bytes that need not be HTTP, and then leaves the connection open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def answer() -> None:
            with suppress(OSError):  # it was closed
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    connection.recv(4096)
                    connection.sendall(first)
                    for part in parts:
                        connection.sendall(part)
                    if not parts:
                        connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/jwks"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 503 \x1b[2J\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_one_clear_line(answer: bytes) -> None:
    with sending(answer) as address, pytest.raises(Unavailable) as caught:
        RemoteKeySet(address)
    assert address in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n{"])
def test_an_answer_that_never_ends_is_given_up_and_keeps_one_thread(
    part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "_WHOLE_S", 0.1)
    with sending(part, b"") as address:
        with pytest.raises(Unavailable, match=r"within 0\.1 s"):
            RemoteKeySet(address)
        source = key_sets._AddressSource(address, key_sets._fetched)
        for why in ("within", "has not ended", "has not ended"):
            with pytest.raises(Unavailable, match=why):
                source.find()


def test_keys_stay_while_the_address_is_away_and_are_asked_for_within_reason() -> None:
    first, second = Issuer("a").jwks(), Issuer("b").jwks()
    answers: list[bytes | None] = [first, None, second]
    asked: list[str] = []
    now = [0.0]

    def fetch(address: str) -> bytes:
        asked.append(address)
        answer = answers.pop(0)
        if answer is None:
            raise Unavailable("away")
        return answer

    keys = RemoteKeySet("https://id.example/jwks", fetch=fetch, clock=lambda: now[0])
    now[0] = 29.0
    keys.refresh_soon()  # too soon after the start
    now[0] = 30.0
    keys.refresh_soon()
    wait_until(lambda: len(asked) == 2)
    assert keys.current()[0].find("a") is not None
    now[0] = 330.0
    keys.current()  # old by now
    wait_until(lambda: keys.current()[0].find("b") is not None)
    assert keys.current()[1] == 1
    assert len(asked) == 3
