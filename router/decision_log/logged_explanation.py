"""Explains a decision of the log, made again from its record, which does not keep all that it rested on."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from router.core.explanation import Explanation, explain
from router.core.inputs import Inputs
from router.core.types import Candidate, Constraints, Decision, Exploration, Explored, Reason
from router.decision_log.logged_values import cache_of, conversation_of, goal_of, model_of, quote_of
from router.decision_log.record import DecisionRecord, LatencySeconds, LoggedCandidate

__all__ = ["Gap", "LoggedExplanation", "explain_record"]

_UNTIMED = LatencySeconds(0.0, 0.0)
_LIMITED = frozenset({"DOWNGRADED", "PACED", "SOFT_LIMIT"})


class Gap(enum.Enum):
    """What a record does not keep."""

    LEFT_OUT = "left_out"
    """Which models were left out, and why."""
    UNHEALTHY = "unhealthy"
    """Quotes of those that were left out because calls to them failed."""
    RULES = "rules"
    """What the rules that applied do."""
    LIMITS = "limits"
    """What soft limits and pacing changed."""
    CHOICE = "choice"
    """How something else than the goal decided; the record has its reasons."""


@dataclass(frozen=True, slots=True)
class LoggedExplanation:
    """An explanation from the log.

    Attributes:
        explanation: of the candidates that the record has.
        unhealthy: ids of models that were left out because calls to them failed.
        gaps: what is not known.
        full: ids of models that were left out because their providers had no room.
    """

    explanation: Explanation
    unhealthy: tuple[str, ...]
    gaps: tuple[Gap, ...]
    full: tuple[str, ...] = ()


def explain_record(record: DecisionRecord, created: datetime) -> LoggedExplanation:
    """The explanation of a logged decision.

    Args:
        record: of the decision.
        created: when it was made, aware.
    """
    # All candidates of a record met the constraints; its rounded latencies need not do so any more.
    free = Constraints()
    candidates = [_candidate(each, record, created) for each in record.candidates]
    inputs = Inputs(
        candidates,
        free,
        goal_of(record.goal),
        complexity=record.complexity,
        conversation=conversation_of(record.conversation),
    )
    reasons = tuple(Reason(code, "") for code in record.reasons)
    decision = Decision(tuple(candidates), reasons, (), _explored(record))
    explanation = explain(inputs, decision)
    gaps = tuple(_gaps(record, explanation))
    return LoggedExplanation(explanation, record.unhealthy, gaps, record.full)


def _candidate(kept: LoggedCandidate, record: DecisionRecord, created: datetime) -> Candidate:
    offer = quote_of(kept, kept.latency_s or _UNTIMED, record, created)
    # The first records lack P(adequate) of models without an arm, which could not be chosen.
    return Candidate(
        model_of(kept, kept.tier, Constraints()),
        kept.arm,
        kept.p_adequate or 0.0,
        offer,
        cache=cache_of(kept),
    )


def _explored(record: DecisionRecord) -> Explored | None:
    found = record.exploration
    if found is None:
        return None
    given = Exploration(found.share, found.regret, found.draw)
    return Explored(given, MappingProxyType(found.propensities), record.chosen.model)


def _gaps(record: DecisionRecord, explanation: Explanation) -> Iterable[Gap]:
    reasons = set(record.reasons)
    if "MODELS_EXCLUDED" in reasons:
        yield Gap.LEFT_OUT
    if record.unhealthy:
        yield Gap.UNHEALTHY
    if record.rules:
        yield Gap.RULES
    if reasons & _LIMITED:
        yield Gap.LIMITS
    best_first = explanation.candidates[0].loss is None
    if not best_first and record.exploration is None and not reasons & _LIMITED:
        yield Gap.CHOICE
