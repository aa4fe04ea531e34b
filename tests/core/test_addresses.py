from __future__ import annotations

import pytest

from router.core.addresses import host_port, is_loopback, peer_of


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("127.0.0.1", 50051, "127.0.0.1:50051"),
        ("router.example", "443", "router.example:443"),
        ("::1", 0, "[::1]:0"),
    ],
)
def test_an_ipv6_address_is_written_in_brackets(host: str, port: int | str, text: str) -> None:
    assert host_port(host, port) == text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_only_this_machine_reaches_a_loopback_address(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "[::]", "", "10.0.0.1", "router.example", "localhost.example"]
)
def test_other_machines_reach_any_other(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ipv4:10.1.2.3:555", "10.1.2.3"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:555", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:ffff::1%5D:555", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:10.1.2.3%5D:555", "10.1.2.3"),
        ("ipv6:[fe80::1%25eth0]:555", "fe80::/64"),
        ("unix:/run/x", "unix:/run/x"),
        ("ipv4:strange", "ipv4:strange"),
        ("", ""),
    ],
)
def test_a_peer_is_a_machine_whatever_its_port(text: str, peer: str) -> None:
    assert peer_of(text) == peer
