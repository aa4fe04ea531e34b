"""What names a server, or several."""

from __future__ import annotations

from typing import Any

import pytest

from mitsumori import InvalidArgument, Router, Tls
from mitsumori.addresses import are_local, target_of
from tests.certificates import Authority


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("mitsumori.example:50051", "mitsumori.example:50051"),
        ("dns:///mitsumori.example:50051", "dns:///mitsumori.example:50051"),
        (["10.0.0.1:1"], "10.0.0.1:1"),
        ("10.0.0.1:1, 10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (("10.0.0.1:1", "10.0.0.2:2"), "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("[::1]:1,[2001:db8::1]:2", "ipv6:[::1]:1,[2001:db8::1]:2"),
    ],
)
def test_one_address_or_several(address: Any, target: str) -> None:
    assert target_of(address) == target


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (" ", "address: write host:port, such as 127.0.0.1:50051"),
        ([], "address: write host:port, such as 127.0.0.1:50051"),
        ("10.0.0.1:1,", "address: write host:port, such as 127.0.0.1:50051"),
        ([1], "address[0]: must be a text, not int"),
        ("a.example:1,b.example:1", "address: several servers are named by IP addresses"),
        ("10.0.0.1:1,localhost:1", "address: several servers are named by IP addresses"),
        ("10.0.0.1:1,[::1]:1", "address: several servers are named by IP addresses"),
    ],
)
def test_what_names_no_server(address: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        target_of(address)
    assert str(caught.value).startswith(message)


def test_on_this_machine_are_only_addresses_of_which_all_are() -> None:
    assert all(
        map(are_local, ("unix:/run/a", "localhost:1", "ipv4:127.0.0.1:1,127.9.9.9:2", "[::1]:1"))
    )
    assert not any(map(are_local, ("a.example:1", "ipv4:127.0.0.1:1,10.0.0.1:2", "10.0.0.1:1")))


def test_certificates_of_several_servers_are_for_a_name_that_is_given(tmp_path: Any) -> None:
    ca, several = Authority(tmp_path).path, ["10.0.0.1:1", "10.0.0.2:1"]
    with pytest.raises(InvalidArgument) as caught:
        Router(several, tls=Tls(ca=ca))
    assert caught.value.field == "tls"
    Router(several, tls=Tls(ca=ca, server_name="mitsumori.example")).close()
