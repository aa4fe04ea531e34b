"""What a table of breakers finds without looking at all of them is what looking at all of them finds."""

from __future__ import annotations

import random

import pytest

from router.core.breaker import HealthPolicy, Outcome, Report, after, with_probe, without_probe
from router.routing import breaker_table
from router.routing.breaker_table import BreakerTable, Place

POLICY = HealthPolicy(consecutive_failures=2, wait_s=3, max_wait_s=9, probe_timeout_s=4)
TENANTS = (None, "a", "b", "c", "d")
KEYS = (("acme", "mini"), ("acme", "large"), ("other", "mini"))
OUTCOMES = (Outcome.SUCCESS, Outcome.SERVER_ERROR, Outcome.CONTEXT_OVERFLOW)


def answered_since_one_failed(table: BreakerTable, provider: str, before: float, at: float) -> bool:
    since = [table.get(each).since for each in table.open_places() if each.key[0] == provider]
    return any(before < each <= at for each in since)


@pytest.mark.parametrize("seed", range(8))
def test_probes_and_answers_are_found_whatever_opened_closed_and_was_forgotten(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(breaker_table, "_MOST_TENANTS", 3)
    chance, table, now = random.Random(seed), BreakerTable(), 1000.0
    answers = probes = 0
    for number in range(2_000):
        now += chance.choice((0.0, 0.5, 1.0))
        place = Place(chance.choice(TENANTS), chance.choice(KEYS))
        name, before = f"d{number % 7}", table.get(place)
        if before.takes_probe(now):
            breaker = with_probe(before, name, now, POLICY)
        elif chance.random() < 0.2:
            breaker = without_probe(before, name)
        else:
            told = Report(chance.choice(OUTCOMES), now, now - chance.choice((0.0, 2.0)), name)
            breaker = after(before, told, POLICY)
        depends = table.put(place, breaker, now)
        if before.opened_at is None and breaker.opened_at is None:
            times = before.answered_at, breaker.answered_at
            assert depends == answered_since_one_failed(table, place.key[0], *times)
            answers += depends
        for each in {f"d{digit}" for digit in range(7)}:
            found = {
                one
                for one in table.open_places()
                if (probe := table.get(one).probe) is not None and probe.decision_id == each
            }
            assert set(table.probed_by(each)) == found
            probes += len(found)
    assert answers > 10
    assert probes > 10
