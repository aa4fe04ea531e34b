"""What is known of canaries beyond one process and one restart: what was counted, and what was halted.

It is kept in rows that processes share (:mod:`ledger.shared_state`). What is counted is added up over
processes, so each has a row of its own per canary; that a run was halted is one row, which any process
writes. As long as a process serves a canary, it renews the rows of that canary, also those of processes that
have ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, get_args

from router.core.canary import Check, Side, Tally
from router.core.sequential_test import Stream
from router.ledger.shared_state import SharedRow
from router.logs import logger

__all__ = ["KEEP_S", "KINDS", "OTHERS_RENEW_S", "RENEW_S", "CanaryState", "HaltedRun"]

_TALLIES, _HALTS = KINDS = ("canary_tallies", "canary_halts")
"""Of the rows that are shared."""
KEEP_S: Final = 90 * 86_400.0
"""Seconds that the store keeps a row which nobody writes again."""
RENEW_S: Final = 86_400.0
"""Age at which a process writes its own rows and the halt again, seconds."""
OTHERS_RENEW_S: Final = 2 * RENEW_S
"""Age at which it writes those of other processes again: by then, a process that runs has done so itself."""
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class HaltedRun:
    """A canary that was halted.

    Attributes:
        check: which comparison it lost.
        text: why, for people.
        time: when, aware.
    """

    check: Check
    text: str
    time: datetime


class _Known(NamedTuple):
    """A row with what it says, and when it was written last, seconds since the epoch, as far as is known."""

    row: SharedRow
    value: Tally | HaltedRun
    written: float


class CanaryState:
    """The rows of all canaries. Not thread-safe.

    Args:
        process: names this one among all that share the store, and no other ever; those that started first
            come first.
        seconds: returns the seconds since the epoch.
    """

    def __init__(self, process: str, seconds: Callable[[], float]) -> None:
        self._process, self._seconds = process, seconds
        self._known: dict[tuple[str, str], _Known] = {}
        self._untold: set[tuple[str, str]] = set()

    def own(self, canary: str) -> Tally:
        """What this process has counted of a canary, as far as it is a row."""
        found = self._known.get((_TALLIES, self._key(canary)))
        return found.value if found and isinstance(found.value, Tally) else Tally()

    def others(self, canary: str, own: Tally) -> Tally:
        """What other processes have counted of a canary, with the usual cost that all processes take.

        Args:
            canary: its id.
            own: what this process has counted.
        """
        mine, prefix = self._key(canary), f"{canary} "
        tallies = {
            key: known.value
            for (_, key), known in self._known.items()
            if key.startswith(prefix) and isinstance(known.value, Tally)
        }
        tallies[mine] = own
        # Of two usual costs all take the one of the process that started first.
        usual = next((tallies[key].usual for key in sorted(tallies) if tallies[key].usual), None)
        del tallies[mine]
        found = Tally(usual=usual)
        for each in tallies.values():
            found += each if usual is None else each.with_usual(usual)
        return found

    def halted(self, plan: str) -> HaltedRun | None:
        """Why a run was halted; ``None``: it was not.

        Args:
            plan: version of its settings.
        """
        found = self._known.get((_HALTS, plan))
        return found.value if found and isinstance(found.value, HaltedRun) else None

    def count(self, canary: str, own: Tally) -> None:
        """Have it told what this process has counted, where that is news.

        Args:
            canary: id of the canary.
            own: all of it.
        """
        if own != self.own(canary):
            self._put(_TALLIES, self._key(canary), json.dumps(asdict(own)), own)

    def halt(self, plan: str, halted: HaltedRun) -> None:
        """Have it told that a run was halted.

        Args:
            plan: version of its settings.
            halted: why.
        """
        told = {"check": halted.check, "text": halted.text, "time": halted.time.isoformat()}
        self._put(_HALTS, plan, json.dumps(told), halted)

    def renew(self, canary: str, plan: str) -> None:
        """Have the rows of a canary told again that would end some time; forget those that have ended.

        Args:
            canary: its id.
            plan: version of its settings.
        """
        now, mine, prefix = self._seconds(), self._key(canary), f"{canary} "
        for (kind, key), known in list(self._known.items()):
            age = now - known.written
            if age >= KEEP_S:
                del self._known[kind, key]
                self._untold.discard((kind, key))
            elif key in (plan, mine):
                if age >= RENEW_S:
                    self._put(kind, key, known.row.value, known.value)
            elif key.startswith(prefix) and age >= OTHERS_RENEW_S:
                self._put(kind, key, known.row.value, known.value)

    # ── shared with other processes ───────────────────────────────────────────────────────────────

    def untold(self) -> list[SharedRow]:
        """What other processes do not know yet."""
        return [self._known[each].row for each in self._untold]

    def told(self, rows: Sequence[SharedRow]) -> None:
        """Other processes can know these rows."""
        for row in rows:
            place = row.kind, row.key
            if place in self._known and self._known[place].row == row:
                self._untold.discard(place)

    def take_over(self, rows: Sequence[SharedRow]) -> None:
        """Take over what is newer than what is known here; a damaged row is mended, or ignored."""
        now = self._seconds()
        for row in rows:
            place = row.kind, row.key
            known = self._known.get(place)
            if known is not None and row.age <= known.row.age:
                continue
            value = _value(row)
            if value is not None:
                self._known[place] = _Known(row, value, min(row.changed / _MICROS, now))
                self._untold.discard(place)
                continue
            logger().warning(
                "canary_row_damaged",
                kind=row.kind,
                key=row.key,
                detail="it is ignored; to count anew, change run in the canary's settings",
            )
            if known is not None:
                # Every process that knows it mends it alike.
                mended = replace(known.row, changed=row.changed + 1)
                self._known[place] = known._replace(row=mended)
                self._untold.add(place)

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _key(self, canary: str) -> str:
        return f"{canary} {self._process}"

    def _put(self, kind: str, key: str, text: str, value: Tally | HaltedRun) -> None:
        now, known = self._seconds(), self._known.get((kind, key))
        changed = max(int(now * _MICROS), known.row.changed + 1 if known else 0)
        self._known[kind, key] = _Known(SharedRow(kind, key, text, changed, KEEP_S), value, now)
        self._untold.add((kind, key))


def _value(row: SharedRow) -> Tally | HaltedRun | None:
    """What a row says; ``None``: it is damaged."""
    try:
        values = json.loads(row.value)
        return _tally(values) if row.kind == _TALLIES else _halted(values)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _halted(values: Mapping[str, Any]) -> HaltedRun:
    time = datetime.fromisoformat(values["time"])
    if values["check"] not in get_args(Check) or time.tzinfo is None:
        raise ValueError("another check, or a time without a zone")
    return HaltedRun(values["check"], str(values["text"]), time)


def _tally(values: Mapping[str, Any]) -> Tally:
    usual = values["usual"]
    calls, nanos = map(int, values["learning"])
    if min(calls, nanos) < 0 or (usual is not None and not int(usual) > 0):
        raise ValueError("a cost below 0")
    return Tally(
        _side(values["canary"]),
        _side(values["rest"]),
        None if usual is None else int(usual),
        (calls, nanos),
    )


def _side(values: Mapping[str, Any]) -> Side:
    return Side(**{check: _stream(values[check]) for check in get_args(Check)})


def _stream(values: Mapping[str, Any]) -> Stream:
    made = Stream(int(values["count"]), float(values["total"]), float(values["spread"]))
    # Values lie in 0..1, and so do the squares of their differences.
    if not (0 <= made.total <= made.count and 0 <= made.spread <= made.count):
        raise ValueError("no stream of values in 0..1")
    return made
