"""Network addresses as text."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

__all__ = ["host_port", "is_loopback", "peer_of"]


def host_port(host: str, port: int | str) -> str:
    """``HOST:PORT``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host. A name other than ``localhost`` may lead anywhere."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def peer_of(text: str) -> str:
    """The machine in a peer as gRPC writes it: an IPv4 address, the /64 of an IPv6 address, or the text.

    A machine has a whole /64 to choose addresses from.
    """
    kind, _, rest = text.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return text
    host = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
