"""A running server whose catalog changes: models come, are served in regions, and retire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from benchmarks.reloads import SHIPPED
from mitsumori import Admin, CallFailed, Router
from mitsumori.v1 import admin_pb2, router_pb2
from router.catalog.catalog import load_catalog
from router.catalog.catalog_changes import new_models
from router.catalog.catalog_edits import with_models
from router.clock import utc_now
from router.decision_log.record import DecisionRecord
from router.decision_log.record_json import parse
from tests.end_to_end.test_hot_reload import Served, followed
from tests.readiness import PATIENCE_S, wait_until

OLD, NEW = "gpt-5-nano", "gpt-6-luna"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Router]]:
    with followed(tmp_path_factory.mktemp("life")) as both:
        yield both


def write(server: Served, client: Router, text: str) -> None:
    """Put a catalog in place, and wait until it serves."""
    before = client.route("hello", quote_only=True).message.catalog_version
    server.catalog.write_text(text)
    wait_until(lambda: client.route("hello", quote_only=True).message.catalog_version != before)


def changed(change: Callable[[dict[str, dict[str, Any]]], None]) -> str:
    """The shipped catalog after a change to its models by id."""
    content = yaml.safe_load(SHIPPED.read_text())
    change({model["id"]: model for model in content["models"]})
    return yaml.safe_dump(content, sort_keys=False)


def record(server: Served, decision_id: str) -> DecisionRecord:
    with Admin(server.address, timeout_s=PATIENCE_S) as admin:
        rows = {row.decision_id: row for row in admin.decisions(admin_pb2.DecisionFilter())}
    return parse(rows[decision_id].record_json)


def test_a_new_model_is_routed_to_without_a_restart(served: tuple[Served, Router]) -> None:
    server, client = served
    with pytest.raises(CallFailed, match="'gpt-6-sol' is not in the catalog; did you mean"):
        client.route("hello", models=["gpt-6-sol"])
    made = new_models(load_catalog(), ["gpt-6-sol"], "high", utc_now())
    write(server, client, with_models(SHIPPED.read_text(), made))
    decision = client.route("Prove that there are infinitely many primes.", models=["gpt-6-sol"])
    assert (decision.model, decision.message.chosen.tier) == ("gpt-6-sol", "high")
    settled = client.settle(decision.id, input_tokens=1_000_000, output_tokens=0)
    assert settled.spent.nanos > 0


def test_a_model_without_a_tier_is_not_served_and_the_refusal_teaches(
    served: tuple[Served, Router],
) -> None:
    server, client = served
    made = new_models(load_catalog(), ["gpt-6-sol"], None, utc_now())
    server.catalog.write_text(with_models(SHIPPED.read_text(), made))
    wait_until(lambda: server.input("catalog").HasField("refusal"))
    refusal = server.input("catalog").refusal.text
    assert "models[15] (gpt-6-sol): its tier is still '?'" in refusal
    assert "write low or medium or high" in refusal
    assert client.route("hello").model


def test_a_call_that_must_stay_in_a_region_goes_to_a_model_that_is_served_there(
    served: tuple[Served, Router],
) -> None:
    server, client = served

    def served_in(models: dict[str, dict[str, Any]]) -> None:
        models["gpt-6.1-sol"]["regions"] = ["us"]
        models["mistral-large-2512"]["regions"] = ["eu", "us"]

    write(server, client, changed(served_in))
    european = client.route("hello", regions=["eu"])
    assert european.model == "mistral-large-2512"
    either = client.route("hello", regions=["us", "eu"]).message
    assert {either.chosen.model, *(each.model for each in either.alternatives)} == {
        "gpt-6.1-sol",
        "mistral-large-2512",
    }
    assert record(server, european.id).constraints.regions == ("eu",)
    with pytest.raises(CallFailed) as unknown:
        client.route("hello", regions=["eu", "mars"])
    assert unknown.value.field == "constraints.regions[1]"
    with pytest.raises(CallFailed) as nowhere:
        client.route("hello", regions=["eu"], tiers=["high"])
    assert nowhere.value.reason == "NO_ELIGIBLE_MODEL"
    assert int(nowhere.value.metadata["not_in_regions"]) > 0


def test_a_retired_model_is_replaced_or_refused_and_its_open_decisions_settle(
    served: tuple[Served, Router],
) -> None:
    server, client = served
    write(server, client, SHIPPED.read_text() + "# as shipped\n")
    before = client.route("hello", models=[OLD])

    def retired(models: dict[str, dict[str, Any]]) -> None:
        models[OLD] |= {"retires": "2026-01-01", "replaced_by": NEW}
        models["gemini-3.8-flash"] |= {"retires": "2026-02-01"}

    write(server, client, changed(retired))
    settled = client.settle(before.id, input_tokens=1_000, output_tokens=1_000)
    assert settled.spent.nanos == 450_000
    after = client.route("hello", models=[OLD])
    assert after.model == NEW
    told = [
        each.text for each in after.message.reasons if each.code == router_pb2.REASON_CODE_REPLACED
    ]
    assert told == [f"{OLD} has retired: {NEW} was chosen instead"]
    kept = record(server, after.id)
    assert kept.constraints.models == (OLD, NEW)
    assert "REPLACED" in kept.reasons
    with pytest.raises(CallFailed, match=r"gemini-3\.8-flash retired on 2026-02-01; allow other"):
        client.route("hello", models=["gemini-3.8-flash"])
    anything = client.route("hello", max_alternatives=100).message
    listed = {anything.chosen.model, *(each.model for each in anything.alternatives)}
    assert not listed & {OLD, "gemini-3.8-flash"}


def test_models_say_where_they_are_served_and_when_they_retire(
    served: tuple[Served, Router],
) -> None:
    server, client = served

    def all_of_it(models: dict[str, dict[str, Any]]) -> None:
        models[OLD] |= {"regions": ["us", "eu"], "retires": "2099-01-01", "replaced_by": NEW}

    write(server, client, changed(all_of_it))
    with Admin(server.address, timeout_s=PATIENCE_S) as admin:
        told = next(each for each in admin.models().models if each.model == OLD)
    assert (list(told.regions), told.retires, told.replaced_by) == (["eu", "us"], "2099-01-01", NEW)
