"""The short version of ``make bench BENCH=restarts``: servers restart under load, and no call fails.

Nothing here is about speed, except that a restart has to fit into the client's own deadline.
"""

from __future__ import annotations

import pytest

from benchmarks.chaos.plan import StoreKind
from benchmarks.chaos.restarts import restarted


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_call_of_the_shipped_client_fails_while_servers_restart(store: StoreKind) -> None:
    found = restarted(store, restarts=3, seed=21)
    assert found.failed == {}
    assert found.unclean == 0
    assert found.answered > 0
    # Without the client's policy calls do fail: the restarts were real.
    assert found.plain.total() - found.plain["OK"] > 0
