from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

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
