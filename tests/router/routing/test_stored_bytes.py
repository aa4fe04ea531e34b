"""What a decision takes in the SQLite store, reply, record and indices together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from router.core.limits import Limit, Unit, Window
from router.core.types import Constraints, Importance, Message, Prompt
from router.ledger.sqlite.file import back_up
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.reservations import Reservations
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations
from router.rpc.messages.route import render_held
from router.settings import Settings

EXAMINATIONS = Path(__file__).parents[3] / "benchmarks" / "examinations"
PROMPTS = [
    json.loads(line)["prompt"]
    for name in ("a", "b")
    for line in (EXAMINATIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
]


def decided(reservations: Reservations, number: int, text: str) -> None:
    query = RouteQuery(
        f"request-{number:08}",
        {"tenant": "acme", "team": f"team-{number % 7}", "user": f"user-{number % 40}"},
        Prompt((Message("user", text),)),
        Constraints(),
        None,
        Importance.MEDIUM,
        "",
        5,
    )
    identity = query.request_id
    reservations.decide(
        query, identity, "f" * 64, lambda held: render_held(held, identity, 5).SerializeToString()
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.db")) as made:
        made.set_limit(
            Limit("team", {"team": "*"}, Unit.MONEY, Window.MONTH, hard=10**15),
        )
        made.set_limit(Limit("all", {}, Unit.TOKENS, Window.DAY, hard=10**15))
        yield made


def test_a_decision_takes_at_most_three_kilobytes(
    store: SqliteLedger, router: Router, settings: Settings, tmp_path: Path
) -> None:
    reservations = build_reservations(settings, replace(router), store)
    sizes = []
    for number, text in enumerate(PROMPTS):
        decided(reservations, number, text)
        if number + 1 in (33, len(PROMPTS)):
            copy = tmp_path / f"copy{number}.db"
            back_up(tmp_path / "ledger.db", copy)
            sizes.append(copy.stat().st_size)
    assert (sizes[1] - sizes[0]) / (len(PROMPTS) - 33) <= 3_000


def test_what_decisions_are_compressed_by_holds_nothing_of_a_caller(
    store: SqliteLedger, router: Router, settings: Settings, tmp_path: Path
) -> None:
    reservations = build_reservations(settings, replace(router), store)
    decided(reservations, 1, "Tell nobody of the canary in the coal mine.")
    back_up(tmp_path / "ledger.db", tmp_path / "copy.db")
    with closing(apsw.Connection(str(tmp_path / "copy.db"))) as copy:
        example = bytes(copy.execute("SELECT content FROM dictionaries").get)
    assert router.bundle.version.encode() in example
    for private in (b"canary", b"acme", b"team-1", b"user-1", b"request-"):
        assert private not in example
