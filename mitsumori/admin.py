"""The client of AdminService, with deadlines, retries and clear errors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Literal

from mitsumori.addresses import DEFAULT_ADDRESS, Address
from mitsumori.arguments import message_of
from mitsumori.credentials import Tls, Token
from mitsumori.money import Amount
from mitsumori.retrying_channel import RetryingChannel
from mitsumori.v1 import admin_pb2, admin_pb2_grpc, limit_pb2, task_pb2

__all__ = ["Admin"]


class Admin(RetryingChannel):
    """A connection to a server's AdminService. Takes and returns messages of the protocol. Thread-safe.

    Args:
        address: ``host:port``, or several, as for :class:`mitsumori.Router`.
        timeout_s: the whole time a call may take, retries included, seconds > 0.
        attempts: as for :class:`mitsumori.Router`.
        tls: ``True``, or a :class:`mitsumori.Tls` with files; ``None``: no TLS.
        api_key: as ``mitsumori keys create`` shows it.
        token: a JSON Web Token, or a function that gives a current one.
    """

    # A row of the decision log can hold a prompt of 64 MiB.
    _options = (*RetryingChannel._options, ("grpc.max_receive_message_length", 128 << 20))

    def __init__(
        self,
        address: Address = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 30.0,
        attempts: int | None = None,
        tls: Tls | bool | None = None,
        api_key: str = "",
        token: Token = "",
    ) -> None:
        super().__init__(
            address, timeout_s=timeout_s, attempts=attempts, tls=tls, api_key=api_key, token=token
        )
        self._stub = admin_pb2_grpc.AdminServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def set_limit(self, limit: limit_pb2.Limit) -> admin_pb2.SetLimitResponse:
        """Create or replace a limit; the notes of the reply name possible mistakes in it.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(admin_pb2.SetLimitRequest, required=["limit"], limit=limit)
        made: admin_pb2.SetLimitResponse = self.call(self._stub.SetLimit, request)
        return made

    def limits(self, labels: Mapping[str, str] | None = None) -> list[limit_pb2.LimitStatus]:
        """Every limit, or those that apply to labels with their balances.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(admin_pb2.ListLimitsRequest, labels={} if labels is None else labels)
        return list(self.call(self._stub.ListLimits, request).limits)

    def delete_limit(self, limit_id: str) -> None:
        """Delete a limit.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: there is no such limit, or no answer in time.
        """
        request = message_of(admin_pb2.DeleteLimitRequest, limit_id=limit_id)
        self.call(self._stub.DeleteLimit, request)

    def usage(
        self, chosen: admin_pb2.DecisionFilter, group_by: Collection[str], time_zone: str = ""
    ) -> list[admin_pb2.UsageRow]:
        """What was spent, by group.

        Args:
            chosen: which decisions.
            group_by: labels, ``model``, ``provider``, ``tier`` or ``day``; at most 8.
            time_zone: IANA name, which says when a day begins; empty: UTC.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(
            admin_pb2.ListUsageRequest, chosen=chosen, group_by=group_by, time_zone=time_zone
        )
        return list(self.call(self._stub.ListUsage, request).rows)

    def corrections(self, model: str = "") -> list[admin_pb2.Correction]:
        """The corrections learned from settled usage, for one model (by catalog id) or, if empty, for all.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(admin_pb2.ListCorrectionsRequest, model=model)
        return list(self.call(self._stub.ListCorrections, request).corrections)

    def speeds(self, model: str = "") -> list[admin_pb2.LearnedSpeed]:
        """How fast models are by their settled calls, for one model (by catalog id) or, if empty, for all.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(admin_pb2.ListCorrectionsRequest, model=model)
        return list(self.call(self._stub.ListCorrections, request).speeds)

    def models(self) -> admin_pb2.ListModelsResponse:
        """The models that can be chosen, with the prices in force and their ability.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        listed: admin_pb2.ListModelsResponse = self.call(
            self._stub.ListModels, admin_pb2.ListModelsRequest()
        )
        return listed

    def inputs(self) -> list[admin_pb2.ServedInput]:
        """What the server runs on and may change while it runs, with what it refused last.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        return list(self.call(self._stub.ListInputs, admin_pb2.ListInputsRequest()).inputs)

    def deferred(self, labels: Mapping[str, str] | None = None) -> admin_pb2.ListDeferredResponse:
        """The batch work that was refused until later and has not come back, in the order of its turns.

        Without labels, also how far the limits of providers are used.

        Args:
            labels: only requests with all of these labels; ``None``: all.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(admin_pb2.ListDeferredRequest, labels={} if labels is None else labels)
        listed: admin_pb2.ListDeferredResponse = self.call(self._stub.ListDeferred, request)
        return listed

    def shadow(self) -> admin_pb2.GetShadowResponse:
        """How the choices of the shadow differ from those that were made, in the process that answers alone.

        Each process and each replica has figures of its own, of the requests that came to it; nothing adds
        them up, and another one may answer the next time.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        found: admin_pb2.GetShadowResponse = self.call(
            self._stub.GetShadow, admin_pb2.GetShadowRequest()
        )
        return found

    def canary(self) -> admin_pb2.GetCanaryResponse:
        """What the canary has come to beside the rest, and why it was halted.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        found: admin_pb2.GetCanaryResponse = self.call(
            self._stub.GetCanary, admin_pb2.GetCanaryRequest()
        )
        return found

    def explain(
        self, decision_id: str, labels: Mapping[str, str] | None = None
    ) -> admin_pb2.ExplainDecisionResponse:
        """Explain a decision of the log; :class:`mitsumori.Explanation` tells the explanation in words.

        Args:
            decision_id: of the decision.
            labels: that it must carry; empty: any.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: there is no such decision, or no answer in time.
        """
        request = message_of(
            admin_pb2.ExplainDecisionRequest,
            decision_id=decision_id,
            labels={} if labels is None else labels,
        )
        explained: admin_pb2.ExplainDecisionResponse = self.call(
            self._stub.ExplainDecision, request
        )
        return explained

    def tasks(
        self,
        labels: Mapping[str, str] | None = None,
        *,
        state: Literal["open", "ended", "expired"] | None = None,
        count: int = 100,
    ) -> list[task_pb2.TaskStatus]:
        """The newest tasks, newest first.

        Args:
            labels: only tasks with all of these.
            state: only tasks in this state; ``None``: any.
            count: the most, 1 to 1,000.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(admin_pb2.ListTasksRequest, labels=labels or {}, page_size=count)
        if state is not None:
            request.MergeFrom(message_of(admin_pb2.ListTasksRequest, state=state))
        return list(self.call(self._stub.ListTasks, request).tasks)

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """Delete finished decisions with these labels made before a moment; return how many.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(
            admin_pb2.EraseDecisionsRequest, required=["before"], labels=labels, before=before
        )
        return int(self.call(self._stub.EraseDecisions, request).erased)

    def amend(
        self,
        decision_id: str,
        *,
        cost_usd: Amount,
        reason: str,
        tokens: int | None = None,
        tenant: str = "",
    ) -> admin_pb2.AmendSettlementResponse:
        """Correct what a settled decision spent; its row keeps what was booked before, and why.

        Args:
            decision_id: of the decision.
            cost_usd: what the call really cost.
            reason: why, for the books: 1 to 500 characters.
            tokens: input and output tokens that it really used; ``None``: as reported.
            tenant: its tenant label; empty where it has none.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(
            admin_pb2.AmendSettlementRequest,
            required=["cost_usd"],
            decision_id=decision_id,
            cost_usd=cost_usd,
            reason=reason,
            tokens=tokens,
            tenant=tenant,
        )
        amended: admin_pb2.AmendSettlementResponse = self.call(self._stub.AmendSettlement, request)
        return amended

    def decisions(
        self, chosen: admin_pb2.DecisionFilter, *, newest_first: bool = False
    ) -> Iterator[admin_pb2.DecisionRow]:
        """All decisions of a filter, oldest or newest first, fetched a page at a time.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        token = ""
        while True:
            page = self.call(
                self._stub.ListDecisions,
                message_of(
                    admin_pb2.ListDecisionsRequest,
                    chosen=chosen,
                    page_size=1000,
                    page_token=token,
                    newest_first=newest_first,
                ),
            )
            yield from page.decisions
            token = page.next_page_token
            if not token:
                return
