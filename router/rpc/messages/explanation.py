"""Messages of explanations: values → protocol."""

from __future__ import annotations

from mitsumori.money import fill_money
from mitsumori.v1 import explanation_pb2
from router.core.changes import Change, Lever
from router.core.explanation import Criterion, Explained, Explanation, Loss
from router.core.limits import Unit
from router.core.types import MissCost, QualityTarget
from router.decision_log.logged_explanation import Gap, LoggedExplanation, explain_record
from router.decision_log.record_json import RecordError, parse
from router.ledger.base import StoredDecision
from router.ledger.storage_format import damaged_decision

__all__ = ["explained", "fill_explanation", "fill_logged"]

_MONEY = frozenset({Lever.PRICE, Lever.MISS_COST, Lever.WILLINGNESS_TO_PAY, Lever.MAX_PRICE})
_PROBABILITY = frozenset({Lever.P_ADEQUATE, Lever.QUALITY_TARGET})
_SECONDS = frozenset({Lever.MAX_LATENCY, Lever.MAX_FIRST_TOKEN})
_LIKELY = frozenset({Criterion.TARGET, Criterion.NEAR_BEST, Criterion.CHANCE})
"""Criteria whose gap is a probability."""


def fill_explanation(target: explanation_pb2.Explanation, found: Explanation) -> None:
    """Write an explanation into a message.

    Args:
        target: an empty message.
        found: what is explained.
    """
    goal = found.goal
    if isinstance(goal, QualityTarget):
        target.quality_target = goal.p_adequate
    else:
        money = target.miss_cost if isinstance(goal, MissCost) else target.willingness_to_pay
        fill_money(money, goal.nanos)
    target.complexity = found.complexity
    explored = found.explored
    target.propensity = 1.0 if explored is None else explored.propensity
    for each in found.candidates:
        _fill_model(target.models.add(), each)


def explained(decided: StoredDecision) -> LoggedExplanation:
    """The explanation of a decision of the ledger.

    Raises:
        BadArtifact: its record cannot be read; names the decision.
    """
    try:
        return explain_record(parse(decided.record), decided.created)
    except RecordError as error:
        raise damaged_decision(decided.id, "record", str(error)) from None


def fill_logged(target: explanation_pb2.Explanation, found: LoggedExplanation) -> None:
    """Write the explanation of a decision of the log into a message.

    Args:
        target: an empty message.
        found: what is explained, and what is not known.
    """
    fill_explanation(target, found.explanation)
    for name in found.unhealthy:
        target.models.add(model=name, exclusion="unhealthy")
    for name in found.full:
        target.models.add(model=name, exclusion="provider_full")
    target.gaps.extend(_GAPS[gap] for gap in found.gaps)


_GAPS = {
    Gap.LEFT_OUT: explanation_pb2.EXPLANATION_GAP_LEFT_OUT,
    Gap.UNHEALTHY: explanation_pb2.EXPLANATION_GAP_UNHEALTHY,
    Gap.RULES: explanation_pb2.EXPLANATION_GAP_RULES,
    Gap.LIMITS: explanation_pb2.EXPLANATION_GAP_LIMITS,
    Gap.CHOICE: explanation_pb2.EXPLANATION_GAP_CHOICE,
}


def _fill_model(target: explanation_pb2.ExplainedModel, found: Explained) -> None:
    candidate = found.candidate
    target.model, target.tier = candidate.model.id, candidate.model.tier
    target.place, target.exclusion = found.place, found.exclusion
    target.examined = found.examined
    if candidate.p_adequate is not None:
        target.p_adequate = candidate.p_adequate
    if candidate.quote is not None:
        fill_money(target.expected_price, candidate.quote.price.expected)
        fill_money(target.high_price, candidate.quote.price.high)
    if found.expected_cost is not None:
        fill_money(target.expected_cost, found.expected_cost)
    if found.loss is not None:
        target.loss.MergeFrom(_loss(found.loss))
    for change in found.needs:
        target.needs.append(_change(change))
    for change in found.changes:
        target.changes.append(_change(change))


def _loss(loss: Loss) -> explanation_pb2.Loss:
    criterion = f"CRITERION_{loss.criterion.value.upper()}"
    made = explanation_pb2.Loss(to=loss.to, criterion=criterion, limit_id=loss.limit)
    if loss.criterion in _LIKELY:
        made.probability = loss.gap
    elif loss.criterion is not Criterion.OTHER:
        fill_money(made.amount, int(loss.gap))
    return made


def _change(change: Change) -> explanation_pb2.Change:
    lever = f"LEVER_{change.lever.value.upper()}"
    made = explanation_pb2.Change(lever=lever, name=change.name, rises=change.rises)
    for message, value in ((made.value, change.value), (made.now, change.now)):
        if change.lever in _MONEY or change.unit is Unit.MONEY:
            fill_money(message.money, int(value))
        elif change.lever in _PROBABILITY:
            message.probability = value
        elif change.lever in _SECONDS:
            message.seconds = value
        elif change.unit is Unit.TOKENS:
            message.tokens = int(value)
        elif change.unit is Unit.REQUESTS:
            message.requests = int(value)
        elif change.unit is Unit.CONCURRENT:
            message.concurrent = int(value)
    return made
