"""One run: servers, callers, kills, then the proof. Its time is bounded, and it stops what it started."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos import journal
from benchmarks.chaos.callers import PROMPTS, Client
from benchmarks.chaos.calls import FailoverChannel, ReplicaChannel
from benchmarks.chaos.journal import Acknowledgement, Journal
from benchmarks.chaos.plan import NANO, Plan, limits
from benchmarks.chaos.proof import Proof, prove
from benchmarks.chaos.replicas import Replica
from benchmarks.chaos.stores import Store, opened
from benchmarks.secured import Secured
from mitsumori import route_request
from mitsumori.money import nanos_of

__all__ = ["Outcome", "run"]

_STORE_TURN = 4
"""One event in this many disturbs the store; the second is the first such, so that short runs have one."""
_BOTH = 0.2
"""Share of events that hit the store and a server, or all servers, at once."""
_CONNECTIONS = 8
"""To a server with several processes: the system spreads connections, not calls."""
_FULL_TURN, _FULL_S = 3, 1.5
"""One event in this many fills the disk of a server for so many seconds, where it writes the ledger."""

Tick = Callable[[float, str], None]
"""Called with the seconds that have passed and what is going on."""
Enough = Callable[["Outcome"], bool]
"""Whether enough has happened, of an outcome that has the acknowledgements so far, and no proof."""


@dataclass(slots=True)
class Outcome:
    """What a run did, and what was found in the end.

    Attributes:
        acknowledgements: the lines of all journals.
        proof: of the rows when everything had stopped.
        copies: violations in copies that were taken meanwhile.
        kills: of servers.
        full_disks: how often the disk of a server was full.
        deaf_logs: lives of servers whose log nobody read: its pipe was closed.
        store_events: how often the store was disturbed; ``store_events_name`` says what that was.
        unanswered: tries without an answer, by status.
        failures: unexpected errors in the logs of the servers, and servers that did not stop cleanly.
        leaked: what was still held after every hold had run out, in the units of the limits.
        seconds: that callers called.
    """

    acknowledgements: list[Acknowledgement] = field(default_factory=list)
    proof: Proof = field(default_factory=Proof)
    copies: list[str] = field(default_factory=list)
    kills: int = 0
    full_disks: int = 0
    deaf_logs: int = 0
    store_events: int = 0
    store_events_name: str = ""
    unanswered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    leaked: int = 0
    seconds: float = 0.0


def run(
    plan: Plan,
    tick: Tick = lambda _seconds, _what: None,
    enough: Enough = lambda _outcome: True,
) -> Outcome:
    """Run a plan.

    Args:
        plan: what to do.
        tick: called with the progress.
        enough: callers go on after the plan's time until this holds, so that a slow machine does as
            much as a fast one; but no longer than ``plan.most_s``.

    Raises:
        MitsumoriError: a server or the database did not come back.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="mitsumori-chaos-") as folder:
        journals = Path(folder) / "journals"
        journals.mkdir()
        with opened(plan, Path(folder), journals) as store:
            outcome.store_events_name = store.events
            secured = Secured(Path(folder))
            with _replicas(plan, store, Path(folder), secured) as replicas:
                _set_limits(replicas[0], secured)
                _call_and_kill(plan, replicas, store, journals, secured, outcome, tick, enough)
                tick(plan.seconds, "stopping")
                orderly = [replica.stop() for replica in replicas]
            outcome.failures += [line for each in replicas for line in each.failures()]
            outcome.failures += ["a server did not stop in good order"] * orderly.count(False)
            outcome.acknowledgements = list(journal.read(journals))
            tick(plan.seconds, "proving")
            _prove(plan, store, outcome)
    return outcome


@contextmanager
def _replicas(plan: Plan, store: Store, folder: Path, secured: Secured) -> Iterator[list[Replica]]:
    choices = plan.randomness("ports")
    made = [
        Replica(plan, store.address, folder / f"server-{number}.log", choices, secured.flags)
        for number in range(store.replicas)
    ]
    try:
        for replica in made:
            replica.start()
        for replica in made:
            replica.wait()
        yield made
    finally:
        for replica in made:
            replica.kill()


def _set_limits(replica: Replica, secured: Secured) -> None:
    """Limits in proportion to what a decision holds, whatever prices are today."""
    with secured.router(replica.address) as client, secured.admin(replica.admin_address) as admin:
        asked = [route_request(prompt, models=[NANO]) for prompt in PROMPTS]
        *replies, _ = client.quote_batch(asked)
        quotes = [reply.response.chosen.quote for reply in replies]
        hold = max(nanos_of(quote.price.high) for quote in quotes)
        tokens = max(quote.input_tokens.tokens + quote.output_tokens.p90 for quote in quotes)
        for limit in limits(hold, tokens):
            admin.set_limit(limit)


def _call_and_kill(
    plan: Plan,
    replicas: Sequence[Replica],
    store: Store,
    journals: Path,
    secured: Secured,
    outcome: Outcome,
    tick: Tick,
    enough: Enough,
) -> None:
    """Callers on threads of their own; the kills come from here."""
    stop = threading.Event()
    with ExitStack() as stack:
        channels = [
            stack.enter_context(ReplicaChannel(replica.address, secured))
            for replica in replicas
            for _ in range(_CONNECTIONS if plan.processes > 1 else 1)
        ]
        clients, failovers = [], []
        for number in range(plan.clients):
            choices = plan.randomness(f"client {number}")
            file = stack.enter_context(Journal(journals / f"client-{number:03}.jsonl"))
            failovers.append(FailoverChannel(channels, choices))
            clients.append(Client(number, plan, failovers[-1], file, choices))
        threads = stack.enter_context(ThreadPoolExecutor(plan.clients))
        started = time.monotonic()

        def is_over() -> bool:
            seconds = time.monotonic() - started
            tick(seconds, f"{outcome.kills} kills")
            if seconds < plan.seconds:
                return False
            outcome.acknowledgements = list(journal.read(journals))
            outcome.deaf_logs = sum(replica.deaf for replica in replicas)
            return enough(outcome) or seconds >= plan.most_s

        running = [threads.submit(client.run, stop) for client in clients]
        patience_s = 0.0  # where a server does not come back nobody waits for it
        try:
            _disturb(plan, replicas, store, outcome, is_over)
            patience_s = plan.patience_s
        finally:
            outcome.seconds = time.monotonic() - started
            for failover in failovers:
                failover.give_up_at = time.monotonic() + patience_s
            stop.set()
        for one in running:
            one.result()
        for failover in failovers:
            outcome.unanswered += failover.unanswered


def _disturb(
    plan: Plan,
    replicas: Sequence[Replica],
    store: Store,
    outcome: Outcome,
    is_over: Callable[[], bool],
) -> None:
    """Kill a server, then the next, now and then all, now and then the store; in the end all serve."""
    choices = plan.randomness("kills")
    event = 0
    while True:
        wake = time.monotonic() + choices.uniform(*plan.kill_after_s)
        while (now := time.monotonic()) < wake:
            if is_over():
                return
            time.sleep(min(wake - now, 0.2))
        event += 1
        store_too = event % _STORE_TURN == 2
        both = choices.random() < _BOTH
        if not store_too or both:
            for replica in _victims(replicas, event, all_of_them=both and not store_too):
                replica.disturb()
                outcome.kills += 1
        if store_too:
            outcome.copies += store.disturb()
            outcome.store_events += 1
        for replica in replicas:
            replica.wait()
        if plan.store == "sqlite" and event % _FULL_TURN == 1:
            with replicas[0].full_disk():
                time.sleep(_FULL_S)
            outcome.full_disks += 1


def _victims(replicas: Sequence[Replica], event: int, *, all_of_them: bool) -> Sequence[Replica]:
    return replicas if all_of_them else [replicas[event % len(replicas)]]


def _prove(plan: Plan, store: Store, outcome: Outcome) -> None:
    ledger = store.open()
    try:
        outcome.proof = prove(ledger, outcome.acknowledgements)
        # Whatever nobody settled or gave back comes back by itself.
        time.sleep(max(plan.hold_ttl_s, plan.task_ttl_s))
        ledger.expire()
        outcome.proof.invariants += prove(ledger, outcome.acknowledgements).invariants
        outcome.leaked = sum(balance.held for balance in ledger.balances())
    finally:
        ledger.close()
