"""Between the protocol and the core: validate what comes in, render what goes out. Nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from router.catalog import Catalog
from router.core.errors import InvalidInput, TooLarge
from router.core.money import MAX_NANOS, NANOS_PER_USD
from router.core.types import (
    NONE_LABEL,
    Candidate,
    Constraints,
    Goal,
    Importance,
    Message,
    Prompt,
    QualityTarget,
    Quote,
    Reason,
    Score,
    WillingnessToPay,
)
from router.routing import Ask, Routed
from router.v1 import prompt_pb2, quote_pb2, router_pb2

__all__ = ["money", "nanos", "parse_route", "render_route"]

_ID = re.compile(r"[A-Za-z0-9._:\-]{0,128}")
_SCOPE_KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_SCOPE = 32
_MAX_MESSAGES = 1000
_MAX_NAMES = 256
_MAX_TOKENS = 2**31 - 1
_MAX_ALTERNATIVES = 1000
_DEFAULT_ALTERNATIVES = 5

_ROLES = {
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
    prompt_pb2.ROLE_TOOL: "tool",
}
_IMPORTANCES = {
    router_pb2.IMPORTANCE_UNSPECIFIED: Importance.MEDIUM,
    router_pb2.IMPORTANCE_LOW: Importance.LOW,
    router_pb2.IMPORTANCE_MEDIUM: Importance.MEDIUM,
    router_pb2.IMPORTANCE_HIGH: Importance.HIGH,
}


def _wrong(field: str, problem: str) -> InvalidInput:
    return InvalidInput(f"{field}: {problem}", field=field)


def money(amount: int) -> Money:
    """Nano-dollars ≥ 0 as ``google.type.Money`` in USD."""
    units, rest = divmod(amount, NANOS_PER_USD)
    return Money(currency_code="USD", units=units, nanos=rest)


def nanos(amount: Money, field: str) -> int:
    """``google.type.Money`` as nano-dollars.

    Raises:
        InvalidInput: not USD, negative, malformed, or out of range.
    """
    if amount.currency_code != "USD":
        raise _wrong(field, "currency_code must be USD")
    if amount.units < 0 or not 0 <= amount.nanos < NANOS_PER_USD:
        raise _wrong(field, "must not be negative, with nanos in 0..999,999,999")
    total = amount.units * NANOS_PER_USD + amount.nanos
    if total > MAX_NANOS:
        raise _wrong(field, f"must be at most {MAX_NANOS // NANOS_PER_USD} USD")
    return int(total)


def _identifier(value: str, field: str) -> str:
    if not _ID.fullmatch(value):
        raise _wrong(field, "at most 128 characters of letters, digits and . _ : -")
    return value


def _scope(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > _MAX_SCOPE:
        raise _wrong("scope", f"has {len(labels)} labels, at most {_MAX_SCOPE} are allowed")
    for key, value in labels.items():
        if not _SCOPE_KEY.fullmatch(key):
            raise _wrong("scope", "keys must match [a-z][a-z0-9_]{0,62}, such as team")
        if not 1 <= len(value) <= 128:
            raise _wrong(f"scope.{key}", "must have 1 to 128 characters")
    return labels


def _prompt(prompt: prompt_pb2.Prompt, max_bytes: int) -> Prompt:
    kind = prompt.WhichOneof("content")
    if kind is None:
        raise _wrong("prompt", "is missing; set prompt.text or prompt.chat")
    if kind == "text":
        messages: tuple[Message, ...] = (Message("user", prompt.text),)
    else:
        messages = tuple(_messages(prompt.chat.messages))
    size = sum(len(message.text.encode()) for message in messages)
    if size > max_bytes:
        raise TooLarge(
            f"prompt: {size:,} bytes exceed the limit of {max_bytes:,}; shorten it, or raise the "
            "server's max_prompt_bytes",
            reason="PROMPT_TOO_LARGE",
            field="prompt",
            metadata={"bytes": str(size), "max_bytes": str(max_bytes)},
        )
    if not any(message.text.strip() for message in messages):
        raise _wrong("prompt", "is empty; send some text")
    return Prompt(messages)


def _messages(messages: Iterable[prompt_pb2.Message]) -> Iterable[Message]:
    turns = list(messages)
    if not 1 <= len(turns) <= _MAX_MESSAGES:
        raise _wrong("prompt.chat.messages", f"must have 1 to {_MAX_MESSAGES} messages")
    for index, turn in enumerate(turns):
        role = _ROLES.get(turn.role)
        if role is None:
            raise _wrong(f"prompt.chat.messages[{index}].role", "must be a known role")
        yield Message(role, turn.text)


def _constraints(given: router_pb2.Constraints, catalog: Catalog) -> Constraints:
    named = (
        ("allowed_models", given.allowed_models, catalog.ids),
        ("allowed_tiers", given.allowed_tiers, catalog.tiers),
        ("required_capabilities", given.required_capabilities, catalog.capabilities),
    )
    for name, values, known in named:
        field = f"constraints.{name}"
        if len(values) > _MAX_NAMES:
            raise _wrong(field, f"names at most {_MAX_NAMES}")
        catalog.check_known(field, values, known)
    max_price = max_latency = max_output = None
    if given.HasField("max_price"):
        max_price = nanos(given.max_price, "constraints.max_price")
    if given.HasField("max_latency"):
        latency = given.max_latency
        max_latency = latency.seconds + latency.nanos / 1e9
        if max_latency <= 0:
            raise _wrong("constraints.max_latency", "must be more than zero")
    if given.HasField("max_output_tokens"):
        max_output = given.max_output_tokens
        if not 1 <= max_output <= _MAX_TOKENS:
            raise _wrong("constraints.max_output_tokens", f"must be 1 to {_MAX_TOKENS}")
    return Constraints(
        models=frozenset(given.allowed_models),
        tiers=frozenset(given.allowed_tiers),
        capabilities=frozenset(given.required_capabilities),
        max_price_nanos=max_price,
        max_latency_s=max_latency,
        max_output_tokens=max_output,
    )


def _goal(request: router_pb2.RouteRequest) -> Goal | None:
    match request.WhichOneof("goal"):
        case "quality_target":
            target = request.quality_target
            if not (math.isfinite(target) and 0 <= target <= 1):
                raise _wrong("quality_target", "must be a number from 0 to 1")
            return QualityTarget(target)
        case "willingness_to_pay":
            worth = nanos(request.willingness_to_pay, "willingness_to_pay")
            if worth == 0:
                raise _wrong("willingness_to_pay", "must be more than zero")
            return WillingnessToPay(worth)
    return None


def parse_route(request: router_pb2.RouteRequest, catalog: Catalog, max_bytes: int) -> Ask:
    """A validated ask, or the first thing that is wrong with the request.

    Raises:
        InvalidInput: names the field.
        TooLarge: the prompt exceeds ``max_bytes``; checked before anything costly.
    """
    prompt = _prompt(request.prompt, max_bytes)
    alternatives = _DEFAULT_ALTERNATIVES
    if request.HasField("max_alternatives"):
        alternatives = request.max_alternatives
        if not 0 <= alternatives <= _MAX_ALTERNATIVES:
            raise _wrong("max_alternatives", f"must be 0 to {_MAX_ALTERNATIVES}")
    importance = _IMPORTANCES.get(request.importance)
    if importance is None:
        raise _wrong("importance", "must be low, medium, high or unspecified")
    return Ask(
        request_id=_identifier(request.request_id, "request_id"),
        scope=_scope(dict(request.scope)),
        prompt=prompt,
        constraints=_constraints(request.constraints, catalog),
        goal=_goal(request),
        importance=importance,
        max_alternatives=alternatives,
        conversation_id=_identifier(request.conversation_id, "conversation_id"),
    )


def _fill_money(target: Money, amount: int) -> None:
    target.currency_code = "USD"
    target.units, target.nanos = divmod(amount, NANOS_PER_USD)


def _fill_duration(target: Duration, seconds: float) -> None:
    target.seconds = int(seconds)
    target.nanos = int((seconds - int(seconds)) * 1e9)


@lru_cache(maxsize=64)  # all quotes of one reply expire at the same moment
def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _fill_quote(target: quote_pb2.Quote, quote: Quote) -> None:
    # Filled in place: a reply has more than a hundred small messages, and building each to copy it
    # into the next took half of the time of rendering.
    target.input_tokens.tokens = quote.input_tokens.tokens
    target.input_tokens.exact = quote.input_tokens.exact
    target.output_tokens.p50 = quote.output_tokens_p50
    target.output_tokens.p90 = quote.output_tokens_p90
    target.output_tokens.worst = quote.output_tokens_worst
    price = target.price
    _fill_money(price.low, quote.price.low)
    _fill_money(price.expected, quote.price.expected)
    _fill_money(price.high, quote.price.high)
    _fill_money(price.worst, quote.price.worst)
    _fill_duration(target.latency.p50, quote.latency.p50_s)
    _fill_duration(target.latency.p90, quote.latency.p90_s)
    target.expire_time.CopyFrom(_timestamp(quote.expires))
    target.price_table_version = quote.price_table


def _fill_option(target: router_pb2.Option, candidate: Candidate) -> None:
    assert candidate.quote is not None  # noqa: S101 — a ranked candidate has a quote
    target.model = candidate.model.id
    target.provider = candidate.model.provider
    target.tier = candidate.model.tier
    target.arm = candidate.arm or ""
    target.p_adequate = candidate.p_adequate or 0.0
    _fill_quote(target.quote, candidate.quote)


def _render_score(score: Score) -> router_pb2.Assessment:
    return router_pb2.Assessment(
        complexity=score.complexity,
        arms=[
            router_pb2.ArmScore(arm=arm, p_label=score.label_distribution[arm], p_adequate=p)
            for arm, p in score.p_adequate.items()
        ],
        p_none=score.label_distribution[NONE_LABEL],
    )


def _render_reason(reason: Reason) -> router_pb2.Reason:
    return router_pb2.Reason(
        code=f"REASON_CODE_{reason.code}", text=reason.text, facts=reason.facts
    )


def render_route(
    routed: Routed, decision_id: str, max_alternatives: int
) -> router_pb2.RouteResponse:
    """The reply of one decision."""
    reply = router_pb2.RouteResponse(
        decision_id=decision_id,
        assessment=_render_score(routed.score),
        reasons=map(_render_reason, routed.decision.reasons),
        bundle_version=routed.bundle_version,
    )
    first, *rest = routed.decision.ranked
    _fill_option(reply.chosen, first)
    for candidate in rest[:max_alternatives]:
        _fill_option(reply.alternatives.add(), candidate)
    return reply
