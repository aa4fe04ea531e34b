"""Tasks over a real socket: one quote and one hold for an agent run, drawn down turn by turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import mitsumori
from mitsumori import Amount, CallFailed, InvalidArgument, Task, Usd, route_request
from mitsumori.money import nanos_of, usd_of
from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2
from router.decision_log.record_json import parse
from router.ledger.check import check
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S
from tests.router.ledger.builders import ManualClock

USD = 1_000_000_000
SCOPE = {"team": "agents"}
FIRST = "Fix the failing test of the parser, and explain what was wrong."
NANO: dict[str, Any] = {"models": ["gpt-5-nano"], "max_output_tokens": 1000}


@dataclass
class Desk:
    router: mitsumori.Router
    admin: mitsumori.Admin
    clock: ManualClock

    def begin(self, cap: Amount | None = "0.01", **more: Any) -> Task:
        request = route_request(FIRST, scope=SCOPE, **{**NANO, **more.pop("wishes", {})})
        return self.router.begin_task(request, **{"turns": 5, "cap_usd": cap, **more})

    def turn(self, task_id: str, prompt: str = FIRST, **more: Any) -> router_pb2.RouteResponse:
        wishes = {"scope": SCOPE, **NANO, **more}
        return self.router.route(prompt, task_id=task_id, **wishes).message

    def limit(self, hard: int, **scope: str) -> None:
        self.admin.set_limit(
            limit_pb2.Limit(
                limit_id="budget",
                unit=limit_pb2.UNIT_MONEY,
                window=limit_pb2.WINDOW_MONTH,
                hard=hard,
                scope=scope or SCOPE,
            )
        )

    def held(self, **more: str) -> int:
        (status,) = self.admin.limits({**SCOPE, **more})
        return status.held


@pytest.fixture
def desk(tmp_path: Path, settings: Settings, router: Router) -> Iterator[Desk]:
    clock = ManualClock(NOON)
    ledger = SqliteLedger(tmp_path / "ledger.sqlite", clock)
    running = start(settings, build_reservations(settings, router, ledger))
    running.mark_serving()
    with (
        mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client,
        mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin,
    ):
        yield Desk(client, admin, clock)
    running.drain()
    assert check(ledger).violations == []
    ledger.close()


def refusal(call: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        call()
    return caught.value


def nanos(usd: Usd) -> int:
    return usd.nanos


def test_an_agent_run_from_its_quote_to_its_end(desk: Desk) -> None:
    desk.limit(USD)
    with desk.begin(turns=3, max_turns=6) as task:
        assert task.begun is not None
        assert (task.begun.state, task.begun.turns, nanos(task.begun.left)) == (
            "open",
            0,
            USD // 100,
        )
        assert desk.held() == USD // 100
        spent = 0
        for turn in range(1, 4):
            decision = desk.router.route(FIRST, scope=SCOPE, task_id=task.id, **NANO)
            assert decision.task is not None
            assert decision.hold is not None
            assert decision.task.turns == turn
            held = nanos(decision.hold.amount)
            assert nanos(decision.task.left) == USD // 100 - spent - held
            assert desk.held() == USD // 100 - spent
            (status,) = decision.message.limits
            assert (status.held, status.spent) == (USD // 100 - spent, spent)
            settled = desk.router.settle(decision.id, input_tokens=20, output_tokens=30)
            assert nanos(settled.overage) == 0
            spent += nanos(settled.spent)
        now = desk.router.task(task.id)
        assert (now.turns, nanos(now.spent), nanos(now.held)) == (3, spent, 0)
        assert nanos(now.left) == USD // 100 - spent
    over = desk.router.task(task.id)
    assert (over.state, desk.held()) == ("ended", 0)
    assert task.end() == over


def test_the_quote_counts_turns_and_the_growing_context(desk: Desk) -> None:
    request = route_request(FIRST, scope=SCOPE, quote_only=True, **NANO)
    one = desk.router.begin_task(request, turns=1, max_turns=1, input_growth=0)
    assert one.begun is None
    assert one.id == ""
    assert one.end() is None
    first = one.first_turn.quote
    assert one.quote.price == first.price
    assert one.quote.input_tokens == one.quote.max_input_tokens == first.input_tokens
    four = desk.router.begin_task(request, turns=2, max_turns=4, input_growth=0).quote
    assert four.price.expected == Usd(nanos(first.price.expected) * 2)
    assert four.price.high == Usd(nanos(first.price.high) * 4)
    assert four.price.worst == Usd(nanos(first.price.worst) * 4)
    grown = desk.router.begin_task(request, turns=2, max_turns=4, input_growth=1000).quote
    assert grown.input_tokens == 2 * first.input_tokens + 1000
    assert grown.max_input_tokens == 4 * first.input_tokens + (1 + 2 + 3) * 1000
    assert four.price.expected < grown.price.expected
    assert four.price.high < grown.price.high
    default = desk.router.begin_task(request, turns=4).quote
    assert (default.turns, default.max_turns, default.model) == (4, 8, "gpt-5-nano")
    assert desk.admin.tasks() == []


def test_without_a_cap_the_high_price_of_the_quote_is_held(desk: Desk) -> None:
    desk.limit(USD)
    task = desk.begin(cap=None)
    assert task.begun is not None
    assert task.begun.cap == task.quote.price.high
    assert desk.held() == nanos(task.quote.price.high)


def test_others_cannot_use_up_what_the_task_holds(desk: Desk) -> None:
    desk.limit(USD // 100)
    task = desk.begin()
    error = refusal(lambda: desk.router.route(FIRST, scope=SCOPE, **NANO))
    assert error.reason == "LIMIT_WAIT_FOR_HOLDS"
    assert desk.turn(task.id).task.turns == 1
    desk.limit(0)
    assert desk.turn(task.id).task.turns == 2


def test_a_turn_that_does_not_fit_says_what_is_left_and_what_the_cheapest_model_needs(
    desk: Desk,
) -> None:
    desk.limit(USD)
    # Two models, of which the first turn fits the cheaper alone.
    wishes = {"models": ["gpt-5-nano", "gpt-6.1-sol"]}
    nano = desk.turn(desk.begin().id)
    needs = nanos_of(nano.chosen.quote.price.high)
    task = desk.begin(cap=None, wishes=wishes, turns=1, max_turns=1)
    assert task.begun is not None
    small = desk.begin(cap=Usd(needs), wishes=wishes)
    reply = desk.turn(small.id, **wishes, importance="high")
    assert reply.chosen.model == "gpt-5-nano"
    assert "1 limit task cap" in " ".join(reason.text for reason in reply.reasons)
    assert nanos_of(reply.task.left) == 0
    error = refusal(lambda: desk.turn(small.id, **wishes))
    assert (error.code, error.reason, error.field) == (
        "RESOURCE_EXHAUSTED",
        "TASK_CAP_REACHED",
        "task_id",
    )
    assert error.metadata["left_usd"] == "0.00"
    assert error.metadata["model"] == "gpt-5-nano"
    assert usd_of(error.metadata["needed_usd"], "needed") == Usd(needs)
    assert "the cheapest model, gpt-5-nano, needs" in error.message
    assert "settle or release its open turns" in error.message
    desk.router.settle(reply.decision_id, input_tokens=20, output_tokens=1, cost_usd=Usd(needs))
    error = refusal(lambda: desk.turn(small.id, **wishes))
    assert "end it, and begin one with a higher cap" in error.message


def test_an_explanation_says_what_of_the_cap_a_model_lacks(desk: Desk) -> None:
    wishes = {"models": ["gpt-5-nano", "gpt-6.1-sol"]}
    task = desk.begin(cap="0.001", wishes=wishes)
    turn = desk.router.route(
        FIRST, task_id=task.id, scope=SCOPE, explain=True, **{**NANO, **wishes}
    )
    assert turn.explanation is not None
    english, japanese = turn.explanation.text("en"), turn.explanation.text("ja")
    assert "left out: needs more than the cap of the task has left." in english
    assert f" more under the cap of task {task.id}" in english
    assert "対象外：タスクの上限の残りが足りない。" in japanese
    assert f"task {task.id} の上限の不足分（" in japanese


def test_a_settlement_above_its_hold_is_drawn_from_the_cap(desk: Desk) -> None:
    desk.limit(USD)
    task = desk.begin()
    turn = desk.turn(task.id)
    settled = desk.router.settle(
        turn.decision_id, input_tokens=1, output_tokens=1, cost_usd="0.009"
    )
    assert (nanos(settled.overage), nanos(desk.router.task(task.id).left)) == (0, USD // 1000)
    assert desk.held() == USD // 1000


def test_a_released_turn_gives_its_hold_back(desk: Desk) -> None:
    task = desk.begin()
    turn = desk.turn(task.id)
    desk.router.release(turn.decision_id)
    now = desk.router.task(task.id)
    assert (now.left, now.turns) == (now.cap, 0)


def test_a_new_choice_stays_in_its_task(desk: Desk) -> None:
    task = desk.begin(wishes={"models": ["gpt-5-nano", "gpt-6-luna"]})
    first = desk.turn(task.id, models=["gpt-5-nano", "gpt-6-luna"])
    other = route_request(FIRST, scope=SCOPE, max_output_tokens=1000)
    error = refusal(
        lambda: desk.router.reroute(first.decision_id, other, failed_models=[first.chosen.model])
    )
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "OTHER_TASK")
    again = route_request(FIRST, scope=SCOPE, max_output_tokens=1000, task_id=task.id)
    second = desk.router.reroute(first.decision_id, again, failed_models=[first.chosen.model])
    assert second.task is not None
    assert second.hold is not None
    assert {first.chosen.model, second.model} == {"gpt-5-nano", "gpt-6-luna"}
    assert nanos(second.task.left) == nanos(second.task.cap) - nanos(second.hold.amount)
    now = desk.router.task(task.id)
    assert (now.turns, now.left, second.task.turns) == (1, second.task.left, 1)


def test_a_task_that_is_over_or_unknown_takes_no_turn(desk: Desk) -> None:
    task, short = desk.begin(), desk.begin(ttl_s=60)
    answered = desk.turn(task.id, request_id="before")
    desk.router.end_task(task.id)
    error = refusal(lambda: desk.turn(task.id))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "TASK_ENDED")
    assert error.message == f"task_id: task '{task.id}' was ended; begin a new one with BeginTask"
    assert desk.turn(task.id, request_id="before") == answered
    desk.clock.advance(seconds=61)
    assert refusal(lambda: desk.turn(short.id)).reason == "TASK_EXPIRED"
    assert desk.router.task(short.id).state == "expired"
    error = refusal(lambda: desk.turn("no-such-task"))
    assert (error.code, error.reason) == ("NOT_FOUND", "TASK_NOT_FOUND")
    for call in (desk.router.task, desk.router.end_task):
        assert refusal(lambda call=call: call("no-such-task")).code == "NOT_FOUND"
    # A decision is no task, and a task is no decision.
    assert refusal(lambda: desk.turn("before")).code == "NOT_FOUND"
    assert refusal(lambda: desk.router.release(task.id)).code == "NOT_FOUND"
    error = refusal(lambda: desk.router.settle(task.id, input_tokens=1, output_tokens=1))
    assert error.code == "NOT_FOUND"


def test_a_turn_carries_the_labels_of_its_task(desk: Desk) -> None:
    task = desk.begin()
    for scope in ({"team": "others"}, {}, {**SCOPE, "user": "ann"}):
        error = refusal(lambda scope=scope: desk.turn(task.id, scope=scope))
        assert (error.code, error.reason, error.field) == (
            "INVALID_ARGUMENT",
            "OTHER_SCOPE",
            "scope",
        )
    assert "in user; send the labels" in error.message
    with desk.router.begin_task(
        route_request(FIRST, scope={"tenant": "acme"}), turns=1, cap_usd="0.1"
    ) as owned:
        error = refusal(lambda: desk.turn(owned.id, scope={"tenant": "rival"}))
        assert (error.code, error.reason) == ("NOT_FOUND", "TASK_NOT_FOUND")
        assert refusal(lambda: desk.router.end_task(owned.id)).code == "NOT_FOUND"


def test_a_task_that_is_confined_to_models_confines_its_turns_and_holds_on_their_limits(
    desk: Desk,
) -> None:
    desk.limit(USD, provider="openai")
    task = desk.begin()
    turn = desk.turn(task.id, models=[])
    assert turn.chosen.model == "gpt-5-nano"
    (status,) = turn.limits
    assert status.held == USD // 100
    error = refusal(lambda: desk.turn(task.id, models=["gpt-6.1-sol"]))
    assert error.field == "constraints.allowed_models"
    assert f"task {task.id} allows gpt-5-nano alone" in error.message


def test_a_model_that_is_too_dear_for_the_first_turn_may_take_a_later_one(desk: Desk) -> None:
    desk.limit(USD, model="gpt-5-nano")
    both = {"models": ["gpt-5-nano", "gpt-6.1-sol"]}
    task = desk.begin(cap="0.5", wishes={**both, "max_price_usd": "0.001"})
    assert task.first_turn.chosen.model == "gpt-5-nano"
    assert desk.held(model="gpt-5-nano") == 0
    assert desk.turn(task.id, models=["gpt-6.1-sol"]).chosen.model == "gpt-6.1-sol"
    assert desk.held(model="gpt-5-nano") == 0
    turn = desk.turn(task.id, models=["gpt-5-nano"])
    assert desk.held(model="gpt-5-nano") == nanos_of(turn.hold.amount)


def test_a_share_that_was_lowered_does_not_refuse_what_a_task_holds_on_it(desk: Desk) -> None:
    shared = limit_pb2.Limit(
        limit_id="share",
        unit=limit_pb2.UNIT_MONEY,
        window=limit_pb2.WINDOW_MONTH,
        scope={**SCOPE, "model": "gpt-5-nano"},
        share=0.1,
        free=10_000_000,
    )
    desk.admin.set_limit(shared)
    task = desk.begin("0.01")
    shared.free = 0
    desk.admin.set_limit(shared)
    reply = desk.turn(task.id)
    held = nanos_of(reply.hold.amount)
    (status,) = desk.admin.limits({**SCOPE, "model": "gpt-5-nano"})
    assert (status.held, status.whole) == (10_000_000, held)
    with pytest.raises(CallFailed) as caught:
        desk.router.route(FIRST, scope=SCOPE, **NANO)
    assert caught.value.reason == "LIMIT_EXHAUSTED"


def test_the_cap_is_refused_like_any_hold(desk: Desk) -> None:
    desk.limit(USD // 100)
    error = refusal(lambda: desk.begin(cap="0.0101"))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "LIMIT_NEVER_FITS")
    desk.begin(cap="0.006")
    assert refusal(lambda: desk.begin(cap="0.006")).reason == "LIMIT_WAIT_FOR_HOLDS"
    assert len(desk.admin.tasks()) == 1


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"turns": 0}, "turns", "must be 1 to 1,000"),
        ({"turns": 1001}, "turns", "must be 1 to 1,000"),
        ({"turns": 5, "max_turns": 4}, "max_turns", "must be 5, the turns expected, to 1,000"),
        ({"max_turns": 1001}, "max_turns", "to 1,000"),
        ({"cap_usd": Usd(0)}, "cap", "must be more than zero"),
        ({"cap_usd": "20000000"}, "cap", "at most 10,000,000 USD"),
        ({"ttl_s": 0}, "time_to_live", "must be more than zero"),
        ({"ttl_s": 7 * 86_400 + 1}, "time_to_live", "at most 604,800 seconds"),
    ],
)
def test_an_order_that_is_wrong_is_refused_by_its_field(
    desk: Desk, wrong: dict[str, Any], field: str, said: str
) -> None:
    error = refusal(lambda: desk.begin(**wrong))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)
    assert said in error.message
    assert desk.admin.tasks() == []


@pytest.mark.parametrize("cap", ["-1", "NaN", "inf", "much"])
def test_a_cap_that_is_no_amount_is_not_even_sent(desk: Desk, cap: str) -> None:
    with pytest.raises(InvalidArgument, match="cap_usd"):
        desk.begin(cap=None, cap_usd=cap)


def test_the_longest_task_and_the_most_turns_are_allowed(desk: Desk) -> None:
    task = desk.begin(turns=1000, max_turns=1000, ttl_s=7 * 86_400)
    assert task.begun is not None
    assert task.begun.expires - NOON == timedelta(days=7)
    assert desk.begin(turns=600).quote.max_turns == 1000


def test_the_shortest_task_ends_after_it_began(desk: Desk) -> None:
    task = desk.begin(ttl_s=1e-9)
    assert task.begun is not None
    assert task.begun.expires - NOON == timedelta(microseconds=1)


def test_a_task_is_no_turn_of_another(desk: Desk) -> None:
    error = refusal(lambda: desk.begin(wishes={"task_id": "t"}))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "request.task_id")


def test_a_repeated_request_begins_one_task(desk: Desk) -> None:
    desk.limit(USD)
    first = desk.begin(wishes={"request_id": "run-1"})
    again = desk.begin(wishes={"request_id": "run-1"})
    assert again.message == first.message
    assert (first.id, desk.held()) == ("run-1", USD // 100)
    error = refusal(lambda: desk.begin(cap="0.02", wishes={"request_id": "run-1"}))
    assert error.code == "ALREADY_EXISTS"
    # An id is that of a task or of a decision.
    assert refusal(lambda: desk.router.route(FIRST, request_id="run-1")).code == "ALREADY_EXISTS"


def test_records_and_lists_name_the_task(desk: Desk) -> None:
    task = desk.begin(turns=3)
    turn = desk.turn(task.id)
    plain = desk.router.route(FIRST, scope=SCOPE, **NANO)
    rows = {
        row.decision_id: parse(row.record_json)
        for row in desk.admin.decisions(admin_pb2.DecisionFilter())
    }
    assert rows.keys() == {turn.decision_id, plain.id}
    assert (rows[turn.decision_id].task, rows[plain.id].task) == (task.id, "")
    (balance,) = rows[turn.decision_id].limits
    assert (balance.limit, balance.hard) == (f"task {task.id}", USD // 100)
    desk.begin()
    (newest, oldest) = desk.admin.tasks(SCOPE)
    assert oldest.task_id == task.id
    assert (oldest.turns, oldest.quote.turns, oldest.quote.model) == (1, 3, "gpt-5-nano")
    assert dict(oldest.labels) == {
        **SCOPE,
        "model": "gpt-5-nano",
        "provider": "openai",
        "tier": "low",
    }
    desk.router.end_task(newest.task_id)
    assert [each.task_id for each in desk.admin.tasks(state="open")] == [task.id]
    assert [each.task_id for each in desk.admin.tasks(state="ended")] == [newest.task_id]
    assert [each.task_id for each in desk.admin.tasks(count=1)] == [newest.task_id]
    assert desk.admin.tasks({"team": "none"}) == []


def test_a_quote_of_a_turn_holds_nothing(desk: Desk) -> None:
    task = desk.begin()
    reply = desk.turn(task.id, quote_only=True)
    assert (reply.task.turns, nanos_of(reply.task.left)) == (1, USD // 100)
    assert nanos(desk.router.task(task.id).left) == USD // 100
    request = route_request(FIRST, scope=SCOPE, task_id=task.id)
    quoted, _ = desk.router.quote_batch([request])
    assert quoted.response.task.task_id == task.id


def test_the_end_of_a_block_that_fails_says_what_failed(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError), desk.begin() as task:
        raise ZeroDivisionError
    assert desk.router.task(task.id).state == "ended"
    gone = replace(task, begun=replace(task.begun, id="gone"))  # type: ignore[type-var]
    with pytest.raises(ZeroDivisionError), gone:
        raise ZeroDivisionError
    with pytest.raises(CallFailed, match="no task 'gone'"), gone:
        pass
