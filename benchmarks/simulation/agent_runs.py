"""Agent runs under a budget that others use up: begun as tasks, whose cap is held, and turn by turn."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.report import Figure
from benchmarks.simulation.agenda import Agenda, Process
from benchmarks.simulation.caller import Answer, Caller
from benchmarks.simulation.conditions import CALM, Victims
from benchmarks.simulation.hour import Shared
from benchmarks.simulation.provider import Provider, World
from benchmarks.simulation.served import served
from benchmarks.simulation.traffic import HOUR_S, Arrival, Asked, traffic_of
from benchmarks.simulation.variants import EVERYTHING
from mitsumori import Admin, CallFailed
from mitsumori.v1 import limit_pb2
from router.cli.render import FittedTable, table

__all__ = ["AgentRun", "RunsHour", "agent_figures", "agent_table", "agent_turns", "compare_agents"]

TURNS: Final = 8
"""Of each run."""
RUNS_SHARE: Final = 0.05
"""Runs, as a share of the hour's requests."""
GROWTH_TOKENS: Final = 400
"""By which the context grows from turn to turn."""
BUDGET_SHARE: Final = 0.6
"""The budget, as a share of what the hour costs without one."""
HALFWAY_AT_MOST: Final = 0.05
"""Of the runs that are begun as tasks."""


@dataclass
class AgentRun:
    """What became of a run.

    Attributes:
        turns: answered.
        refused: whether it was refused before its first turn.
        cost_nanos: charged for its turns.
    """

    turns: int = 0
    refused: bool = False
    cost_nanos: int = 0

    @property
    def halfway(self) -> bool:
        """Whether it began and did not come to its end."""
        return not self.refused and self.turns < TURNS


@dataclass(frozen=True)
class RunsHour:
    """An hour with agent runs.

    Attributes:
        name: for tables.
        runs: what became of them.
        others: what became of the other requests.
    """

    name: str
    runs: Sequence[AgentRun]
    others: Sequence[Answer]

    @property
    def cost_nanos(self) -> int:
        """Of all calls."""
        of_runs = sum(each.cost_nanos for each in self.runs)
        return of_runs + sum(each.cost_nanos for each in self.others)

    @property
    def wasted_nanos(self) -> int:
        """Of the runs that stopped half-way."""
        return sum(each.cost_nanos for each in self.runs if each.halfway)

    def share(self, what: Sequence[bool]) -> float:
        """How many of some are so, 0..1."""
        return sum(what) / max(len(what), 1)


def agent_turns(traffic: Sequence[Asked], shared: Shared, seed: int) -> list[list[Asked]]:
    """The turns of each run, whose context grows; their numbers go on after those of the other requests.

    Args:
        traffic: the other requests.
        shared: has the router, which reads the prompts.
        seed: of the draws.
    """
    chance = random.Random(f"{seed}/agents")
    begins = sorted(
        chance.uniform(0, 0.8 * HOUR_S) for _ in range(max(round(RUNS_SHARE * len(traffic)), 1))
    )
    turns = [
        Arrival(
            begin + 1e-6 * turn, 800 + GROWTH_TOKENS * turn, round(chance.lognormvariate(5, 0.5))
        )
        for begin in begins
        for turn in range(TURNS)
    ]
    read = traffic_of(turns, [], shared.router, seed)
    numbered = [
        replace(
            each, number=len(traffic) + at, importance="medium", max_latency_s=None, team="agents"
        )
        for at, each in enumerate(read)
    ]
    return [numbered[at : at + TURNS] for at in range(0, len(numbered), TURNS)]


def compare_agents(shared: Shared, traffic: Sequence[Asked], seed: int) -> list[RunsHour]:
    """The hour without a budget, with one and no tasks, and with both.

    Args:
        shared: what all hours share.
        traffic: the other requests.
        seed: of the draws.
    """
    runs = agent_turns(traffic, shared, seed)
    free = _hour("no budget", shared, traffic, runs, budget_nanos=None, tasks=False)
    budget = int(BUDGET_SHARE * free.cost_nanos)
    return [
        free,
        _hour("turn by turn", shared, traffic, runs, budget_nanos=budget, tasks=False),
        _hour("as tasks", shared, traffic, runs, budget_nanos=budget, tasks=True),
    ]


def _hour(
    name: str,
    shared: Shared,
    traffic: Sequence[Asked],
    runs: Sequence[Sequence[Asked]],
    *,
    budget_nanos: int | None,
    tasks: bool,
) -> RunsHour:
    agenda = Agenda()
    everything = [*traffic, *(turn for run in runs for turn in run)]
    world = World(agenda, everything, shared.truth, CALM, Victims("", ""))
    found = [AgentRun() for _ in runs]
    with ExitStack() as stack:
        names = sorted({each.provider for each in shared.models.values()})
        providers = {each: stack.enter_context(Provider(each, world)) for each in names}
        running = stack.enter_context(
            served(EVERYTHING, shared.router, agenda, shared.folder, len(everything), {})
        )
        if budget_nanos is not None:
            admin = stack.enter_context(Admin(running.admin_address))
            admin.set_limit(
                limit_pb2.Limit(
                    limit_id="budget",
                    unit=limit_pb2.UNIT_MONEY,
                    window=limit_pb2.WINDOW_DAY,
                    hard=budget_nanos,
                )
            )
        caller = Caller(
            EVERYTHING, agenda, shared.truth, shared.models, providers, running.client, lambda _: ""
        )
        agenda.begin(0.0, running.learn(HOUR_S, agenda))
        for each in traffic:
            agenda.begin(each.arrival.at_s, caller.ask(each))
        for turns, run in zip(runs, found, strict=True):
            agenda.begin(turns[0].arrival.at_s, _run(caller, turns, run, tasks=tasks))
        while agenda.step():
            pass
    return RunsHour(name, found, sorted(caller.answers, key=lambda each: each.number))


def _run(caller: Caller, turns: Sequence[Asked], run: AgentRun, *, tasks: bool) -> Process:
    client, task_id = caller.client, ""
    assert client is not None
    if tasks:
        first = caller.request(turns[0], Answer(turns[0].number, caller.agenda.now_s))
        first.request_id += "-task"
        try:
            task = client.begin_task(first, turns=TURNS, input_growth=GROWTH_TOKENS)
        except CallFailed:
            run.refused = True
            return
        task_id = task.id
    for asked in turns:
        answer = Answer(asked.number, caller.agenda.now_s)
        yield from caller.with_the_server(asked, answer, client, task_id)
        if not answer.answered:
            run.refused = not run.turns
            break
        run.turns += 1
        run.cost_nanos += answer.cost_nanos
    if task_id:
        client.end_task(task_id)


def agent_table(hours: Sequence[RunsHour]) -> FittedTable:
    """The hours side by side."""
    headings = (
        "agent runs", ">complete", ">half-way", ">refused", ">USD of runs half-way",
        ">USD", ">others refused",
    )  # fmt: skip
    rows = [
        [
            each.name,
            f"{each.share([run.turns == TURNS for run in each.runs]):.1%}",
            f"{each.share([run.halfway for run in each.runs]):.1%}",
            f"{each.share([run.refused for run in each.runs]):.1%}",
            f"{each.wasted_nanos / 1e9:.4f}",
            f"{each.cost_nanos / 1e9:.3f}",
            f"{each.share([bool(answer.refused) for answer in each.others]):.1%}",
        ]
        for each in hours
    ]
    text = f"{len(hours[0].runs)} agent runs of {TURNS} turns among {len(hours[0].others)} requests"
    return table(text, headings, rows)


def agent_figures(hours: Sequence[RunsHour]) -> Iterator[Figure]:
    """The same as figures; as tasks, hardly a run stops half-way: only one that reaches its cap does."""
    for each in hours:
        at = f"agent runs, {each.name}"
        most = HALFWAY_AT_MOST * 100 if each.name == "as tasks" else None
        complete = each.share([run.turns == TURNS for run in each.runs])
        yield Figure(f"{at}: complete", complete * 100, "%")
        halfway = each.share([run.halfway for run in each.runs])
        yield Figure(f"{at}: stopped half-way", halfway * 100, "%", most)
        yield Figure(f"{at}: price of runs half-way", each.wasted_nanos / 1e9, "USD")
