"""The short version of ``make bench BENCH=restarts``: servers restart under load, and no call fails.

Nothing here is about speed, except that a restart has to fit into the client's own deadline.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.chaos.plan import StoreKind
from benchmarks.chaos.restarts import restarted
from mitsumori import Router
from router.cli.demo import serving
from tests.readiness import PATIENCE_S


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_call_of_the_shipped_client_fails_while_servers_restart(store: StoreKind) -> None:
    found = restarted(store, restarts=3, seed=21)
    assert found.failed == {}
    assert found.unclean == 0
    assert found.answered > 0
    # Without the client's policy calls do fail: the restarts were real.
    assert found.plain.total() - found.plain["OK"] > 0


@pytest.mark.slow
def test_a_machine_that_hangs_without_closing_its_connections_costs_no_call() -> None:
    with (
        serving() as (hangs, process),
        serving() as (serves, _),
        Router([hangs, serves], timeout_s=PATIENCE_S) as client,
        ThreadPoolExecutor(6) as threads,
    ):

        def ask(number: int) -> str:
            return client.route(f"What is {number} + {number}?", quote_only=True).model

        assert all(threads.map(ask, range(12)))  # by turns, so that both are connected
        process.send_signal(signal.SIGSTOP)
        try:
            # It takes the calls and answers nothing. Only by asking whether it lives can a client know.
            assert all(threads.map(ask, range(12)))
        finally:
            process.send_signal(signal.SIGCONT)
