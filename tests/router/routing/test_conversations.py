"""What one process remembers of conversations, while time passes and callers report."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from router.core.breaker import Outcome
from router.core.conversation import NO_CONVERSATION, Conversation, ConversationPolicy
from router.core.types import Constraints, Importance, Message, Prompt
from router.decision_log.reader import LoggedDecision, logged
from router.decision_log.record import DecisionRecord
from router.decision_log.record_json import parse, serialize
from router.decision_log.replay import ReplayPolicy, replay
from router.ledger.memory import MemoryLedger
from router.routing.conversations import Conversations, Judgement, PromptState, Turn
from router.routing.model_health import OutcomeReport
from router.routing.reservations import Reservations
from router.routing.router import FailedCall, RouteQuery, Router
from router.routing.settlement import UsageReport
from router.rpc.assembly import build_reservations
from router.settings import Settings
from tests.router.ledger.builders import ManualClock

KEY = ("acme", "chat")
ASKED = Message("user", "Prove it.")
TOLD = Message("assistant", "Here is a proof.")
MORE = Message("user", "And the second case?")
TASK = 7


def state(*messages: Message, task: int | None = TASK) -> PromptState:
    return PromptState(Prompt(messages or (ASKED,)), task)


def turn(model: str = "mini", *, p: float = 0.6, expects_cache: bool = False) -> Turn:
    return Turn(model, "openai", p, 5_000, 0.5, expects_cache)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def known(clock: ManualClock) -> Conversations:
    """One conversation: mini has answered."""
    made = Conversations(now=clock)
    made.decided(KEY, "d1", state(), turn())
    return made


def view(known: Conversations, *messages: Message, task: int | None = None) -> Conversation:
    """What is known before the next turn, which goes on with the task."""
    return known.view(*KEY, state(*(messages or (ASKED, TOLD, MORE)), task=task))


# --- What a cache holds ------------------------------------------------------------------------


def test_the_next_turn_finds_the_prompt_of_the_one_before_in_the_cache(
    known: Conversations,
) -> None:
    assert view(known) == Conversation("mini", {"mini": 5_000})


@pytest.mark.parametrize(("seconds", "held"), [(300, {"mini": 5_000}), (300.001, {})])
def test_a_cache_lives_as_long_as_its_provider_says(
    known: Conversations, clock: ManualClock, seconds: float, held: dict[str, int]
) -> None:
    clock.advance(seconds=seconds)
    assert view(known) == Conversation("mini", held)


def test_each_use_keeps_it_alive(known: Conversations, clock: ManualClock) -> None:
    clock.advance(seconds=200)
    known.decided(KEY, "d2", state(ASKED, TOLD, MORE, task=None), turn())
    clock.advance(seconds=200)
    assert view(known).cached == {"mini": 5_000}


@pytest.mark.parametrize(
    "messages",
    [(MORE,), (Message("user", "Prove it!"), TOLD, MORE), (Message("system", "Hi"), ASKED, MORE)],
    ids=["the history was cut off", "a message was changed", "a message was put before it"],
)
def test_a_prompt_that_does_not_begin_as_the_one_before_finds_nothing(
    known: Conversations, messages: tuple[Message, ...]
) -> None:
    assert view(known, *messages) == Conversation("mini")


def test_several_models_have_caches_the_four_used_last(known: Conversations) -> None:
    for number, name in enumerate("abcd"):
        known.decided(KEY, f"e{number}", state(task=None), turn(name))
    assert view(known) == Conversation("d", dict.fromkeys("abcd", 5_000))
    known.decided(KEY, "e4", state(task=None), turn("b"))
    assert list(view(known).cached) == ["a", "c", "d", "b"]


def test_a_call_that_failed_or_was_not_made_filled_no_cache(known: Conversations) -> None:
    known.decided(KEY, "d2", state(task=None), turn("other"))
    known.reported("d2", Judgement("other", Outcome.SERVER_ERROR))
    assert view(known) == Conversation("other", {"mini": 5_000})
    known.released("d1")
    assert view(known) == Conversation("other")


@pytest.mark.parametrize(
    ("judgement", "reads"),
    [
        (Judgement("mini", Outcome.SUCCESS, cached_tokens=0), False),
        (Judgement("mini", Outcome.SUCCESS, cached_tokens=1), True),
        (Judgement("mini", Outcome.SUCCESS, cached_tokens=None), True),
        (Judgement("mini", Outcome.CONTEXT_OVERFLOW, cached_tokens=0), True),
        (Judgement("other", Outcome.SUCCESS, cached_tokens=0), True),
    ],
)
def test_a_caller_whose_calls_read_from_no_cache_has_none(
    known: Conversations, judgement: Judgement, *, reads: bool
) -> None:
    known.decided(KEY, "d2", state(task=None), turn(expects_cache=True))
    known.reported("d2", judgement)
    assert view(known).cached == ({"mini": 5_000} if reads else {})


def test_a_first_call_that_reads_from_no_cache_says_nothing_and_a_later_one_can_tell_otherwise(
    known: Conversations,
) -> None:
    known.reported("d1", Judgement("mini", Outcome.SUCCESS, cached_tokens=0))
    assert view(known).cached
    known.decided(KEY, "d2", state(task=None), turn(expects_cache=True))
    known.reported("d2", Judgement("mini", Outcome.SUCCESS, cached_tokens=0))
    known.decided(KEY, "d3", state(task=None), turn())
    known.reported("d3", Judgement("mini", Outcome.SUCCESS, cached_tokens=900))
    assert view(known).cached


# --- Tool loops and tasks ----------------------------------------------------------------------


def test_a_prompt_that_ends_with_what_a_tool_returned_is_inside_a_tool_loop(
    known: Conversations,
) -> None:
    result = Message("tool", "42")
    assert view(known, ASKED, TOLD, result).bound_to == "mini"
    assert view(known, ASKED, TOLD, result, MORE).bound_to is None


@pytest.mark.parametrize(("task", "model"), [(TASK, "mini"), (TASK + 1, None)])
def test_a_tool_loop_of_another_request_is_none_of_this_conversation(
    known: Conversations, task: int, model: str | None
) -> None:
    assert view(known, ASKED, TOLD, Message("tool", "42"), task=task).bound_to == model


@pytest.mark.parametrize(
    ("judgement", "adequate"),
    [
        (Judgement("mini", Outcome.SUCCESS), True),
        (Judgement("mini", Outcome.SUCCESS, 0.5), True),
        (Judgement("mini", Outcome.SUCCESS, 0.49), False),
        (Judgement("mini", Outcome.REFUSED), False),
        (Judgement("mini", Outcome.TRUNCATED), False),
        (Judgement("mini", Outcome.TRUNCATED, 0.5), True),
        (Judgement("mini", Outcome.SERVER_ERROR), True),
        (Judgement("mini", Outcome.CONTENT_FILTERED), True),
    ],
)
def test_what_counts_as_an_inadequate_answer(
    known: Conversations, judgement: Judgement, *, adequate: bool
) -> None:
    """The threshold is 0.5; a failure of the provider says nothing of the answer."""
    known.reported("d1", judgement)
    assert view(known).inadequate == ({} if adequate else {"mini": 0.6})


def test_an_inadequate_answer_counts_while_the_task_goes_on(known: Conversations) -> None:
    known.reported("d1", Judgement("mini", Outcome.REFUSED))
    assert view(known, task=None).inadequate == {"mini": 0.6}
    assert view(known, task=TASK).inadequate == {"mini": 0.6}
    assert view(known, task=8).inadequate == {}
    known.decided(KEY, "d2", state(task=None), turn("large", p=0.9))
    known.reported("d2", Judgement("large", Outcome.SUCCESS, 0.1))
    assert view(known).inadequate == {"mini": 0.6, "large": 0.9}
    known.decided(KEY, "d3", state(task=8), turn())
    assert view(known).inadequate == {}


def test_a_late_report_does_not_count_against_the_next_task(known: Conversations) -> None:
    known.decided(KEY, "d2", state(task=8), turn("large"))
    known.reported("d1", Judgement("mini", Outcome.REFUSED))
    assert view(known).inadequate == {}


# --- Whose they are, and how many --------------------------------------------------------------


def test_conversations_of_tenants_and_requests_without_one_have_nothing_to_do_with_each_other(
    known: Conversations,
) -> None:
    assert known.view("other", "chat", state()) is NO_CONVERSATION
    assert known.view("acme", "chat 2", state()) is NO_CONVERSATION
    assert known.view("acme", "", state()) is NO_CONVERSATION


def test_those_with_the_oldest_turns_are_forgotten(clock: ManualClock) -> None:
    made = Conversations(ConversationPolicy(remembered=2), clock)
    for name in ("a", "b", "a", "c"):
        made.decided(("acme", name), f"of {name}", state(), turn())
    assert len(made) == 2
    assert made.view("acme", "b", state()) is NO_CONVERSATION
    made.reported("of b", Judgement("mini", Outcome.REFUSED))  # nobody remembers
    made.policy = ConversationPolicy(remembered=0)
    assert len(made) == 0
    made.decided(("acme", "d"), "of d", state(), turn())
    assert made.view("acme", "d", state()) is NO_CONVERSATION


def test_the_policy_says_how_many_turns_follow(known: Conversations) -> None:
    known.policy = ConversationPolicy(further_turns=3)
    assert view(known).further_turns == 3


# --- In a service ------------------------------------------------------------------------------

CONTEXT = "The report of the year, in full. " * 1_500
PROOF = "Prove that there are infinitely many primes of the form 4k + 3, and explain each step."
QUERY = RouteQuery(
    "", {"tenant": "acme"},
    Prompt((Message("system", CONTEXT), Message("user", PROOF))),
    Constraints(), None, Importance.HIGH, "chat", 1,
)  # fmt: skip
SIMPLE = replace(
    QUERY,
    prompt=Prompt((*QUERY.prompt.messages, TOLD, Message("user", "What is DNS?"))),
    importance=Importance.MEDIUM,
)
"""A simple question after a proof: alone it gets another model."""


@pytest.fixture
def desk(router: Router, clock: ManualClock) -> Reservations:
    return build_reservations(
        Settings(ledger="memory:", log_prompts="text"),
        replace(router, now=clock),
        MemoryLedger(clock),
    )


def decided(
    desk: Reservations, query: RouteQuery, name: str, replaces: str | None = None
) -> DecisionRecord:
    desk.decide(query, name, name, lambda _: b"", replaces=replaces)
    kept = desk.ledger.decision(name)
    assert kept is not None
    return parse(kept.record)


def settle(desk: Reservations, name: str, **changes: object) -> None:
    report = UsageReport("", 10_000, 0, 100, None, {"outcome": "success"})
    desk.reports.settle(name, "acme", name, replace(report, **changes))  # type: ignore[arg-type]


def test_a_request_without_a_conversation_is_decided_as_ever(desk: Reservations) -> None:
    alone = decided(desk, replace(SIMPLE, conversation_id=""), "alone")
    decided(desk, QUERY, "d1")
    again = decided(desk, replace(SIMPLE, conversation_id=""), "again")
    assert msgspec.structs.replace(again, in_flight=alone.in_flight) == alone
    assert "conversation" not in serialize(alone).replace('"conversation_id"', "")
    assert "cache" not in serialize(alone)
    assert len(desk.conversations) == 1


def test_the_record_has_what_the_caches_saved_and_a_replay_repeats_the_choice(
    desk: Reservations, router: Router
) -> None:
    first, second = decided(desk, QUERY, "d1"), decided(desk, SIMPLE, "d2")
    assert first.conversation is None
    kept = second.conversation
    assert kept is not None
    assert (kept.model, kept.in_tool_loop, kept.inadequate) == (first.chosen.model, False, ())
    assert second.candidate(first.chosen.model).cache_nanos.now > 0  # type: ignore[union-attr]
    settle(desk, "d2", details={"outcome": "success", "input_tokens": 10_000, "quality": 1.0})
    stored = desk.ledger.decision("d2")
    assert stored is not None
    row = logged(stored)
    assert isinstance(row, LoggedDecision)
    tiers = {entry.spec.id: entry.spec.tier for entry in router.catalog.entries}
    found = replay([row], ReplayPolicy(router.bundle, tiers, None, None, row.created))
    assert found.moves == {}


def test_a_quote_counts_on_the_conversation_and_is_no_turn_of_it(desk: Reservations) -> None:
    decided(desk, QUERY, "d1")
    quoted = desk.quote(SIMPLE).routed
    assert quoted.conversation.cached
    decided(desk, replace(SIMPLE, quote_only=True), "q")
    assert desk.quote(SIMPLE).routed.conversation == quoted.conversation


def test_inside_a_tool_loop_the_record_says_so(desk: Reservations) -> None:
    first = decided(desk, QUERY, "d1")
    looped = replace(SIMPLE, prompt=Prompt((*QUERY.prompt.messages, TOLD, Message("tool", "42"))))
    found = decided(desk, looped, "d2")
    assert found.chosen.model == first.chosen.model
    assert found.conversation is not None
    assert found.conversation.in_tool_loop


def test_a_refused_call_is_answered_by_a_more_able_model(desk: Reservations) -> None:
    easy = replace(QUERY, prompt=Prompt((ASKED,)), importance=Importance.MEDIUM)
    medium = replace(easy, constraints=Constraints(tiers=frozenset({"medium"})))
    first = decided(desk, medium, "d1").chosen
    failed = replace(
        easy,
        excluded_models=frozenset({first.model}),
        failed=FailedCall(Outcome.REFUSED, 0.0, frozenset()),
    )
    second = decided(desk, failed, "d2", replaces="d1")
    assert "ESCALATED" in second.reasons
    assert second.conversation is not None
    assert second.conversation.inadequate == (first.model,)
    assert min(each.p_adequate or 0 for each in second.candidates) > (first.p_adequate or 0)


@pytest.mark.parametrize(
    ("report", "reads"),
    [
        ({}, False),
        ({"cached_input_tokens": 1}, True),
        ({"cost": 1_000}, True),
        ({"cost": 1_000, "cached_input_tokens": 1}, True),
        ({"input_tokens": 0}, True),
    ],
    ids=["nothing was cached", "something was", "only the cost is told", "both", "no tokens"],
)
def test_a_settlement_tells_whether_the_cache_was_read(
    desk: Reservations, report: dict[str, object], *, reads: bool
) -> None:
    first = decided(desk, QUERY, "d1").chosen.model
    same = replace(SIMPLE, constraints=Constraints(models=frozenset({first})))
    decided(desk, same, "d2")
    settle(desk, "d2", **report)
    assert bool(desk.quote(SIMPLE).routed.conversation.cached) is reads


def test_a_settlement_below_the_threshold_of_the_bundle_is_an_inadequate_answer(
    desk: Reservations, router: Router
) -> None:
    threshold = router.bundle.manifest.adequacy_threshold
    for name, quality, count in (("d1", threshold, 0), ("d2", threshold - 0.001, 1)):
        decided(desk, QUERY, name)
        settle(desk, name, details={"outcome": "success", "quality": quality})
        assert len(desk.quote(QUERY).routed.conversation.inadequate) == count


def test_a_name_that_a_caller_makes_up_is_not_remembered(desk: Reservations) -> None:
    chosen = decided(desk, QUERY, "d1").chosen.model
    for name, model in (("d1", "no-such-model"), ("d2", "gpt-5-nano"), ("d3", "")):
        if name != "d1":
            chosen = decided(desk, QUERY, name).chosen.model
        settle(desk, name, model=model, cost=1, details={"outcome": "success", "quality": 0.0})
    inadequate = desk.quote(QUERY).routed.conversation.inadequate
    assert set(inadequate) == {"gpt-5-nano", chosen}


def test_a_reported_outcome_and_a_released_call_are_told(desk: Reservations) -> None:
    model = decided(desk, QUERY, "d1").chosen.model
    desk.reports.report_outcome("d1", "acme", OutcomeReport("", Outcome.REFUSED))
    assert list(desk.quote(QUERY).routed.conversation.inadequate) == [model]
    assert desk.quote(SIMPLE).routed.conversation.cached
    desk.reports.release("d1", "acme")
    assert desk.quote(SIMPLE).routed.conversation.cached == {}
