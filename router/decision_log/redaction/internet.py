"""E-mail addresses, IP addresses, and secrets in URLs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from router.decision_log.redaction.spans import Span

__all__ = ["PATTERNS", "email_addresses", "ip_addresses", "url_secrets"]

_DOMAIN = re.compile(
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,62})\.)++(?!(?:png|jpe?g|gif|svg|webp)\b)[a-z]{2,24}+(?![(])"
    # A domain outside ASCII must contain a full stop; otherwise the text after an address would match.
    r"|@(?=[a-z0-9.-]{0,128}[^\x00-\x7f][\w-]{0,63}\.)(?:[\w-]{1,63}\.)++[a-z]{2,24}",
    re.IGNORECASE,
)
"""Matches from the @ sign on; the name before it is found by a walk to the left."""
_NOBODY = frozenset({"git"})
"""The name before the @ of addresses that belong to a service, as in git@github.com:me/it.git."""
_ATOM = re.compile(r"[A-Za-z0-9À-ɏ.!#$%&'*+/=?^_`{|}~-]")

_IPV4 = re.compile(r"(?<![\w.])(?<!v )\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", re.ASCII)
_VERSION = re.compile(r"(?:version|ver\.?|release|バージョン)[ :は]{0,3}\Z", re.IGNORECASE)
_IPV6 = re.compile(
    r"(?<![\w:.])(?<!\w\[)(?=[0-9a-f]{0,4}:[0-9a-f]{0,4}:)[0-9a-f:.]{3,45}+(?!\w)",
    re.ASCII | re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"""://([^\s/?#"'<>()\[\]]{1,512})@""")
_TOKEN = re.compile(
    r"[?&;](?:[a-z0-9._-]{0,24}(?:token|key|secret|signature|password|passwd|credential|session|jwt)"
    r"[a-z0-9_-]{0,12}|sig|auth|pwd|pass|code|sid)=([\w%.~+/:@!$*,-]++)",
    re.ASCII | re.IGNORECASE,
)

PATTERNS = (_DOMAIN, _ATOM, _IPV4, _VERSION, _IPV6, _CREDENTIALS, _TOKEN)
"""Every pattern that reads prompts, for the test that none of them can take quadratic time."""


def email_addresses(text: str) -> Iterator[Span]:
    """Every address, in a folded text."""
    done = 0
    for match in _DOMAIN.finditer(text):
        start = match.start()
        while start > done and _ATOM.match(text[start - 1]):
            start -= 1
        if start == match.start():  # no plain name: the letters of any script before the sign
            while start > done and text[start - 1].isalnum():
                start -= 1
        done = match.end()
        if start < match.start() and text[start : match.start()].lower() not in _NOBODY:
            yield Span(start, done, "email")


def ip_addresses(text: str) -> Iterator[Span]:
    """IP addresses of machines, in a folded text; not loopback, multicast, netmasks or versions."""
    for match in _IPV4.finditer(text):
        if _identifies_a_machine(match.group()) and not _VERSION.search(
            text[max(0, match.start() - 12) : match.start()]
        ):
            yield Span(match.start(), match.end(), "ip")
    for match in _IPV6.finditer(text):
        # The full stop of a sentence; then a slice such as [1::2] and a time such as 12:30:45.
        address = match.group().rstrip(".")
        groups = [group for group in address.split(":") if group]
        if any(len(group) > 2 for group in groups) and any(c.isdigit() for c in address):
            address = address if address.endswith("::") else address.rstrip(":")
            if _identifies_a_machine(address):
                yield Span(match.start(), match.start() + len(address), "ip")


def _identifies_a_machine(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    netmask = text.startswith("255.")
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or netmask)


def url_secrets(text: str) -> Iterator[Span]:
    """User and password before a host, and query values that are keys, in a folded text."""
    for pattern in (_CREDENTIALS, _TOKEN):
        for match in pattern.finditer(text):
            yield Span(match.start(1), match.end(1), "secret")
