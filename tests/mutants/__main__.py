"""Which small faults in the rules that decide about money and models do the tests notice?

    make mutants                      every mutant of every room below; about half an hour on two cores
    make mutants MUTANTS=200 SEED=7   a sample of 200
    make mutants ROOM=gate            one room

Every module is mutated in all places (:mod:`tests.mutants.operators`), and each mutant meets the tests that a
reader would look into: test_MODULE*.py in the folder that mirrors the module's, or all of the folder where no
file has that name. Of these run those that call the changed function, the fastest first, until one fails
(:mod:`tests.mutants.trial`). A mutant that no test notices is shown with its line: write an exact example for
it, or, where it cannot be told from the original by any test, add it to equivalent.yaml with the reason.

Equivalent mutants are counted on their own, and not among those to be noticed. An entry that fits no mutant
any more is an error when every room is run whole.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from tests.mutants.operators import Mutant, mutants_of
from tests.mutants.trial import Recording, noticed, record, warm

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")
REPORT = ROOT / "build" / "reports" / "mutants.json"
TARGET = 0.9
"""Share of mutants to be noticed, per room."""

ROOMS: dict[str, list[str]] = {
    "core": ["router/core/*.py"],
    "ledger": ["router/ledger/rules.py", "router/ledger/limit_book.py"],
    "gate": ["training/evaluation/promotion_gate.py"],
    "labels": ["training/histories/labels.py"],
    "calls": [
        "training/calls/usage.py",
        "training/calls/budget.py",
        "training/calls/paid_calls.py",
    ],
    "grades": ["training/judgement/grades.py"],
    "conformal": ["training/fitting/lengths.py::_conformal"],
}
"""Modules, as patterns; of a module with ``::`` the function of that name alone."""
SLOW = ("postgres",)
"""Tests with one of these in their names stay away: the same rule is under test without them."""


@dataclass(frozen=True)
class Place:
    """A module to be mutated, and where its tests are."""

    room: str
    path: Path
    functions: frozenset[str]

    @property
    def name(self) -> str:
        """Relative to the root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        """As it is imported."""
        return self.name.removesuffix(".py").replace("/", ".")

    @property
    def tests(self) -> tuple[str, ...]:
        """The files of tests that belong to the module; the whole folder where none has its name."""
        folder = self.path.relative_to(ROOT).parent
        mirrors = [Path("tests", folder), Path("tests", *folder.parts[1:])]
        found = next((each for each in mirrors if (ROOT / each).is_dir()), None)
        if found is None:
            raise SystemExit(f"error: {self.name} has no folder of tests; make {mirrors[0]}")
        named = sorted((ROOT / found).glob(f"test_{self.path.stem}*.py"))
        return tuple(path.relative_to(ROOT).as_posix() for path in named) or (found.as_posix(),)


@dataclass
class Tried:
    """A mutant and what came of it: ``noticed``, ``missed`` or ``equivalent``."""

    place: Place
    mutant: Mutant
    state: str = "missed"

    def as_dict(self) -> dict[str, object]:
        """JSON types."""
        return {
            "room": self.place.room,
            "file": self.place.name,
            "line": self.mutant.line,
            "operator": self.mutant.operator,
            "before": self.mutant.before,
            "after": self.mutant.after,
            "state": self.state,
        }


def places(rooms: Iterable[str]) -> list[Place]:
    """The modules of some rooms."""
    found = []
    for room in rooms:
        for pattern in ROOMS[room]:
            glob, _, function = pattern.partition("::")
            paths = [path for path in sorted(ROOT.glob(glob)) if path.name != "__init__.py"]
            if not paths:
                raise SystemExit(f"error: {pattern} is no module; mend ROOMS in {__file__}")
            found += [Place(room, path, frozenset({function} - {""})) for path in paths]
    return found


def equivalents() -> set[tuple[str, str, str]]:
    """The mutants that no test can notice: file, the line as it was, the line as it is with the fault."""
    listed = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or []
    for each in listed:
        if set(each) != {"file", "was", "line", "reason"} or not each["reason"]:
            raise SystemExit(f"error: {EQUIVALENT.name}: {each} needs file, was, line and reason")
    return {(each["file"], each["was"], each["line"]) for each in listed}


def chosen(recording: Recording, place: Place, mutant: Mutant) -> list[str]:
    """The tests that may notice a mutant: all that call the function, the fastest first.

    Of a fault outside functions all that there are, those first that call something of the module.
    """
    file, spot = str(place.path), (str(place.path), mutant.function)
    calling = [test for test in recording.tests if not mutant.function or spot in test.calls]
    calling.sort(key=lambda test: (all(file != one for one, _ in test.calls), test.seconds))
    return [test.id for test in calling]


def attempt(tried: Tried, recording: Recording) -> None:
    """Meet one mutant with its tests."""
    tests = chosen(recording, tried.place, tried.mutant)
    seconds = {test.id: test.seconds for test in recording.tests}
    limit_s = 20 + 5 * sum(seconds[name] for name in tests)
    place = tried.place
    if tests and noticed(place.module, place.path, tried.mutant.code, tests, limit_s):
        tried.state = "noticed"


def figures(tried: Sequence[Tried]) -> list[dict[str, object]]:
    """``{"figure", "value", "unit", "target", "holds"}`` for each room and all together."""
    told: list[dict[str, object]] = []
    rooms = list(dict.fromkeys(one.place.room for one in tried))
    for name in [*rooms, "all"]:
        states = [one.state for one in tried if name in (one.place.room, "all")]
        judged = len(states) - states.count("equivalent")
        share = states.count("noticed") / judged if judged else None
        told.append(
            {
                "figure": f"mutants noticed, {name}",
                "value": share,
                "unit": f"share of {judged}",
                "target": TARGET,
                "holds": None if share is None else share >= TARGET,
            }
        )
        told.append(
            {
                "figure": f"equivalent mutants, {name}",
                "value": states.count("equivalent"),
                "unit": "mutants",
                "target": None,
                "holds": None,
            }
        )
    return told


def table(tried: Sequence[Tried]) -> Table:
    """A row per module."""
    made = Table("module", "mutants", "equivalent", "noticed", "share", title="Mutants")
    for name in dict.fromkeys(one.place.name for one in tried):
        states = [one.state for one in tried if one.place.name == name]
        judged, found = len(states) - states.count("equivalent"), states.count("noticed")
        share = f"{found / judged:.0%}" if judged else "–"
        made.add_row(name, str(len(states)), str(len(states) - judged), str(found), share)
    return made


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="*", choices=[*ROOMS], default=[*ROOMS], help="which")
    parser.add_argument("--only", default="", help="files whose path contains this")
    parser.add_argument("--sample", type=int, help="how many mutants; all where it is not given")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time")
    parser.add_argument("--json", type=Path, help="write every mutant and its fate here")
    return parser.parse_args()


def main() -> int:
    """Run; 1 where a room is below the target or an entry of equivalent.yaml is stale."""
    asked, console, began = arguments(), Console(), time.monotonic()
    os.chdir(ROOT)
    where = [place for place in places(asked.rooms) if asked.only in place.name]
    known = equivalents()
    met: set[tuple[str, str, str]] = set()
    tried = [
        Tried(place, mutant)
        for place in where
        for mutant in mutants_of(
            place.path.read_text(encoding="utf-8"), str(place.path), place.functions
        )
    ]
    for one in tried:
        if (key := (one.place.name, one.mutant.before, one.mutant.after)) in known:
            one.state = "equivalent"
            met.add(key)
    if asked.sample is not None and asked.sample < len(tried):
        tried = random.Random(asked.seed).sample(tried, asked.sample)
        tried.sort(key=lambda one: (one.place.name, one.mutant.line))

    recordings: dict[tuple[str, ...], Recording] = {}
    for files in dict.fromkeys(one.place.tests for one in tried):
        targets = [place.path for place in where if place.tests == files]
        recordings[files] = record(files, targets, SLOW)
        warm(recordings[files].imports)
        for name in recordings[files].broken:
            console.print(f"left out, for it fails on the code as it is: {name}", markup=False)

    gc.freeze()  # or every child would copy what its collector looks at
    left = [one for one in tried if one.state != "equivalent"]
    console.print(f"{len(left)} mutants, {len(tried) - len(left)} equivalent ones beside them")
    with ThreadPoolExecutor(asked.jobs) as pool:
        jobs = [pool.submit(attempt, one, recordings[one.place.tests]) for one in left]
        for count, (job, one) in enumerate(zip(jobs, left, strict=True), start=1):
            job.result()
            if one.state == "missed":
                console.print(
                    f"{one.place.name}:{one.mutant.line} ({one.mutant.operator})\n"
                    f"  - {one.mutant.before}\n  + {one.mutant.after}",
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip
            if count % 25 == 0:
                console.print(f"… {count} of {len(left)}, {time.monotonic() - began:.0f} s")

    told = figures(tried)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if asked.json is not None:
        asked.json.write_text(
            json.dumps([one.as_dict() for one in tried], indent=1) + "\n", encoding="utf-8"
        )
    console.print(table(tried))
    whole = asked.rooms == [*ROOMS] and not asked.only
    stale = sorted(known - met) if whole else []
    for file, _, line in stale:
        console.print(
            f"error: equivalent.yaml: no mutant of {file} is {line!r}; take it out", markup=False
        )
    return 1 if stale or any(one["holds"] is False for one in told) else 0


if __name__ == "__main__":
    sys.exit(main())
