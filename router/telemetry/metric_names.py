"""Every metric that the service exports: names, labels and units in one place.

The server makes its instruments from this list; dashboards and alert rules in ``deploy/`` use no other name
and no other label, which a test checks. No label holds an id of a call, a prompt, a tenant or a label of
callers: the number of series is bounded by methods, status codes, reasons, models, limits and versions.

Names and attributes are those of OpenTelemetry: of its conventions where they have one (``rpc.*`` and
``gen_ai.*``), else our own. Prometheus shows them by its own rules, as :attr:`Metric.name` and
:attr:`Metric.labels` say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BUNDLE_INFO",
    "CALL_DURATION",
    "CANARY_HALTED",
    "CANARY_REQUESTS",
    "CATALOG_INFO",
    "DECISIONS",
    "EJECTIONS",
    "HELD",
    "HOLDS",
    "LEDGER_COMMIT",
    "LEDGER_GROUP",
    "LIMIT_HEADROOM",
    "LOG_DROPPED",
    "METRICS",
    "OPEN_HOLDS",
    "QUEUE",
    "QUEUE_LENGTH",
    "QUOTE_ERROR",
    "REFUSALS",
    "SHADOW_COPIES",
    "SHARED_STATE_AGE",
    "STORE_UP",
    "TOKEN_USAGE",
    "UNHEALTHY_MODELS",
    "Metric",
    "provider_name",
]

_SECONDS_BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Upper bounds of the histograms of time, seconds. The objective for latency (.15) is one of them."""

_RATIO_BUCKETS = (0.1, 0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0, 10.0)
"""Upper bounds of the histogram of quote errors. The objective (.8 to 1.25) is among them."""

_GROUP_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
_TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
"""Those of the conventions for ``gen_ai.client.token.usage``."""

_UNIT_SUFFIXES = {"s": "_seconds", "usd": "_usd"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as OpenTelemetry and as Prometheus see it.

    Attributes:
        instrument: the name of the instrument.
        kind: counter, gauge or histogram. An info metric is a gauge that is always 1.
        attributes: their keys, in their order.
        unit: in the notation of UCUM: ``s``, ``usd``, a noun in braces, or empty.
        description: one sentence: the ``# HELP`` line.
        buckets: upper bounds of a histogram, ascending, without infinity; empty for other kinds.
    """

    instrument: str
    kind: Literal["counter", "gauge", "histogram"]
    attributes: tuple[str, ...]
    unit: str
    description: str
    buckets: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The name in Prometheus: with the unit, and ``_total`` for a counter."""
        suffix = _UNIT_SUFFIXES.get(self.unit, "") + ("_total" if self.kind == "counter" else "")
        return self.instrument.replace(".", "_") + suffix

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels in Prometheus, in the order of the attributes."""
        return tuple([attribute.replace(".", "_") for attribute in self.attributes])


CALL_DURATION = Metric(
    "rpc.server.call.duration",
    "histogram",
    ("rpc.system.name", "rpc.method", "rpc.response.status_code"),
    "s",
    "Time from a call's arrival to its reply, by method and status code, refusals included.",
    _SECONDS_BUCKETS,
)
QUEUE = Metric(
    "mitsumori.queue",
    "histogram",
    (),
    "s",
    "Time that admitted calls waited for a worker.",
    _SECONDS_BUCKETS,
)
QUEUE_LENGTH = Metric(
    "mitsumori.queue_length",
    "gauge",
    (),
    "{call}",
    "Calls that have arrived and wait for a worker.",
)
REFUSALS = Metric(
    "mitsumori.refusals",
    "counter",
    ("reason",),
    "{call}",
    "Refused calls by the stable reason of their ErrorInfo.",
)
DECISIONS = Metric(
    "mitsumori.decisions",
    "counter",
    ("gen_ai.request.model", "gen_ai.provider.name"),
    "{decision}",
    "Recorded decisions by the model that was chosen and its provider.",
)
EJECTIONS = Metric(
    "mitsumori.ejections",
    "counter",
    ("gen_ai.request.model", "gen_ai.provider.name"),
    "{ejection}",
    "How often a model was left out because calls to it failed, in this process.",
)
UNHEALTHY_MODELS = Metric(
    "mitsumori.unhealthy_models",
    "gauge",
    (),
    "{model}",
    "Models that fail at the moment, as this process knows: left out, or tried again.",
)
SHARED_STATE_AGE = Metric(
    "mitsumori.shared_state_age",
    "gauge",
    (),
    "s",
    "Time since this process last exchanged with the others, through the store, what they share beside"
    " money.",
)
HOLDS = Metric(
    "mitsumori.holds",
    "counter",
    ("state",),
    "{decision}",
    "Decisions that entered a state: quoted, held, settled, released or expired.",
)
OPEN_HOLDS = Metric(
    "mitsumori.open_holds",
    "gauge",
    (),
    "{decision}",
    "Open holds in this server's store.",
)
HELD = Metric(
    "mitsumori.held",
    "gauge",
    (),
    "usd",
    "Money of all open holds in this server's store, USD.",
)
SPENT = Metric(
    "mitsumori.spent",
    "counter",
    ("gen_ai.request.model", "gen_ai.provider.name"),
    "usd",
    "Money of settled calls by model, USD, as booked; what is amended later does not change it.",
)
LIMIT_HEADROOM = Metric(
    "mitsumori.limit_headroom_ratio",
    "gauge",
    ("limit",),
    "",
    "Part of the hard value or the share that is neither spent nor held, of each limit's fullest account.",
)
QUOTE_ERROR = Metric(
    "mitsumori.quote_error_ratio",
    "histogram",
    (),
    "",
    "Settled price divided by the expected price that was quoted.",
    _RATIO_BUCKETS,
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    (
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.provider.name",
        "gen_ai.token.type",
    ),
    "{token}",
    "Tokens of settled calls, as reported, by model and by kind (input or output).",
    _TOKEN_BUCKETS,
)
LEDGER_COMMIT = Metric(
    "mitsumori.ledger_commit",
    "histogram",
    (),
    "s",
    "Time of a commit of the ledger, from its begin to the disk or the database.",
    _SECONDS_BUCKETS,
)
LEDGER_GROUP = Metric(
    "mitsumori.ledger_group",
    "histogram",
    (),
    "{operation}",
    "Operations in a commit of the ledger.",
    _GROUP_BUCKETS,
)
SHADOW_COPIES = Metric(
    "mitsumori.shadow_copies",
    "counter",
    ("result",),
    "{request}",
    "Copies of requests for the shadow by result: agrees, differs, failed or dropped.",
)
CANARY_REQUESTS = Metric(
    "mitsumori.canary_requests",
    "counter",
    ("side",),
    "{request}",
    "Requests in the scope of the canary by the side that is to decide: canary or rest.",
)
CANARY_HALTED = Metric(
    "mitsumori.canary_halted",
    "gauge",
    (),
    "",
    "1 where there is a canary that has been halted, else 0.",
)
STORE_UP = Metric(
    "mitsumori.store_up",
    "gauge",
    (),
    "",
    "1 where the store could be written when health last looked, else 0.",
)
BUNDLE_INFO = Metric(
    "mitsumori.bundle_info",
    "gauge",
    ("version",),
    "",
    "1 for the version of the bundle that is served.",
)
CATALOG_INFO = Metric(
    "mitsumori.catalog_info",
    "gauge",
    ("version",),
    "",
    "1 for the version of the price table that is served.",
)
LOG_DROPPED = Metric(
    "mitsumori.log_dropped",
    "counter",
    (),
    "{line}",
    "Log lines that were dropped because the log could not be written fast enough.",
)

METRICS = (
    CALL_DURATION,
    QUEUE,
    QUEUE_LENGTH,
    REFUSALS,
    DECISIONS,
    EJECTIONS,
    UNHEALTHY_MODELS,
    SHARED_STATE_AGE,
    HOLDS,
    OPEN_HOLDS,
    HELD,
    SPENT,
    LIMIT_HEADROOM,
    QUOTE_ERROR,
    TOKEN_USAGE,
    LEDGER_COMMIT,
    LEDGER_GROUP,
    SHADOW_COPIES,
    CANARY_REQUESTS,
    CANARY_HALTED,
    STORE_UP,
    BUNDLE_INFO,
    CATALOG_INFO,
    LOG_DROPPED,
)
"""All metrics, in the order of the reference."""

_PROVIDER_NAMES = {"google": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}


def provider_name(provider: str) -> str:
    """What the conventions for ``gen_ai.provider.name`` call a provider of the catalog."""
    return _PROVIDER_NAMES.get(provider, provider)
