"""What credentials and TLS cost: the check alone, and a whole call beside one without them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import track

from benchmarks.report import Figure
from mitsumori import Router, Tls
from router.access.gate import Gate
from router.access.key_sets import watch_key_set
from router.access.key_store import KeyStore, watch_keys
from router.access.tokens import TokenRules, TokenVerifier
from router.cli.demo import serving
from router.logs import configure
from tests.certificates import Authority
from tests.tokens import AUDIENCE, ISSUER, Issuer

CALLS, CHECKS, WARM_UP = 1500, 20_000, 100


def _median_us(check: Callable[[int], object], times: int) -> float:
    taken = []
    for number in range(times):
        started = time.perf_counter()
        check(number)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def _key(store: KeyStore) -> str:
    return store.create(
        name="bench", tenant="acme", roles=["route"], labels={}, scopes={}, expires=None
    )[0]


def _check_figures(folder: Path) -> Iterator[Figure]:
    store = KeyStore(folder / "checked.json")
    texts = [_key(store) for _ in range(200)]
    watched = watch_keys(store.path)
    gate = Gate(watched)
    metadata = [[("user-agent", "x"), ("authorization", f"Bearer {text}")] for text in texts]
    for one in metadata:
        gate.caller(one, "p")
    yield Figure(
        "API key, verified before, p50",
        _median_us(lambda n: gate.caller(metadata[n % 200], "p"), CHECKS),
        "µs",
        100.0,
    )
    book, _ = watched.current()
    now = datetime.now(UTC)
    yield Figure(
        "API key, first time, p50",
        _median_us(lambda n: book.caller(texts[n % 200], now), CHECKS),
        "µs",
        100.0,
    )
    issuer = Issuer()
    (folder / "jwks.json").write_bytes(issuer.jwks())
    keys = watch_key_set(str(folder / "jwks.json"))
    verifier = TokenVerifier(
        TokenRules(ISSUER, AUDIENCE), lambda: keys.current()[0], now=lambda: datetime.now(UTC)
    )
    token = issuer.token()
    yield Figure(
        "token (RS256), first time, p50", _median_us(lambda _: verifier.caller(token), 2000), "µs"
    )


def _call_figures(folder: Path) -> Iterator[Figure]:
    authority = Authority(folder)
    issued = authority.issue("server")
    store = KeyStore(folder / "keys.json")
    key = _key(store)
    flags = ["--tls-certificate", str(issued.certificate), "--tls-key", str(issued.key)]
    flags += ["--key-store", str(store.path)]
    with (
        serving() as (plain_address, _),
        serving(*flags) as (safe_address, _),
        Router(plain_address, timeout_s=60) as plain,
        Router(safe_address, timeout_s=60, tls=Tls(ca=authority.path), api_key=key) as safe,
    ):
        taken: dict[Router, list[float]] = {plain: [], safe: []}
        # By turns, so that a busy moment falls on both; no two prompts are the same.
        for number in track(range(CALLS + WARM_UP), description="calls", transient=True):
            for client, times in taken.items():
                prompt = f"Shirt {number} costs ${number % 90 + 9} and is 25% off. What do I pay?"
                started = time.perf_counter()
                client.route(prompt)
                times.append(time.perf_counter() - started)
    base = statistics.median(taken[plain][WARM_UP:]) * 1000
    with_both = statistics.median(taken[safe][WARM_UP:]) * 1000
    yield Figure("baseline: Route without TLS and credentials, round trip p50", base, "ms")
    yield Figure("Route with TLS and an API key, round trip p50", with_both, "ms")
    yield Figure("TLS + API key added, p50", with_both - base, "ms", 0.3)


def measure() -> Iterator[Figure]:
    """All figures of access."""
    configure("error", "json")
    with tempfile.TemporaryDirectory() as folder:
        yield from _check_figures(Path(folder))
        yield from _call_figures(Path(folder))
