"""Exploration in a service: what is drawn, what is logged, and where nothing is left to chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mitsumori.v1 import router_pb2
from router.core.limits import Limit, Unit, Window
from router.core.types import Constraints, Importance, Message, Prompt, QualityTarget
from router.decision_log.record import DecisionRecord
from router.decision_log.record_json import parse
from router.ledger.base import Hold, HoldResult
from router.ledger.memory import MemoryLedger
from router.routing.chance import Chance
from router.routing.reservations import HeldDecision, Reservations
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations
from router.rpc.messages.route import render_held
from router.rules.routing_table import parse_rules
from router.settings import Settings

QUERY = RouteQuery(
    "", {"tenant": "acme"}, Prompt((Message("user", "What is DNS?"),)), Constraints(), None,
    Importance.MEDIUM, "", 1,
)  # fmt: skip


def now() -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC)


class FillingUp(MemoryLedger):
    """A ledger in which another caller takes the last of a limit between view and hold, once."""

    def hold(self, hold: Hold) -> HoldResult:
        if self.balances() and not hasattr(self, "filled"):
            self.filled = True
            self.hold(replace(hold, id="another", fingerprint="another"))
        return super().hold(hold)


def service(
    router: Router,
    ledger: MemoryLedger | None = None,
    *,
    rules: str = "",
    explore: float = 1.0,
    explore_regret: float = 5.0,
) -> Reservations:
    table = parse_rules(rules.encode(), name="rules.yaml") if rules else None
    made = replace(router, rules=table, explore=explore, explore_regret=explore_regret)
    ledger = ledger or MemoryLedger(now)
    found = build_reservations(Settings(ledger="memory:"), made, ledger)
    return replace(found, chance=Chance(b"a key"))


def record(
    desk: Reservations, query: RouteQuery = QUERY, name: str = "d", replaces: str | None = None
) -> DecisionRecord:
    desk.decide(query, name, "body", lambda _: b"", replaces=replaces)
    kept = desk.ledger.decision(name)
    assert kept is not None
    return parse(kept.record)


def test_the_record_has_the_draw_and_the_propensities_of_all_that_could_be_chosen(
    router: Router,
) -> None:
    found = record(service(router, explore=0.3))
    kept = found.exploration
    assert kept is not None
    assert (kept.share, kept.regret, kept.draw) == (0.3, 5.0, Chance(b"a key").draw("d"))
    assert sum(kept.propensities.values()) == pytest.approx(1)
    assert found.propensity == kept.propensities[found.chosen.model]
    assert kept.propensities.keys() <= {each.model for each in found.candidates}


def test_draws_are_even_and_depend_on_key_and_id_alone() -> None:
    chance = Chance(b"a key")
    draws = [chance.draw(f"d{i}") for i in range(10_000)]
    assert draws == [Chance(b"a key").draw(f"d{i}") for i in range(10_000)]
    assert all(0 <= each < 1 for each in draws)
    tenths = Counter(int(each * 10) for each in draws)
    assert all(900 < tenths[tenth] < 1_100 for tenth in range(10))
    assert Chance(b"another").draw("d0") != draws[0]
    assert Chance().draw("d0") != Chance().draw("d0")
    assert "key" not in repr(chance)


def test_decisions_are_as_the_propensities_say(router: Router) -> None:
    desk = service(router, explore=0.5)
    found = [record(desk, name=f"d{i}") for i in range(300)]
    first = found[0].exploration
    assert first is not None
    chosen = Counter(each.chosen.model for each in found)
    for model, propensity in first.propensities.items():
        assert chosen[model] / 300 == pytest.approx(propensity, abs=0.1)
    explored = [each for each in found if "EXPLORED" in each.reasons]
    assert len(explored) == 300 - chosen[next(iter(first.propensities))]


def test_a_repeated_request_gets_the_same_reply(router: Router) -> None:
    desk = service(router)

    def reply(held: HeldDecision) -> bytes:
        return held.routed.decision.chosen.model.id.encode()

    query = replace(QUERY, request_id="again")
    replies = {desk.decide(query, "again", "body", reply) for _ in range(5)}
    assert len(replies) == 1
    assert desk.decide(query, "again", "body", lambda _: b"other") in replies


@pytest.mark.parametrize(
    "query",
    [
        replace(QUERY, importance=Importance.HIGH),
        replace(QUERY, goal=QualityTarget(0.5)),
        replace(QUERY, quote_only=True),
        replace(QUERY, constraints=Constraints(models=frozenset({"gpt-5-nano"}))),
    ],
    ids=["high importance", "a target of the caller", "only a quote", "one model"],
)
def test_where_nothing_is_left_to_chance(router: Router, query: RouteQuery) -> None:
    found = record(service(router), query)
    assert (found.exploration, found.propensity, found.redrawn) == (None, 1.0, False)


def test_a_quote_leaves_nothing_to_chance(router: Router) -> None:
    assert service(router).quote(QUERY).routed.decision.explored is None


def test_a_choice_after_a_failed_call_leaves_nothing_to_chance(router: Router) -> None:
    desk = service(router)
    first = record(desk)
    assert first.exploration is not None
    failed = replace(QUERY, excluded_models=frozenset({first.chosen.model}))
    again = record(desk, failed, "d2", replaces="d")
    assert (again.exploration, again.propensity) == (None, 1.0)


def test_a_choice_after_a_limit_filled_up_says_that_its_propensity_is_not_known(
    router: Router,
) -> None:
    ledger = FillingUp(now)
    ledger.set_limit(Limit("once", {"model": "*"}, Unit.REQUESTS, Window.TOTAL, hard=1))
    found = record(service(router, ledger))
    assert (found.exploration, found.propensity, found.redrawn) == (None, 1.0, True)
    assert found.propensity_of(found.chosen.model) is None


def test_where_nothing_was_left_to_chance_a_second_choice_has_propensity_1(router: Router) -> None:
    ledger = FillingUp(now)
    ledger.set_limit(Limit("once", {"model": "*"}, Unit.REQUESTS, Window.TOTAL, hard=1))
    found = record(service(router, ledger, explore=0.0))
    assert (found.exploration, found.propensity, found.redrawn) == (None, 1.0, False)


@pytest.mark.parametrize(("then", "share"), [("0.25", 0.25), ("0", None)])
def test_a_rule_says_another_share_than_the_setting(
    router: Router, then: str, share: float | None
) -> None:
    rules = f"rules:\n  - {{name: a, when: 'true', then: {{explore: {then}}}}}"
    kept = record(service(router, rules=rules)).exploration
    assert (None if kept is None else kept.share) == share


def test_chance_chooses_nothing_that_a_rule_forbids(router: Router) -> None:
    rules = "rules:\n  - {name: a, when: 'true', then: {tier_ceiling: low}}"
    desk = service(router, rules=rules, explore_regret=1_000.0)
    found = [record(desk, name=f"d{i}") for i in range(20)]
    assert {each.chosen.tier for each in found} == {"low"}
    assert len({each.chosen.model for each in found}) > 1


def rendered(desk: Reservations, names: Sequence[str]) -> list[router_pb2.RouteResponse]:
    replies: list[router_pb2.RouteResponse] = []

    def render(held: HeldDecision) -> bytes:
        replies.append(render_held(held, "", 1))
        return b""

    for name in names:
        desk.decide(QUERY, name, "body", render)
    return replies


def test_the_reply_has_the_probabilities_and_says_where_chance_chose(router: Router) -> None:
    replies = rendered(service(router, explore=0.5), [f"d{i}" for i in range(30)])
    for reply in replies:
        told = reply.exploration
        chances = {each.model: each.propensity for each in told.models}
        assert chances[reply.chosen.model] == told.propensity
        assert (told.share, told.regret) == (0.5, 5.0)
        assert told.explored is (reply.chosen.model != told.models[0].model)
        assert told.explored is (reply.reasons[0].code == router_pb2.REASON_CODE_EXPLORED)
    assert {reply.exploration.explored for reply in replies} == {False, True}
    (plain,) = rendered(service(router, explore=0.0), ["d"])
    assert not plain.HasField("exploration")
