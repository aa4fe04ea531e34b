"""A real server explains decisions, of now and from its log, and says what to relax where it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import mitsumori
from mitsumori import Admin, CallFailed, Explanation, InvalidArgument, route_request
from mitsumori.v1 import explanation_pb2, limit_pb2
from router.access.key_store import KeyStore
from router.cli.main import app
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.end_to_end.test_access import World, refusal, world_of
from tests.readiness import PATIENCE_S

PROMPT = "Prove that there are infinitely many primes."


@dataclass
class Served:
    """A server with a ledger of its own."""

    running: RunningServer
    ledger: MemoryLedger

    @property
    def address(self) -> str:
        return self.running.address


@pytest.fixture
def served(settings: Settings, router: Router) -> Iterator[Served]:
    ledger = MemoryLedger()
    running = start(settings, build_reservations(settings, router, ledger))
    running.mark_serving()
    yield Served(running, ledger)
    running.drain()


@pytest.fixture
def client(served: Served) -> Iterator[mitsumori.Router]:
    with mitsumori.Router(served.address, timeout_s=PATIENCE_S) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with Admin(served.address, timeout_s=PATIENCE_S) as made:
        yield made


def models(message: explanation_pb2.Explanation) -> list[str]:
    return [each.model for each in message.models]


def budget(nanos: int) -> limit_pb2.Limit:
    """The team's budget of a month."""
    limit = limit_pb2.Limit(limit_id="team-search", scope={"team": "search"})
    limit.unit, limit.window = limit_pb2.UNIT_MONEY, limit_pb2.WINDOW_MONTH
    limit.hard = nanos
    return limit


def test_a_reply_explains_every_model_of_the_catalog_where_that_is_asked_for(
    client: mitsumori.Router,
) -> None:
    plain, decision = client.route(PROMPT), client.route(PROMPT, explain=True)
    assert plain.explanation is None
    assert decision.explanation is not None
    found = decision.explanation.message
    assert decision.message.chosen == plain.message.chosen
    assert models(found)[0] == decision.model
    assert len(found.models) == len({*models(found)}) == 15
    assert [each.place for each in found.models] == list(range(1, 16))
    assert found.miss_cost == decision.message.miss_cost
    assert not found.gaps
    second = found.models[1]
    assert second.model == decision.message.alternatives[0].model
    assert second.expected_price == decision.message.alternatives[0].quote.price.expected
    assert decision.explanation.text().startswith(
        f"{decision.model} was chosen: the least expected"
    )
    assert decision.explanation.text("ja").startswith(f"{decision.model} が選ばれました。")
    with pytest.raises(InvalidArgument, match="language: must be one of en, ja"):
        decision.explanation.text("fr")  # type: ignore[arg-type]


def test_a_change_that_is_told_is_true_of_the_next_request(client: mitsumori.Router) -> None:
    asked: dict[str, Any] = {"max_price_usd": "0.002", "importance": "high", "quote_only": True}
    told = client.route(PROMPT, explain=True, **asked).explanation
    assert told is not None
    (best,) = [
        each
        for each in told.message.models
        if each.exclusion == "over_max_price" and not each.HasField("loss")
    ][:1]
    (need,) = best.needs
    nanos = need.value.money.units * 10**9 + need.value.money.nanos
    enough, short = mitsumori.Usd(nanos), mitsumori.Usd(nanos - 1)
    assert client.route(PROMPT, **{**asked, "max_price_usd": enough}).model == best.model
    assert client.route(PROMPT, **{**asked, "max_price_usd": short}).model != best.model


def test_the_wish_for_an_explanation_is_no_other_request(
    client: mitsumori.Router,
) -> None:
    plain = client.route(PROMPT, request_id="r1", tiers=["low"])
    again = client.route(PROMPT, request_id="r1", tiers=["low"], explain=True)
    assert again.message.chosen == plain.message.chosen
    assert again.explanation is not None
    # It is made from the log, which keeps no models that were left out.
    found = again.explanation.message
    assert models(found)[0] == plain.model
    assert {each.tier for each in found.models} == {"low"}
    assert list(found.gaps) == [explanation_pb2.EXPLANATION_GAP_LEFT_OUT]
    assert client.route(PROMPT, request_id="r1", tiers=["low"]).message == plain.message
    # And the other way round: the reply that is kept has no explanation.
    first = client.route(PROMPT, request_id="r2", explain=True)
    assert first.explanation is not None
    kept = client.route(PROMPT, request_id="r2")
    assert kept.explanation is None
    first.message.ClearField("explanation")
    assert kept.message == first.message


def test_a_reroute_and_a_batch_explain_too(client: mitsumori.Router) -> None:
    decision = client.route(PROMPT)
    other = client.reroute(
        decision.id, route_request(PROMPT, explain=True), failed_models=[decision.model]
    )
    assert other.explanation is not None
    assert models(other.explanation.message)[0] == other.model
    assert decision.model not in models(other.explanation.message)
    requests = [route_request(PROMPT, explain=True), route_request(PROMPT)]
    first, second, _ = client.quote_batch(requests)
    assert models(first.response.explanation)[0] == first.response.chosen.model
    assert not second.response.HasField("explanation")


def test_an_operator_has_a_decision_of_the_log_explained(
    client: mitsumori.Router, admin: Admin
) -> None:
    decision = client.route(PROMPT, scope={"team": "search"}, explain=True)
    assert decision.explanation is not None
    found = admin.explain(decision.id, {"team": "search"})
    assert found.decision_id == decision.id
    assert found.HasField("create_time")
    # Nothing was left out, and no limit acted, so that the log says as much as the reply.
    logged, told = found.explanation, decision.explanation.message
    assert models(logged) == models(told)
    assert [each.loss for each in logged.models] == [each.loss for each in told.models]
    assert [[*each.changes] for each in logged.models] == [[*each.changes] for each in told.models]
    assert not logged.gaps
    assert refusal(admin.explain, "nope")[:2] == ("NOT_FOUND", "NOT_FOUND")
    assert refusal(admin.explain, decision.id, {"team": "ads"})[:2] == ("NOT_FOUND", "NOT_FOUND")
    assert refusal(admin.explain, "")[:2] == ("INVALID_ARGUMENT", "INVALID_INPUT")


def test_a_refusal_says_the_fewest_things_to_relax_and_they_are_enough(
    client: mitsumori.Router,
) -> None:
    with pytest.raises(CallFailed) as caught:
        client.route(PROMPT, tiers=["high"], max_price_usd="0.001", max_latency_s=60)
    facts = caught.value.metadata
    assert caught.value.reason == "NO_ELIGIBLE_MODEL"
    assert (facts["relaxations"], facts["relax_1"]) == ("1", "constraints.allowed_tiers")
    assert f"then {facts['feasible_model']} would be chosen" in caught.value.message
    relaxed = client.route(
        PROMPT, tiers=["high", facts["relax_1_to"]], max_price_usd="0.001", max_latency_s=60
    )
    assert relaxed.model == facts["feasible_model"]
    price = relaxed.quote.price
    assert str(price.expected) == f"${facts['feasible_expected_price_usd']}"
    assert str(price.high) == f"${facts['feasible_high_price_usd']}"


def test_a_budget_that_is_spent_says_what_it_lacks_and_no_more_is_needed(
    client: mitsumori.Router, admin: Admin
) -> None:
    admin.set_limit(budget(1))
    with pytest.raises(CallFailed) as caught:
        client.route(PROMPT, scope={"team": "search"})
    facts = caught.value.metadata
    assert caught.value.reason == "LIMIT_NEVER_FITS"
    assert facts["relax_1"] == "limit team-search"
    assert f"${facts['relax_1_to']} more under limit team-search" in caught.value.message
    more = round(float(facts["relax_1_to"]) * 1e9)
    admin.set_limit(budget(more))  # one nano-dollar short
    with pytest.raises(CallFailed):
        client.route(PROMPT, scope={"team": "search"})
    admin.set_limit(budget(more + 1))
    assert client.route(PROMPT, scope={"team": "search"}).model == facts["feasible_model"]


# --- Who may see it ----------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Keys that are there before the server starts."""
    store = KeyStore(tmp_path / "keys.json")

    def made(tenant: str, *roles: str, **labels: str) -> str:
        return store.create(
            name="k", tenant=tenant, roles=roles, labels=labels, scopes={}, expires=None
        )[0]

    return {
        "acme": made("acme", "route", "read"),
        "beta": made("beta", "read"),
        "ads": made("acme", "read", team="ads"),
        "search": made("acme", "read", team="search"),
        "caller": made("acme", "route"),
        "operator": made("*", "read"),
    }


@pytest.fixture
def world(
    settings: Settings, router: Router, tmp_path: Path, keys: dict[str, str]
) -> Iterator[World]:
    with world_of(settings, router, tmp_path) as made:
        yield made


def test_a_tenant_has_its_own_decisions_explained_and_no_others(
    world: World, keys: dict[str, str]
) -> None:
    with world.router(keys["acme"]) as client:
        client.route(PROMPT, request_id="r1", scope={"team": "search"})
    for name in ("acme", "search"):
        with world.admin(keys[name]) as admin:
            found = admin.explain("r1")
            assert found.decision_id == "r1"
            assert found.explanation.models
    with world.admin(keys["operator"]) as admin:
        assert admin.explain("acme:r1").decision_id == "acme:r1"
    for name in ("beta", "ads"):
        with world.admin(keys[name]) as admin:
            for decision_id in ("r1", "acme:r1"):
                found = refusal(admin.explain, decision_id)
                assert found[:2] == ("NOT_FOUND", "NOT_FOUND")
    with world.admin(keys["caller"]) as admin:
        assert refusal(admin.explain, "r1")[:2] == ("PERMISSION_DENIED", "ROLE_MISSING")


# --- On the command line -----------------------------------------------------------------------


def typed(*words: str, **environment: str) -> Result:
    cleared = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": ""}
    return CliRunner().invoke(app, words, env={**cleared, **environment}, catch_exceptions=True)


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        ((), {}, "was chosen: the least expected cost"),
        ((), {"LANG": "ja_JP.UTF-8"}, "が選ばれました。"),
        ((), {"LC_ALL": "C.UTF-8", "LANG": "ja_JP.UTF-8"}, "was chosen: the least expected cost"),
        ((), {"LC_MESSAGES": "ja", "LANG": "en_US.UTF-8"}, "が選ばれました。"),
        (("--lang", "en"), {"LANG": "ja_JP.UTF-8"}, "was chosen: the least expected cost"),
        (("--lang", "ja"), {"LANG": "en_US.UTF-8"}, "が選ばれました。"),
    ],
)
def test_route_explains_in_the_language_of_its_caller(
    served: Served, words: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    asked = ["route", PROMPT, "--server", served.address, "--quote-only", "--explain", *words]
    assert told in typed(*asked, **environment).stdout


def test_route_says_nothing_of_it_where_it_was_not_asked(served: Served) -> None:
    shown = typed(
        "route", PROMPT, "--server", served.address, "--quote-only", "--lang", "ja"
    ).stdout
    assert "選ばれました" not in shown
    asked = ["route", PROMPT, "--server", served.address, "--quote-only", "--json"]
    assert "explanation" not in json.loads(typed(*asked).stdout)
    assert json.loads(typed(*asked, "--explain").stdout)["explanation"]["models"]


def test_a_language_that_is_not_told_is_refused(served: Served) -> None:
    found = typed("explain", "d1", "--server", served.address, "--lang", "fr")
    assert str(found.exception) == "--lang: write one of en, ja"


def test_explain_tells_the_same_from_a_server_and_from_its_ledger(
    settings: Settings, router: Router, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path)
    running = start(settings, build_reservations(settings, router, ledger))
    running.mark_serving()
    try:
        with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
            decision = client.route(PROMPT, scope={"team": "search"}, tiers=["low", "medium"])
        asked = typed("explain", decision.id, "--server", running.address)
    finally:
        running.drain()
        ledger.close()
    log = f"sqlite:{path}"
    assert typed("explain", decision.id, "--log", log).stdout == asked.stdout
    assert f"{decision.model} was chosen: the least expected cost" in asked.stdout
    assert "The log does not keep which models were left out" in asked.stdout
    assert f"{decision.id}, 2026-" in asked.stdout
    in_japanese = typed("explain", decision.id, "--log", log, "--lang", "ja").stdout
    assert "制約、ルール、利用枠によって対象外となったモデルは、記録に残りません。" in in_japanese
    found = json.loads(typed("explain", decision.id, "--log", log, "--json").stdout)
    assert found["explanation"]["models"][0]["model"] == decision.model
    for words in (("nope",), (decision.id, "--label", "team=ads")):
        missing = typed("explain", *words, "--log", log)
        assert str(missing.exception) == "decision_id: there is no such decision in this log"


def test_a_table_keeps_its_lines_apart_in_both_languages(client: mitsumori.Router) -> None:
    from rich.cells import cell_len
    from rich.console import Console

    from mitsumori.explanation import figures, outcome, phrases_of
    from router.cli.render import table

    found = client.route(PROMPT, explain=True).explanation
    assert isinstance(found, Explanation)
    for language in ("en", "ja"):
        words = phrases_of(language)
        rows = [
            [each.model, each.tier, *figures(each), outcome(each, words)]
            for each in found.message.models
        ]
        for width in (80, 120, 160):
            console = Console(width=width, record=True, quiet=False)
            with console.capture() as captured:
                console.print(table("", words.columns, rows))
            lines = captured.get().splitlines()
            assert max(map(cell_len, lines)) <= width
            if "┏" in lines[0]:
                assert {cell_len(line) for line in lines} == {cell_len(lines[0])}
