"""The canary: who is decided by it, what counts, what halts it, and what survives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from router.core.breaker import Outcome
from router.core.canary import CountedCall, Side
from router.core.corrections import Corrections
from router.core.errors import BadArtifact, Exhausted, NotPossible
from router.core.limits import Limit, Unit, Window
from router.core.timing import HOURS, LearnedTiming, catalog_timing
from router.decision_log.record import LoggedCanary
from router.ledger.base import Ledger, StoredDecision
from router.ledger.memory import MemoryLedger
from router.routing.canary import Canary
from router.routing.canary_state import KINDS
from router.routing.model_health import OutcomeReport
from router.routing.reservations import Reservations
from router.routing.router import FailedCall, RouteQuery, Router
from router.routing.settlement import UsageReport
from router.routing.state_exchange import StateExchange
from router.routing.trial import Trial
from router.routing.trial_plan import CanaryPlan
from router.telemetry.observer import Observer
from tests.router.routing.trials import (
    FILE,
    NOTHING,
    QUERY,
    canary_of,
    decided,
    rules,
    service,
)

MOMENT = datetime(2026, 11, 27, tzinfo=UTC)


class Told(Observer):
    def __init__(self) -> None:
        self.sides = Counter[bool]()

    def split(self, *, took: bool) -> None:
        self.sides[took] += 1


def half(router: Router, canary: Canary | None = None, **plan: Any) -> tuple[Reservations, Canary]:
    """A service with a canary that decides half of the requests."""
    made = canary or Canary(now=lambda: MOMENT)
    desk = service(router, canary=made)
    made.adopt(canary_of(**{"share": 0.5, **plan}), desk.router)
    return desk, made


def stored(desk: Reservations, name: str) -> StoredDecision:
    found = desk.ledger.decision(name)
    assert found is not None
    return found


def usage(
    quality: float | None = None, outcome: Outcome = Outcome.SUCCESS, cost: int = 100
) -> UsageReport:
    details = {} if quality is None else {"quality": quality}
    return UsageReport("", 10, 0, 10, cost, details, outcome)


def settled(desk: Reservations, name: str, report: UsageReport) -> None:
    desk.reports.settle(name, "acme", f"report of {name}", report)


def counts(canary: Canary) -> tuple[int, int]:
    """Settled calls of the canary and of the rest."""
    tally = canary.report().tally
    return tally.canary.errors.count, tally.rest.errors.count


def until_halted(desk: Reservations, canary: Canary, report: Callable[[bool], UsageReport]) -> int:
    for call in range(400):
        record = decided(desk, f"call-{call}")
        assert record.canary is not None
        settled(desk, f"call-{call}", report(record.canary.took))
        if canary.is_halted:
            return call + 1
    raise AssertionError("it was not halted")


# ── sides ─────────────────────────────────────────────────────────────────────────────────────────


def test_about_its_share_of_the_requests_is_decided_by_the_canary_and_the_record_says_so(
    router: Router,
) -> None:
    told = Told()
    desk, canary = half(router, Canary(observer=told), share=0.25)
    records = [decided(desk, f"d{place}") for place in range(200)]
    sides = Counter(each.canary.took for each in records if each.canary is not None)
    assert sides[True] + sides[False] == 200
    assert 30 < sides[True] < 70
    assert told.sides == sides
    trial = canary.report()
    for each in records:
        assert each.canary is not None
        assert each.canary.share == 0.25
        assert each.chosen.tier == ("high" if each.canary.took else "low")
        assert ("CANARY" in each.reasons) is each.canary.took
        assert ("tried" in each.rules) is each.canary.took
    assert trial.parts.startswith("rules ")


def test_a_conversation_stays_on_its_side_also_as_the_share_grows(router: Router) -> None:
    small, _ = half(router, share=0.2)
    large, _ = half(router, share=0.6)
    for chat in range(30):
        query = replace(QUERY, conversation_id=f"chat-{chat}")
        took = {decided(small, f"{chat}-{turn}", query).canary.took for turn in range(3)}  # type: ignore[union-attr]
        assert len(took) == 1
        later = decided(large, f"{chat}-later", query).canary
        assert later is not None
        assert later.took or took == {False}


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        ({"tenant": "acme", "team": "search"}, True),
        ({"tenant": "acme"}, False),
        ({"tenant": "other", "team": "search"}, False),
        ({}, False),
    ],
)
def test_a_request_takes_part_whose_labels_are_those_of_the_scope(
    router: Router, scope: dict[str, str], inside: bool
) -> None:
    desk, _ = half(router, scope={"tenant": "acme", "team": "search"})
    record = decided(desk, "d", replace(QUERY, scope=scope))
    assert (record.canary is not None) is inside


def test_quotes_and_choices_after_a_failed_call_are_of_the_live_parts(router: Router) -> None:
    desk, _ = half(router, share=0.999)
    assert decided(desk, "quote", replace(QUERY, quote_only=True)).canary is None
    first = decided(desk, "first")
    assert first.canary is not None
    assert first.canary.took
    again = replace(
        QUERY,
        excluded_models=frozenset({first.chosen.model}),
        failed=FailedCall(Outcome.SERVER_ERROR, 0.0, frozenset()),
    )
    desk.decide(again, "second", "body", lambda _: b"", replaces="first")
    assert '"canary":' not in stored(desk, "second").record
    assert '"tier":"low"' in stored(desk, "second").record


def test_where_the_canary_cannot_decide_the_live_parts_do_and_it_counts_as_an_error(
    router: Router,
) -> None:
    canary = Canary()
    desk = service(router, canary=canary)
    canary.adopt(canary_of(NOTHING, share=0.5), desk.router)
    for place in range(60):
        record = decided(desk, f"d{place}")
        assert record.chosen.tier == "low"
        assert record.canary is None or not record.canary.took
        if record.canary is not None:
            settled(desk, f"d{place}", usage())
    halted = canary.report().halted
    assert halted is not None
    assert halted.check == "errors"
    assert "100.0% of calls fail" in halted.text


def test_of_a_conversation_that_the_canary_cannot_decide_one_call_counts(router: Router) -> None:
    canary = Canary()
    desk = service(router, canary=canary)
    canary.adopt(canary_of(NOTHING, share=0.999), desk.router)
    for place in range(60):
        query = replace(QUERY, conversation_id="one and the same")
        assert decided(desk, f"d{place}", query).canary is None
        settled(desk, f"d{place}", usage())
    assert counts(canary) == (1, 0)
    assert not canary.is_halted
    decided(desk, "other", replace(QUERY, conversation_id="another"))
    assert counts(canary) == (2, 0)


def test_what_the_live_parts_cannot_decide_either_is_nobodys_error(router: Router) -> None:
    canary = Canary()
    desk = service(router, canary=canary)
    canary.adopt(canary_of(NOTHING, share=0.999), desk.router)
    desk.ledger.set_limit(Limit("all", {"tenant": "acme"}, Unit.MONEY, Window.TOTAL, hard=0))
    with pytest.raises((Exhausted, NotPossible)):
        decided(desk, "d")
    assert counts(canary) == (0, 0)


def test_the_canary_quotes_as_the_live_parts_do_under_the_same_load(router: Router) -> None:
    model = router.assess(QUERY).candidates[0].model
    hours = (catalog_timing(model.speed),) * HOURS
    learned = LearnedTiming(model.id, 100, 0, 0, None, None, hours, load_exponent=1.0)
    corrections = Corrections(timings={model.id: learned})
    idle = replace(router, corrections=lambda: corrections)
    busy = replace(idle, in_flight=lambda: {model.id: 3})

    def latency(of: Router) -> float:
        quote = of.assess(QUERY).candidates[0].quote
        assert quote is not None
        return quote.latency.p50_s

    tried = canary_of().router(busy, answers=True)
    assert latency(tried) == latency(busy) == pytest.approx(4 * latency(idle))


def test_both_sides_are_held_on_the_same_limits(router: Router) -> None:
    desk, _ = half(router)
    desk.ledger.set_limit(Limit("all", {"tenant": "acme"}, Unit.REQUESTS, Window.TOTAL, hard=10))
    for place in range(10):
        decided(desk, f"d{place}")
    with pytest.raises(Exhausted):
        decided(desk, "one too many")


def test_a_repeated_request_gets_its_reply_also_after_the_halt(router: Router) -> None:
    desk, canary = half(router, share=0.999)
    query = replace(QUERY, request_id="d")
    assert desk.decide(query, "d", "body", lambda _: b"first") == b"first"
    canary.adopt(None, desk.router)
    assert desk.decide(query, "d", "body", lambda _: b"second") == b"first"


# ── what counts ───────────────────────────────────────────────────────────────────────────────────


def test_settled_calls_count_once_on_their_side(router: Router) -> None:
    desk, canary = half(router)
    sides = Counter[bool]()
    for place in range(40):
        record = decided(desk, f"d{place}")
        assert record.canary is not None
        sides[record.canary.took] += 1
        for _ in range(2):  # the report is repeated
            settled(desk, f"d{place}", usage(quality=1.0))
    assert counts(canary) == (sides[True], sides[False])
    tally = canary.report().tally
    assert tally.canary.quality.count == sides[True]


def test_of_a_conversation_only_the_first_settled_call_counts(router: Router) -> None:
    desk, canary = half(router)
    for turn in range(5):
        decided(desk, f"d{turn}", replace(QUERY, conversation_id="chat"))
        settled(desk, f"d{turn}", usage(quality=turn / 5))
    assert sum(counts(canary)) == 1
    tally = canary.report().tally
    assert (tally.canary.quality + tally.rest.quality).total == 0.0


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (Outcome.SUCCESS, 0),
        (Outcome.TRUNCATED, 0),
        (Outcome.SERVER_ERROR, 1),
        (Outcome.REFUSED, 1),
        (Outcome.CONTEXT_OVERFLOW, 1),
    ],
)
def test_a_call_without_an_answer_is_an_error(
    router: Router, outcome: Outcome, failed: int
) -> None:
    desk, canary = half(router, share=0.999)
    decided(desk, "d")
    settled(desk, "d", usage(outcome=outcome))
    assert canary.report().tally.canary.errors.total == failed


def test_a_call_for_which_another_model_was_asked_for_is_an_error(router: Router) -> None:
    desk, canary = half(router, share=0.999)
    model = decided(desk, "d").chosen.model
    again = replace(
        QUERY,
        excluded_models=frozenset({model}),
        failed=FailedCall(Outcome.TIMEOUT, 0.0, frozenset()),
    )
    desk.decide(again, "again", "body", lambda _: b"", replaces="d")
    assert canary.report().tally.canary.errors.total == 1


@pytest.mark.parametrize(
    ("model", "outcome", "failed"),
    [
        ("", Outcome.SERVER_ERROR, 1),
        ("", Outcome.REFUSED, 1),
        ("", Outcome.SUCCESS, 0),
        ("another", Outcome.SERVER_ERROR, 0),
    ],
)
def test_a_reported_failure_of_the_chosen_model_is_an_error_once_for_its_decision(
    router: Router, model: str, outcome: Outcome, failed: int
) -> None:
    desk, canary = half(router, share=0.999)
    chosen = decided(desk, "d").chosen.model
    other = next(each for each in router.catalog.ids if each != chosen)
    for attempt in range(2):
        report = OutcomeReport(model and other, outcome, attempt=attempt)
        desk.reports.report_outcome("d", "acme", report)
    errors = canary.report().tally.canary.errors
    assert (errors.count, errors.total) == (failed, failed)
    # What is settled later counts where nothing did before.
    settled(desk, "d", usage(quality=1.0))
    errors = canary.report().tally.canary.errors
    assert (errors.count, errors.total) == (1, failed)


def test_decisions_of_another_canary_or_of_none_do_not_count(router: Router) -> None:
    desk, canary = half(router)
    decided(desk, "old")
    canary.adopt(canary_of(share=0.5, run="another"), desk.router)
    settled(desk, "old", usage(quality=0.0))
    decided(replace(desk, canary=None), "none")
    settled(desk, "none", usage(quality=0.0))
    assert counts(canary) == (0, 0)
    damaged = replace(stored(desk, "old"), record="{")
    canary.settled(damaged, CountedCall(True))
    assert counts(canary) == (0, 0)


# ── halt ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_canary_with_worse_answers_halts_and_the_live_parts_decide_everything(
    router: Router, log: list[Any]
) -> None:
    desk, canary = half(router)
    assert 20 < until_halted(desk, canary, lambda took: usage(quality=float(not took))) < 120
    report = canary.report()
    assert report.halted is not None
    assert (report.halted.check, report.halted.time) == ("quality", MOMENT)
    assert report.evidence["quality"] >= 1
    (line,) = [each for each in log if each["event"] == "canary_halted"]
    assert (line["log_level"], line["detail"]) == ("error", report.halted.text)
    records = [decided(desk, f"after-{place}") for place in range(10)]
    assert {each.canary for each in records} == {None}
    before = counts(canary)
    settled(desk, "after-0", usage(quality=0.0))
    assert counts(canary) == before


def test_a_canary_that_costs_more_halts(router: Router) -> None:
    desk, canary = half(router)
    until_halted(desk, canary, lambda took: usage(1.0, cost=10_000 if took else 1_000))
    halted = canary.report().halted
    assert halted is not None
    assert halted.check == "cost"


def test_a_canary_as_good_as_the_rest_goes_on(router: Router) -> None:
    desk, canary = half(router)
    with pytest.raises(AssertionError, match="it was not halted"):
        until_halted(desk, canary, lambda _: usage(quality=0.8))
    assert canary.report().evidence == {"quality": 0.0, "cost": 0.0, "errors": 0.0}


def restarted(
    router: Router, ledger: Ledger, share: float = 0.5, **changes: Any
) -> tuple[Reservations, Canary]:
    """A process that begins after others, perhaps beside them; it hears of them before its first call."""
    canary = Canary(**{"now": lambda: MOMENT, **changes})
    StateExchange(ledger, [canary]).exchange()
    return half(router, canary, share=share)


def test_a_halted_canary_stays_so_over_a_restart_until_its_settings_change(router: Router) -> None:
    ledger = MemoryLedger()
    desk, canary = half(router)
    until_halted(desk, canary, lambda took: usage(quality=float(not took)))
    StateExchange(ledger, [canary]).exchange()
    again, other = restarted(router, ledger)
    assert other.report().halted == canary.report().halted
    assert sides_of(other) == sides_of(canary)
    assert decided(again, "d").canary is None
    # Other content behind the same settings, such as a bundle that was mended, does not start it.
    other.adopt(canary_of(rules("{tier_floor: medium}"), share=0.5), again.router)
    assert other.is_halted
    other.adopt(canary_of(share=0.5, run="mended"), again.router)
    assert not other.is_halted
    assert counts(other) == (0, 0)
    assert decided(again, "anew").canary is not None


def sides_of(canary: Canary) -> tuple[Side, Side]:
    tally = canary.report().tally
    return tally.canary, tally.rest


def test_what_was_counted_survives_a_restart_and_another_canary_in_between(router: Router) -> None:
    ledger = MemoryLedger()
    desk, canary = half(router)
    for place in range(35):
        decided(desk, f"d{place}")
        settled(desk, f"d{place}", usage(quality=0.5))
    before = sides_of(canary)
    exchange = StateExchange(ledger, [canary])
    canary.adopt(canary_of(share=0.5, run="another"), desk.router)
    exchange.exchange()
    assert counts(canary) == (0, 0)
    canary.adopt(canary_of(share=0.5), desk.router)
    assert sides_of(canary) == before
    _, other = restarted(router, ledger)
    assert sides_of(other) == before
    # It counts on from there.
    decided(desk, "one more")
    settled(desk, "one more", usage(quality=0.5))
    assert sum(counts(canary)) == 36


def test_processes_count_together_and_halt_together(router: Router, log: list[Any]) -> None:
    ledger = MemoryLedger()
    pairs = [half(router), half(router)]
    exchanges = [StateExchange(ledger, [each]) for _, each in pairs]
    for call in range(200):
        desk, _ = pairs[call % 2]
        record = decided(desk, f"call-{call}")
        assert record.canary is not None
        settled(desk, f"call-{call}", usage(quality=float(not record.canary.took)))
        for _ in range(2):  # each tells, then each hears
            for each in exchanges:
                each.exchange()
        if all(each.is_halted for _, each in pairs):
            break
    # As many calls as one process needs for itself.
    assert call < 120
    assert counts(pairs[0][1]) == counts(pairs[1][1])
    assert pairs[0][1].report().halted == pairs[1][1].report().halted


def test_a_halt_is_one_for_a_process_that_counted_nothing(router: Router, log: list[Any]) -> None:
    ledger = MemoryLedger()
    (desk, one), (_, other) = half(router), restarted(router, ledger)
    hears = StateExchange(ledger, [other])
    until_halted(desk, one, lambda took: usage(quality=float(not took)))
    assert not other.is_halted
    StateExchange(ledger, [one]).exchange()
    hears.exchange()
    assert other.report().halted == one.report().halted
    lines = [each for each in log if each["event"] == "canary_halted"]
    assert [each.get("told_by_another", False) for each in lines] == [False, True]


def test_processes_agree_on_what_a_call_usually_costs_by_the_one_that_started_first(
    router: Router,
) -> None:
    ledger = MemoryLedger()
    names = ("1764200001 b", "1764200000 c", "1764200002 a")
    canarys = [Canary(now=lambda: MOMENT, process=name) for name in names]
    exchanges = [StateExchange(ledger, [each]) for each in canarys]
    for place, canary in enumerate(canarys):
        desk, _ = half(router, canary, share=0.001)
        for call in range(40):
            decided(desk, f"{place}-{call}")
            settled(desk, f"{place}-{call}", usage(cost=100 + place))
    for _ in range(2):
        for each in exchanges:
            each.exchange()
    assert {canary.report().tally.usual for canary in canarys} == {101}


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────

DAY_S = 86_400


class Days:
    """A clock that is set in days."""

    def __init__(self) -> None:
        self.day = 0.0

    def __call__(self) -> datetime:
        return MOMENT + timedelta(days=self.day)


def lasting(router: Router, days: Days, ledger: Ledger) -> None:
    """A process that counts, halts, tells it and ends."""
    desk, canary = half(router, Canary(now=days))
    until_halted(desk, canary, lambda took: usage(quality=float(not took)))
    StateExchange(ledger, [canary]).exchange()


def test_a_halt_and_the_counts_last_as_long_as_a_process_serves_the_canary_and_88_days_more(
    router: Router,
) -> None:
    days = Days()
    ledger = MemoryLedger(days)
    lasting(router, days, ledger)
    _, other = restarted(router, ledger, now=days)
    before = sides_of(other)
    exchange = StateExchange(ledger, [other])
    for day in range(200):
        days.day = day
        exchange.exchange()
    for later, known in ((287, True), (290, False)):
        days.day = later
        _, third = restarted(router, ledger, now=days)
        assert third.is_halted is known
        assert sides_of(third) == (before if known else (Side(), Side()))


def test_rows_are_written_again_once_a_day_by_their_own_process_and_in_two_by_another(
    router: Router,
) -> None:
    days = Days()
    ledger = MemoryLedger(days)
    lasting(router, days, ledger)
    _, other = restarted(router, ledger, now=days)
    exchange = StateExchange(ledger, [other])
    exchange.exchange()
    found = {}
    for day in (0.999, 1.0, 1.999, 2.0):
        days.day = day
        exchange.exchange()
        rows = ledger.published(KINDS).rows
        found[day] = sorted((row.kind, row.changed / 1e6 - MOMENT.timestamp()) for row in rows)
    halt, tally, old, new = KINDS[1], KINDS[0], 0, pytest.approx(DAY_S, abs=1)
    assert [kind for kind, _ in found[0.999]] == [halt, tally]
    assert [round(at) for _, at in found[0.999]] == [old, old]
    assert [round(at) for _, at in found[1.0]] == [new, old]
    assert [round(at) for _, at in found[1.999]] == [new, old]
    assert [round(at) for _, at in found[2.0]] == [2 * DAY_S, 2 * DAY_S]


def test_a_process_whose_row_another_one_wrote_again_in_an_older_state_puts_it_right(
    router: Router,
) -> None:
    days = Days()
    ledger = MemoryLedger(days)
    desk, canary = half(router, Canary(now=days))
    exchange = StateExchange(ledger, [canary])
    decided(desk, "first")
    settled(desk, "first", usage())
    exchange.exchange()
    _, other = restarted(router, ledger, now=days)
    decided(desk, "second")
    settled(desk, "second", usage())
    days.day = 2
    StateExchange(ledger, [other]).exchange()  # the first one seems to have ended
    days.day = 1.9  # by a clock that is late
    for _ in range(2):
        exchange.exchange()
    _, third = restarted(router, ledger, now=days)
    assert sum(counts(third)) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "{",
        lambda _: "[]",
        lambda _: "null",
        lambda _: "{}",
        lambda text: text.replace('"count": 1', '"count": -1'),
        lambda text: text.replace('"total": 1.0', '"total": 1.5'),
        lambda text: text.replace('"total": 1.0', '"total": NaN'),
        lambda text: text.replace('"usual": null', '"usual": 0'),
        lambda text: text.replace('"learning": [0, 0]', '"learning": [-1, 0]'),
    ],
)
def test_a_damaged_row_of_counts_is_left_out_with_a_line_and_the_canary_runs_on(
    router: Router, log: list[Any], change: Callable[[str], str]
) -> None:
    ledger = MemoryLedger()
    desk, canary = half(router, share=0.999)
    decided(desk, "d")
    settled(desk, "d", usage(1.0, Outcome.REFUSED))
    (row,) = canary.unpublished()
    assert change(row.value) != row.value
    ledger.publish([replace(row, value=change(row.value))])
    again, other = restarted(router, ledger, 0.999)
    assert counts(other) == (0, 0)
    assert decided(again, "e").canary is not None
    (line,) = [each for each in log if each["event"] == "canary_row_damaged"]
    assert (line["kind"], line["key"]) == ("canary_tallies", row.key)
    # The one that has counted it puts it right.
    StateExchange(ledger, [canary]).exchange()
    _, third = restarted(router, ledger, 0.999)
    assert counts(third) == counts(canary) == (1, 0)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "null",
        '{"check": "looks", "text": "", "time": "2026-11-27T00:00:00+00:00"}',
        '{"check": "cost", "text": "", "time": "2026-11-27T00:00:00"}',
        '{"check": "cost", "text": "", "time": "today"}',
    ],
)
def test_a_damaged_halt_halts_nothing_and_is_put_right_by_who_knows_better(
    router: Router, log: list[Any], text: str
) -> None:
    ledger = MemoryLedger()
    desk, canary = half(router)
    until_halted(desk, canary, lambda took: usage(quality=float(not took)))
    (halt,) = (row for row in canary.unpublished() if row.kind == "canary_halts")
    ledger.publish([replace(halt, value=text, changed=halt.changed + 5)])
    _, other = restarted(router, ledger)
    assert not other.is_halted
    assert [each["kind"] for each in log if each["event"] == "canary_row_damaged"] == [
        "canary_halts"
    ]
    StateExchange(ledger, [canary]).exchange()
    _, third = restarted(router, ledger)
    assert third.report().halted == canary.report().halted


def test_two_processes_never_have_the_same_name(router: Router) -> None:
    keys = set()
    for _ in range(2):
        desk, canary = half(router)
        decided(desk, "d")
        settled(desk, "d", usage())
        keys |= {row.key for row in canary.unpublished()}
    assert len(keys) == 2


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────────


def test_live_parts_that_the_canary_does_not_fit_pause_it(router: Router) -> None:
    canary = Canary()
    desk = service(router, canary=canary)
    canary.adopt(canary_of(rules("{models: [gpt-5-nano]}"), share=0.999), desk.router)
    catalog = desk.router.catalog
    without = replace(
        catalog, entries=tuple(e for e in catalog.entries if e.spec.id != "gpt-5-nano")
    )
    other = replace(desk, router=replace(desk.router, catalog=without))
    canary.fit(other.router)
    assert "'gpt-5-nano' is not in the catalog" in canary.report().problem
    assert decided(other, "d").canary is None
    canary.fit(desk.router)
    assert decided(desk, "e").canary == LoggedCanary(canary_id(desk, canary), 0.999, True)


def canary_id(desk: Reservations, canary: Canary) -> str:
    query: RouteQuery = QUERY
    split = canary.split(desk.router, query, "e")
    assert split is not None
    return split.logged.id


def test_a_canary_whose_models_the_live_catalog_lacks_is_refused(router: Router) -> None:
    fewer = replace(router.catalog, entries=router.catalog.entries[1:])
    live = replace(router, catalog=fewer, rules=None)
    trial = Trial(CanaryPlan(catalog=FILE), catalog=router.catalog)
    with pytest.raises(BadArtifact, match="not in the live catalog, at whose prices") as caught:
        Canary().adopt(trial, live)
    assert caught.value.reason == "MODELS_UNKNOWN"
    assert router.catalog.entries[0].spec.id in caught.value.message
