"""The shadow: what it compares, what it must not do, and what becomes of copies that it cannot take."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import replace

import pytest

from router.core.errors import BadArtifact
from router.core.limits import Limit, Unit, Window
from router.core.types import Importance, Message, Prompt
from router.routing.chance import Chance
from router.routing.router import Router
from router.routing.shadow import DecidedCopy, Shadow
from router.routing.trial import Trial
from router.routing.trial_plan import ShadowPlan
from router.telemetry.observer import Observer
from tests.router.routing.trials import (
    DEAR,
    FILE,
    NOTHING,
    QUERY,
    SECRET,
    decided,
    rules,
    service,
    shadow_of,
)


class Told(Observer):
    def __init__(self) -> None:
        self.results = Counter[str]()

    def shadowed(self, result: str) -> None:
        self.results[result] += 1


@pytest.fixture
def told() -> Told:
    return Told()


def test_nothing_is_copied_without_a_trial(router: Router, told: Told) -> None:
    shadow = Shadow(told)
    decided(service(router, shadow=shadow), "d")
    shadow.work()
    assert not told.results
    assert (shadow.report().version, shadow.report().since) == ("", None)


def test_the_same_parts_agree_on_everything(router: Router, told: Told) -> None:
    shadow = Shadow(told)
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(rules("{explore: 0}")), desk.router)
    for place, text in enumerate(("hi", "Prove Fermat's last theorem.", "2 + 2?")):
        query = replace(QUERY, prompt=Prompt((Message("user", text),)))
        decided(desk, f"d{place}", query)
    shadow.work()
    found = shadow.report().found
    assert (found.calls, found.same_model, found.same_tier) == (3, 3, 3)
    assert found.live == found.shadow
    assert (found.by_live.nanos.mean, found.by_shadow.p_adequate.mean) == (0, 0)
    assert told.results == {"agrees": 3}


def test_a_shadow_neither_holds_nor_writes(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(), desk.router)
    record = decided(desk, "d")
    before = desk.ledger.open_holds()
    shadow.work()
    assert record.chosen.tier == "low"
    assert shadow.report().found.tiers == {("low", "high"): 1}
    assert desk.ledger.open_holds() == before
    assert len(list(desk.ledger.decisions(count=10))) == 1


def test_a_shadow_sees_the_balances_of_the_decision(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    desk.ledger.set_limit(
        Limit("top", {"tenant": "acme", "tier": "high"}, Unit.MONEY, Window.TOTAL, hard=0)
    )
    shadow.adopt(shadow_of(), desk.router)
    decided(desk, "d")
    desk.ledger.delete_limit("top")
    shadow.work()
    # The limit was there when the call was decided.
    assert shadow.report().failures == {"LIMIT_NEVER_FITS": 1}
    assert shadow.report().found.calls == 0


def test_what_was_left_to_chance_is_compared_without_chance(router: Router) -> None:
    shadow = Shadow()
    explores = replace(router, rules=None, explore=1.0, explore_regret=5.0)
    desk = replace(service(router, shadow=shadow), router=explores, chance=Chance(b"a key"))
    shadow.adopt(shadow_of(rules("{explore: 0}")), desk.router)
    records = [decided(desk, f"d{place}") for place in range(20)]
    assert len({each.chosen.model for each in records}) > 1
    shadow.work()
    assert shadow.report().found.same_model == 20


def test_what_the_queue_cannot_take_is_dropped_and_counted(router: Router, told: Told) -> None:
    shadow = Shadow(told, max_waiting=2)
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(), desk.router)
    for place in range(5):
        decided(desk, f"d{place}")
    assert shadow.report().dropped == 3
    shadow.work()
    assert shadow.report().found.calls == 2
    decided(desk, "after")
    shadow.work()
    assert (shadow.report().found.calls, shadow.report().dropped) == (3, 3)
    assert told.results == {"dropped": 3, "differs": 3}


def test_prompts_that_wait_are_bounded_in_characters(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(), desk.router)
    record = desk.router.route(QUERY)
    long = replace(QUERY, prompt=Prompt((Message("user", "x" * (3 << 20)),)))
    copies = [
        DecidedCopy("d", desk.router, long, now, (), record, False)
        for now in (desk.router.now(), desk.router.now())
    ]
    for each in copies:
        shadow.offer(each)
    assert shadow.report().dropped == 1


def test_no_text_is_kept_once_it_is_decided(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(), desk.router)
    decided(desk, "d")
    shadow.work()
    gc.collect()
    assert SECRET not in repr(vars(shadow))
    assert not any(isinstance(each, DecidedCopy) for each in gc.get_objects())


def test_what_it_cannot_decide_is_counted_by_reason_and_fails_no_call(
    router: Router, told: Told
) -> None:
    shadow = Shadow(told)
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(NOTHING), desk.router)
    for place in range(3):
        assert decided(desk, f"d{place}").chosen.model
    shadow.work()
    report = shadow.report()
    assert (report.found.calls, sum(report.failures.values()), len(report.failures)) == (0, 3, 1)
    assert told.results == {"failed": 3}


def test_a_share_of_the_requests_is_copied_whole_conversations_at_a_time(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(share=0.5), desk.router)
    for chat in range(20):
        before = shadow.report().found.calls
        for turn in range(2):
            decided(desk, f"{chat}-{turn}", replace(QUERY, conversation_id=f"chat-{chat}"))
        shadow.work()
        assert shadow.report().found.calls - before in (0, 2)
    assert 10 < shadow.report().found.calls < 30
    shadow.adopt(shadow_of(share=0.0), desk.router)
    decided(desk, "none")
    shadow.work()
    assert shadow.report().found.calls == 0


def test_another_shadow_counts_from_nothing_and_a_bad_one_leaves_the_old(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(), desk.router)
    decided(desk, "d")
    shadow.work()
    kept = shadow.report()
    bad = rules("{models: [no-such-model]}")
    with pytest.raises(BadArtifact, match="'no-such-model' is not in the catalog"):
        shadow.adopt(shadow_of(bad), desk.router)
    assert shadow.report() == kept
    shadow.adopt(shadow_of(share=0.9), desk.router)
    assert (shadow.report().found.calls, shadow.report().version != kept.version) == (0, True)
    shadow.adopt(None, desk.router)
    assert shadow.report().version == ""


def test_beside_other_live_parts_it_is_made_anew_and_copies_of_before_are_left(
    router: Router,
) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    shadow.adopt(shadow_of(), desk.router)
    decided(desk, "before")
    other = replace(desk, router=replace(desk.router, explore=0.5))
    decided(other, "too early")  # the shadow is not beside it yet
    shadow.fit(other.router)
    shadow.work()
    assert shadow.report().found.calls == 0
    decided(other, "after", replace(QUERY, importance=Importance.HIGH))
    shadow.work()
    assert shadow.report().found.calls == 1


def test_a_shadow_that_no_longer_fits_pauses_and_says_why(router: Router) -> None:
    shadow = Shadow()
    desk = service(router, shadow=shadow)
    nano = rules("{models: [gpt-5-nano]}")
    shadow.adopt(shadow_of(nano), desk.router)
    catalog = desk.router.catalog
    without = replace(
        catalog, entries=tuple(e for e in catalog.entries if e.spec.id != "gpt-5-nano")
    )
    other = replace(desk, router=replace(desk.router, catalog=without))
    shadow.fit(other.router)
    assert "'gpt-5-nano' is not in the catalog" in shadow.report().problem
    decided(other, "d")
    shadow.work()
    assert shadow.report().found.calls == 0
    shadow.fit(desk.router)
    assert shadow.report().problem == ""


def test_a_bundle_without_arms_for_the_live_models_is_refused(router: Router) -> None:
    bundle = router.bundle
    manifest = bundle.manifest.model_copy(
        update={
            "arms": [
                each.model_copy(update={"name": "x", "tier": "x"}) for each in bundle.manifest.arms
            ][:1]
        }
    )
    other = replace(bundle, manifest=manifest)
    trial = Trial(ShadowPlan(bundle=FILE), bundle=other)
    with pytest.raises(
        BadArtifact, match="which can be chosen now, and cannot be compared"
    ) as caught:
        Shadow().adopt(trial, router)
    assert caught.value.reason == "ARMS_MISSING"


def test_a_catalog_of_which_the_bundle_can_judge_nothing_is_refused(router: Router) -> None:
    catalog = replace(router.catalog, entries=())
    with pytest.raises(BadArtifact, match="no model of the catalog has an arm of the bundle"):
        Shadow().adopt(
            Trial(ShadowPlan(catalog=FILE), catalog=catalog), replace(router, rules=None)
        )


def test_the_thread_decides_and_stops(router: Router, told: Told) -> None:
    with Shadow(told) as shadow:
        desk = service(router, shadow=shadow)
        shadow.adopt(shadow_of(DEAR), desk.router)
        for place in range(3):
            decided(desk, f"d{place}")
        while told.results["differs"] < 3:
            pass
    assert not shadow._thread.is_alive()
