"""Messages of Route: validates a request, renders a reply."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from mitsumori.money import fill_money
from mitsumori.v1 import prompt_pb2, quote_pb2, router_pb2
from router.catalog.catalog import Catalog
from router.core.errors import TooLarge
from router.core.goals import at_stake
from router.core.limits import CHOICE_LABELS
from router.core.types import (
    NONE_LABEL,
    Candidate,
    Constraints,
    Explored,
    Goal,
    Importance,
    LatencyRange,
    Message,
    MissCost,
    PriceRange,
    Prompt,
    QualityTarget,
    Quote,
    Reason,
    Score,
    WillingnessToPay,
)
from router.routing.reservations import HeldDecision
from router.routing.router import RoutedDecision, RouteQuery
from router.routing.turns import covers
from router.rpc.messages.limit import fill_limit_status
from router.rpc.messages.task_status import fill_turn
from router.rpc.messages.values import (
    MAX_TOKENS,
    check_label_name,
    fill_duration,
    fill_timestamp,
    identifier,
    nanos,
    timestamp,
    wrong,
)

__all__ = ["parse_route", "render_example", "render_held", "render_route"]

_MAX_SCOPE = 32
_MAX_MESSAGES = 1000
_MAX_NAMES = 256
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


def _scope(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > _MAX_SCOPE:
        raise wrong("scope", f"has {len(labels)} labels, at most {_MAX_SCOPE} are allowed")
    for key, value in labels.items():
        check_label_name(key, "scope")
        if key in CHOICE_LABELS:
            raise wrong(f"scope.{key}", "is set by the service; restrict it in constraints")
        if not 1 <= len(value) <= 128:
            raise wrong(f"scope.{key}", "must have 1 to 128 characters")
    return labels


def _prompt(prompt: prompt_pb2.Prompt, max_bytes: int) -> Prompt:
    kind = prompt.WhichOneof("content")
    if kind is None:
        raise wrong("prompt", "is missing; set prompt.text or prompt.chat")
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
        raise wrong("prompt", "is empty; send some text")
    return Prompt(messages)


def _messages(messages: Iterable[prompt_pb2.Message]) -> Iterable[Message]:
    turns = list(messages)
    if not 1 <= len(turns) <= _MAX_MESSAGES:
        raise wrong("prompt.chat.messages", f"must have 1 to {_MAX_MESSAGES} messages")
    for index, turn in enumerate(turns):
        role = _ROLES.get(turn.role)
        if role is None:
            raise wrong(f"prompt.chat.messages[{index}].role", "must be a known role")
        yield Message(role, turn.text)


def _constraints(given: router_pb2.Constraints, catalog: Catalog) -> Constraints:
    named = (
        ("allowed_models", given.allowed_models, catalog.ids),
        ("allowed_tiers", given.allowed_tiers, catalog.tiers),
        ("required_capabilities", given.required_capabilities, catalog.capabilities),
        ("regions", given.regions, catalog.regions),
    )
    for name, values, known in named:
        field = f"constraints.{name}"
        if len(values) > _MAX_NAMES:
            raise wrong(field, f"must have at most {_MAX_NAMES} names")
        if values:
            catalog.check_known(field, values, known)
    max_price = max_output = None
    if given.HasField("max_price"):
        max_price = nanos(given.max_price, "constraints.max_price")
    if given.HasField("max_output_tokens"):
        max_output = given.max_output_tokens
        if not 1 <= max_output <= MAX_TOKENS:
            raise wrong("constraints.max_output_tokens", f"must be 1 to {MAX_TOKENS}")
    return Constraints(
        models=frozenset(given.allowed_models),
        tiers=frozenset(given.allowed_tiers),
        capabilities=frozenset(given.required_capabilities),
        max_price_nanos=max_price,
        max_latency_s=_seconds(given, "max_latency"),
        max_output_tokens=max_output,
        max_first_token_s=_seconds(given, "max_first_token"),
        regions=frozenset(given.regions),
    )


def _seconds(given: router_pb2.Constraints, name: str) -> float | None:
    """A bound of a time, or ``None`` where there is none."""
    if not given.HasField(name):
        return None
    bound = getattr(given, name)
    seconds: float = bound.seconds + bound.nanos / 1e9
    if seconds <= 0:
        raise wrong(f"constraints.{name}", "must be more than zero")
    return seconds


def _goal(request: router_pb2.RouteRequest) -> Goal | None:
    match request.WhichOneof("goal"):
        case "quality_target":
            target = request.quality_target
            if not (math.isfinite(target) and 0 <= target <= 1):
                raise wrong("quality_target", "must be a number from 0 to 1")
            return QualityTarget(target)
        case "willingness_to_pay":
            worth = nanos(request.willingness_to_pay, "willingness_to_pay")
            if worth == 0:
                raise wrong("willingness_to_pay", "must be more than zero")
            return WillingnessToPay(worth)
    return None


def parse_route(request: router_pb2.RouteRequest, catalog: Catalog, max_bytes: int) -> RouteQuery:
    """A validated request.

    Args:
        request: as it arrived.
        catalog: knows the models, tiers and capabilities that constraints may name.
        max_bytes: most bytes of UTF-8 that the texts of the prompt may have together.

    Raises:
        InvalidInput: names the first field that is wrong.
        TooLarge: the prompt exceeds ``max_bytes``; checked before any costly work.
    """
    prompt = _prompt(request.prompt, max_bytes)
    alternatives = _DEFAULT_ALTERNATIVES
    if request.HasField("max_alternatives"):
        alternatives = request.max_alternatives
        if not 0 <= alternatives <= _MAX_ALTERNATIVES:
            raise wrong("max_alternatives", f"must be 0 to {_MAX_ALTERNATIVES}")
    importance = _IMPORTANCES.get(request.importance)
    if importance is None:
        raise wrong("importance", "must be low, medium, high or unspecified")
    return RouteQuery(
        request_id=identifier(request.request_id, "request_id"),
        scope=_scope(dict(request.scope)),
        prompt=prompt,
        constraints=_constraints(request.constraints, catalog),
        goal=_goal(request),
        importance=importance,
        max_alternatives=alternatives,
        quote_only=request.quote_only,
        batch=request.batch,
        conversation_id=identifier(request.conversation_id, "conversation_id"),
        explain=request.explain,
        task_id=identifier(request.task_id, "task_id"),
    )


def _fill_quote(target: quote_pb2.Quote, quote: Quote) -> None:
    # In place, because building more than a hundred small messages and copying each into its parent took
    # half of the rendering time.
    given, output = target.input_tokens, target.output_tokens
    given.tokens, given.exact, given.worst = quote.input_tokens
    output.p50 = quote.output_tokens_p50
    output.p90 = quote.output_tokens_p90
    output.worst = quote.output_tokens_worst
    if quote.reasoning_tokens_p90:
        target.reasoning_tokens.p50 = quote.reasoning_tokens_p50
        target.reasoning_tokens.p90 = quote.reasoning_tokens_p90
        target.reasoning_tokens.worst = quote.output_tokens_worst
    _fill_price(target.price, quote.price)
    _fill_latency(target.latency, quote.latency)
    if quote.first_token is not None:
        _fill_latency(target.first_token, quote.first_token)
    target.expire_time.CopyFrom(timestamp(quote.expires))
    target.price_table_version = quote.price_table


def _fill_price(target: quote_pb2.PriceRange, price: PriceRange) -> None:
    fill_money(target.low, price.low)
    fill_money(target.expected, price.expected)
    fill_money(target.high, price.high)
    fill_money(target.worst, price.worst)


def _fill_latency(target: quote_pb2.LatencyRange, latency: LatencyRange) -> None:
    fill_duration(target.p50, latency.p50_s)
    fill_duration(target.p90, latency.p90_s)


def _fill_option(target: router_pb2.Option, candidate: Candidate) -> None:
    assert candidate.quote is not None  # noqa: S101 — a ranked candidate has a quote
    target.model = candidate.model.id
    target.provider = candidate.model.provider
    target.tier = candidate.model.tier
    target.arm = candidate.arm or ""
    target.p_adequate = candidate.p_adequate or 0.0
    target.p_adequate_basis = candidate.basis
    _fill_quote(target.quote, candidate.quote)


def _fill_fallback(target: router_pb2.Fallback, candidate: Candidate) -> None:
    assert candidate.quote is not None  # noqa: S101 — a ranked candidate has a quote
    target.model = candidate.model.id
    target.provider = candidate.model.provider
    target.tier = candidate.model.tier
    target.p_adequate = candidate.p_adequate or 0.0
    _fill_price(target.price, candidate.quote.price)


def _render_score(score: Score) -> router_pb2.Assessment:
    return router_pb2.Assessment(
        complexity=score.complexity,
        arms=[
            router_pb2.ArmScore(arm=arm, p_label=score.label_distribution[arm], p_adequate=p)
            for arm, p in score.p_adequate.items()
        ],
        p_none=score.label_distribution[NONE_LABEL],
    )


def _fill_exploration(target: router_pb2.Exploration, explored: Explored) -> None:
    target.propensity = explored.propensity
    target.explored = explored.chosen != explored.best
    target.share, target.regret = explored.given.share, explored.given.regret
    for model, propensity in explored.chances.items():
        target.models.add(model=model, propensity=propensity)


def _render_reason(reason: Reason) -> router_pb2.Reason:
    return router_pb2.Reason(
        code=f"REASON_CODE_{reason.code}", text=reason.text, facts=reason.facts
    )


def render_held(
    held: HeldDecision, decision_id: str, max_alternatives: int
) -> router_pb2.RouteResponse:
    """The reply to a request, with hold and limits.

    Args:
        held: the decision with its hold.
        decision_id: its id.
        max_alternatives: most alternatives to list, ≥ 0.
    """
    reply = render_route(held.routed, decision_id, max_alternatives)
    amounts = held.amounts
    if amounts is not None:
        fill_money(reply.hold.amount, amounts.money)
        reply.hold.tokens = amounts.tokens
        fill_timestamp(reply.hold.expire_time, held.expires)
    for state in held.states:
        taken = amounts.of(state.limit.unit) if amounts is not None else 0
        if held.task is not None and covers(held.task, state):
            taken = 0  # held before, by the task
        whole = state.whole if state.limit.share is None else state.whole + taken
        after = replace(state, held=state.held + taken, whole=whole)
        fill_limit_status(reply.limits.add(), after)
    if held.task is not None:
        fill_turn(reply.task, held.task)
    return reply


def render_example(held: HeldDecision) -> bytes:
    """A serialised reply with every alternative and without an id."""
    return render_held(held, "", _MAX_ALTERNATIVES).SerializeToString()


def render_route(
    routed: RoutedDecision, decision_id: str, max_alternatives: int
) -> router_pb2.RouteResponse:
    """The reply to a request, without hold and limits.

    Args:
        routed: the decision.
        decision_id: its id.
        max_alternatives: most alternatives to list, ≥ 0.
    """
    reply = router_pb2.RouteResponse(
        decision_id=decision_id,
        assessment=_render_score(routed.score),
        reasons=map(_render_reason, routed.decision.reasons),
        bundle_version=routed.bundle_version,
        catalog_version=routed.catalog_version,
        settings_version=routed.settings_version,
        rules_version=routed.ruling.version,
        rules=routed.ruling.names,
    )
    goal = at_stake(routed.goal, routed.score.complexity)
    if isinstance(goal, MissCost):
        fill_money(reply.miss_cost, goal.nanos)
    explored = routed.decision.explored
    if explored is not None:
        _fill_exploration(reply.exploration, explored)
    first, *rest = routed.decision.ranked
    _fill_option(reply.chosen, first)
    for candidate in rest[:max_alternatives]:
        _fill_option(reply.alternatives.add(), candidate)
    for candidate in routed.decision.fallbacks:
        _fill_fallback(reply.fallbacks.add(), candidate)
    return reply
