"""One caller: it routes, settles, releases and re-routes, runs tasks, repeats calls, and sometimes cheats."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping

from google.protobuf.message import Message

from benchmarks.chaos.agents import OVER, AgentRun, agent_run, ending_of
from benchmarks.chaos.calls import Answer, FailoverChannel, Unanswered
from benchmarks.chaos.case import Case
from benchmarks.chaos.forbidden_calls import TRICKS
from benchmarks.chaos.journal import (
    Acknowledgement,
    Begun,
    Decided,
    Ended,
    Journal,
    Refused,
    Released,
    Settled,
    Unexpected,
    digest,
)
from benchmarks.chaos.plan import NANO, Plan
from mitsumori import CallFailed, route_request
from mitsumori.money import money_of, nanos_of
from mitsumori.v1 import router_pb2

__all__ = ["PROMPTS", "Client"]

PROMPTS = (
    "What is 2 + 2?",
    "Translate into German: The meeting was moved to Thursday.",
    "Write a Python function that merges overlapping intervals.",
    "Prove that every bounded sequence of real numbers has a convergent subsequence.",
)
_REPEATS, _CHEATS, _TASKS = 0.12, 0.06, 0.12
"""Shares of what a caller does; a few more calls are repeated by being sent twice at once."""
_TWICE = 0.08
_ENDS = {"settle": 50, "over": 12, "release": 12, "reroute": 12, "late": 9, "forget": 5}
_REMEMBERED = 40


class Client:
    """One caller, on a thread of its own.

    Args:
        number: which one; says its tenant, team and user.
        plan: of the run.
        channel: to the replicas.
        journal: of this caller.
        choices: its random choices.
    """

    def __init__(
        self,
        number: int,
        plan: Plan,
        channel: FailoverChannel,
        journal: Journal,
        choices: random.Random,
    ) -> None:
        self._name = f"{plan.seed}-{number}"
        self._labels: Mapping[str, str] = {
            "tenant": f"tenant-{number % 3}",
            "team": f"team-{number % 8}",
            "user": f"u-{number % max(plan.clients // 2, 1)}",
        }
        self._plan = plan
        self._channel = channel
        self._journal = journal
        self._choices = choices
        self._asked = 0
        self._finished: deque[Case] = deque(maxlen=_REMEMBERED)
        self._waiting: deque[tuple[float, Case]] = deque()

    def run(self, stop: threading.Event) -> None:
        """Call until told to stop, or until nobody answers any more."""
        try:
            while not stop.is_set():
                self._step()
        except Unanswered:
            self._write(Unexpected(f"{self._name}-{self._asked}", "", "no answer until the end"))

    def _step(self) -> None:
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            self._settle(self._waiting.popleft()[1])
            return
        dice = self._choices.random()
        if dice < _REPEATS and self._finished:
            self._repeat(self._choices.choice(self._finished))
        elif dice < _REPEATS + _CHEATS and self._finished:
            self._cheat(self._choices.choice(self._finished))
        elif dice > 1 - _TASKS:
            self._whole_task()
        else:
            self._whole_case(self._request(only_nano=self._choices.random() < 0.5))

    # ── honest work ───────────────────────────────────────────────────────────────────────────────

    def _whole_case(self, request: router_pb2.RouteRequest) -> None:
        case = self._hold("Route", request, request)
        if case is None:
            time.sleep(self._choices.uniform(0.1, 0.4))  # as a refused caller would
            return
        time.sleep(self._choices.uniform(0.0, 0.06))  # the model answers
        self._end(case, self._choices.choices(list(_ENDS), list(_ENDS.values()))[0])

    def _whole_task(self) -> None:
        """Begin a task, make its turns, and end it or let it expire; late turns outlive it."""
        self._asked += 1
        prompt, name = self._choices.choice(PROMPTS), f"{self._name}-{self._asked}"
        run = agent_run(name, self._labels, prompt, self._plan, self._choices)
        if not self._begin(run):
            return
        for _ in range(run.turns):
            self._whole_case(self._request(only_nano=False, task_id=run.id))
        if run.end:
            self._end_task(run)
            if self._choices.random() < 0.3:  # one turn too many
                self._whole_case(self._request(only_nano=False, task_id=run.id))

    def _begin(self, run: AgentRun) -> bool:
        begun = False
        for place, answer in enumerate(self._answers("BeginTask", run.begin)):
            if isinstance(answer, CallFailed):
                self._refused(run.id, "BeginTask", answer)
                continue
            assert isinstance(answer, router_pb2.BeginTaskResponse)
            self._write(
                Begun(
                    id=answer.task.task_id,
                    tenant=run.labels["tenant"],
                    cap=nanos_of(answer.task.cap),
                    reply=digest(answer),
                    again=place > 0,
                )
            )
            begun = True
        return begun

    def _end_task(self, run: AgentRun) -> None:
        for place, answer in enumerate(self._answers("EndTask", ending_of(run))):
            if isinstance(answer, CallFailed):
                self._unexpected(run.id, "EndTask", answer)
            else:
                now: bool = answer.ended_now  # type: ignore[attr-defined]
                self._write(Ended(run.id, now, again=place > 0))

    def _request(self, *, only_nano: bool, task_id: str = "") -> router_pb2.RouteRequest:
        self._asked += 1
        return route_request(
            self._choices.choice(PROMPTS),
            scope=self._labels,
            request_id=f"{self._name}-{self._asked}",
            models=[NANO] if only_nano else [],
            max_alternatives=1,
            task_id=task_id,
        )

    def _hold(
        self,
        call: str,
        message: Message,
        request: router_pb2.RouteRequest,
        replaces: str | None = None,
    ) -> Case | None:
        """Ask for a decision; ``None`` where it is refused."""
        case = None
        for place, answer in enumerate(self._answers(call, message)):
            if isinstance(answer, CallFailed):
                self._refused(request.request_id, call, answer)
                continue
            reply = _reply(answer)
            self._write(_decided(reply, request, replaces, again=place > 0))
            case = Case(call, message, request, reply)
        return case

    def _end(self, case: Case, how: str) -> None:
        if how == "late":
            until = self._plan.hold_ttl_s + self._choices.uniform(0.5, 2.0)
            self._waiting.append((time.monotonic() + until, case))
        elif how == "release":
            self._release(case)
        elif how == "reroute":
            self._reroute(case)
        elif how == "forget":
            self._finished.append(case)
        else:
            self._settle(case, over=how == "over")

    def _settle(self, case: Case, *, over: bool = False) -> None:
        case.report = self._report(case, over)
        for place, answer in enumerate(self._answers("Settle", case.report)):
            if isinstance(answer, CallFailed):
                self._unexpected(case.id, "Settle", answer)
            else:
                self._write(_settled(case.report, answer, again=place > 0))
        self._finished.append(case)

    def _report(self, case: Case, over: bool) -> router_pb2.SettleRequest:
        quote = case.reply.chosen.quote
        report = router_pb2.SettleRequest(
            decision_id=case.id,
            tenant=case.tenant,
            input_tokens=quote.input_tokens.tokens,
            output_tokens=self._choices.randint(1, quote.output_tokens.p50),
        )
        if over:
            held = nanos_of(case.reply.hold.amount)
            report.output_tokens = quote.output_tokens.p90 + self._choices.randint(1, 500)
            report.cost.CopyFrom(money_of(held + self._choices.randint(1, held)))
        return report

    def _release(self, case: Case) -> None:
        for place, answer in enumerate(self._answers("Release", _release_of(case))):
            if isinstance(answer, CallFailed):
                self._unexpected(case.id, "Release", answer)
            else:
                now: bool = answer.released_now  # type: ignore[attr-defined]
                case.released |= now
                self._write(Released(case.id, now, again=place > 0))
        self._finished.append(case)

    def _reroute(self, case: Case) -> None:
        request = self._request(only_nano=False, task_id=case.request.task_id)
        message = router_pb2.RerouteRequest(
            decision_id=case.id, request=request, failed_models=[case.reply.chosen.model]
        )
        better = self._hold("Reroute", message, request, replaces=case.id)
        # Where it was refused the old hold stays, or has run out; the call was paid for all the same.
        self._end(better or case, "settle" if self._choices.random() < 0.8 else "release")

    # ── repeating and cheating ────────────────────────────────────────────────────────────────────

    def _repeat(self, case: Case) -> None:
        """Send an earlier call again, word for word: it must have the same answer."""
        kinds = ["decide"] + ["settle"] * (case.report is not None) + ["release"] * case.released
        kind = self._choices.choice(kinds)
        if kind == "decide":
            answer = self._channel.ask(case.call, case.message)
            if isinstance(answer, CallFailed):
                self._unexpected(case.id, f"{case.call} again", answer)
                return
            replaces = getattr(case.message, "decision_id", None)
            self._write(_decided(_reply(answer), case.request, replaces, again=True))
        elif kind == "settle" and case.report is not None:
            answer = self._channel.ask("Settle", case.report)
            if isinstance(answer, CallFailed):
                self._unexpected(case.id, "Settle again", answer)
            else:
                self._write(_settled(case.report, answer, again=True))
        else:
            answer = self._channel.ask("Release", _release_of(case))
            if isinstance(answer, CallFailed):
                self._unexpected(case.id, "Release again", answer)
            else:
                self._write(Released(case.id, answer.released_now, again=True))  # type: ignore[attr-defined]

    def _cheat(self, case: Case) -> None:
        """A call that has no right to succeed: it must fail in the way that the protocol says."""
        trick = self._choices.choice([trick for trick in TRICKS if trick.fits(case)])
        answer = self._channel.ask(trick.call, trick.message(case))
        if not isinstance(answer, CallFailed):
            self._write(Unexpected(case.id, trick.call, f"{trick.name}: succeeded"))
        elif (answer.code, answer.reason) != (trick.code, trick.reason):
            what = f"{trick.name}: {answer.code} {answer.reason}: {answer.message}"
            self._write(Unexpected(case.id, trick.call, what))
        else:
            self._write(Refused(case.id, trick.call, trick.reason, provoked=True))

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _answers(self, call: str, message: Message) -> list[Answer]:
        if self._choices.random() < _TWICE:
            return self._channel.ask_twice(call, message)
        return [self._channel.ask(call, message)]

    def _refused(self, request_id: str, call: str, error: CallFailed) -> None:
        by_limit = error.code == "RESOURCE_EXHAUSTED" and (
            error.reason.startswith("LIMIT_") or error.reason == "TASK_CAP_REACHED"
        )
        over = error.code == "FAILED_PRECONDITION" and error.reason in OVER
        gone = call == "Reroute" and (error.code, error.reason) == ("NOT_FOUND", "NOT_HELD")
        if by_limit or gone or over:
            self._write(Refused(request_id, call, error.reason))
        else:
            self._unexpected(request_id, call, error)

    def _unexpected(self, decision_id: str, call: str, error: CallFailed) -> None:
        self._write(Unexpected(decision_id, call, f"{error.code} {error.reason}: {error.message}"))

    def _write(self, acknowledgement: Acknowledgement) -> None:
        self._journal.write(acknowledgement)


def _reply(answer: Message) -> router_pb2.RouteResponse:
    if isinstance(answer, router_pb2.RerouteResponse):
        return answer.response
    assert isinstance(answer, router_pb2.RouteResponse)
    return answer


def _release_of(case: Case) -> router_pb2.ReleaseRequest:
    return router_pb2.ReleaseRequest(decision_id=case.id, tenant=case.tenant)


def _decided(
    reply: router_pb2.RouteResponse,
    request: router_pb2.RouteRequest,
    replaces: str | None,
    *,
    again: bool,
) -> Decided:
    return Decided(
        id=reply.decision_id,
        tenant=request.scope["tenant"],
        held=nanos_of(reply.hold.amount),
        tokens=reply.hold.tokens,
        reply=digest(reply),
        replaces=replaces,
        again=again,
        task=request.task_id,
    )


def _settled(report: router_pb2.SettleRequest, answer: Message, *, again: bool) -> Settled:
    assert isinstance(answer, router_pb2.SettleResponse)
    return Settled(
        id=report.decision_id,
        spent=nanos_of(answer.spent),
        overage=nanos_of(answer.overage),
        tokens=report.input_tokens + report.output_tokens,
        late=answer.late,
        repeated=answer.repeated_report,
        again=again,
    )
