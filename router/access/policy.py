"""What a caller may do, as a pure function of its rights and a message of the protocol.

A caller of one tenant lives in a space of its own. Its tenant and fixed labels are written into every request
and filter, and its decisions are kept under ``TENANT:ID``, so that no answer depends on the ids of others: an
id that another tenant uses is free to it, and an id that another tenant has is unknown to it. Limits that it
sets are named ``TENANT:…``; those of an operator cannot be replaced by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any

from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message

from mitsumori.v1 import admin_pb2, router_pb2
from router.access.caller import Caller, Role
from router.core.errors import InvalidInput, NotAllowed

__all__ = [
    "METHODS",
    "admit",
    "check_role",
    "facts_of",
    "id_before_credentials",
    "is_administration",
    "reveal",
]

_READERS = frozenset({Role.READ, Role.ADMIN})

METHODS: Mapping[str, frozenset[Role]] = {
    "Route": frozenset({Role.ROUTE}),
    "Reroute": frozenset({Role.ROUTE}),
    "QuoteBatch": frozenset({Role.ROUTE}),
    "Settle": frozenset({Role.SETTLE}),
    "ReportOutcome": frozenset({Role.SETTLE}),
    "Release": frozenset({Role.SETTLE}),
    "BeginTask": frozenset({Role.ROUTE}),
    "EndTask": frozenset({Role.ROUTE, Role.SETTLE, Role.ADMIN}),
    "GetTask": frozenset(Role),
    "ListModels": frozenset(Role),
    "ListInputs": _READERS,
    "GetShadow": _READERS,
    "GetCanary": _READERS,
    "ListLimits": _READERS,
    "ListUsage": _READERS,
    "ListDecisions": _READERS,
    "ListTasks": _READERS,
    "ListCorrections": _READERS,
    "ListDeferred": _READERS,
    "ExplainDecision": _READERS,
    "SetLimit": frozenset({Role.ADMIN}),
    "DeleteLimit": frozenset({Role.ADMIN}),
    "EraseDecisions": frozenset({Role.ADMIN}),
    "AmendSettlement": frozenset({Role.ADMIN}),
}
"""Method → the roles of which one is enough. Any other method needs ``admin``."""
_ADMIN_ALONE = frozenset({Role.ADMIN})

_MAX_ID_CHARACTERS = 128
_MAX_SHOWN = 5


def is_administration(method: str) -> bool:
    """Whether the audit log records a method: it is for administrators alone."""
    return METHODS.get(method, _ADMIN_ALONE) == _ADMIN_ALONE


def check_role(method: str, caller: Caller) -> None:
    """Refuse a method that none of the caller's roles allows.

    Raises:
        NotAllowed: names the roles of which one is needed.
    """
    needed = METHODS.get(method, _ADMIN_ALONE)
    if not needed & caller.roles:
        names = " or ".join(role for role in Role if role in needed)
        raise NotAllowed(
            f"{method} needs a credential with the role {names}; ask an operator for one",
            reason="ROLE_MISSING",
            metadata={"method": method},
        )


def admit(request: Message, caller: Caller, new_id: Callable[[], str]) -> None:
    """Confine a request to what its caller may touch: the message is changed in place.

    Args:
        request: as it arrived.
        caller: who sent it.
        new_id: makes the id of a decision whose request has none.

    Raises:
        NotAllowed: it names another tenant, or labels that the credential does not allow.
        InvalidInput: an id is too long.
    """
    match request:
        case router_pb2.RouteRequest():
            _admit_route(request, caller, new_id, "")
        case router_pb2.RerouteRequest():
            request.decision_id = _own_id(request.decision_id, caller, "decision_id")
            _admit_route(request.request, caller, new_id, "request.")
        case router_pb2.QuoteBatchRequest():
            _confine(request.request.scope, caller, "request.scope")
            request.request.task_id = _own_id(request.request.task_id, caller, "request.task_id")
        case router_pb2.BeginTaskRequest():
            _admit_route(request.request, caller, new_id, "request.")
        case _:
            _admit_listing(request, caller)


def _admit_listing(request: Message, caller: Caller) -> None:
    """What :func:`admit` does to requests that decide nothing."""
    match request:
        case admin_pb2.ListTasksRequest():
            _confine(request.labels, caller, "labels")
        case admin_pb2.ListUsageRequest():
            _confine(request.filter.labels, caller, "filter.labels")
        case admin_pb2.ListDecisionsRequest():
            _confine(request.filter.labels, caller, "filter.labels")
            request.page_token = _own_id(request.page_token, caller, "page_token")
        case admin_pb2.ExplainDecisionRequest():
            _confine(request.labels, caller, "labels")
            request.decision_id = _own_id(request.decision_id, caller, "decision_id")
        case (
            admin_pb2.ListLimitsRequest()
            | admin_pb2.EraseDecisionsRequest()
            | admin_pb2.ListDeferredRequest()
        ):
            # Without labels, one lists what `reveal` leaves, and one is refused: it would erase all.
            whole = isinstance(request, admin_pb2.ListDeferredRequest)
            _confine(request.labels, caller, "labels", unless_empty=not whole)
        case admin_pb2.SetLimitRequest():
            _check_limit_id(request.limit.limit_id, caller, "limit.limit_id")
            _confine(request.limit.scope, caller, "limit.scope")
        case admin_pb2.DeleteLimitRequest():
            _check_limit_id(request.limit_id, caller, "limit_id")
        case admin_pb2.AmendSettlementRequest():
            _check_unconfined(caller, "settlements are amended")
            _admit_any(request, caller)
        case (
            admin_pb2.ListCorrectionsRequest()
            | admin_pb2.ListModelsRequest()
            | admin_pb2.ListInputsRequest()
        ):
            pass  # `reveal` leaves out what is not the caller's; the catalog is everyone's
        case _:
            _admit_any(request, caller)


def reveal(request: Message, reply: Message, caller: Caller) -> None:
    """Leave in a reply what is the caller's to see: the message is changed in place.

    Args:
        request: as it was admitted.
        reply: of the service.
        caller: who gets it.
    """
    match reply:
        case router_pb2.RouteResponse():
            reply.decision_id = _shown_id(reply.decision_id, caller)
            _show_task(reply, caller)
        case router_pb2.RerouteResponse():
            reveal(request, reply.response, caller)
        case router_pb2.BeginTaskResponse():
            reveal(request, reply.first_turn, caller)
            _show_task(reply, caller)
        case router_pb2.EndTaskResponse() | router_pb2.GetTaskResponse():
            _show_task(reply, caller)
        case _:
            _reveal_listing(request, reply, caller)


def _reveal_listing(request: Message, reply: Message, caller: Caller) -> None:
    """What :func:`reveal` does to lists."""
    match reply:
        case admin_pb2.ListTasksResponse():
            for task in reply.tasks:
                task.task_id = _shown_id(task.task_id, caller)
        case (
            admin_pb2.ListDecisionsResponse(decisions=rows)
            | admin_pb2.ListDeferredResponse(requests=rows)
        ):
            for row in rows:
                row.decision_id = _shown_id(row.decision_id, caller)
        case admin_pb2.ExplainDecisionResponse():
            reply.decision_id = _shown_id(reply.decision_id, caller)
        case admin_pb2.ListLimitsResponse():
            if isinstance(request, admin_pb2.ListLimitsRequest) and not request.labels:
                _keep(reply.limits, lambda status: _concerns(status.limit.scope, caller, any_="*"))
        case admin_pb2.ListInputsResponse() if caller.tenant is not None:
            for each in reply.inputs:
                each.ClearField("source")  # a path on the server, as may be in the text
                if each.HasField("refusal"):
                    each.refusal.ClearField("text")
        case admin_pb2.ListCorrectionsResponse():
            _keep(reply.corrections, lambda each: not each.scope or _concerns(each.scope, caller))


def id_before_credentials(request: Message, caller: Caller) -> tuple[str, str]:
    """The field with the id of an earlier decision, and the id as it was kept without credentials.

    Decisions that a tenant made before its server asked for credentials have their plain ids.

    Returns:
        Two empty texts where the request has no such id.
    """
    field = "page_token" if isinstance(request, admin_pb2.ListDecisionsRequest) else "decision_id"
    if caller.tenant is None or field not in request.DESCRIPTOR.fields_by_name:
        return "", ""
    return field, _shown_id(getattr(request, field), caller)


def facts_of(request: Message) -> dict[str, Any]:
    """What the audit log says of an administrative request, as it was admitted; JSON-ready."""
    try:
        return {"request": MessageToDict(request, preserving_proto_field_name=True)}
    except SerializeToJsonError:  # such as a moment of no year; the service will refuse it
        return {"request": "has a value that cannot be shown"}


def _admit_any(request: Any, caller: Caller) -> None:
    """A request that names a decision or a task and its tenant, such as a settlement; else an operator's."""
    fields = set(request.DESCRIPTOR.fields_by_name)
    named = fields & {"decision_id", "task_id"}
    if named and "tenant" in fields:
        request.tenant = _own_tenant(request.tenant, caller)
        for field in named:
            setattr(request, field, _own_id(getattr(request, field), caller, field))
    elif caller.tenant is not None or caller.labels or caller.scopes:
        raise NotAllowed("this call needs a credential of every tenant; ask an operator for one")


def _admit_route(
    request: router_pb2.RouteRequest, caller: Caller, new_id: Callable[[], str], path: str
) -> None:
    _confine(request.scope, caller, f"{path}scope")
    if caller.tenant is not None:
        given = request.request_id or new_id()
        request.request_id = _own_id(given, caller, f"{path}request_id")
        request.task_id = _own_id(request.task_id, caller, f"{path}task_id")


def _confine(
    labels: MutableMapping[str, str], caller: Caller, field: str, *, unless_empty: bool = False
) -> None:
    """Write the caller's tenant and fixed labels into labels, and check those that its scopes name."""
    if unless_empty and not labels:
        return
    fixed = dict(caller.labels)
    if caller.tenant is not None:
        fixed["tenant"] = caller.tenant
    for name, value in fixed.items():
        if labels.get(name, value) != value:
            raise _given(f"{field}.{name}")
        labels[name] = value
    for name, allowed in caller.scopes.items():
        if labels.get(name) not in allowed:
            raise NotAllowed(
                f"{field}.{name}: the credential needs one of {_some(allowed)}",
                reason="SCOPE_NOT_ALLOWED",
                field=f"{field}.{name}",
            )


def _some(values: Collection[str]) -> str:
    """A few values; all of them would not fit into the header of a status."""
    shown = sorted(values)[:_MAX_SHOWN]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _own_tenant(tenant: str, caller: Caller) -> str:
    if caller.tenant is None:
        return tenant
    if tenant not in ("", caller.tenant):
        raise _given("tenant")
    return caller.tenant


def _given(field: str) -> NotAllowed:
    return NotAllowed(
        f"{field}: is given by the credential; leave it out",
        reason="GIVEN_BY_CREDENTIAL",
        field=field,
    )


def _prefix(caller: Caller) -> str:
    # A tenant's name has no colon, so that no two prefixes overlap.
    return "" if caller.tenant is None else f"{caller.tenant}:"


def _own_id(decision_id: str, caller: Caller, field: str) -> str:
    prefix = _prefix(caller)
    if not decision_id or decision_id.startswith(prefix):
        return decision_id
    if len(decision_id) > _MAX_ID_CHARACTERS - len(prefix):
        raise InvalidInput(
            f"{field}: must have at most {_MAX_ID_CHARACTERS - len(prefix)} characters, since the "
            "tenant's name is kept with it",
            field=field,
        )
    return prefix + decision_id


def _show_task(reply: Any, caller: Caller) -> None:
    if reply.HasField("task"):
        reply.task.task_id = _shown_id(reply.task.task_id, caller)


def _shown_id(decision_id: str, caller: Caller) -> str:
    return decision_id.removeprefix(_prefix(caller))


def _check_unconfined(caller: Caller, what: str) -> None:
    if caller.labels or caller.scopes:
        raise NotAllowed(f"{what} with a credential without labels and scopes")


def _check_limit_id(limit_id: str, caller: Caller, field: str) -> None:
    # Which labels a limit has now is not known here, and replacing or deleting it frees them all.
    _check_unconfined(caller, "limits are set and deleted")
    if limit_id and not limit_id.startswith(_prefix(caller)):
        raise NotAllowed(
            f"{field}: must begin with {_prefix(caller)} for a credential of this tenant",
            reason="GIVEN_BY_CREDENTIAL",
            field=field,
        )


def _concerns(scope: Mapping[str, str], caller: Caller, any_: str = "") -> bool:
    """Whether a scope can be that of this caller's decisions; its tenant must be named."""
    tenant = caller.tenant
    return (
        (tenant is None or scope.get("tenant", "") in {tenant, any_} - {""})
        and all(scope.get(name, value) in {value, any_} for name, value in caller.labels.items())
        and all(
            scope[name] in {*allowed, any_}
            for name, allowed in caller.scopes.items()
            if name in scope
        )
    )


def _keep(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Remove from a repeated field what is not wanted."""
    for index in reversed(range(len(items))):
        if not wanted(items[index]):
            del items[index]
