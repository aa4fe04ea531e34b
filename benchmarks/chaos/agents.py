"""An agent run as a caller sees it: a task, which is begun, ended or abandoned; its turns are cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from benchmarks.chaos.plan import TIER, Plan
from mitsumori import route_request
from mitsumori.money import money_of
from mitsumori.v1 import router_pb2

__all__ = ["OVER", "AgentRun", "agent_run", "ending_of"]

OVER = frozenset({"TASK_ENDED", "TASK_EXPIRED"})
"""Reasons for which a task takes no more turns."""
_TURNS = 6
_CONFINED, _TIGHT = 0.5, 0.3
"""Shares of the tasks that are confined to one tier, and that have a cap for about one turn."""
_TIGHT_NANOS = 200_000


@dataclass(frozen=True, slots=True)
class AgentRun:
    """A task before it is begun.

    Attributes:
        begin: the call that begins it.
        labels: of the caller.
        turns: how many its caller makes; 0: it leaves it at the beginning.
        end: whether it is ended afterwards, or left to expire.
    """

    begin: router_pb2.BeginTaskRequest
    labels: Mapping[str, str]
    turns: int
    end: bool

    @property
    def id(self) -> str:
        """Of the task."""
        return self.begin.request.request_id


def agent_run(
    request_id: str, labels: Mapping[str, str], prompt: str, plan: Plan, choices: Random
) -> AgentRun:
    """A task by chance: confined or not, with a cap for a few turns or for one, soon over.

    Args:
        request_id: of the task.
        labels: of the caller.
        prompt: of the first turn.
        plan: of the run.
        choices: the random choices.
    """
    confined = choices.random() < _CONFINED
    begin = router_pb2.BeginTaskRequest(
        request=route_request(
            prompt, scope=labels, request_id=request_id, tiers=[TIER] if confined else []
        ),
        turns=2,
        max_turns=4,
    )
    if choices.random() < _TIGHT:
        begin.cap.CopyFrom(money_of(_TIGHT_NANOS))
    begin.time_to_live.FromMilliseconds(round(plan.task_ttl_s * 1000))
    return AgentRun(begin, labels, choices.randrange(_TURNS), choices.random() < 0.6)


def ending_of(run: AgentRun) -> router_pb2.EndTaskRequest:
    """The call that ends a task.

    Args:
        run: the task.
    """
    return router_pb2.EndTaskRequest(task_id=run.id, tenant=run.labels["tenant"])
