"""Golden decisions: how a file becomes a real decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import yaml

from router.catalog.catalog import parse_catalog
from router.core.errors import MitsumoriError
from router.core.health import ALL_HEALTHY, Health
from router.core.limits import (
    Amounts,
)
from router.core.types import (
    Candidate,
    Message,
    Model,
    Prompt,
    Quote,
    TokenCount,
)
from router.routing.router import Assessment, RouteQuery, Router
from router.rules.facts import Facts
from router.rules.routing_table import Rules, load_rules, parse_rules
from tests.golden.decision_files import INPUT_TOKENS, Case, Given, GivenHealth, GivenModel

__all__ = ["Outcome", "outcome_of"]

_OUTPUT_TOKENS = 400


@dataclass(frozen=True)
class Outcome:
    """What was decided, in the terms of :class:`Expected`, with every text that was said."""

    model: str | None = None
    reasons: tuple[str, ...] | None = None
    alternatives: tuple[str, ...] | None = None
    fallbacks: tuple[str, ...] | None = None
    propensity: float | None = None
    refused: str | None = None
    texts: tuple[str, ...] = ()


def outcome_of(case: Case, name: str, router: Router) -> Outcome:
    """Decide: with the real catalog, routing table and decision; where the case has messages, on the real
    reading of them.

    Args:
        case: of a file.
        name: of the file, for errors.
        router: whose bundle reads messages.

    Raises:
        BadArtifact: models or rules of the file are wrong; names the file and the field.
    """
    given = case.given
    catalog = parse_catalog(_catalog_text(given), name=f"{name}: models", now=lambda: given.moment)
    rules = _rules(given, name)
    asked = given.exploration
    fitted = replace(
        router,
        catalog=catalog,
        rules=rules,
        now=lambda: given.moment,
        explore=asked.share if asked else 0.0,
        explore_regret=asked.regret if asked else 0.0,
    )
    query = _query(given)
    assessed = _assessed(given, query, fitted)
    candidates = [_candidate(each, given, assessed) for each in assessed.candidates]
    try:
        decision = fitted.decide(
            query, assessed, candidates, _health(given), asked.draw if asked else None
        ).decision
    except MitsumoriError as error:
        return Outcome(refused=error.reason, texts=(error.message,))
    return Outcome(
        model=decision.chosen.model.id,
        reasons=tuple(each.code for each in decision.reasons),
        alternatives=tuple(each.model.id for each in decision.ranked[1:]),
        fallbacks=tuple(each.model.id for each in decision.fallbacks),
        propensity=decision.propensity,
        texts=tuple(each.text for each in decision.reasons),
    )


def _catalog_text(given: Given) -> bytes:
    lengths = {"p50": 200, "p90": 800, "p99": 2000}
    entries = []
    for name, each in given.models.items():
        entry: dict[str, Any] = {
            "id": name,
            "provider": each.provider,
            "tier": each.tier,
            "context_window": each.context_window,
            "max_output_tokens": 4_000,
            "tokenizer": {"encoding": "o200k_base", "factor": 1},
            "capabilities": sorted(each.capabilities),
            "regions": sorted(each.regions),
            "speed": {"first_token_s": 0.5, "output_tokens_per_s": 100},
        }
        if each.retires is not None:
            entry["retires"] = each.retires
        if each.replaced_by is not None:
            entry["replaced_by"] = each.replaced_by
        entries.append(entry)
    tiers = ["low", "medium", "high"]
    whole = {"tiers": tiers, "default_lengths": dict.fromkeys(tiers, lengths), "models": entries}
    return yaml.safe_dump(whole).encode()


def _rules(given: Given, name: str) -> Rules | None:
    if given.rules == "shipped":
        return load_rules()
    if not given.rules:
        return None
    text = yaml.safe_dump({"rules": list(given.rules)})
    return parse_rules(text.encode(), name=f"{name}: rules")


def _query(given: Given) -> RouteQuery:
    messages = [Message(role, text) for one in given.messages for role, text in one.items()]
    request = given.request
    return RouteQuery(
        request_id="",
        scope=request.scope,
        prompt=Prompt(tuple(messages) or (Message("user", "Hello"),)),
        constraints=request.constraints,
        goal=request.goal,
        importance=request.importance,
        conversation_id="",
        max_alternatives=len(given.models),
        batch=request.batch,
    )


def _assessed(given: Given, query: RouteQuery, router: Router) -> Assessment:
    """As the router assesses; where the complexity is stated, with that and the rules asked about it."""
    assessed = router.assess(query)
    if given.complexity is None:
        return assessed
    ruling = assessed.ruling
    if router.rules is not None:
        ruling = router.rules.fitted(router.catalog).ruling(
            Facts(
                query.importance,
                given.complexity,
                assessed.features,
                query.scope,
                query.constraints,
                query.goal,
                given.request.input_tokens,
                len(query.prompt.messages),
                query.batch,
                given.moment,
            )
        )
    return replace(
        assessed,
        score=replace(assessed.score, complexity=given.complexity),
        goal=ruling.goal or query.goal or router.default_goals.of(query.importance),
        ruling=ruling,
    )


def _candidate(made: Candidate, given: Given, assessed: Assessment) -> Candidate:
    stated = given.models[made.model.id]
    p = made.p_adequate if given.messages else stated.p
    quote = _quote(made.model, stated, given, assessed)
    labels = {
        **given.request.scope,
        "model": made.model.id,
        "provider": made.model.provider,
        "tier": made.model.tier,
    }
    found = (one.state(name, labels, given.moment) for name, one in given.limits.items())
    return Candidate(
        made.model,
        None if p is None else made.model.tier,
        p,
        quote,
        None if quote is None else Amounts(quote.price.high, INPUT_TOKENS + _OUTPUT_TOKENS),
        tuple(state for state in found if state is not None),
    )


def _quote(model: Model, stated: GivenModel, given: Given, assessed: Assessment) -> Quote | None:
    if stated.price is None:
        return None
    tokens = given.request.input_tokens
    return Quote(
        model=model.id,
        input_tokens=TokenCount(tokens, True, tokens),
        output_tokens_p50=_OUTPUT_TOKENS // 2,
        output_tokens_p90=_OUTPUT_TOKENS,
        output_tokens_worst=4_000,
        price=stated.price.nanos,
        latency=stated.seconds.latency,
        expires=assessed.moment + timedelta(minutes=5),
        price_table="golden",
        counted_tokens=tokens,
        first_token=stated.first_token.latency if stated.first_token else None,
    )


def _health(given: Given) -> Health:
    told = given.health
    if told == GivenHealth():
        return ALL_HEALTHY
    return Health(
        told.unhealthy,
        told.providers,
        told.due,
        told.max_ejected_share,
        told.failed_providers,
    )
