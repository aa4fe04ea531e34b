"""The breakers of all models, for each tenant and for all, with what is still to be told to other processes.

Rows that are shared say one thing each: the newest change of a breaker, or when a model answered of whose
provider another model fails. They name tenants and models; a decision only by a digest.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from router.core.breaker import Breaker, HealthPolicy
from router.core.shared_breaker import FIRST, BreakerChange, change_after, taken_over, text_of
from router.ledger.shared_state import SharedRow

__all__ = ["KINDS", "UNKNOWN", "BreakerTable", "Key", "Place"]

_BREAKERS, _ANSWERS = KINDS = ("breakers", "answers")
"""Of the rows that are shared."""
_MOST_TENANTS = 1_000
"""Tenants that have breakers of their own: those that reported last."""
_KEEP_S = 86_400.0
"""How long the store keeps a row: longer than any model is left out."""
_MICROS = 1_000_000

UNKNOWN = Breaker()
"""Of a model of which nothing is known."""

Key = tuple[str, str]
"""Provider and id of a model."""


class Place(NamedTuple):
    """Where a breaker stands.

    Attributes:
        tenant: whose it is; ``None``: the common one.
        key: of its model.
    """

    tenant: str | None
    key: Key


class BreakerTable:
    """Breakers by place. Not thread-safe.

    What a report or a decision asks takes no longer where many models of many tenants fail.
    """

    def __init__(self) -> None:
        self._breakers: OrderedDict[str | None, dict[Key, Breaker]] = OrderedDict({None: {}})
        self._open: dict[str | None, set[Key]] = {}
        self._failing_since: dict[str, list[float]] = {}
        """Provider → since when its models fail, one each, in order."""
        self._probed: dict[str, set[Place]] = {}
        """Decision → places whose breakers have its call as their probe."""
        self._changes: dict[Place, BreakerChange] = {}
        self._untold: set[Place] = set()
        self._answers: dict[Place, int] = {}

    @property
    def any_open(self) -> bool:
        """Whether a breaker is open or half open. May be asked by any thread."""
        return bool(self._open)

    def get(self, place: Place) -> Breaker:
        """The breaker of a place."""
        return self._breakers.get(place.tenant, {}).get(place.key, UNKNOWN)

    def of(self, tenant: str | None) -> dict[Key, Breaker]:
        """The breakers of a tenant, or the common ones, by model."""
        return self._breakers.get(tenant, {})

    def of_model(self, key: Key) -> dict[str | None, Breaker]:
        """The breakers of a model, by tenant; ``None``: the common one."""
        return {tenant: own[key] for tenant, own in self._breakers.items() if key in own}

    def open_keys(self, tenant: str | None) -> Iterable[Key]:
        """Models whose breaker is open or half open."""
        return self._open.get(tenant, ())

    def open_places(self) -> list[Place]:
        """Places of the breakers that are open or half open."""
        return [Place(tenant, key) for tenant, keys in self._open.items() for key in keys]

    def probed_by(self, decision_id: str) -> list[Place]:
        """Places of the breakers whose probe is the call of a decision."""
        return list(self._probed.get(decision_id, ()))

    def put(self, place: Place, breaker: Breaker, now: float) -> bool:
        """Keep a breaker, have its change told if it is one, and return whether a decision may depend on it.

        Args:
            place: of the breaker.
            breaker: as it is now.
            now: seconds since the epoch.
        """
        before = self.get(place)
        self._store(place, breaker)
        if before.opened_at is None and breaker.opened_at is None:
            # That a model answers matters where another one of its provider fails.
            since = self._failing_since.get(place.key[0], [])
            return bisect_right(since, before.answered_at) < bisect_right(
                since, breaker.answered_at
            )
        if text_of(before) == text_of(breaker):
            return False
        self._changes[place] = change_after(self._changes.get(place, FIRST), breaker, now)
        self._untold.add(place)
        return True

    # ── shared with other processes ───────────────────────────────────────────────────────────────

    def untold(self) -> list[SharedRow]:
        """What other processes do not know yet."""
        changes = [(place, self._changes[place]) for place in self._untold]
        return [
            *(
                SharedRow(_BREAKERS, _row_key(place), change.text, change.at, _KEEP_S)
                for place, change in changes
            ),
            *(
                SharedRow(_ANSWERS, _row_key(place), "", at, _KEEP_S)
                for place, at in self._untold_answers()
            ),
        ]

    def told(self, rows: Sequence[SharedRow]) -> None:
        """Other processes can know these rows."""
        for row in rows:
            place = _place(row.key)
            if place is None:
                continue
            if row.kind == _ANSWERS:
                self._answers[place] = max(row.changed, self._answers.get(place, 0))
            elif self._changes.get(place) == (row.changed, row.value):
                self._untold.discard(place)

    def take_over(
        self, rows: Sequence[SharedRow], now: float, policy: HealthPolicy
    ) -> list[tuple[Place, Breaker, Breaker]]:
        """Take over what is newer than what is known here, and return places with breakers before and after.

        Args:
            rows: that processes have told.
            now: seconds since the epoch.
            policy: bounds what is told.
        """
        changed = []
        for row in rows:
            place = _place(row.key)
            if place is None:
                continue
            if row.kind == _ANSWERS:
                self._take_over_answer(place, row.changed, now)
                continue
            change = BreakerChange(row.changed, row.value)
            if change <= self._changes.get(place, FIRST):
                continue
            before = self.get(place)
            breaker = taken_over(before, change.text, now, policy)
            if breaker is None:  # of another release
                continue
            self._store(place, breaker)
            self._changes[place] = change
            self._untold.discard(place)
            changed.append((place, before, breaker))
        return changed

    def set_back(self, now: float, policy: HealthPolicy) -> None:
        """Go on from a time before what was noted: what failed waits from now on, the rest begins anew.

        Args:
            now: seconds since the epoch.
            policy: says how long a model is left out at most.
        """
        self._answers.clear()
        for tenant, own in list(self._breakers.items()):
            for key, breaker in list(own.items()):
                cut = None
                if breaker.opened_at is not None:
                    cut = taken_over(breaker, text_of(breaker), now, policy)
                self._store(Place(tenant, key), cut or UNKNOWN)

    def _take_over_answer(self, place: Place, micros: int, now: float) -> None:
        self._answers[place] = max(micros, self._answers.get(place, 0))
        breaker, at = self.get(place), min(micros / _MICROS, now)
        if breaker.opened_at is None and breaker.answered_at < at:
            self._store(place, replace(breaker, answered_at=at))

    def _untold_answers(self) -> Iterable[tuple[Place, int]]:
        """Answers since another model of the provider failed: they say that the provider works."""
        if not self._open:
            return
        for tenant, own in self._breakers.items():
            for key, breaker in own.items():
                since = self._failing_since.get(key[0])
                if since is None or breaker.opened_at is not None:
                    continue
                place, at = Place(tenant, key), breaker.answered_at
                earlier = bisect_right(since, at)
                if earlier and self._answers.get(place, 0) < since[earlier - 1] * _MICROS:
                    yield place, int(at * _MICROS) + 1  # not before `since` by rounding

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _store(self, place: Place, breaker: Breaker) -> None:
        tenant, key = place
        self._unlist(place)
        self._breakers.setdefault(tenant, {})[key] = breaker
        self._list(place)
        if tenant is not None:
            self._breakers.move_to_end(tenant)
        if breaker.opened_at is not None:
            self._open.setdefault(tenant, set()).add(key)
        elif tenant in self._open:
            self._open[tenant].discard(key)
            if not self._open[tenant]:
                del self._open[tenant]
        if len(self._breakers) > _MOST_TENANTS + 1:  # and the common ones
            self._forget(next(each for each in self._breakers if each is not None))

    def _forget(self, tenant: str) -> None:
        for key in self._breakers[tenant]:
            place = Place(tenant, key)
            self._unlist(place)
            self._changes.pop(place, None)
            self._answers.pop(place, None)
            self._untold.discard(place)
        del self._breakers[tenant]
        self._open.pop(tenant, None)

    def _list(self, place: Place) -> None:
        """Have a breaker found by its provider and its probe."""
        breaker = self.get(place)
        if breaker.opened_at is not None:
            insort(self._failing_since.setdefault(place.key[0], []), breaker.since)
        if breaker.probe is not None:
            self._probed.setdefault(breaker.probe.decision_id, set()).add(place)

    def _unlist(self, place: Place) -> None:
        """The opposite, before it changes."""
        breaker = self.get(place)
        if breaker.opened_at is not None:
            since = self._failing_since[place.key[0]]
            del since[bisect_left(since, breaker.since)]
            if not since:
                del self._failing_since[place.key[0]]
        if breaker.probe is not None:
            places = self._probed[breaker.probe.decision_id]
            places.discard(place)
            if not places:
                del self._probed[breaker.probe.decision_id]


def _row_key(place: Place) -> str:
    return json.dumps([place.tenant, *place.key])


def _place(row_key: str) -> Place | None:
    """The place that a key names; ``None``: it is none of ours."""
    try:
        tenant, provider, model = json.loads(row_key)
    except (ValueError, TypeError):
        return None
    if not (isinstance(provider, str) and isinstance(model, str)):
        return None
    return Place(tenant, (provider, model)) if isinstance(tenant, str | None) else None
