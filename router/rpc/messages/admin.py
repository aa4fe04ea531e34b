"""Messages of the AdminService: filters, groups, rows of the decision log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from mitsumori.money import fill_money
from mitsumori.v1 import admin_pb2
from router.core.corrections import LearnedCorrections
from router.core.limits import LABEL_NAME
from router.core.load import Gauge, usable
from router.core.timing import LearnedTiming
from router.decision_log.record_json import DamagedRecord, with_usage
from router.decision_log.usage import Filter
from router.files import sha256_of
from router.ledger.base import Amendment, HoldState, StoredDecision, Totals
from router.ledger.storage_format import MAX_LABELS, MAX_REASON, damaged_decision
from router.routing.deferrals import DeferredRequest
from router.rpc.messages.settle import check_tokens, parse_cost
from router.rpc.messages.values import check_label_name, identifier, wrong
from router.watched import InputStatus

__all__ = [
    "fill_correction",
    "fill_decision",
    "fill_deferred",
    "fill_input",
    "fill_provider_limit",
    "fill_speed",
    "fill_usage",
    "parse_amendment",
    "parse_erasure",
    "parse_filter",
    "parse_group_by",
    "parse_labels",
    "parse_page_size",
]

_MAX_GROUPS = 8
_MAX_VALUE = 1_000
"""Characters of the longest value of a label that a store keeps."""
_MAX_PAGE = 10_000
_DEFAULT_PAGE = 100

_STATES_IN = {
    admin_pb2.DECISION_STATE_QUOTED: HoldState.QUOTED,
    admin_pb2.DECISION_STATE_HELD: HoldState.HELD,
    admin_pb2.DECISION_STATE_SETTLED: HoldState.SETTLED,
    admin_pb2.DECISION_STATE_RELEASED: HoldState.RELEASED,
    admin_pb2.DECISION_STATE_EXPIRED: HoldState.EXPIRED,
}
_STATES_OUT = {state: value for value, state in _STATES_IN.items()}


def _moment(stamp: Timestamp, field: str) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise wrong(field, "is not a moment between the years 1 and 9999") from None


def parse_labels(labels: Mapping[str, str], field: str) -> dict[str, str]:
    """Validated labels to look for.

    Raises:
        InvalidInput: there are too many, or one is none that a decision can carry; names the field.
    """
    if len(labels) > MAX_LABELS:
        raise wrong(field, f"{len(labels):,} labels are too many; name at most {MAX_LABELS}")
    for label, value in labels.items():
        check_label_name(label, field)
        if len(value) > _MAX_VALUE:
            raise wrong(f"{field}.{label}", f"must have at most {_MAX_VALUE} characters")
    return dict(labels)


def parse_erasure(message: admin_pb2.EraseDecisionsRequest) -> tuple[dict[str, str], datetime]:
    """The labels to match, and the moment before which to delete.

    Raises:
        InvalidInput: labels or moment are missing; they are required so that nothing is deleted by mistake.
    """
    if not message.labels:
        raise wrong("labels", "must name at least one label")
    labels = parse_labels(message.labels, "labels")
    if not message.HasField("before_time"):
        raise wrong("before_time", "must be set")
    return labels, _moment(message.before_time, "before_time")


def parse_amendment(message: admin_pb2.AmendSettlementRequest) -> Amendment:
    """A validated amendment.

    Raises:
        InvalidInput: names the field.
    """
    if not message.decision_id:
        raise wrong("decision_id", "must not be empty")
    if not message.HasField("cost"):
        raise wrong("cost", "must be set, to 0 USD where nothing was spent")
    if not 1 <= len(message.reason.strip()) <= MAX_REASON:
        raise wrong("reason", f"must have 1 to {MAX_REASON} characters: it stays in the books")
    tokens = None
    if message.HasField("tokens"):
        check_tokens(message.tokens, "tokens")
        tokens = message.tokens
    return Amendment(
        id=identifier(message.decision_id, "decision_id"),
        fingerprint=sha256_of(message.SerializeToString(deterministic=True)),
        tenant=message.tenant,
        money=parse_cost(message.cost, "cost"),
        tokens=tokens,
        reason=message.reason,
    )


def fill_deferred(target: admin_pb2.DeferredRequest, each: DeferredRequest) -> None:
    """Write a deferred request."""
    target.decision_id, target.reason = each.decision_id, each.reason
    target.waits_for, target.refusals = each.queue, each.times
    target.scope.update(each.scope)
    target.refuse_time.FromDatetime(each.deferred)
    if each.not_before is not None:
        target.not_before_time.FromDatetime(each.not_before)


def fill_provider_limit(target: admin_pb2.ProviderLimitStatus, gauge: Gauge, share: float) -> None:
    """Write how far a limit of a provider is used; ``share`` is that of batch work."""
    target.account, target.limit = gauge.account, gauge.limit
    target.most, target.used = gauge.most, gauge.used
    target.usable_by_batch = usable(gauge.most, share)


def parse_filter(message: admin_pb2.DecisionFilter) -> Filter:
    """A validated filter.

    Raises:
        InvalidInput: names the field.
    """
    labels = parse_labels(message.labels, "filter.labels")
    if message.state not in admin_pb2.DecisionState.values():
        raise wrong("filter.state", "must be a known state")
    return Filter(
        labels=labels,
        since=_moment(message.since_time, "filter.since_time")
        if message.HasField("since_time")
        else None,
        until=_moment(message.until_time, "filter.until_time")
        if message.HasField("until_time")
        else None,
        state=_STATES_IN.get(message.state),
    )


def parse_group_by(names: Sequence[str]) -> list[str]:
    """Validated names to group by.

    Raises:
        InvalidInput: there are too many, or one is not a label.
    """
    if len(names) > _MAX_GROUPS:
        raise wrong("group_by", f"at most {_MAX_GROUPS} names")
    for index, name in enumerate(names):
        if not LABEL_NAME.fullmatch(name):
            raise wrong(f"group_by[{index}]", "must be a label, model, provider, tier or day")
    return list(names)


def parse_page_size(size: int) -> int:
    """A validated page size; 0 becomes the default.

    Raises:
        InvalidInput: the size is out of range.
    """
    if not 0 <= size <= _MAX_PAGE:
        raise wrong("page_size", f"must be 0 to {_MAX_PAGE}")
    return size or _DEFAULT_PAGE


def fill_usage(target: admin_pb2.UsageRow, totals: Totals) -> None:
    """Write the totals of a group of decisions into a message."""
    target.decisions = totals.decisions
    target.settled = totals.settled
    target.overruns = totals.overruns
    target.tokens = totals.tokens
    fill_money(target.spent, totals.spent)
    fill_money(target.held, totals.held)
    fill_money(target.quoted, totals.quoted)
    fill_money(target.reserved, totals.reserved)
    fill_money(target.unused, totals.unused)
    fill_money(target.overage, totals.overage)


def fill_input(target: admin_pb2.ServedInput, status: InputStatus) -> None:
    """Write what is in use of an input, and what was refused, into a message."""
    target.name, target.version, target.source = status.name, status.version, status.location
    target.since_time.FromDatetime(status.since)
    if status.refusal is not None:
        target.refusal.reason, target.refusal.text = status.refusal.reason, status.refusal.text
        target.refusal.refuse_time.FromDatetime(status.refusal.time)


def fill_speed(target: admin_pb2.LearnedSpeed, learned: LearnedTiming) -> None:
    """Write how fast a model is by its settled calls into a message."""
    target.model, target.calls, target.unfinished = learned.model, learned.calls, learned.unfinished
    target.first_tokens, target.load_exponent = learned.first_tokens, learned.load_exponent
    if learned.within_p50 is not None:
        target.within_p50 = learned.within_p50
    if learned.within_p90 is not None:
        target.within_p90 = learned.within_p90
    for hour in learned.hours:
        target.hours.add(
            first_token_p50_s=hour.first_p50_s,
            first_token_p90_s=hour.first_p90_s,
            output_tokens_per_s=hour.p50_tokens_per_s,
        )


def fill_correction(target: admin_pb2.Correction, learned: LearnedCorrections) -> None:
    """Write the corrections of a model or of a scope into a message."""
    target.model = learned.model
    target.scope.update(learned.scope)
    target.observations = learned.observations
    correction = learned.correction
    target.tokens_factor, target.mean_factor = correction.tokens, correction.mean
    target.p50_factor, target.p90_factor = correction.p50, correction.p90
    target.within_p50 = learned.within_p50
    target.within_p90 = learned.within_p90


def fill_decision(target: admin_pb2.DecisionRow, decided: StoredDecision) -> None:
    """Write a decision of the log into a message.

    Raises:
        BadArtifact: its record is not a JSON object; names the decision.
    """
    target.decision_id = decided.id
    target.state = _STATES_OUT[decided.state]
    target.create_time.FromDatetime(decided.created)
    target.labels.update(decided.labels)
    fill_money(target.held, decided.held.money if decided.held is not None else 0)
    if decided.actual is not None:
        fill_money(target.spent, decided.actual.money)
        target.tokens = decided.actual.tokens
    target.late = decided.late
    fill_money(target.quoted, decided.quoted)
    try:
        target.record_json = with_usage(decided.record, decided.usage)
    except DamagedRecord as error:
        raise damaged_decision(decided.id, "record", error.reason) from None
