"""Where a client connects: one server, or several that share the calls."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import TypeAlias

from mitsumori.arguments import names_of, text_of
from mitsumori.errors import InvalidArgument

__all__ = ["DEFAULT_ADDRESS", "Address", "are_local", "target_of"]

DEFAULT_ADDRESS = "127.0.0.1:50051"
Address: TypeAlias = str | Sequence[str]
"""``host:port``, or several with IP addresses as hosts: in a list, or in a text between commas."""


def target_of(address: object) -> str:
    """The address as gRPC takes it. A name with many IP addresses has calls spread over them, too.

    Raises:
        InvalidArgument: it is of another type, empty, or a list with names of hosts.
    """
    found = _listed(address)
    if len(found) == 1:
        return found[0]
    families = {_family(one) for one in found}
    if len(families) != 1 or None in families:
        raise InvalidArgument(
            "address",
            "several servers are named by IP addresses of one family, such as 10.0.0.1:50051,10.0.0.2:50051; "
            "or by one name that stands for all of them",
        )
    return f"{families.pop()}:{','.join(found)}"


def are_local(target: str) -> bool:
    """Whether a target is on this machine, so that nobody listens on the way."""
    if target.startswith("unix:"):
        return True
    hosts = target.removeprefix("ipv4:").removeprefix("ipv6:").split(",")
    return all(_host(one) == "localhost" or _is_loopback(_host(one)) for one in hosts)


def _listed(address: object) -> list[str]:
    if isinstance(address, list | tuple):
        texts = names_of(address, "address")
    else:
        texts = text_of(address, "address").split(",")
    found = [text.strip() for text in texts]
    if not found or not all(found):
        raise InvalidArgument("address", f"write host:port, such as {DEFAULT_ADDRESS}")
    return found


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _family(address: str) -> str | None:
    try:
        return f"ipv{ip_address(_host(address)).version}"
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
