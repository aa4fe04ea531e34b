from __future__ import annotations

import pytest

from router.access.exposure import check_exposure
from router.core.errors import InvalidInput


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_what_only_this_machine_reaches_needs_neither(host: str) -> None:
    check_exposure({"host": host}, tls=False, credentials=False, insecure=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "[::]", "", "10.0.0.1", "router.example", "localhost.example"]
)
def test_what_other_machines_reach_needs_both_or_a_word_of_the_operator(host: str) -> None:
    check_exposure({"host": host}, tls=True, credentials=True, insecure=False)
    check_exposure({"host": host}, tls=False, credentials=False, insecure=True)


@pytest.mark.parametrize(
    ("tls", "credentials", "missing"),
    [
        (
            False,
            False,
            "there is no TLS (--tls-certificate and --tls-key) and no credentials (--key-store or",
        ),
        (True, False, "there are no credentials (--key-store or --jwt-issuer)"),
        (False, True, "there is no TLS (--tls-certificate and --tls-key); set"),
    ],
)
def test_what_is_missing_is_said_in_one_line_with_the_ways_out(
    tls: bool, credentials: bool, missing: str
) -> None:
    hosts = {"host": "127.0.0.1", "admin_host": "0.0.0.0"}
    with pytest.raises(InvalidInput) as caught:
        check_exposure(hosts, tls=tls, credentials=credentials, insecure=False)
    message = caught.value.message
    assert missing in message
    assert message.startswith("admin_host: 0.0.0.0 ")
    assert "--insecure" in message
    assert "\n" not in message
