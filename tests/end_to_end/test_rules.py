"""The routing table of a running server: what it does to calls, and how another one takes over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mitsumori import Admin, CallFailed, Router
from mitsumori.v1 import admin_pb2, router_pb2
from router.decision_log.record_json import parse
from tests.end_to_end.test_hot_reload import Served, followed
from tests.readiness import PATIENCE_S, wait_until

FIRST = """
rules:
  - name: legal-is-done-well
    when: scope.team == "legal"
    then: {tier_floor: high}
  - name: drafts-are-cheap
    when: scope.team == "drafts"
    then: {models: [gpt-5-nano]}
  - name: nightly
    when: batch && scope.team == "reports"
    then: {defer: true}
  - name: support-is-rather-done-well
    when: scope.team == "support"
    then: {tier_floor: high}
    gives_way: true
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Served, Router, Path]]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(FIRST)
    with followed(tmp_path, "--rules", str(rules)) as (server, client):
        yield server, client, rules


def told(reply: router_pb2.RouteResponse) -> list[str]:
    return [
        each.text for each in reply.reasons if each.code == router_pb2.REASON_CODE_RULES_APPLIED
    ]


def test_rules_bind_calls_and_are_named_in_reply_and_record(
    served: tuple[Served, Router, Path],
) -> None:
    server, client, _ = served
    legal = client.route("hello", scope={"team": "legal"}).message
    assert (legal.chosen.tier, list(legal.rules)) == ("high", ["legal-is-done-well"])
    assert told(legal) == ["by the routing table, legal-is-done-well: tier high"]
    draft = client.route("Prove that there are infinitely many primes.", scope={"team": "drafts"})
    assert draft.model == "gpt-5-nano"
    plain = client.route("hello").message
    assert (plain.chosen.tier, list(plain.rules), told(plain)) == ("low", [], [])
    assert plain.rules_version == server.input("rules").version
    with Admin(server.address, timeout_s=PATIENCE_S) as admin:
        rows = {
            row.decision_id: parse(row.record_json)
            for row in admin.decisions(admin_pb2.DecisionFilter())
        }
    record = rows[legal.decision_id]
    assert (record.rules, record.rules_version) == (("legal-is-done-well",), plain.rules_version)
    assert rows[plain.decision_id].rules == ()


def test_a_rule_that_gives_way_refuses_nothing_and_reply_and_record_say_so(
    served: tuple[Served, Router, Path],
) -> None:
    server, client, _ = served
    rule, scope = "support-is-rather-done-well", {"team": "support"}
    bound = client.route("hello", scope=scope).message
    assert (bound.chosen.tier, list(bound.rules)) == ("high", [rule])
    free = client.route("hello", scope=scope, tiers=["low"]).message
    assert (free.chosen.tier, list(free.rules)) == ("low", [])
    assert told(free) == [
        f"by the routing table, {rule}: tier high (gave way, as no model was left)"
    ]
    with Admin(server.address, timeout_s=PATIENCE_S) as admin:
        records = {
            row.decision_id: parse(row.record_json)
            for row in admin.decisions(admin_pb2.DecisionFilter())
        }
    record = records[free.decision_id]
    assert (record.rules, record.rules_gave_way) == ((), (rule,))
    assert records[bound.decision_id].rules_gave_way == ()


def test_what_the_rules_do_not_allow_is_refused_with_their_names(
    served: tuple[Served, Router, Path],
) -> None:
    _, client, _ = served
    with pytest.raises(CallFailed, match="the routing table leaves none of those that do"):
        client.route("hello", scope={"team": "legal"}, tiers=["low"])
    with pytest.raises(CallFailed, match="rule nightly of the routing table: batch work waits"):
        client.route("hello", scope={"team": "reports"}, batch=True)
    assert client.route("hello", scope={"team": "reports"}).model


def test_another_table_takes_over_and_a_wrong_one_does_not(
    served: tuple[Served, Router, Path],
) -> None:
    server, client, rules = served
    before = client.route("hello").message.rules_version
    rules.write_text(FIRST.replace("tier_floor: high", "tier_floor: medium"))
    wait_until(lambda: client.route("hello").message.rules_version != before)
    medium = client.route("hello", scope={"team": "legal"}).message
    assert (medium.chosen.tier, medium.rules_version) == ("medium", server.input("rules").version)
    rules.write_text(FIRST.replace('"legal"', '"legal'))
    wait_until(lambda: server.input("rules").HasField("refusal"))
    refusal = server.input("rules").refusal
    assert refusal.reason == "RULES_WRONG"
    assert "rules[0] (legal-is-done-well): when: Syntax error" in refusal.text
    assert "(line 4, column 25)" in refusal.text
    after = client.route("hello", scope={"team": "legal"}).message
    assert (after.chosen.tier, after.rules_version) == ("medium", medium.rules_version)


def test_rules_and_catalog_that_do_not_fit_each_other_are_refused_until_they_do(
    served: tuple[Served, Router, Path],
) -> None:
    server, client, rules = served
    before = client.route("hello").message
    catalog = server.catalog.read_text()
    server.catalog.write_text(catalog.replace("- id: gpt-5-nano\n", "- id: gpt-5-pico\n"))
    wait_until(lambda: server.input("catalog").HasField("refusal"))
    assert "'gpt-5-nano' is not in the catalog" in server.input("catalog").refusal.text
    assert client.route("hello").message.catalog_version == before.catalog_version
    rules.write_text(FIRST.replace("models: [gpt-5-nano]", "tier_ceiling: low"))
    wait_until(lambda: client.route("hello").message.catalog_version != before.catalog_version)
    assert client.route("hello").message.rules_version != before.rules_version
