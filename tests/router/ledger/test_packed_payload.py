"""Replies and records that SQLite keeps compressed by an example come back as they were."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.errors import BadArtifact
from router.ledger.base import Granted, Ledger, Repeated
from router.ledger.check import check
from router.ledger.sqlite import file, queries
from router.ledger.sqlite.ledger import SqliteLedger
from router.ledger.sqlite.packed_payload import (
    DamagedPayload,
    pack,
    unpacked_record,
    unpacked_reply,
)
from tests.router.ledger.builders import ManualClock, hold, limit, report

EXAMPLE = b"reply to example" + b'{"of":"example","text":"' + b"what recurs " * 40 + b'"}'
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary(), texts, st.binary())
def test_what_is_packed_comes_back(reply: bytes, record: str, dictionary: bytes) -> None:
    packed = pack(reply, record, dictionary)
    assert unpacked_reply(packed, dictionary) == reply
    assert unpacked_record(packed, dictionary) == record


def test_a_payload_that_was_cut_is_told_from_one_that_ends() -> None:
    packed = pack(b"reply" * 20, "record" * 200, EXAMPLE)
    for length in range(len(packed)):
        with pytest.raises(DamagedPayload):
            unpacked_record(packed[:length], EXAMPLE)
    with pytest.raises(DamagedPayload):
        unpacked_reply(packed[:8], EXAMPLE)


def test_a_decision_like_its_example_is_the_same_in_every_store(store: Ledger) -> None:
    store.set_limit(limit(hard=1000))
    wanted = replace(hold("a", record={"of": "a", "text": "what recurs " * 40}), example=EXAMPLE)
    assert isinstance(store.hold(wanted), Granted)
    assert store.earlier_reply("a", "body of a", "acme") == b"reply to a"
    assert store.hold(wanted) == Repeated(b"reply to a")
    assert store.settle(report("a", 7)).overage == 0
    assert [made.record for made in store.decisions()] == [wanted.record]
    assert check(store).violations == []  # type: ignore[arg-type]


def test_an_example_is_stored_once_and_a_decision_takes_little_beside_it(path: Path) -> None:
    record = {"of": "someone", "text": "what recurs " * 40}
    with closing(SqliteLedger(path, ManualClock())) as store:
        for number in range(5):
            store.hold(replace(hold(f"d{number}", record=record), example=EXAMPLE))
    with closing(SqliteLedger(path, ManualClock())) as store:  # a restart finds it again
        store.hold(replace(hold("d5", record=record), example=EXAMPLE))
        store.hold(replace(hold("d6", record=record), example=EXAMPLE + b"of another catalog"))
        assert len({made.record for made in store.decisions()}) == 1
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT count(*) FROM dictionaries").get == 2
    assert connection.execute("SELECT max(length(reply) + length(record)) FROM payloads").get < 80
    connection.close()


@pytest.mark.parametrize("damage", ["x'00000000'", "x''", "substr(reply, 1, length(reply) - 2)"])
def test_a_damaged_payload_names_its_decision(path: Path, damage: str) -> None:
    with closing(SqliteLedger(path, ManualClock())) as store:
        store.hold(replace(hold("a", record={"of": "a"}), example=EXAMPLE))
        other = apsw.Connection(str(path))
        other.execute(f"UPDATE payloads SET reply = {damage}")
        other.close()
        with pytest.raises(BadArtifact, match=r"decision a is damaged .* cannot be unpacked"):
            store.decisions()


def test_a_store_without_dictionaries_is_read_before_and_after_it_is_migrated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(file, "_MIGRATIONS", file._MIGRATIONS[:3])
        with closing(file.open_writer(path, busy_timeout_s=1)) as old:
            old.execute(
                'INSERT INTO label_sets VALUES (1, \'{"tenant":"acme"}\');'
                "INSERT INTO payloads VALUES (7, CAST('reply to a' AS BLOB), '{\"of\":\"a\"}');"
                "INSERT INTO decisions (created, id, tenant, fingerprint, state, expires, label_set,"
                " held_money, held_tokens, held_requests, held_concurrent, late, overage, usage)"
                " VALUES (7, 'a', 'acme', 'f', 1, 2000000000000000, 1, 10, 0, 1, 1, 0, 0, '{}')"
            )
    with closing(file.open_reader(path)) as reader:
        before = queries.decisions(reader, {}, 0, None, None, 10, newest_first=False)
    with closing(SqliteLedger(path, ManualClock())) as store:
        assert store.decisions() == before
        assert [made.record for made in before] == ['{"of":"a"}']
        assert store.earlier_reply("a", "f", "acme") == b"reply to a"
        assert isinstance(store.hold(replace(hold("b"), example=EXAMPLE)), Granted)
        assert [made.record for made in store.decisions()] == ['{"of":"a"}', "{}"]
