"""``python -m benchmarks.simulation``: an hour in calm, outage, throttling, slow times and batch work.

The real server and client, in simulated time; providers are fake and answer over HTTP. Each feature of the
server and its callers on and off, beside callers that ask no server; and agent runs under a budget.
``benchmarks/simulation.md`` says more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.arguments import Parser, within
from benchmarks.report import save_report
from benchmarks.simulation.agenda import START
from benchmarks.simulation.agent_runs import RunsHour, agent_figures, agent_table, compare_agents
from benchmarks.simulation.chart import draw
from benchmarks.simulation.conditions import CALM, CONDITIONS, Condition, Victims
from benchmarks.simulation.hour import Hour, Shared, victims_of
from benchmarks.simulation.results import Result, figures_of, result_of, table_of
from benchmarks.simulation.traffic import (
    Arrival,
    Asked,
    batch_work,
    read_trace,
    synthetic_trace,
    traffic_of,
)
from benchmarks.simulation.truth import Truth
from benchmarks.simulation.variants import EVERYTHING, VARIANTS, Variant
from router.cli.errors import errors_in_one_line
from router.core.errors import InvalidInput
from router.logs import configure
from router.rpc.assembly import build_router
from router.settings import Settings

AGENTS = "agents"
"""Agent runs under a budget, beside the conditions."""
TRACE = Path("../shared/data/traces/azure2023_conv.parquet")
PLOT = Path("build/reports/simulate.png")


def simulate(
    arrivals: Sequence[Arrival],
    conditions: Sequence[Condition] = CONDITIONS,
    variants: Sequence[Variant] = VARIANTS,
    seed: int = 16,
    plot: Path | None = None,
) -> tuple[list[Result], float]:
    """Run every variant under every condition.

    Args:
        arrivals: of the hour.
        conditions: under which.
        variants: of which everything on is always one.
        seed: of every draw.
        plot: where to draw a picture; ``None``: nowhere.

    Returns:
        The results, and the mean distance of the truth from what the bundle predicts.
    """
    variants = list(dict.fromkeys((EVERYTHING, *variants)))
    results: list[Result] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with (
        TemporaryDirectory() as folder,
        Progress(
            *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
        ) as bar,
    ):
        shared = _shared(Path(folder), seed)
        router, models = shared.router, shared.models
        traffic = traffic_of(arrivals, [], router, seed)

        def hour(
            condition: Condition, variant: Variant, asked: Sequence[Asked], victims: Victims
        ) -> Hour:
            task = bar.add_task(f"{condition.name}, {variant.name}", total=len(asked))
            done = Hour.simulate(
                shared, asked, condition, variant, victims, lambda: bar.advance(task)
            )
            bar.remove_task(task)
            return done

        calm = hour(CALM, EVERYTHING, traffic, Victims("", ""))
        victims = victims_of(calm, models)
        for condition in conditions:
            asked = traffic
            if condition.batch:
                work = batch_work(arrivals, condition.batch, seed)
                asked = traffic_of(arrivals, work, router, seed)
            for variant in variants:
                known = calm if (condition, variant) == (CALM, EVERYTHING) else None
                results.append(result_of(known or hour(condition, variant, asked, victims)))
    if plot is not None:
        draw(plot, results, models)
    return results, shared.truth.gap(traffic)


def simulate_agents(arrivals: Sequence[Arrival], seed: int = 16) -> list[RunsHour]:
    """Have agent runs share a budget with the requests of an hour; see :func:`compare_agents`.

    Args:
        arrivals: of the hour.
        seed: of every draw.
    """
    with TemporaryDirectory() as folder:
        shared = _shared(Path(folder), seed)
        return compare_agents(shared, traffic_of(arrivals, [], shared.router, seed), seed)


def _shared(folder: Path, seed: int) -> Shared:
    configure("error", "json")
    router = build_router(Settings(ledger="memory:", log_level="error"), now=lambda: START)
    models = {each.id: each for each in router.catalog.at(START).models}
    return Shared(router, models, Truth(models, seed), folder)


def _chosen(names: Sequence[str], what: str) -> tuple[list[Condition], bool]:
    """The conditions of some names, and whether agent runs are among them; all, where none is named."""
    known = {each.name: each for each in CONDITIONS}
    all_names = [*known, AGENTS]
    unknown = [name for name in names if name not in all_names]
    if unknown:
        raise InvalidInput(
            f"{what}: there is no {unknown[0]!r}; choose from {', '.join(all_names)}"
        )
    asked = names or all_names
    return [known[name] for name in asked if name in known], AGENTS in asked


def main(words: list[str]) -> int:
    names = [*(each.name for each in CONDITIONS), AGENTS]
    parser = Parser(prog="python -m benchmarks.simulation", description=__doc__)
    default = "Parquet; default: that of shared/ beside the checkout, else one that is made here"
    parser.add_argument("--trace", type=Path, help=default)
    parser.add_argument(
        "--requests", type=within(int, 0, 10**6), default=1_000, help="of the hour (1,000); 0: all"
    )
    parser.add_argument("--seed", type=within(int, 0, 2**31), default=16, help="of all draws (16)")
    parser.add_argument(
        "--conditions",
        nargs="*",
        default=[],
        metavar="name",
        help=f"of {', '.join(names)} (all)",
    )
    parser.add_argument("--plot", type=Path, default=PLOT, help="where to draw the picture")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    asked = parser.parse_args(words)
    conditions, agents = _chosen(asked.conditions, "--conditions")
    trace = asked.trace or (TRACE if TRACE.exists() else None)
    requests, seed = int(asked.requests), int(asked.seed)
    arrivals = read_trace(trace, requests) if trace else synthetic_trace(requests, seed)
    results: list[Result] = []
    told = f"{len(arrivals):,} requests of {trace or 'an hour made here'}, seed {seed}"
    if conditions:
        results, gap = simulate(arrivals, conditions, VARIANTS, seed, asked.plot)
        told += f"; the truth is {gap:.3f} from what the bundle predicts, on average"
    runs = simulate_agents(arrivals, seed) if agents else []
    figures = [*figures_of(results), *agent_figures(runs)]
    path, text = save_report("simulate", figures)
    good = all(each.holds is not False for each in figures)
    if asked.json:
        print(text)
        return 0 if good else 1
    console = Console(width=None if sys.stdout.isatty() else 190)
    console.print(told)
    for condition in conditions:
        console.print(table_of([one for one in results if one.hour.condition == condition], seed))
    if runs:
        console.print(agent_table(runs))
    for each in figures:
        if each.holds is False:
            console.print(f"[red]not met[/red]: {each.name}: {each.value:.4g} {each.unit}")
    drawn = f" and {asked.plot}" if conditions else ""
    console.print(f"written to {path}{drawn}", style="dim")
    return 0 if good else 1


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
