"""``python -m benchmarks.fuzz``: damaged frames and messages to a live server. Does it still serve?"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.arguments import Parser, within
from benchmarks.fuzz import frames, messages
from benchmarks.report import Figure, write_report
from benchmarks.secured import Secured
from mitsumori import CallFailed, Router
from mitsumori.v1 import limit_pb2
from router.cli.demo import serving
from router.cli.errors import errors_in_one_line

__all__ = ["Fuzzed", "figures", "fuzzed", "main"]

FRAMES, MESSAGES = 100_000, 50_000
_EVERY = 200
"""Between two looks at whether a proper call is answered: so many connections, or messages."""
_BROKEN = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS"})


@dataclass
class Fuzzed:
    """What a run found.

    Attributes:
        frames: sent.
        connections: that sent them.
        statuses: of the damaged messages.
        looks: proper calls in between that were answered.
        unanswered: those that were not.
        failures: unexpected errors in the server's log.
        crashed: the process ended by itself, or not in good order.
    """

    frames: int = 0
    connections: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    crashed: int = 0


def fuzzed(
    frame_count: int,
    message_count: int,
    seed: int,
    tell: Callable[[int], None] = lambda _count: None,
) -> Fuzzed:
    """Fuzz a server of its own.

    Args:
        frame_count: raw frames to send, at least.
        message_count: damaged messages to send.
        seed: of everything that is sent.
        tell: is called with how many frames and messages were sent just now.
    """
    found = Fuzzed()
    with tempfile.TemporaryDirectory(prefix="mitsumori-fuzz-") as scratch:
        folder = Path(scratch)
        secured, log = Secured(folder), folder / "log"
        flags = (*secured.flags, "--ledger", f"sqlite:{folder / 'ledger.sqlite'}")
        with log.open("w") as out:
            try:
                with serving(*flags, log=out) as (address, process):
                    _fuzz(
                        address, process, secured, (frame_count, message_count), seed, found, tell
                    )
            except Exception:
                if not found.crashed:
                    raise
        found.failures = list(_failures(log))
    return found


def _fuzz(
    address: str,
    process: subprocess.Popen[str],
    secured: Secured,
    counts: tuple[int, int],
    seed: int,
    found: Fuzzed,
    tell: Callable[[int], None],
) -> None:
    port, calls = int(address.rpartition(":")[2]), messages.proper_calls()
    with secured.router(address) as client, secured.channel(address) as channel:
        dice = random.Random(f"{seed}/frames")
        while found.frames < counts[0]:
            made = frames.connection_of(calls, secured.key, dice)
            found.connections += 1
            sent = frames.send(port, secured.ca, made, dice)
            found.frames += sent
            tell(sent)
            if found.connections % _EVERY == 0 and not _serves(client, process, found):
                return
        dice = random.Random(f"{seed}/messages")
        for number in range(counts[1]):
            found.statuses[messages.send(channel, secured.metadata, calls, dice)] += 1
            tell(1)
            if number % _EVERY == 0 and not _serves(client, process, found):
                return
        _drop_limits(secured, address)
        _serves(client, process, found)


def _drop_limits(secured: Secured, address: str) -> None:
    """Damaged messages may have set limits that refuse everything, as they may."""
    with secured.admin(address) as admin:
        for status in admin.limits():
            limit: limit_pb2.Limit = status.limit
            admin.delete_limit(limit.limit_id)


def _serves(client: Router, process: subprocess.Popen[str], found: Fuzzed) -> bool:
    """Look whether the process lives and a proper call is answered, be it refused by a limit."""
    if process.poll() is not None:
        found.crashed += 1
        return False
    try:
        client.route("What is 2 + 2?", quote_only=True)
        found.looks += 1
    except CallFailed as error:
        if error.unanswered:
            found.unanswered[error.code] += 1
        else:
            found.looks += 1
    return True


def _failures(log: Path) -> Iterator[str]:
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            if line.startswith(("Traceback", "Fatal", "Exception")):
                yield line
            continue
        if isinstance(values, dict) and values.get("event") == "failed":
            yield line


def figures(found: Fuzzed) -> Iterator[Figure]:
    """What was sent, and what must not have happened."""
    yield Figure("frames sent", found.frames, "")
    yield Figure("connections that sent them", found.connections, "")
    yield Figure("damaged messages sent", found.statuses.total(), "")
    for status, count in sorted(found.statuses.items()):
        yield Figure(f"answered {status}", count, "", 0.0 if status in _BROKEN else None)
    yield Figure("answered UNKNOWN, INTERNAL or DATA_LOSS", _broken(found), "", 0.0)
    yield Figure("crashes", found.crashed, "", 0.0)
    yield Figure("unexpected errors in the log", len(found.failures), "", 0.0)
    yield Figure("baseline: proper calls in between, answered", found.looks, "")
    yield Figure("proper calls in between without an answer", found.unanswered.total(), "", 0.0)


def _broken(found: Fuzzed) -> int:
    return sum(found.statuses[status] for status in _BROKEN)


def main(words: Sequence[str]) -> int:
    """Run, report; 1 where a target is missed."""
    parser = Parser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--frames", type=within(int, 0, 10**9), default=FRAMES)
    parser.add_argument("--messages", type=within(int, 0, 10**9), default=MESSAGES)
    parser.add_argument("--seed", type=within(int, 0, 10**9), default=15)
    given = parser.parse_args(words)
    console = Console(stderr=True, soft_wrap=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("fuzzing", total=given.frames + given.messages)
        found = fuzzed(
            given.frames, given.messages, given.seed, lambda count: progress.advance(task, count)
        )
    for line in found.failures[:20]:
        console.print(f"  {line}", markup=False, highlight=False)
    made = [*figures(found), Figure("seed", given.seed, "")]
    return 0 if write_report("fuzz", made) else 1


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
