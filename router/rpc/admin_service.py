"""AdminService: limits, usage, and the decision log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc

from mitsumori.money import fill_money
from mitsumori.v1 import admin_pb2, admin_pb2_grpc
from router.core.errors import InvalidInput, NotFound
from router.decision_log.usage import add_up
from router.logs import logger
from router.routing.canary import CanaryReport
from router.routing.label_names import LabelNames
from router.routing.router import Router
from router.routing.shadow import ShadowReport
from router.rpc.messages.admin import (
    fill_correction,
    fill_decision,
    fill_deferred,
    fill_input,
    fill_provider_limit,
    fill_speed,
    fill_usage,
    parse_amendment,
    parse_erasure,
    parse_filter,
    parse_group_by,
    parse_labels,
    parse_page_size,
)
from router.rpc.messages.explanation import explained, fill_logged
from router.rpc.messages.limit import fill_limit, fill_limit_status, parse_limit
from router.rpc.messages.models import models_response
from router.rpc.messages.task import parse_count, parse_state
from router.rpc.messages.task_status import fill_task
from router.rpc.messages.trials import canary_response, shadow_response
from router.rpc.messages.values import time_zone
from router.rpc.snapshot import Snapshot
from router.watched import InputStatus

__all__ = ["AdminServicer"]

_PAGE_BYTES = 3 << 20
"""Bytes of the rows of a page, unless one alone is longer: clients of gRPC take 4 MiB by default."""
_ROWS_AT_ONCE = 100
"""Decisions that are read from the store at once, so that a long page takes little memory."""


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves the ledger and the learned corrections to operators and accountants."""

    def __init__(
        self, current: Callable[[], Snapshot], statuses: Callable[[], Sequence[InputStatus]]
    ) -> None:
        """Serve what a function returns.

        Args:
            current: the snapshot for a call that begins now. The ledger is the same in all.
            statuses: of everything that may change.
        """
        self._current, self._statuses = current, statuses
        self._ledger = current().reservations.ledger

    @property
    def _router(self) -> Router:
        return self._current().reservations.router

    @property
    def _label_names(self) -> LabelNames:
        return self._current().reservations.label_names

    def SetLimit(
        self, request: admin_pb2.SetLimitRequest, context: grpc.ServicerContext
    ) -> admin_pb2.SetLimitResponse:
        """Create or replace a limit."""
        limit = parse_limit(request.limit, self._router.catalog)
        notes = self._label_names.notes(limit.scope)
        self._ledger.set_limit(limit)
        self._label_names.refresh(self._ledger)
        logger().info("limit_set", limit=limit.id)
        reply = admin_pb2.SetLimitResponse(notes=[note.text for note in notes])
        fill_limit(reply.limit, limit)
        return reply

    def ListLimits(
        self, request: admin_pb2.ListLimitsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListLimitsResponse:
        """Every limit; with labels, only the limits that apply to them, with their balances."""
        reply = admin_pb2.ListLimitsResponse()
        if request.labels:
            labels = parse_labels(request.labels, "labels")
            for state in self._ledger.view([labels])[0]:
                fill_limit_status(reply.limits.add(), state)
        else:
            for limit in self._ledger.limits():
                fill_limit(reply.limits.add().limit, limit)
        return reply

    def DeleteLimit(
        self, request: admin_pb2.DeleteLimitRequest, context: grpc.ServicerContext
    ) -> admin_pb2.DeleteLimitResponse:
        """Remove a limit."""
        if not request.limit_id:
            raise InvalidInput("limit_id: must not be empty", field="limit_id")
        if not self._ledger.delete_limit(request.limit_id):
            raise NotFound(
                "limit_id: there is no such limit; `mitsumori limits list` shows them",
                field="limit_id",
            )
        self._label_names.refresh(self._ledger)
        logger().info("limit_deleted", limit=request.limit_id)
        return admin_pb2.DeleteLimitResponse()

    def ListUsage(
        self, request: admin_pb2.ListUsageRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListUsageResponse:
        """Spend by group."""
        chosen = parse_filter(request.filter)
        group_by = parse_group_by(request.group_by)
        zone = time_zone(request.time_zone, "time_zone")
        reply = admin_pb2.ListUsageResponse()
        for group, totals in add_up(self._ledger, chosen, group_by, zone):
            fill_usage(reply.rows.add(group=group), totals)
        return reply

    def ListDecisions(
        self, request: admin_pb2.ListDecisionsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListDecisionsResponse:
        """A page of the decision log."""
        chosen = parse_filter(request.filter)
        left = parse_page_size(request.page_size)
        reply = admin_pb2.ListDecisionsResponse()
        after, nbytes = request.page_token or None, 0
        while left:
            count = min(left, _ROWS_AT_ONCE)
            part = self._ledger.decisions(
                labels=chosen.labels,
                since=chosen.since,
                until=chosen.until,
                state=chosen.state,
                after=after,
                count=count,
                newest_first=request.newest_first,
            )
            for decided in part:
                row = admin_pb2.DecisionRow()
                fill_decision(row, decided)
                nbytes += row.ByteSize()
                if nbytes > _PAGE_BYTES and reply.decisions:
                    reply.next_page_token = reply.decisions[-1].decision_id
                    return reply
                reply.decisions.append(row)
            if len(part) < count:
                return reply
            after, left = part[-1].id, left - count
        reply.next_page_token = after or ""
        return reply

    def ListCorrections(
        self, request: admin_pb2.ListCorrectionsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListCorrectionsResponse:
        """The learned corrections of quotes, and how fast models are."""
        reply, found = admin_pb2.ListCorrectionsResponse(), self._router.corrections()
        for (model, _), learned in sorted(found.learned.items()):
            if request.model in ("", model):
                fill_correction(reply.corrections.add(), learned)
        for model, timing in sorted(found.timings.items()):
            if request.model in ("", model):
                fill_speed(reply.speeds.add(), timing)
        return reply

    def ListModels(
        self, request: admin_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListModelsResponse:
        """The models of the catalog."""
        reservations = self._current().reservations
        router, bundle = reservations.router, reservations.router.bundle
        return models_response(
            router.catalog,
            bundle.manifest,
            bundle.version,
            router.now(),
            router.corrections().timings,
            reservations.health,
        )

    def ListInputs(
        self, request: admin_pb2.ListInputsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListInputsResponse:
        """What the server runs on, and what was refused."""
        reply = admin_pb2.ListInputsResponse()
        for status in self._statuses():
            fill_input(reply.inputs.add(), status)
        return reply

    def ListDeferred(
        self, request: admin_pb2.ListDeferredRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListDeferredResponse:
        """The batch work that waits for its turn."""
        reply = admin_pb2.ListDeferredResponse()
        labels = parse_labels(request.labels, "labels")
        reservations = self._current().reservations
        for each in reservations.deferrals.waiting(labels):
            fill_deferred(reply.requests.add(), each)
        if not labels:  # they say what all tenants do together
            load = reservations.batch_load()
            for accounts in (load.providers, load.models):
                for gauge in (one for _, gauges in sorted(accounts.items()) for one in gauges):
                    fill_provider_limit(reply.limits.add(), gauge, load.share)
        return reply

    def GetShadow(
        self, request: admin_pb2.GetShadowRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetShadowResponse:
        """How the choices of the shadow of this process differ; each has figures of its own."""
        shadow = self._current().reservations.shadow
        return shadow_response(ShadowReport() if shadow is None else shadow.report())

    def GetCanary(
        self, request: admin_pb2.GetCanaryRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetCanaryResponse:
        """What the canary has come to."""
        canary = self._current().reservations.canary
        return canary_response(CanaryReport() if canary is None else canary.report())

    def AmendSettlement(
        self, request: admin_pb2.AmendSettlementRequest, context: grpc.ServicerContext
    ) -> admin_pb2.AmendSettlementResponse:
        """Correct what a settled decision spent."""
        wanted = parse_amendment(request)
        amended = self._ledger.amend(wanted)
        reply = admin_pb2.AmendSettlementResponse(repeated_request=amended.repeated)
        fill_money(reply.spent_before, amended.before.money)
        fill_money(reply.spent, wanted.money)
        fill_money(reply.overage, amended.overage)
        logger().warning(
            "settlement_amended",
            decision_id=wanted.id,
            nanos_before=amended.before.money,
            nanos=wanted.money,
            repeated=amended.repeated,
        )
        return reply

    def ListTasks(
        self, request: admin_pb2.ListTasksRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListTasksResponse:
        """The newest tasks."""
        reply = admin_pb2.ListTasksResponse()
        for task in self._ledger.tasks(
            labels=parse_labels(request.labels, "labels"),
            state=parse_state(request),
            count=parse_count(request),
        ):
            fill_task(reply.tasks.add(), task)
        return reply

    def EraseDecisions(
        self, request: admin_pb2.EraseDecisionsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.EraseDecisionsResponse:
        """Delete finished decisions with given labels."""
        labels, before = parse_erasure(request)
        erased = self._ledger.erase(labels, before)
        logger().info("erased", decisions=erased)
        return admin_pb2.EraseDecisionsResponse(erased=erased)

    def ExplainDecision(
        self, request: admin_pb2.ExplainDecisionRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ExplainDecisionResponse:
        """Explain a decision of the log."""
        if not request.decision_id:
            raise InvalidInput("decision_id: must not be empty", field="decision_id")
        labels = parse_labels(request.labels, "labels")
        found = self._ledger.decision(request.decision_id)
        if found is None or not labels.items() <= found.labels.items():
            raise NotFound(
                "decision_id: there is no such decision; `mitsumori decisions` lists them",
                field="decision_id",
            )
        reply = admin_pb2.ExplainDecisionResponse(decision_id=found.id)
        reply.create_time.FromDatetime(found.created)
        fill_logged(reply.explanation, explained(found))
        return reply
