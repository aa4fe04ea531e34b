"""``make demo``: start a real server on the shipped bundle, route varied prompts, stop it cleanly."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from mitsumori import Message, Router
from mitsumori.money import nanos_of
from mitsumori.v1 import router_pb2
from router.cli.errors import errors_in_one_line
from router.cli.render import demo_table, table
from router.core.errors import MitsumoriError
from router.core.money import short_usd

__all__ = ["main", "serving"]

_MINUTES = "Summarise the following minutes in five bullet points.\n\n" + "\n".join(
    f"{item}. The committee discussed item {item}: the supplier's delivery was {item % 7} days late, "
    f"the penalty under clause {item % 13}.2 was waived, and the next review is in week {item % 52}."
    for item in range(1, 121)
)
_SHOWN = 1000
"""Characters of a prompt that is shown whole."""
_FOLLOW_UP = "a chat's follow-up, quality target 60%"
_PROOF = "Prove that every bounded sequence of real numbers has a convergent subsequence."

PROMPTS: tuple[tuple[str, str], ...] = (
    ("greeting", "Hi! How are you today?"),
    ("look-up", "What is the capital of France?"),
    ("percentage", "A shirt costs $24 and is 25% off. What do I pay?"),
    ("one line translated", "Translate into German: The meeting was moved to Thursday."),
    (
        "日本語: お礼の返事",
        "「ありがとうございます」と言われました。丁寧な返事を一言お願いします。",
    ),
    (
        "e-mail",
        "Write a polite e-mail to a supplier: the delivery of 12 May is a week late, ask for a new date "
        "and whether part of it can be sent now.",
    ),
    (
        "日本語: 案内メール",
        "社内懇親会の案内メールを書いてください。日時は6月12日18時、会場は本社食堂、会費は2000円です。",
    ),
    ("minutes summarised", _MINUTES),
    (
        "a small function",
        "Write a Python function that merges overlapping intervals.\n\n```python\n"
        "def merge(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:\n    ...\n```\n"
        "It must run in O(n log n) and come with tests.",
    ),
    (
        "a slow query",
        "This SQL is slow on 200 million rows; why, and how would you rewrite it?\n"
        "SELECT * FROM events e WHERE (SELECT count(*) FROM events f WHERE f.user_id = e.user_id "
        "AND f.ts < e.ts) = 0;",
    ),
    (
        "tenancy law",
        "A landlord accepts late rent for eleven months, then evicts for lateness in the twelfth. "
        "Discuss waiver and estoppel, and which remedy the tenant should seek first.",
    ),
    (
        "日本語: 債務不履行",
        "民法第415条に基づく債務不履行責任と不法行為責任の関係について、判例を踏まえて論じてください。",
    ),
    ("proof", _PROOF),
    (
        "a lock-free queue",
        "Design a lock-free bounded queue for many producers and consumers in C++20. State for every access "
        "which memory order suffices, prove that no element is lost or read twice, and give an execution "
        "that breaks if one of them is weakened.",
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


def _otherwise(client: Router) -> Iterator[tuple[str, router_pb2.RouteResponse]]:
    """The proof again, with other wishes."""
    yield "proof, importance high", client.route(_PROOF, importance="high").message
    yield "proof, at most $0.002", client.route(_PROOF, max_price_usd="0.002").message
    turns = [
        Message("user", _PROOF),
        Message("assistant", "By bisection: halve the interval again and again …"),
        Message("user", "Yes, but why does the diameter go to zero?"),
    ]
    yield _FOLLOW_UP, client.route(turns, quality_target=0.6).message


def _asked() -> Iterator[tuple[str, str]]:
    """The prompts by name, whole; of the minutes the first lines, for the others are like them."""
    for name, text in PROMPTS:
        first = text.splitlines()[:4]
        left = len(text.splitlines()) - len(first)
        shown = (
            text if len(text) <= _SHOWN else "\n".join([*first, f"… and {left} lines like these"])
        )
        yield name, escape(shown)


def _always_high(client: Router) -> list[router_pb2.RouteResponse]:
    """A reply per prompt with the model that is chosen in the highest tier."""
    highest = client.route(_PROOF, importance="high", quote_only=True).message.chosen.tier
    return [client.route(text, tiers=[highest], quote_only=True).message for _, text in PROMPTS]


def _expected(replies: Sequence[router_pb2.RouteResponse]) -> tuple[int, float]:
    """Nano-dollars expected for all chosen models together, and the mean of their P(adequate)."""
    spent = sum(nanos_of(reply.chosen.quote.price.expected) for reply in replies)
    return spent, sum(reply.chosen.p_adequate for reply in replies) / len(replies)


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
            spent, adequate = _expected([reply for _, reply in replies])
            dearest, adequate_high = _expected(_always_high(client))
            replies += _otherwise(client)
    console.print(table("What is asked", ("prompt", "text"), list(_asked())))
    console.print(demo_table(replies))
    proof = dict(replies)["proof"]
    lines = (
        f"Why, for the proof: {proof.reasons[0].text}.",
        f"The {len(PROMPTS)} prompts: {short_usd(spent)} expected; {short_usd(dearest)} with the highest "
        f"tier for all of them: {1 - spent / dearest:.0%} saved. "
        f"Adequate answers expected: {adequate:.0%}, and {adequate_high:.0%} with the highest tier.",
        f"{len(replies)} decisions by bundle {proof.bundle_version}; server ready after {ready:.1f} s, "
        f"stopped cleanly. Prices: {proof.chosen.quote.price_table_version}.",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    with errors_in_one_line():
        main()
