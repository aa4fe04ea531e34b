"""``make demo``: start a real server on the shipped bundle, route varied prompts, stop it cleanly."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import track

from mitsumori import Message, Router
from mitsumori.v1 import router_pb2
from router.cli.errors import errors_in_one_line
from router.cli.render import demo_table
from router.core.errors import MitsumoriError

__all__ = ["main", "serving"]

_LONG_DOCUMENT = "Summarise the following minutes in five bullet points.\n\n" + "\n".join(
    f"{item}. The committee discussed item {item}: the supplier's delivery was {item % 7} days late, "
    f"the penalty under clause {item % 13}.2 was waived, and the next review is in week {item % 52}."
    for item in range(1, 121)
)

PROMPTS: tuple[tuple[str, str], ...] = (
    ("greeting", "Hi! How are you today?"),
    ("trivia", "What is the capital of France?"),
    ("arithmetic", "A shirt costs $24 and is 25% off. What do I pay?"),
    ("translation", "Translate into German: The meeting was moved to Thursday."),
    (
        "code",
        "Write a Python function that merges overlapping intervals.\n\n```python\n"
        "def merge(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:\n    ...\n```\n"
        "It must run in O(n log n) and come with tests.",
    ),
    (
        "debugging",
        "This SQL is slow on 200 million rows; why, and how would you rewrite it?\n"
        "SELECT * FROM events e WHERE (SELECT count(*) FROM events f WHERE f.user_id = e.user_id "
        "AND f.ts < e.ts) = 0;",
    ),
    ("proof", "Prove that every bounded sequence of real numbers has a convergent subsequence."),
    (
        "multiple choice",
        "A 0.20 M solution of a weak acid HA has pH 2.70. What is Ka?\n"
        "A. 2.0e-5\nB. 4.0e-6\nC. 1.0e-3\nD. 2.5e-4\nAnswer with one letter.",
    ),
    (
        "law",
        "A landlord accepts late rent for eleven months, then evicts for lateness in the twelfth. "
        "Discuss waiver and estoppel, and which remedy the tenant should seek first.",
    ),
    ("long document", _LONG_DOCUMENT),
    ("Japanese, simple", "東京の明日の天気を調べる方法を教えてください。"),
    (
        "Japanese, hard",
        "民法第415条に基づく債務不履行責任と不法行為責任の関係について、判例を踏まえて論じてください。",
    ),
)


@contextmanager
def serving(*flags: str, log: IO[str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A real ``mitsumori serve`` in a process of its own, on a free port; stopped at the end.

    Args:
        flags: further flags of ``serve``.
        log: receives the server's log; ``None``: our own standard error.

    Yields:
        The address, and the process.

    Raises:
        MitsumoriError: the server did not come up, or did not stop cleanly.
    """
    command = [sys.executable, "-m", "router", "serve", "--port", "0", "--log-level", "warning"]
    command += ["--ledger", "memory:"]
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603
    try:
        assert process.stdout is not None  # noqa: S101 — a pipe was asked for
        line = process.stdout.readline()
        if not line.startswith("serving on "):
            raise MitsumoriError("the server did not start; run `mitsumori doctor`")
        yield line.removeprefix("serving on ").strip(), process
        process.send_signal(signal.SIGTERM)
        if process.wait(timeout=60) != 0:
            raise MitsumoriError(f"the server stopped with code {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _with_other_goals(client: Router) -> Iterator[tuple[str, router_pb2.RouteResponse]]:
    """The same hard prompt with different goals and constraints."""
    proof = dict(PROMPTS)["proof"]
    yield (
        "proof, importance high",
        client.route(proof, importance="high", scope={"team": "demo"}).message,
    )
    yield (
        "proof, at most $0.002",
        client.route(proof, max_price_usd="0.002").message,
    )
    yield (
        "chat follow-up, target 60%",
        client.route(
            [
                Message("system", "You are a careful mathematician."),
                Message("user", proof),
                Message("assistant", "By bisection: halve the interval again and again …"),
                Message("user", "Yes, but why does the diameter go to zero?"),
            ],
            quality_target=0.6,
        ).message,
    )


def main() -> None:
    """Run the demonstration and print its table."""
    console = Console(width=None if sys.stdout.isatty() else 170)
    started = time.perf_counter()
    with serving() as (address, _process):
        ready = time.perf_counter() - started
        with Router(address) as client:
            replies = [
                (name, client.route(text, scope={"team": "demo"}).message)
                for name, text in track(
                    PROMPTS, description=f"routing at {address}", console=console, transient=True
                )
            ]
            replies += _with_other_goals(client)
    console.print(demo_table(replies))
    last = replies[-1][1]
    console.print(
        f"{len(replies)} decisions by bundle {last.bundle_version}; server ready after {ready:.1f} s, "
        f"stopped cleanly. Prices: {last.chosen.quote.price_table_version}.",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    with errors_in_one_line():
        main()
