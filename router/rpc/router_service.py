"""RouterService: parse the request, decide and hold through :class:`Reservations`, render the reply."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import grpc
from google.protobuf.message import Message

from mitsumori.money import fill_money, nanos_of
from mitsumori.v1 import router_pb2, router_pb2_grpc
from router.core.errors import InvalidInput, MitsumoriError
from router.files import sha256_of
from router.logs import logger
from router.routing.batch_totals import BatchTotals
from router.routing.reservations import HeldDecision
from router.routing.router import RoutedDecision, RouteQuery
from router.routing.tasks import BegunTask, Tasks
from router.rpc.messages.explanation import explained, fill_explanation, fill_logged
from router.rpc.messages.outcome import parse_failed, parse_outcome
from router.rpc.messages.quote_batch import fill_error, render_summary
from router.rpc.messages.route import parse_route, render_held
from router.rpc.messages.settle import parse_settle
from router.rpc.messages.task import parse_begin, parse_task_id, render_begun
from router.rpc.messages.task_status import fill_task
from router.rpc.snapshot import Snapshot

__all__ = ["RouterServicer"]


class RouterServicer(router_pb2_grpc.RouterServiceServicer):
    """Serves RouterService: each call on one snapshot.

    Args:
        current: what a call that begins now runs on, from its beginning to its end.
        new_id: makes the id of a decision whose request has none.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        *,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._current = current
        self._new_id = new_id

    def Route(
        self, request: router_pb2.RouteRequest, context: grpc.ServicerContext
    ) -> router_pb2.RouteResponse:
        """Choose a model for one prompt, quote its price and hold the money."""
        started = time.perf_counter()
        snapshot = self._current()
        query = _parse(snapshot, request)
        reply = self._decide(snapshot, query, _body(request, request), None)
        self._log_routed(query, reply, started, context)
        return reply

    def Reroute(
        self, request: router_pb2.RerouteRequest, context: grpc.ServicerContext
    ) -> router_pb2.RerouteResponse:
        """Choose again after a failed call, in one transaction."""
        started = time.perf_counter()
        if not request.decision_id:
            raise InvalidInput("decision_id: must not be empty", field="decision_id")
        snapshot = self._current()
        query = _parse(snapshot, request.request)
        catalog = snapshot.reservations.router.catalog
        catalog.check_known("failed_models", request.failed_models, catalog.ids)
        if query.request_id == request.decision_id:
            raise InvalidInput(
                "request.request_id: must differ from decision_id: a new decision has an id of its own",
                field="request.request_id",
            )
        query = replace(
            query,
            excluded_models=frozenset(request.failed_models),
            failed=parse_failed(request, catalog),
        )
        body = _body(request, request.request)
        reply = self._decide(snapshot, query, body, request.decision_id)
        self._log_routed(query, reply, started, context)
        return router_pb2.RerouteResponse(response=reply)

    def Settle(
        self, request: router_pb2.SettleRequest, context: grpc.ServicerContext
    ) -> router_pb2.SettleResponse:
        """Book the real usage of a decision."""
        report = parse_settle(request)
        body = sha256_of(request.SerializeToString(deterministic=True))
        settled, booked = self._current().reservations.reports.settle(
            request.decision_id, request.tenant, body, report
        )
        reply = router_pb2.SettleResponse(late=settled.late, repeated_report=settled.repeated)
        fill_money(reply.spent, booked)
        fill_money(reply.overage, settled.overage)
        logger().info(
            "settled",
            decision_id=request.decision_id,
            nanos=booked,
            overage=settled.overage,
            late=settled.late,
            repeated=settled.repeated,
        )
        return reply

    def Release(
        self, request: router_pb2.ReleaseRequest, context: grpc.ServicerContext
    ) -> router_pb2.ReleaseResponse:
        """Release a hold without spend."""
        if not request.decision_id:
            raise InvalidInput("decision_id: must not be empty", field="decision_id")
        now = self._current().reservations.reports.release(request.decision_id, request.tenant)
        logger().info("released", decision_id=request.decision_id, now=now)
        return router_pb2.ReleaseResponse(released_now=now)

    def ReportOutcome(
        self, request: router_pb2.ReportOutcomeRequest, context: grpc.ServicerContext
    ) -> router_pb2.ReportOutcomeResponse:
        """Note how an attempt ended, for the health of its model."""
        report = parse_outcome(request)
        counted = self._current().reservations.reports.report_outcome(
            request.decision_id, request.tenant, report
        )
        logger().info(
            "outcome",
            decision_id=request.decision_id,
            outcome=report.outcome.value,
            repeated=not counted,
        )
        return router_pb2.ReportOutcomeResponse(repeated_report=not counted)

    def QuoteBatch(
        self,
        requests: Iterable[router_pb2.QuoteBatchRequest | MitsumoriError],
        context: grpc.ServicerContext,
    ) -> Iterator[router_pb2.QuoteBatchResponse]:
        """Price many prompts before any is sent. A request that was refused comes as its error."""
        batch, snapshot, tenant = BatchTotals(), self._current(), ""
        for index, request in enumerate(requests):
            answer = router_pb2.QuoteBatchResponse(index=index)
            try:
                if isinstance(request, MitsumoriError):
                    raise request
                query = _parse(snapshot, request.request)
                tenant = query.tenant
                held = snapshot.reservations.quote(query)
            except MitsumoriError as error:
                batch.failed += 1
                fill_error(answer.error, error)
            else:
                batch.add(held)
                decision_id = query.request_id or self._new_id()
                answer.response.CopyFrom(render_held(held, decision_id, query.max_alternatives))
                if query.explain:
                    self._explain(snapshot, query, answer.response, held.routed)
            yield answer
        reservations = snapshot.reservations
        load, now = reservations.batch_load(tenant), reservations.router.now()
        yield router_pb2.QuoteBatchResponse(summary=render_summary(batch, load, now))

    def BeginTask(
        self, request: router_pb2.BeginTaskRequest, context: grpc.ServicerContext
    ) -> router_pb2.BeginTaskResponse:
        """Quote a whole task and hold its cap."""
        snapshot = self._current()
        order = parse_begin(
            request, snapshot.reservations.router.catalog, snapshot.settings.max_prompt_bytes
        )
        query = order.query
        task_id = query.request_id or self._new_id()

        def render(begun: BegunTask) -> bytes:
            return render_begun(begun, task_id, query.max_alternatives).SerializeToString()

        body = sha256_of(b"BeginTask" + request.SerializeToString(deterministic=True))
        reply = router_pb2.BeginTaskResponse.FromString(
            Tasks(snapshot.reservations).begin(order, task_id, body, render)
        )
        logger().info(
            "task_begun",
            task_id=reply.task.task_id,
            scope=dict(query.scope),
            turns=order.plan.turns,
            cap=nanos_of(reply.task.cap) if reply.HasField("task") else None,
        )
        return reply

    def EndTask(
        self, request: router_pb2.EndTaskRequest, context: grpc.ServicerContext
    ) -> router_pb2.EndTaskResponse:
        """Free what is left of a task."""
        task_id = parse_task_id(request)
        task, now = Tasks(self._current().reservations).end(task_id, request.tenant)
        logger().info("task_ended", task_id=task_id, now=now, turns=task.turns, nanos=task.spent)
        reply = router_pb2.EndTaskResponse(ended_now=now)
        fill_task(reply.task, task)
        return reply

    def GetTask(
        self, request: router_pb2.GetTaskRequest, context: grpc.ServicerContext
    ) -> router_pb2.GetTaskResponse:
        """A task with what its turns have used of its cap."""
        task_id = parse_task_id(request)
        reply = router_pb2.GetTaskResponse()
        fill_task(reply.task, Tasks(self._current().reservations).get(task_id, request.tenant))
        return reply

    def _decide(
        self, snapshot: Snapshot, query: RouteQuery, body: bytes, replaces: str | None
    ) -> router_pb2.RouteResponse:
        decision_id = query.request_id or self._new_id()
        message, content = router_pb2.RouteResponse(), b""
        routed: RoutedDecision | None = None

        def render(held: HeldDecision) -> bytes:
            nonlocal message, content, routed
            message, routed = render_held(held, decision_id, query.max_alternatives), held.routed
            content = message.SerializeToString()
            return content

        reply = snapshot.reservations.decide(
            query, decision_id, sha256_of(body), render, replaces=replaces
        )
        if reply is not content:  # of a repeated request it is the one from before
            message, routed = router_pb2.RouteResponse.FromString(reply), None
        if query.explain:
            # The ledger keeps a reply without it: it can be made again, and takes more room than the rest.
            self._explain(snapshot, query, message, routed)
        return message

    def _explain(
        self,
        snapshot: Snapshot,
        query: RouteQuery,
        reply: router_pb2.RouteResponse,
        routed: RoutedDecision | None,
    ) -> None:
        """Add the explanation to a reply; of a decision that was made before, from its record."""
        if routed is not None and routed.inputs is not None:
            router = snapshot.reservations.router
            fill_explanation(
                reply.explanation, router.explanation(query, routed.inputs, routed.decision)
            )
            return
        found = snapshot.reservations.ledger.decision(reply.decision_id)
        if found is not None:  # it may have been erased
            fill_logged(reply.explanation, explained(found))

    def _log_routed(
        self,
        query: RouteQuery,
        reply: router_pb2.RouteResponse,
        started: float,
        context: grpc.ServicerContext,
    ) -> None:
        """Log the decision, and add the server's time to the metadata of the reply."""
        elapsed_ms = (time.perf_counter() - started) * 1000
        # The client can only measure the time with the network included.
        context.set_trailing_metadata((("server-timing", f"route;dur={elapsed_ms:.3f}"),))
        logger().info(
            "routed",
            decision_id=reply.decision_id,
            scope=dict(query.scope),
            model=reply.chosen.model,
            tier=reply.chosen.tier,
            complexity=round(reply.assessment.complexity, 4),
            input_tokens=reply.chosen.quote.input_tokens.tokens,
            ms=round(elapsed_ms, 3),
        )


def _body(request: Message, route: router_pb2.RouteRequest) -> bytes:
    """What identifies a request: all of it but the wish for an explanation, which changes no decision.

    Args:
        request: the whole.
        route: it, or the part of it that may have the wish.
    """
    wished = route.explain
    route.explain = False
    body = request.SerializeToString(deterministic=True)
    route.explain = wished
    return body


def _parse(snapshot: Snapshot, request: router_pb2.RouteRequest) -> RouteQuery:
    catalog = snapshot.reservations.router.catalog
    return parse_route(request, catalog, snapshot.settings.max_prompt_bytes)
