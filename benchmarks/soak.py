"""``make soak``: a server that answers a million calls, with TLS, an API key and two limits. Does it grow?

Every prompt and request id is another. Nine decisions in ten are settled, one is released. The slope of
its memory is that of a line through the samples of the second half, when caches are full.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.arguments import Parser, within
from benchmarks.report import Figure, write_report
from benchmarks.secured import Secured
from benchmarks.serving import resident_mib
from mitsumori import CallFailed, Router
from mitsumori.v1 import limit_pb2
from router.cli.demo import serving
from router.cli.errors import errors_in_one_line

__all__ = ["Sample", "Soaked", "figures", "soaked"]

CALLS = 1_000_000
CALLERS = 16
SAMPLES = 100
PLENTY = 10**15
_TEAMS, _USERS = 50, 2_000
_SUBJECTS = (
    "a late delivery", "compound interest", "a lock-free queue", "the French Revolution", "tenancy law",
    "photosynthesis", "a SQL query that is slow", "a birthday speech", "モーツァルトの生涯", "確定申告の方法",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment.

    Attributes:
        calls: answered so far.
        resident_mib: of memory.
        descriptors: open files and sockets.
        wal_bytes: of the write-ahead log.
    """

    calls: int
    resident_mib: float
    descriptors: int
    wal_bytes: int


@dataclass
class Soaked:
    """What a run found.

    Attributes:
        samples: in the order of time.
        decisions: in the ledger at the end.
        ledger_bytes: of its file at the end, less those at the beginning.
        failed: calls without an answer, by code.
        seconds: of the calls.
    """

    samples: list[Sample] = field(default_factory=list)
    decisions: int = 0
    ledger_bytes: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def _work(client: Router, numbers: Iterator[int], calls: int, found: Soaked) -> Iterator[None]:
    """Route and settle until the calls are made; yields after each call."""
    for number in numbers:
        if number * 2 >= calls:
            return
        prompt = (
            f"Explain {_SUBJECTS[number % len(_SUBJECTS)]} in {number % 400 + 20} words ({number})."
        )
        scope = {"team": f"team-{number % _TEAMS}", "user": f"user-{number % _USERS}"}
        try:
            decision = client.route(prompt, scope=scope, max_alternatives=1)
            yield
            if number % 10:
                quote = decision.quote
                client.settle(
                    decision.id,
                    input_tokens=quote.input_tokens,
                    output_tokens=quote.output_tokens.p50,
                )
            else:
                client.release(decision.id)
            yield
        except CallFailed as error:
            found.failed[f"{error.code} {error.reason}"] += 1


def _limits() -> Iterator[limit_pb2.Limit]:
    for limit_id, scope in (("everything", {}), ("teams", {"team": "*"})):
        yield limit_pb2.Limit(
            limit_id=limit_id,
            unit=limit_pb2.UNIT_MONEY,
            window=limit_pb2.WINDOW_MONTH,
            hard=PLENTY,
            scope=scope,
        )


def soaked(
    calls: int,
    folder: Path,
    tell: Callable[[Sample, int], None] = lambda _sample, _calls: None,
) -> Soaked:
    """Call a server of its own so many times.

    Args:
        calls: routes, settlements and releases together, > 0.
        folder: for the ledger, certificates and keys.
        tell: is called with each sample and the number of calls.
    """
    found = Soaked()
    ledger, secured = folder / "ledger.sqlite", Secured(folder)
    flags = (*secured.flags, "--ledger", f"sqlite:{ledger}")
    with serving(*flags) as (address, process):
        with secured.admin(address) as admin:
            for limit in _limits():
                admin.set_limit(limit)
        before = ledger.stat().st_size
        numbers, done = itertools.count(), itertools.count(1)

        def sample(number: int) -> None:
            made = Sample(
                number,
                resident_mib(process.pid, "VmRSS"),
                len(os.listdir(f"/proc/{process.pid}/fd")),  # noqa: PTH208 — names alone
                ledger.with_name(ledger.name + "-wal").stat().st_size,
            )
            found.samples.append(made)
            tell(made, calls)

        def work() -> None:
            for _ in _work(client, numbers, calls, found):
                number = next(done)
                if number % max(calls // SAMPLES, 1) == 0:
                    sample(number)

        with secured.router(address) as client, ThreadPoolExecutor(CALLERS) as threads:
            started = time.perf_counter()
            for one in [threads.submit(work) for _ in range(CALLERS)]:
                one.result()
            found.seconds = time.perf_counter() - started
    found.ledger_bytes = ledger.stat().st_size - before
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as rows:
        (found.decisions,) = rows.execute("SELECT count(*) FROM decisions").fetchone()
    found.samples.sort(key=lambda one: one.calls)
    return found


def figures(found: Soaked) -> Iterator[Figure]:
    """The figures of a run; what may not grow has a target."""
    half = found.samples[len(found.samples) // 2 :]
    calls = np.array([one.calls for one in half], dtype=float)
    memory = np.array([one.resident_mib for one in half]) * 1.048576
    slope = np.polyfit(calls / 1e6, memory, 1)[0] if len(half) > 1 else float("nan")
    answered = found.samples[-1].calls
    yield Figure("calls answered", answered, "")
    yield Figure("calls per second, client on the same cores", answered / found.seconds, "/s")
    yield Figure("calls without an answer", found.failed.total(), "", 0.0)
    yield Figure("baseline: resident at the first sample", found.samples[0].resident_mib, "MiB")
    yield Figure("resident at the last sample", half[-1].resident_mib, "MiB", 350.0)
    yield Figure("slope of resident memory, second half", float(slope), "MB per million calls", 1.0)
    grown = max(one.descriptors for one in half) - half[0].descriptors
    yield Figure("baseline: open descriptors at half time", half[0].descriptors, "")
    yield Figure("most descriptors opened since", grown, "", 4.0)
    wal = max(one.wal_bytes for one in found.samples)
    yield Figure("longest write-ahead log", wal / 1e6, "MB", 64.0)
    yield Figure("decisions", found.decisions, "")
    yield Figure("ledger per decision", found.ledger_bytes / found.decisions, "bytes", 3000.0)


def main(words: list[str]) -> int:
    """Run, report; 1 where a target is missed."""
    parser = Parser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--calls", type=within(int, SAMPLES, 10**9), default=CALLS)
    calls = parser.parse_args(words).calls
    console, started = Console(stderr=True, soft_wrap=True), time.perf_counter()

    def tell(one: Sample, of: int) -> None:
        passed = time.perf_counter() - started
        left = passed / one.calls * (of - one.calls)
        console.print(
            f"{one.calls:,} of {of:,} calls in {passed:,.0f} s, {left:,.0f} s left: "
            f"{one.resident_mib:.1f} MiB, {one.descriptors} descriptors, "
            f"write-ahead log {one.wal_bytes / 1e6:.1f} MB",
            highlight=False,
        )

    # Where a ledger would lie: a temporary file system in memory has no fsync to speak of.
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-", dir="build") as folder:
        found = soaked(calls, Path(folder), tell)
    for code, count in found.failed.items():
        console.print(f"  {count} × {code}", markup=False, highlight=False)
    return 0 if write_report("soak", figures(found)) else 1


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
