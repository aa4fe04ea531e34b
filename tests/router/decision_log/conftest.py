"""A ledger with decisions whose prompts were kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from tests.router.decision_log.builders import fill, prompts


@pytest.fixture(scope="module")
def ledger(
    router: Router, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, SqliteLedger]]:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    made = SqliteLedger(path)
    fill(made, router, prompts(48), log_prompts="text")
    yield path, made
    made.close()
