"""Settled usage corrects quotes, over a real socket and a real ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from typer.testing import CliRunner

import mitsumori
from mitsumori.v1 import router_pb2
from router.cli.main import app
from router.core.corrections import UNCORRECTED
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.correction_learner import CorrectionLearner
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S

PROMPT = "Explain to a new colleague how the quarterly report is put together, step by step."
SEARCH = {"team": "search"}


@dataclass(frozen=True)
class Shop:
    client: mitsumori.Router
    learner: CorrectionLearner
    address: str

    def quote(self, model: str, **scope: str) -> router_pb2.RouteResponse:
        return self.client.route(PROMPT, scope=scope, models=[model]).message

    def settle(self, count: int, model: str, *, tokens: float, length: float) -> None:
        """Calls that took so many times the tokens and the median length that were quoted."""
        for _ in range(count):
            reply = self.quote(model, **SEARCH)
            offer = reply.chosen.quote
            self.client.settle(
                reply.decision_id,
                input_tokens=round(offer.input_tokens.tokens * tokens),
                output_tokens=round(offer.output_tokens.p50 * length),
            )


@pytest.fixture
def shop(tmp_path: Path, settings: Settings, router: Router) -> Iterator[Shop]:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite", clock=lambda: NOON)
    allowances = router.catalog.reasoning_allowances
    learner = CorrectionLearner(ledger, ("team",), 1_000, allowances, router.catalog.speeds)
    taught = replace(router, corrections=lambda: learner.corrections)
    running = start(settings, build_reservations(settings, taught, ledger))
    running.mark_serving()
    with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
        yield Shop(client, learner, running.address)
    running.drain()
    ledger.close()


def test_a_model_that_writes_more_than_predicted_is_quoted_higher(shop: Shop) -> None:
    before = shop.quote("claude-haiku-5-5", **SEARCH).chosen.quote
    shop.settle(60, "claude-haiku-5-5", tokens=1.3, length=2.0)
    assert shop.quote("claude-haiku-5-5", **SEARCH).chosen.quote == before  # not yet learned
    shop.learner.refresh()
    after = shop.quote("claude-haiku-5-5", **SEARCH).chosen.quote
    assert 1.3 < after.output_tokens.p50 / before.output_tokens.p50 < 2.0
    assert 1.05 < after.input_tokens.tokens / before.input_tokens.tokens < 1.3
    assert not after.input_tokens.exact
    other = shop.quote("gpt-5-nano", **SEARCH).chosen.quote
    assert shop.learner.corrections.of("gpt-5-nano", SEARCH) == UNCORRECTED
    assert other.input_tokens.exact


def test_what_was_learned_is_shown_per_model_and_scope(shop: Shop) -> None:
    shop.settle(10, "gpt-5-nano", tokens=1.0, length=0.5)
    shop.learner.refresh()
    shown = CliRunner().invoke(app, ["corrections", "--server", shop.address, "--json"])
    whole, team = json.loads(shown.output)
    assert (whole["model"], whole["scope"], team["scope"]) == ("gpt-5-nano", {}, SEARCH)
    assert (whole["observations"], whole["within_p50"], whole["within_p90"]) == ("10", 1.0, 1.0)
    assert whole["p50_factor"] < 1
    assert whole["tokens_factor"] == 1  # an exact tokenizer has nothing to correct
    table = CliRunner().invoke(
        app, ["corrections", "--server", shop.address], env={"COLUMNS": "140"}
    )
    assert "team=search" in table.output


SLOW = "claude-haiku-5-5"


def stream(shop: Shop, count: int, *, first_s: float, whole_s: float) -> None:
    """Calls as long as foretold, with these times to the first and the last token."""
    for _ in range(count):
        reply = shop.quote(SLOW)
        offer = reply.chosen.quote
        shop.client.settle(
            reply.decision_id,
            input_tokens=offer.input_tokens.tokens,
            output_tokens=offer.output_tokens.p50,
            latency_s=whole_s,
            first_token_s=first_s,
        )


def seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def test_a_model_that_has_become_slow_is_quoted_so_and_left_out_where_time_is_short(
    shop: Shop,
) -> None:
    before = shop.quote(SLOW).chosen.quote
    stream(shop, 60, first_s=9.0, whole_s=90.0)
    assert shop.quote(SLOW).chosen.quote.latency == before.latency  # not yet learned
    shop.learner.refresh()
    after = shop.quote(SLOW).chosen.quote
    assert seconds(after.latency.p50) == pytest.approx(90.0, rel=0.05)
    assert seconds(after.latency.p90) >= 90.0
    assert seconds(after.first_token.p50) == pytest.approx(9.0, rel=0.05)
    for bound in ({"max_latency_s": 60.0}, {"max_first_token_s": 5.0}):
        with pytest.raises(mitsumori.CallFailed) as caught:
            shop.client.route(PROMPT, models=[SLOW], quote_only=True, **bound)  # type: ignore[arg-type]
        assert caught.value.reason == "NO_ELIGIBLE_MODEL"
        (name,) = bound
        assert f"raise constraints.{name.removesuffix('_s')}" in caught.value.message
        other = shop.client.route(PROMPT, models=[SLOW, "gpt-5-nano"], **bound)  # type: ignore[arg-type]
        assert other.model == "gpt-5-nano"


def test_calls_that_timed_out_are_not_forgotten(shop: Shop) -> None:
    stream(shop, 40, first_s=1.0, whole_s=5.0)
    shop.learner.refresh()
    answered = seconds(shop.quote(SLOW).chosen.quote.latency.p90)
    for _ in range(20):
        reply = shop.quote(SLOW)
        shop.client.settle(
            reply.decision_id, input_tokens=9, output_tokens=0, latency_s=120.0, outcome="timeout"
        )
    shop.learner.refresh()
    assert answered < 60 < 119 < seconds(shop.quote(SLOW).chosen.quote.latency.p90)


def test_how_fast_models_are_is_shown_beside_the_catalog(shop: Shop) -> None:
    stream(shop, 60, first_s=9.0, whole_s=90.0)
    shop.learner.refresh()
    server = ["--server", shop.address]
    shown = CliRunner().invoke(app, ["corrections", *server], env={"COLUMNS": "160"}).output
    assert "Latency from settled calls" in shown
    assert CliRunner().invoke(app, ["corrections", *server, "--json"]).exit_code == 0
    listed = json.loads(CliRunner().invoke(app, ["models", *server, "--json"]).output)["models"]
    slow = next(each for each in listed if each["model"] == SLOW)["speed"]
    assert slow["catalog"]["first_token_s"] < slow["learned"]["first_token_s"]
    assert slow["catalog"]["output_tokens_per_s"] > slow["learned"]["output_tokens_per_s"]
    assert slow["learned"]["calls"] == 60
    nano = next(each for each in listed if each["model"] == "gpt-5-nano")["speed"]
    assert nano["learned"] is None
    table = CliRunner().invoke(app, ["models", *server], env={"COLUMNS": "260"}).output
    assert "learned speed" in table
    local = CliRunner().invoke(app, ["models"], env={"COLUMNS": "260"}).output
    assert "learned speed" not in local


def test_what_is_learned_once_is_not_learned_again_on_top(shop: Shop) -> None:
    # The factors are on what the classifier predicted, not on what was quoted with them.
    shop.settle(40, "gpt-5-nano", tokens=1.0, length=2.0)
    shop.learner.refresh()
    once = shop.learner.corrections.of("gpt-5-nano", SEARCH)
    shop.settle(40, "gpt-5-nano", tokens=1.0, length=2.0 / once.p50)  # the same lengths as before
    shop.learner.refresh()
    twice = shop.learner.corrections.of("gpt-5-nano", SEARCH)
    assert once.p50 < twice.p50 <= 2.01
    assert twice.tokens == 1


def test_an_allowance_for_reasoning_is_quoted_and_corrected_with_the_whole_output(
    shop: Shop,
) -> None:
    before = shop.quote("gpt-5-nano", **SEARCH).chosen.quote
    allowance = before.reasoning_tokens
    assert 0 < allowance.p50 < before.output_tokens.p50
    assert allowance.p50 <= allowance.p90 <= allowance.worst == before.output_tokens.worst
    assert not shop.quote("ministral-8b-2512").chosen.quote.HasField("reasoning_tokens")
    words = ["route", PROMPT, "--model", "gpt-5-nano", "--server", shop.address]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert f"gpt-5-nano {allowance.p50:,}–{allowance.p90:,}" in shown.output
    really = before.output_tokens.p50 + 3 * allowance.p50  # four times the reasoning
    for _ in range(200):
        reply = shop.quote("gpt-5-nano", **SEARCH)
        shop.client.settle(
            reply.decision_id,
            input_tokens=reply.chosen.quote.input_tokens.tokens,
            output_tokens=really,
            reasoning_tokens=4 * allowance.p50,
        )
    shop.learner.refresh()
    after = shop.quote("gpt-5-nano", **SEARCH).chosen.quote
    assert after.output_tokens.p50 == pytest.approx(really, rel=0.15)
    assert allowance.p50 < after.reasoning_tokens.p50 < after.output_tokens.p50
    assert after.output_tokens.worst == before.output_tokens.worst


def test_what_was_learned_does_not_outlive_another_allowance(shop: Shop) -> None:
    before = shop.quote("gpt-5-nano", **SEARCH).chosen.quote
    shop.settle(60, "gpt-5-nano", tokens=1.0, length=1.0)
    shop.learner.refresh()
    assert shop.learner.corrections.of("gpt-5-nano", SEARCH).p50 == pytest.approx(1, rel=0.02)
    # The same usage, had the catalog allowed for nothing: all of the reasoning is a correction then.
    shop.learner.allowances = {}
    shop.learner.refresh()
    visible = before.output_tokens.p50 - before.reasoning_tokens.p50
    factor = shop.learner.corrections.of("gpt-5-nano", SEARCH).p50
    assert 1 < factor <= before.output_tokens.p50 / visible * 1.02


def test_failed_calls_and_unquoted_models_teach_nothing(shop: Shop) -> None:
    reply = shop.quote("gpt-5-nano", **SEARCH)
    shop.client.settle(reply.decision_id, input_tokens=10, output_tokens=9_000, model="gpt-6-luna")
    failed = shop.quote("gpt-5-nano", **SEARCH)
    shop.client.settle(failed.decision_id, input_tokens=0, output_tokens=0)
    shop.learner.refresh()
    assert shop.learner.corrections.learned == {}
