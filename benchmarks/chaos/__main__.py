"""``python -m benchmarks.chaos``: run chaos on one store or both, print, and write the report."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.arguments import Parser, within
from benchmarks.chaos.figures import figures, wrongs
from benchmarks.chaos.harness import Outcome, run
from benchmarks.chaos.plan import Plan, StoreKind
from benchmarks.report import Figure, write_report
from router.cli.errors import errors_in_one_line

_MOST_SHOWN = 20


def plans(words: Sequence[str]) -> list[Plan]:
    """From the command line to one plan per store.

    Raises:
        InvalidInput: an argument is wrong.
    """
    parser = Parser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--seconds", type=within(float, 1, 86_400), default=300.0, help="per store")
    parser.add_argument("--clients", type=within(int, 1, 512), default=64, help="callers at once")
    parser.add_argument("--store", choices=[*get_args(StoreKind), "both"], default="both")
    parser.add_argument("--processes", type=within(int, 1, 64), default=1, help="of each server")
    parser.add_argument(
        "--seed", type=within(int, 0, 10**9), default=None, help="of every random choice"
    )
    given = parser.parse_args(words)
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    stores = get_args(StoreKind) if given.store == "both" else (given.store,)
    return [
        Plan(store, given.seconds, given.clients, seed, processes=given.processes)
        for store in stores
    ]


def _shown(plan: Plan, console: Console) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"chaos on {plan.store}", total=plan.seconds)
        return run(
            plan,
            lambda seconds, what: progress.update(
                task, completed=seconds, description=f"chaos on {plan.store}: {what}"
            ),
        )


def main(words: Sequence[str]) -> int:
    """Run, report; 1 where a target is missed."""
    console = Console(stderr=True, soft_wrap=True)
    found: list[Figure] = []
    todo = plans(words)
    for plan in todo:
        console.print(
            f"chaos on {plan.store}: {plan.seconds:g} s, {plan.clients} clients, seed {plan.seed}",
            highlight=False,
        )
        outcome = _shown(plan, console)
        found += figures(plan, outcome)
        bad = wrongs(outcome)
        for line in bad[:_MOST_SHOWN]:
            console.print(f"  {line}", markup=False, highlight=False)
        if len(bad) > _MOST_SHOWN:
            console.print(f"  … and {len(bad) - _MOST_SHOWN} more")
    found.append(Figure("seed", todo[0].seed, ""))
    return 0 if write_report("chaos", found) else 1


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
