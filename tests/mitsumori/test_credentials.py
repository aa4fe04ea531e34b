from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mitsumori import InvalidArgument, Router, Tls
from mitsumori.credentials import Credentials
from tests.certificates import Authority

KEY = "mk_a2b3c4d5e6_" + "x" * 43


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"tls": "yes"}, "tls"),
        ({"tls": 1}, "tls"),
        ({"api_key": 5}, "api_key"),
        ({"api_key": "canary\n"}, "api_key"),
        ({"api_key": "canary canary"}, "api_key"),
        ({"api_key": "カナリア"}, "api_key"),
        ({"token": "canary\r\nx: y"}, "token"),
        ({"token": b"canary"}, "token"),
        ({"api_key": "canary", "token": "canary"}, "token"),
        ({"api_key": "canary", "token": lambda: "canary"}, "token"),
        ({"tls": Tls(certificate="a")}, "tls"),
        ({"tls": Tls(key="a")}, "tls"),
        ({"tls": Tls(ca="nowhere")}, "tls.ca"),
        ({"tls": Tls(certificate="nowhere", key="nowhere")}, "tls.key"),
        ({"tls": Tls(ca=__file__)}, "tls.ca"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_quoted(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Router("127.0.0.1:1", **given)
    assert caught.value.field == field
    assert "canary" not in caught.value.message


@pytest.mark.parametrize(
    "address", ["router.example:50051", "10.0.0.1:50051", "[2001:db8::1]:50051"]
)
@pytest.mark.parametrize(
    "secret", [{"api_key": KEY}, {"token": "a.b.c"}, {"token": lambda: "a.b.c"}]
)
def test_no_credential_goes_to_another_machine_in_the_clear_unless_that_is_meant(
    address: str, secret: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Router(address, **secret)
    assert caught.value.field == "tls"
    for tls in (False, True, Tls(ca=Authority(tmp_path).path)):
        Router(address, **secret, tls=tls).close()
    Router(address).close()


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/mitsumori"]
)
def test_on_the_same_machine_no_tls_is_needed(address: str) -> None:
    Router(address, api_key=KEY).close()


def test_every_call_carries_the_credential() -> None:
    assert Credentials().metadata() == ()
    assert Credentials(api_key=KEY).metadata() == (("authorization", f"Bearer {KEY}"),)
    assert Credentials(token="a.b.c").metadata() == (("authorization", "Bearer a.b.c"),)
    given = iter(["a.b.c", "d.e.f"])
    current = Credentials(token=lambda: next(given))
    assert [current.metadata()[0][1] for _ in range(2)] == ["Bearer a.b.c", "Bearer d.e.f"]
    with pytest.raises(InvalidArgument):
        Credentials(token=lambda: "two words").metadata()
