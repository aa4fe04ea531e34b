"""A real server through the turns of a conversation: caches, tool loops, answers that did not do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import mitsumori
from mitsumori import Decision, Message
from router.decision_log.record_json import parse
from router.ledger.memory import MemoryLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations, build_router
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S
from tests.router.ledger.builders import ManualClock

CONTEXT: Message = ("system", "The report of the year, in full. " * 1_500)
PROOF: Message = (
    "user",
    "Prove that there are infinitely many primes of the form 4k + 3, and explain each step.",
)
ANSWER: Message = ("assistant", "Suppose that there were finitely many of them, p1 to pn.")
SIMPLE: Message = ("user", "What is DNS?")
RESULT: Message = ("tool", "42")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def ledger(clock: ManualClock) -> MemoryLedger:
    return MemoryLedger(clock)


@pytest.fixture
def address(
    settings: Settings, router: Router, clock: ManualClock, ledger: MemoryLedger
) -> Iterator[str]:
    made = build_router(
        settings, clock, catalog=router.catalog, bundle=router.bundle, tokens=router.tokens
    )
    running = start(settings, build_reservations(settings, made, ledger))
    running.mark_serving()
    yield running.address
    running.drain()


@pytest.fixture
def client(address: str) -> Iterator[mitsumori.Router]:
    with mitsumori.Router(address, timeout_s=PATIENCE_S) as made:
        yield made


@pytest.fixture
def first(client: mitsumori.Router) -> Decision:
    """The first turn, over a long context: a model answers that is not the best for what comes next."""
    return client.route([CONTEXT, PROOF], models=["mistral-large-2512"], conversation_id="chat")


def reason(decision: Decision, code: str) -> str | None:
    return next((each.text for each in decision.reasons if each.code == code), None)


def simple(client: mitsumori.Router, conversation_id: str = "chat") -> Decision:
    """A simple question after the proof."""
    return client.route([CONTEXT, PROOF, ANSWER, SIMPLE], conversation_id=conversation_id)


def test_the_model_of_before_is_kept_while_its_cache_is_worth_it(
    client: mitsumori.Router, first: Decision, clock: ManualClock
) -> None:
    alone = simple(client, "")
    assert alone.model != first.model
    kept = simple(client)
    assert kept.model == first.model
    told = reason(kept, "KEPT_MODEL")
    assert told is not None
    assert told.startswith(f"kept {first.model}: its prompt cache is worth about $")
    assert f"{alone.model} would save $" in told
    clock.advance(seconds=301)
    assert simple(client).model == alone.model


def test_what_is_held_does_not_count_on_the_cache(
    client: mitsumori.Router, first: Decision
) -> None:
    kept = simple(client)
    same = client.route(
        [CONTEXT, PROOF, ANSWER, SIMPLE], conversation_id="new", models=[first.model]
    )
    assert kept.quote.price == same.quote.price


def test_inside_a_tool_loop_the_model_goes_on(
    client: mitsumori.Router, first: Decision, clock: ManualClock
) -> None:
    clock.advance(hours=1)
    chat = [CONTEXT, PROOF, ANSWER, SIMPLE, ANSWER, RESULT]
    decision = client.route(chat, conversation_id="chat")
    assert decision.model == first.model
    assert "inside a tool loop" in (reason(decision, "KEPT_MODEL") or "")
    others = client.route(chat, conversation_id="chat", tiers=["low"])
    assert others.chosen.tier == "low"


def test_after_an_inadequate_answer_a_more_able_model_answers_until_the_task_changes(
    client: mitsumori.Router,
) -> None:
    task: Message = ("user", "Write a regular expression for an ISO date.")
    weak = client.route([task], conversation_id="chat", tiers=["low"])
    client.settle(weak.id, input_tokens=20, output_tokens=50, quality=0.1)
    again = client.route([task, ANSWER, ("user", "Try again.")], conversation_id="chat")
    assert again.chosen.p_adequate > weak.chosen.p_adequate
    assert again.chosen.tier != "low"
    assert f"an answer of {weak.model} to this task was reported inadequate" in (
        reason(again, "ESCALATED") or ""
    )
    fresh = client.route([task, ANSWER, PROOF], conversation_id="chat")
    assert reason(fresh, "ESCALATED") is None


def test_of_another_tenant_nothing_is_known(client: mitsumori.Router, first: Decision) -> None:
    chat = [CONTEXT, PROOF, ANSWER, SIMPLE]
    decision = client.route(chat, conversation_id="chat", scope={"tenant": "other"})
    assert reason(decision, "KEPT_MODEL") is None
    assert decision.model != first.model


def test_the_log_says_what_the_caches_were_worth(
    client: mitsumori.Router, first: Decision, ledger: MemoryLedger
) -> None:
    stored = ledger.decision(simple(client).id)
    assert stored is not None
    record = parse(stored.record)
    assert record.conversation is not None
    assert record.conversation.model == first.model
    assert record.chosen.cache_nanos is not None
    assert record.chosen.cache_nanos.now > 0
