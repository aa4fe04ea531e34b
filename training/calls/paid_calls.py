"""Calls that cost money: held against the budget, journaled, retried within limits, never paid for twice."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from router.core.errors import InvalidInput, MitsumoriError
from router.core.types import Message, TokenCount
from training.calls.budget import Budget
from training.calls.journal import Answered, Failed, Journal
from training.calls.reply import Failure, Reach, Reply, internal_fault
from training.calls.tariff import Tariff, prices_of, worst_price
from training.calls.usage import CallBounds, Usage, usage_of

__all__ = ["BUDGET", "Call", "NotAsked", "PaidCalls", "Patience"]

BUDGET = "the budget ends here"
"""Why a run stops whose next call might pass its budget."""

_LIMIT_IGNORED = (
    "it writes more than the call allows: its endpoint ignores the limit, so no budget can be kept"
)


class Endpoint(Protocol):
    """Sends one request; the real one is :class:`training.calls.endpoint.Endpoint`."""

    async def complete(
        self, model: str, messages: Sequence[Message], max_output_tokens: int, *, name: str
    ) -> Reply | Failure:
        """See :meth:`training.calls.endpoint.Endpoint.complete`."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One question to one model.

    Attributes:
        key: by which a later run knows it again; the same for the same question.
        model: a model of the run.
        messages: the chat that is sent.
        max_output_tokens: limit of the answer with its hidden reasoning, ≥ 1.
        about: what the journal keeps with the outcome, texts by name.
    """

    key: str
    model: str
    messages: Sequence[Message]
    max_output_tokens: int
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long failures are borne.

    Attributes:
        tries: requests per call, ≥ 1; nearly twice as many where the endpoint limits the rate.
        billed_tries: of them, those whose failure the provider may bill, ≥ 1.
        first_wait_s: before the second try where the endpoint does not say; doubled each time.
        longest_wait_s: a longer wait than this counts as a failure.
        failures: calls in a row that a model may fail before the run leaves it out.
    """

    tries: int = 5
    billed_tries: int = 2
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    failures: int = 5

    @property
    def rate_limited_tries(self) -> int:
        """Requests per call where the endpoint limits the rate; 1 where nothing is tried again."""
        return 2 * self.tries - 1

    def wait_after(self, found: Failure, number: int, billed: int) -> float | None:
        """Seconds before the next request of a call, ≥ 0; ``None``: it is given up.

        Args:
            found: how the latest request failed.
            number: of this request, from 1.
            billed: earlier requests that failed and may be billed.
        """
        tries = self.rate_limited_tries if found.kind == "rate_limited" else self.tries
        if not found.again or number >= tries or billed + found.billed >= self.billed_tries:
            return None
        wait = found.wait_s
        if wait is None:
            wait = min(self.first_wait_s * 2 ** (number - 1), self.longest_wait_s)
        return wait if wait <= self.longest_wait_s else None


@dataclass(frozen=True, slots=True)
class _Request:
    """One request of a call.

    Attributes:
        call: what is asked.
        number: of the request in this run, from 1.
        sent: requests in all runs, this one included.
        billed: earlier ones in this run that failed and may be billed.
    """

    call: Call
    number: int
    sent: int
    billed: int


def _answered(
    request: _Request, found: Reply, usage: Usage, prices: tuple[int, int], moment: datetime
) -> Answered:
    cost, most = prices
    return Answered(
        key=request.call.key,
        about=request.call.about,
        text=found.text,
        finish=found.finish,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost=cost,
        booked=most,
        doubts=usage.doubts,
        latency_s=found.latency_s,
        timestamp=moment.isoformat(),
        tries=request.sent,
    )


def _failed(
    request: _Request,
    found: Failure,
    usage: Usage,
    prices: tuple[int, int],
    moment: datetime,
    *,
    final: bool,
) -> Failed:
    """A failure that is not billed has used nothing; of its answer, nothing was seen."""
    return Failed(
        key=request.call.key,
        about=request.call.about,
        kind=found.kind,
        detail=found.detail,
        input_tokens=usage.input_tokens if found.billed else 0,
        output_tokens=usage.output_tokens,
        booked=prices[1] if found.billed else 0,
        timestamp=moment.isoformat(),
        tries=request.sent,
        final=final,
        passing=found.again or found.reach is not Reach.CALL,
    )


class NotAsked(Exception):
    """A call was not sent: the run stops, or leaves out its model. The message says why."""


@dataclass
class PaidCalls:
    """Asks models within a budget. One event loop uses it.

    Attributes:
        endpoint: sends the requests.
        tariffs: by model.
        budget: of the run; a call that might pass it is not sent.
        journal: of the run; a call that has its outcome there is answered from it.
        patience: with failures.
        now: the time of day, aware.
        sleep: waits some seconds.
        stopped: why the run stops; empty while it goes on.
        left_out: why a model is left out, by model.
        used: answers taken from the journal.
    """

    endpoint: Endpoint
    tariffs: Mapping[str, Tariff]
    budget: Budget
    journal: Journal
    now: Callable[[], datetime]
    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    stopped: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    used: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _failures: Counter[str] = field(default_factory=Counter)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def stop(self, why: str) -> None:
        """Send nothing more. Calls under way are awaited: they are paid for."""
        self.stopped = self.stopped or why
        self._stop.set()

    async def ask(self, call: Call) -> Answered | Failed:
        """The outcome of a call: of the journal, or else by sending it; of equal ones at a time, one is sent.

        Raises:
            NotAsked: the run stops, or leaves out the model.
            MitsumoriError: the journal cannot be written.
        """
        async with self._locks[call.key]:
            known = self.journal.known(call.key)
            if known is None:
                return await self._send(call)
            self.used += 1
            return known

    async def _send(self, call: Call) -> Answered | Failed:
        tariff = self.tariffs[call.model]
        bounds = self._bounds(tariff, call)
        before = self.journal.tries(call.key)
        billed = number = 0
        while True:
            number += 1
            request = _Request(call, number, before + number, billed)
            outcome, wait = await self._once(request, tariff, bounds)
            if wait is None:
                self._count(call.model, outcome)
                return outcome
            billed += bool(outcome.booked)
            await self._wait(wait)

    def _bounds(self, tariff: Tariff, call: Call) -> CallBounds:
        try:
            bounds = tariff.bounds(call.messages, call.max_output_tokens)
        except InvalidInput as error:
            raise NotAsked(error.message) from None
        if bounds is None:
            raise NotAsked("the prompt does not fit the context window")
        return bounds

    def _check_going_on(self, model: str) -> None:
        why = self.stopped or self.left_out.get(model)
        if why:
            raise NotAsked(why)

    async def _held(self, model: str, worst: int) -> None:
        """Hold the worst case of a request.

        Raises:
            NotAsked: it does not fit, or the run stopped while the money was waited for.
        """
        self._check_going_on(model)
        if not await self.budget.hold(worst):
            self.stop(BUDGET)
            raise NotAsked(BUDGET)
        try:
            self._check_going_on(model)
        except NotAsked:
            self.budget.settle(worst, 0)
            raise

    async def _once(
        self, request: _Request, tariff: Tariff, bounds: CallBounds
    ) -> tuple[Answered | Failed, float | None]:
        """One request, and the seconds to wait before the next; ``None``: there is none."""
        call, moment = request.call, self.now()
        rates = tariff.rates_at(moment)
        worst = worst_price(rates, bounds)
        await self._held(call.model, worst)
        booked = worst  # whatever breaks from here on
        try:
            self.journal.sent(call.key, worst)
            name = f"{self.journal.run}-{call.key}-{request.sent}"
            found, usage = await self._completed(call, tariff, bounds, name)
            prices = prices_of(rates, usage)
            wait = None
            if isinstance(found, Reply):
                outcome: Answered | Failed = _answered(request, found, usage, prices, moment)
            else:
                wait = self.patience.wait_after(found, request.number, request.billed)
                outcome = _failed(request, found, usage, prices, moment, final=wait is None)
            self.journal.conclude(outcome)
            booked = outcome.booked
        finally:
            self.budget.settle(worst, booked)
        self._heed(call.model, found, usage)
        return outcome, wait

    async def _completed(
        self, call: Call, tariff: Tariff, bounds: CallBounds, name: str
    ) -> tuple[Reply | Failure, Usage]:
        """What came of a request that was sent, and what it used, even after a fault of ours."""
        try:
            found = await self.endpoint.complete(call.model, call.messages, bounds.limit, name=name)
            return found, usage_of(found.usage, tariff.count_text(found.text), bounds)
        except MitsumoriError:
            raise
        except Exception as error:  # noqa: BLE001 - the call is paid for: its outcome is written
            nothing = TokenCount(0, exact=True, worst=0)
            fault = Failure("internal", internal_fault(error), billed=True)
            return fault, usage_of(None, nothing, bounds)

    def _heed(self, model: str, found: Reply | Failure, usage: Usage) -> None:
        """Draw the consequences for other calls."""
        if usage.over_limit:
            self._leave_out(model, _LIMIT_IGNORED)
        if isinstance(found, Reply):
            return
        if found.reach is Reach.RUN:
            self.stop(
                f"the endpoint refuses every call: {found.kind.replace('_', ' ')}, {found.detail}"
            )
        elif found.reach is Reach.MODEL:
            self._leave_out(model, f"the endpoint does not know it: {found.detail}")

    def _count(self, model: str, outcome: Answered | Failed) -> None:
        """Leave a model out that fails again and again, so that an outage does not use up the prompts."""
        if isinstance(outcome, Answered):
            self._failures[model] = 0
            return
        self._failures[model] += 1
        if self._failures[model] >= self.patience.failures:
            self._leave_out(
                model, f"{self._failures[model]} calls in a row failed: {outcome.detail}"
            )

    def _leave_out(self, model: str, why: str) -> None:
        self.left_out.setdefault(model, why)
        if len(self.left_out) == len(self.tariffs):
            self.stop("every model is left out")

    async def _wait(self, seconds: float) -> None:
        """Wait; no longer than until the run stops."""
        waits = [
            asyncio.ensure_future(self.sleep(seconds)),
            asyncio.ensure_future(self._stop.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
