"""The canary: who is decided by it, what counts, what halts it, and what survives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router.core.breaker import Outcome
from router.core.canary import CountedCall
from router.core.corrections import Corrections
from router.core.errors import BadArtifact, Exhausted, NotPossible, Unavailable
from router.core.limits import Limit, Unit, Window
from router.core.timing import HOURS, LearnedTiming, catalog_timing
from router.decision_log.record import LoggedCanary
from router.ledger.base import StoredDecision
from router.routing.canary import Canary
from router.routing.canary_state import CanaryFile, CanaryMemory
from router.routing.reservations import Reservations
from router.routing.router import FailedCall, RouteQuery, Router
from router.routing.settlement import UsageReport
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


def test_a_halted_canary_stays_so_over_a_restart_until_its_settings_change(
    router: Router, tmp_path: Path
) -> None:
    file = CanaryFile(tmp_path / "canary.json")
    desk, canary = half(router, Canary(file, now=lambda: MOMENT))
    until_halted(desk, canary, lambda took: usage(quality=float(not took)))
    again, restarted = half(router, Canary(file))
    assert restarted.report().halted == canary.report().halted
    assert restarted.report().tally == canary.report().tally
    assert decided(again, "d").canary is None
    # Other content behind the same settings, such as a bundle that was mended, does not start it.
    restarted.adopt(canary_of(rules("{tier_floor: medium}"), share=0.5), again.router)
    assert restarted.is_halted
    restarted.adopt(canary_of(share=0.5, run="mended"), again.router)
    assert not restarted.is_halted
    assert counts(restarted) == (0, 0)
    assert decided(again, "anew").canary is not None


def test_what_was_counted_survives_a_restart(router: Router, tmp_path: Path) -> None:
    file = CanaryFile(tmp_path / "canary.json")
    desk, canary = half(router, Canary(file))
    for place in range(35):
        decided(desk, f"d{place}")
        settled(desk, f"d{place}", usage(quality=0.5))
    canary.close()
    _, restarted = half(router, Canary(file))
    assert restarted.report().tally == canary.report().tally


def test_processes_count_together_and_halt_together(router: Router, tmp_path: Path) -> None:
    file = CanaryFile(tmp_path / "canary.json")
    pairs = [half(router, Canary(file, process=str(number))) for number in (1, 2)]
    for call in range(200):
        desk, _ = pairs[call % 2]
        record = decided(desk, f"call-{call}")
        assert record.canary is not None
        settled(desk, f"call-{call}", usage(quality=float(not record.canary.took)))
        for _, each in pairs:
            each.sync()
        if all(each.is_halted for _, each in pairs):
            break
    # As many calls as one process needs for itself.
    assert call < 120
    assert counts(pairs[0][1]) == counts(pairs[1][1])


def test_processes_agree_on_what_a_call_usually_costs(router: Router, tmp_path: Path) -> None:
    file = CanaryFile(tmp_path / "canary.json")
    pairs = [half(router, Canary(file, process=str(number)), share=0.001) for number in (1, 2)]
    for place, (desk, canary) in enumerate(pairs):
        for call in range(40):
            decided(desk, f"{place}-{call}")
            settled(desk, f"{place}-{call}", usage(cost=100 + place))
        canary.sync()
    for _, canary in pairs:
        canary.sync()
    assert {canary.report().tally.usual for _, canary in pairs} == {100}


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


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}'])
def test_a_damaged_state_is_refused_with_its_file(
    router: Router, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "canary.json"
    path.write_text(content)
    with pytest.raises(BadArtifact, match=r"canary\.json, is damaged; delete it") as caught:
        half(router, Canary(CanaryFile(path)))
    assert caught.value.reason == "CANARY_STATE_DAMAGED"


def test_a_row_of_the_state_that_is_none_of_ours_is_refused(router: Router) -> None:
    state, trial = CanaryMemory(), canary_of(share=0.5)
    canary = Canary(state)
    for row in ("{}", "null", json.dumps({"check": "looks", "text": "", "time": "2026-11-27"})):
        state.write({f"{trial.plan.version} halted": row}, ())
        with pytest.raises(BadArtifact, match="the state of the canary is damaged"):
            canary.adopt(trial, router)
    assert canary.report().version == ""


def test_a_state_that_cannot_be_written_stops_no_call(router: Router, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    desk, canary = half(router, Canary(CanaryFile(folder / "canary.json")))
    folder.rmdir()
    until_halted(desk, canary, lambda took: usage(quality=float(not took)))
    assert canary.is_halted
    with pytest.raises(Unavailable, match=r"canary\.json, cannot be used"):
        canary.sync()
    folder.mkdir()
    canary.sync()
    _, restarted = half(router, Canary(CanaryFile(folder / "canary.json")))
    assert restarted.is_halted
