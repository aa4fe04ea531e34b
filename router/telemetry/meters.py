"""The instruments: what happens in calls becomes the metrics of :mod:`metric_names`.

A counter is a number in a table of ours, which OpenTelemetry reads when it collects: adding to one costs a
tenth of what an instrument of its SDK would. Only histograms are recorded by the SDK at once, with attributes
that are made once per method, code and model. What has a current value, such as the version of the bundle, is
asked for when it is collected, and must answer without waiting for anything.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider

from router.core.limits import ANY, LimitState
from router.core.money import NANOS_PER_USD
from router.telemetry.fullest_accounts import FullestAccounts
from router.telemetry.metric_names import (
    CALL_DURATION,
    CANARY_REQUESTS,
    DECISIONS,
    EJECTIONS,
    HELD,
    HOLDS,
    LEDGER_COMMIT,
    LEDGER_GROUP,
    LIMIT_HEADROOM,
    OPEN_HOLDS,
    QUEUE,
    QUOTE_ERROR,
    REFUSALS,
    SHADOW_COPIES,
    SPENT,
    TOKEN_USAGE,
    Metric,
    provider_name,
)
from router.telemetry.observer import OTHER, Observer, SettledCall
from router.telemetry.trace import CallTrace, current_call

__all__ = ["Meters"]

_MAX_REASONS = 100
_MAX_MODELS = 500
"""Models that are told apart: those of one catalog are few, but a server may follow many catalogs. Above two
thousand series of one metric, the SDK would add up everything else without any attribute.
"""
_NO_TRACE = Context({"mitsumori": "no trace"})
"""Has an entry, since the SDK looks up the current context where it is given an empty one."""

Reading = Iterable[tuple[float, tuple[str, ...]]]
"""Values of a gauge or a counter, each with the values of its attributes in their order."""


class _Table:
    """A counter of ours: numbers by the values of the attributes. Thread-safe."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, values: tuple[str, ...], count: int = 1) -> None:
        with self._lock:
            if self._most and values not in self._counts and len(self._counts) >= self._most:
                values = (OTHER,) * len(values)
            self._counts[values] += count

    def read(self) -> Reading:
        with self._lock:
            return [(count, values) for values, count in self._counts.items()]


class _Models:
    """The models that are told apart: the first so many. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()

    def named(self, model: str, provider: str) -> tuple[str, str]:
        """The model and its provider, or :data:`OTHER` for both."""
        if model not in self._known:
            with self._lock:
                if len(self._known) >= _MAX_MODELS:
                    return OTHER, OTHER
                self._known.add(model)
        return model, provider_name(provider)


class Meters(Observer):
    """Keeps metrics of what it is told. Thread-safe.

    Args:
        provider: of OpenTelemetry, with the readers that export.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter("mitsumori")
        self._refusals = _Table(_MAX_REASONS)
        self._models = _Models()
        self._decisions = _Table()
        self._ejections = _Table()
        self._holds = _Table()
        self._shadow = _Table()
        self._canary = _Table()
        self._spent = _Table()  # nano-dollars
        self._duration = self._histogram(CALL_DURATION)
        self._queue = self._histogram(QUEUE)
        self._quote_error = self._histogram(QUOTE_ERROR)
        self._tokens = self._histogram(TOKEN_USAGE)
        self._commit = self._histogram(LEDGER_COMMIT)
        self._group = self._histogram(LEDGER_GROUP)
        self.fullest = FullestAccounts()
        self.open_holds: tuple[int, int] | None = None
        """Number and nano-dollars of the open holds, when they were last counted."""
        # A counter that is there from the start shows the first event as an increase.
        for state in ("quoted", "held", "settled", "released", "expired"):
            self._holds.add((state,), 0)
        for result in ("agrees", "differs", "failed", "dropped"):
            self._shadow.add((result,), 0)
        for side in ("canary", "rest"):
            self._canary.add((side,), 0)
        self.read(REFUSALS, self._refusals.read)
        self.read(DECISIONS, self._decisions.read)
        self.read(EJECTIONS, self._ejections.read)
        self.read(HOLDS, self._holds.read)
        self.read(SHADOW_COPIES, self._shadow.read)
        self.read(CANARY_REQUESTS, self._canary.read)
        self.read(OPEN_HOLDS, lambda: [(holds, ()) for holds, _ in self._open()])
        self.read(HELD, lambda: [(nanos / NANOS_PER_USD, ()) for _, nanos in self._open()])
        self.read(SPENT, lambda: [(n / NANOS_PER_USD, of) for n, of in self._spent.read()])
        self.read(LIMIT_HEADROOM, self.fullest.headroom)
        # Attributes are made once: their number is that of the methods, codes and models.
        self._call_attributes = cache(_call_attributes)
        self._token_attributes = cache(_token_attributes)

    def read(self, metric: Metric, values: Callable[[], Reading]) -> None:
        """Have a metric read its values whenever it is collected.

        Args:
            metric: a counter or a gauge.
            values: returns them at once: it must not wait for a store or a lock that is held for long.
        """

        def observe(_: CallbackOptions) -> list[Observation]:
            return [
                Observation(value, dict(zip(metric.attributes, texts, strict=True)))
                for value, texts in values()
            ]

        make: Any = (
            self._meter.create_observable_counter
            if metric.kind == "counter"
            else self._meter.create_observable_gauge
        )
        make(metric.instrument, [observe], unit=metric.unit, description=metric.description)

    def call(self, method: str, code: str, seconds: float, trace: CallTrace | None) -> None:
        """A call has ended.

        Args:
            method: its full name, such as ``mitsumori.v1.RouterService/Route``; one of ours.
            code: its status, such as ``OK``.
            seconds: from its arrival to its end, ≥ 0.
            trace: that it belongs to; ``None``: none.
        """
        # The context is given, because looking it up costs as much as the rest.
        context = _NO_TRACE if trace is None or trace.context is None else trace.context
        self._duration.record(seconds, self._call_attributes(method, code), context)

    def waited(self, seconds: float) -> None:
        """See :meth:`Observer.waited`."""
        self._queue.record(seconds, None, _NO_TRACE)

    def refused(self, reason: str) -> None:
        """See :meth:`Observer.refused`."""
        self._refusals.add((reason,))

    def decided(self, model: str, provider: str, *, held: bool) -> None:
        """See :meth:`Observer.decided`."""
        self._decisions.add(self._models.named(model, provider))
        self._holds.add(("held" if held else "quoted",))

    def saw_limits(self, states: tuple[LimitState, ...], labels: Mapping[str, str]) -> None:
        """See :meth:`Observer.saw_limits`."""
        for state in states:
            if ANY in state.limit.scope.values():
                self.fullest.saw(state, labels)

    def settled(self, call: SettledCall) -> None:
        """See :meth:`Observer.settled`."""
        self._holds.add(("settled",))
        named = self._models.named(call.model, call.provider)
        self._spent.add(named, call.booked)
        context = _context()
        if call.quoted > 0:
            self._quote_error.record(call.booked / call.quoted, None, context)
        sent, received = self._token_attributes(*named)
        self._tokens.record(call.input_tokens, sent, context)
        self._tokens.record(call.output_tokens, received, context)

    def ejected(self, model: str, provider: str) -> None:
        """See :meth:`Observer.ejected`."""
        self._ejections.add(self._models.named(model, provider))

    def shadowed(self, result: str) -> None:
        """See :meth:`Observer.shadowed`."""
        self._shadow.add((result,))

    def split(self, *, took: bool) -> None:
        """See :meth:`Observer.split`."""
        self._canary.add(("canary" if took else "rest",))

    def released(self) -> None:
        """See :meth:`Observer.released`."""
        self._holds.add(("released",))

    def expired(self, holds: int) -> None:
        """See :meth:`Observer.expired`."""
        if holds:
            self._holds.add(("expired",), holds)

    def committed(self, seconds: float, operations: int) -> None:
        """See :meth:`Observer.committed`."""
        self._commit.record(seconds, None, _NO_TRACE)
        self._group.record(operations, None, _NO_TRACE)

    def _histogram(self, metric: Metric) -> Any:
        return self._meter.create_histogram(
            metric.instrument,
            unit=metric.unit,
            description=metric.description,
            explicit_bucket_boundaries_advisory=metric.buckets,
        )

    def _open(self) -> Collection[tuple[int, int]]:
        return () if self.open_holds is None else (self.open_holds,)


def _context() -> Context:
    """The context by which a histogram keeps an exemplar: that of the current call, where it is sampled."""
    trace = current_call.get()
    context: Context | None = None if trace is None else trace.context
    return _NO_TRACE if context is None else context


def _call_attributes(method: str, code: str) -> dict[str, str]:
    return dict(zip(CALL_DURATION.attributes, ("grpc", method, code), strict=True))


def _token_attributes(model: str, provider: str) -> tuple[dict[str, str], dict[str, str]]:
    """Of tokens that were sent, and of those that were received."""
    named = ("chat", model, provider)
    sent, received = (
        dict(zip(TOKEN_USAGE.attributes, (*named, kind), strict=True))
        for kind in ("input", "output")
    )
    return sent, received
