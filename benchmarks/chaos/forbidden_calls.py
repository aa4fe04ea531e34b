"""Calls that must not succeed, and the error that the protocol defines for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from benchmarks.chaos.case import Case
from mitsumori.v1 import router_pb2

__all__ = ["TRICKS", "Trick"]

_STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Trick:
    """One way to cheat.

    Attributes:
        name: what is wrong with it.
        call: the method.
        message: the call that tries it with a decision.
        code, reason: of the error that must come.
        fits: whether the decision is in a state for it.
    """

    name: str
    call: str
    message: Callable[[Case], Message]
    code: str
    reason: str
    fits: Callable[[Case], bool] = lambda _: True


def _settle(case: Case, **change: object) -> router_pb2.SettleRequest:
    made = router_pb2.SettleRequest(
        decision_id=case.id, tenant=case.tenant, input_tokens=1, output_tokens=1
    )
    made.MergeFrom(router_pb2.SettleRequest(**change))  # type: ignore[arg-type]
    return made


def _route(case: Case) -> router_pb2.RouteRequest:
    made = router_pb2.RouteRequest()
    made.CopyFrom(case.request)
    return made


def _other_prompt(case: Case) -> Message:
    made = _route(case)
    made.prompt.text += " And why?"
    return made


def _other_tenant(case: Case) -> Message:
    made = _route(case)
    made.task_id = ""  # a stranger has no such task
    made.scope["tenant"] = _STRANGER
    return made


def _foreign_reroute(case: Case) -> Message:
    made = _route(case)
    made.request_id += "-stolen"
    made.task_id = ""
    made.scope["tenant"] = _STRANGER
    made.scope["team"] = _STRANGER  # whose budget is not full
    made.scope["user"] = _STRANGER
    made.constraints.Clear()
    return router_pb2.RerouteRequest(decision_id=case.id, request=made)


def _is_settled(case: Case) -> bool:
    return case.report is not None


def _is_released(case: Case) -> bool:
    return case.released


TRICKS = (
    Trick("another body", "Route", _other_prompt, "ALREADY_EXISTS", "REQUEST_ID_REUSED"),
    Trick("another tenant's id", "Route", _other_tenant, "NOT_FOUND", "NOT_FOUND"),
    Trick(
        "settles another tenant's decision", "Settle", lambda c: _settle(c, tenant=_STRANGER),
        "NOT_FOUND", "NOT_FOUND",
    ),
    Trick(
        "releases another tenant's decision", "Release",
        lambda c: router_pb2.ReleaseRequest(decision_id=c.id, tenant=_STRANGER),
        "NOT_FOUND", "NOT_FOUND",
    ),
    Trick("re-routes another tenant's decision", "Reroute", _foreign_reroute, "NOT_FOUND", "NOT_FOUND"),
    Trick(
        "settles nothing", "Settle", lambda c: _settle(c, decision_id=f"{c.id}-unknown"),
        "NOT_FOUND", "NOT_FOUND",
    ),
    Trick(
        "fewer than no tokens", "Settle", lambda c: _settle(c, input_tokens=-1),
        "INVALID_ARGUMENT", "INVALID_INPUT",
    ),
    Trick(
        "another report", "Settle", lambda c: _settle(c, reasoning_tokens=1),
        "ALREADY_EXISTS", "ALREADY_SETTLED", _is_settled,
    ),
    Trick(
        "releases what is settled", "Release",
        lambda c: router_pb2.ReleaseRequest(decision_id=c.id, tenant=c.tenant),
        "FAILED_PRECONDITION", "ALREADY_SETTLED", _is_settled,
    ),
    Trick(
        "settles what is released", "Settle", _settle,
        "FAILED_PRECONDITION", "ALREADY_RELEASED", _is_released,
    ),
)  # fmt: skip
