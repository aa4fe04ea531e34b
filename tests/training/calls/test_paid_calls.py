"""Paid calls: retried within limits, within the budget whatever the provider does, never paid for twice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from router.catalog.catalog import load_catalog
from router.catalog.tokens import TokenCounter
from router.core.pricing import call_price
from router.core.rates import Rates
from router.core.types import Message, TokenCount
from tests.readiness import PATIENCE_S
from tests.training.fake_provider import (
    Act,
    Breaks,
    FakeProvider,
    Hangs,
    Refuses,
    Request,
    Says,
    Script,
    provider,
)
from training.calls.budget import Budget
from training.calls.endpoint import Endpoint
from training.calls.journal import Answered, Failed, open_journal
from training.calls.paid_calls import BUDGET, Call, PaidCalls, Patience
from training.calls.run import run_tasks
from training.calls.tariff import Tariff, tariffs_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RATES = Rates(Decimal(1), Decimal(4))
COUNTER = TokenCounter()
CATALOG = load_catalog()
PLENTY = 10**12


def calls_to(*models: str, prompts: int = 1, limit: int = 100) -> list[Call]:
    return [
        Call(
            f"{number}-{model}",
            model,
            [Message("user", f"Question {number}?")],
            limit,
            {"model": model},
        )
        for number in range(prompts)
        for model in models
    ]


@dataclass
class Done:
    """What a run left behind."""

    paid: PaidCalls
    spent: int
    outcomes: dict[str, Answered | Failed]
    left: dict[str, int]
    waits: list[float] = field(default_factory=list)


def ran(
    made: FakeProvider,
    folder: Path,
    calls: Sequence[Call],
    *,
    budget: int = PLENTY,
    patience: Patience | None = None,
    concurrency: int = 1,
    timeout_s: float = PATIENCE_S,
    stream: bool = False,
    begun: Callable[[PaidCalls], None] = lambda _: None,
    endless: bool = False,
) -> Done:
    """Run calls. Waits are noted, and over at once; ``endless``: never."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if endless:
            await asyncio.Event().wait()

    async def main() -> Done:
        models = list(dict.fromkeys(call.model for call in calls))
        tariffs = tariffs_of(models, CATALOG, dict.fromkeys(models, RATES), COUNTER, NOW)
        with open_journal(folder / "journal", {"kind": "test"}) as journal:
            journal.book_lost()
            endpoint = Endpoint(made.url, None, timeout_s, stream, now=lambda: NOW)
            paid = PaidCalls(
                endpoint, tariffs, Budget(budget, journal.spent), journal, lambda: NOW,
                patience or Patience(), sleep,
            )  # fmt: skip
            begun(paid)

            def task(call: Call) -> Callable[[], object]:
                return lambda: paid.ask(call)

            left = await run_tasks(
                paid,
                map(task, calls),
                concurrency=concurrency,
                done=lambda: None,
                notify=print,
            )
            await endpoint.close()
            assert paid.budget.spent == journal.spent
            return Done(paid, journal.spent, dict(journal.outcomes), dict(left), waits)

    return asyncio.run(main())


def once(script: Script | Act, folder: Path, **options: object) -> tuple[Answered | Failed, Done]:
    """The outcome of a single call."""
    with provider(script) as made:
        done = ran(made, folder, calls_to("m"), **options)  # type: ignore[arg-type]
    (outcome,) = done.outcomes.values()
    return outcome, done


def billed(made: FakeProvider) -> int:
    """What the provider bills, at the rates of these tests."""
    return sum(
        call_price(RATES, made.input_tokens[model], made.output_tokens[model])
        for model in made.input_tokens
    )


def test_an_answer_is_kept_with_its_real_tokens_and_cost(tmp_path: Path) -> None:
    outcome, done = once(Says("x" * 30, reasoning=40), tmp_path)
    assert isinstance(outcome, Answered)
    assert (outcome.input_tokens, outcome.output_tokens, outcome.reasoning_tokens) == (4, 50, 40)
    assert outcome.cost == outcome.booked == done.spent == 4 * 1_000 + 50 * 4_000
    assert (outcome.tries, outcome.doubts, outcome.timestamp) == (1, (), NOW.isoformat())


def test_a_rate_limit_is_waited_for_as_long_as_it_says(tmp_path: Path) -> None:
    acts = [Refuses(429, headers={"Retry-After": "7"}), Refuses(429), Refuses(500), Says()]
    outcome, done = once(lambda request: acts[request.before], tmp_path)
    assert isinstance(outcome, Answered)
    # As asked, then by the clock of our own, doubled each time.
    assert done.waits == [7.0, 2.0, 4.0]
    assert (outcome.tries, done.spent) == (4, outcome.cost)


def test_a_wait_beyond_patience_is_a_failure(tmp_path: Path) -> None:
    outcome, done = once(Refuses(429, headers={"Retry-After": "3600"}), tmp_path)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.tries, done.waits, done.spent) == ("rate_limited", 1, [], 0)


@pytest.mark.parametrize(("tries", "sent"), [(1, 1), (3, 5)])
def test_a_rate_limit_is_borne_longer_than_an_error(tries: int, sent: int, tmp_path: Path) -> None:
    outcome, _ = once(Refuses(429), tmp_path, patience=Patience(tries=tries))
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.tries) == ("rate_limited", sent)


def test_retries_end(tmp_path: Path) -> None:
    outcome, done = once(Refuses(500), tmp_path, patience=Patience(tries=3))
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.tries, outcome.final, done.spent) == ("server_error", 3, True, 0)


def test_a_failure_that_may_be_billed_is_booked_whole_and_tried_once_more(tmp_path: Path) -> None:
    outcome, done = once(Breaks("Half an answer"), tmp_path, stream=True)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.tries) == ("broken_stream", 2)
    # Tokens that were seen are kept; the worst case of both requests is booked.
    assert outcome.output_tokens == 3
    assert done.spent == 2 * outcome.booked > 0


def test_an_empty_answer_costs_what_its_usage_says(tmp_path: Path) -> None:
    outcome, done = once(Says("", finish="length", reasoning=90), tmp_path)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.input_tokens, outcome.output_tokens) == ("empty", 4, 90)
    assert done.spent == 4 * 1_000 + 90 * 4_000
    assert "--max-output-tokens" in outcome.detail


def test_a_refusal_has_used_no_tokens(tmp_path: Path) -> None:
    outcome, done = once(Refuses(400), tmp_path)
    assert isinstance(outcome, Failed)
    assert (outcome.input_tokens, outcome.output_tokens, outcome.booked) == (0, 0, 0)
    assert done.spent == 0


def test_a_timeout_is_booked_at_its_worst_case(tmp_path: Path) -> None:
    outcome, done = once(Hangs(), tmp_path, timeout_s=0.3, patience=Patience(tries=1))
    assert isinstance(outcome, Failed)
    assert (outcome.kind, done.spent) == ("timeout", outcome.booked)
    assert outcome.booked > 100 * 4_000


def test_usage_that_lies_changes_neither_the_history_nor_the_budget(tmp_path: Path) -> None:
    lie = {"prompt_tokens": -3, "completion_tokens": 10**9}
    outcome, done = once(Says("word " * 20, usage=lie), tmp_path)
    assert isinstance(outcome, Answered)
    assert outcome.doubts == (
        "input tokens negative",
        "output tokens above what the call allows",
    )
    assert 9 <= outcome.input_tokens <= 12
    assert 20 <= outcome.output_tokens <= 22
    assert outcome.cost < outcome.booked == done.spent
    assert outcome.booked >= 100 * 4_000


def test_a_refused_key_stops_the_run_at_once(tmp_path: Path) -> None:
    with provider(Refuses(401, "invalid_api_key")) as made:
        done = ran(made, tmp_path, calls_to("a", "b", prompts=20))
        assert len(made.requests) == 1
    assert "key refused, status 401 (invalid_api_key)" in done.paid.stopped
    assert sum(done.left.values()) == 39
    assert done.spent == 0


def test_a_model_that_the_endpoint_does_not_know_is_left_out_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    with provider(lambda one: Refuses(404) if one.model == "a" else Says()) as made:
        done = ran(made, tmp_path, calls_to("a", "b", prompts=5))
        assert sum(one.model == "a" for one in made.requests) == 1
    assert list(done.paid.left_out) == ["a"]
    assert sum(isinstance(one, Answered) for one in done.outcomes.values()) == 5


def test_an_outage_of_one_model_does_not_use_up_its_prompts(tmp_path: Path) -> None:
    with provider(lambda one: Refuses(500) if one.model == "a" else Says()) as made:
        done = ran(
            made, tmp_path, calls_to("a", "b", prompts=9), patience=Patience(tries=1, failures=3)
        )
    assert done.paid.left_out["a"].startswith("3 calls in a row failed")
    assert sum(isinstance(one, Failed) for one in done.outcomes.values()) == 3
    # Repaired, the next run asks them again: nothing was paid for them.
    with provider() as made:
        done = ran(made, tmp_path, calls_to("a", "b", prompts=9))
        assert {one.model for one in made.requests} == {"a"}
    assert all(isinstance(one, Answered) for one in done.outcomes.values())


def test_failures_are_counted_in_a_row_and_per_model(tmp_path: Path) -> None:
    # Two fail, one is answered, three fail; the last is not asked any more.
    good = {2, 6}
    with provider(
        lambda one: Says() if int(one.prompt.split()[1][0]) in good else Refuses(500)
    ) as made:
        done = ran(made, tmp_path, calls_to("a", prompts=7), patience=Patience(tries=1, failures=3))
        assert len(made.requests) == 6
    assert list(done.paid.left_out) == ["a"]
    assert Patience() == Patience(
        tries=5, billed_tries=2, first_wait_s=1.0, longest_wait_s=120.0, failures=5
    )


def test_a_run_whose_models_are_all_left_out_stops(tmp_path: Path) -> None:
    with provider(Refuses(404)) as made:
        done = ran(made, tmp_path, calls_to("a", "b", prompts=9))
        assert len(made.requests) == 2
    assert done.paid.stopped == "every model is left out"


def test_the_outcome_is_what_was_asked_for(tmp_path: Path) -> None:
    got: list[Answered | Failed] = []

    async def main(made: FakeProvider) -> None:
        tariffs = tariffs_of(["m"], CATALOG, {"m": RATES}, COUNTER, NOW)
        with open_journal(tmp_path / "j", {}) as journal:
            endpoint = Endpoint(made.url, None, PATIENCE_S, now=lambda: NOW)
            paid = PaidCalls(endpoint, tariffs, Budget(PLENTY), journal, lambda: NOW)
            got.extend([await paid.ask(one) for one in calls_to("m") * 2])
            await endpoint.close()

    with provider(Says("An answer.")) as made:
        asyncio.run(main(made))
    assert [one.text for one in got if isinstance(one, Answered)] == ["An answer."] * 2


def test_a_call_that_waited_for_money_when_the_run_stopped_gives_it_back(tmp_path: Path) -> None:
    holder: list[PaidCalls] = []

    def script(_: Request) -> Act:
        holder[0].stop("somebody said so")
        return Says()

    worst = (256 + len("Question 0?") + 7) * 1_000 + 102 * 4_000
    with provider(script) as made:
        done = ran(
            made,
            tmp_path,
            calls_to("a", prompts=2),
            budget=2 * worst - 1,
            concurrency=2,
            begun=holder.append,
        )
        assert len(made.requests) == 1
    assert done.left == {"somebody said so": 1}
    assert done.paid.budget.left == 2 * worst - 1 - done.spent


def test_what_the_endpoint_refused_is_not_asked_by_every_run(tmp_path: Path) -> None:
    refused = Refuses(400, "context_length_exceeded")
    with provider(lambda one: refused if "0" in one.prompt else Says()) as made:
        ran(made, tmp_path, calls_to("a", prompts=3))
        ran(made, tmp_path, calls_to("a", prompts=3))
        assert len(made.requests) == 3


def test_an_endpoint_that_ignores_the_limit_is_left_out(tmp_path: Path) -> None:
    with provider(Says("word " * 1_000)) as made:
        done = ran(made, tmp_path, calls_to("a", prompts=3))
        assert len(made.requests) == 1
    assert "ignores the limit" in done.paid.left_out["a"]
    assert done.spent >= 1_000 * 4_000


def test_nothing_is_paid_for_twice(tmp_path: Path) -> None:
    calls = calls_to("a", "b", prompts=6)
    with provider() as made:
        first = ran(made, tmp_path, calls[:5])
        second = ran(made, tmp_path, calls)
        third = ran(made, tmp_path, calls)
        assert set(made.answered.values()) == {1}
        assert len(made.requests) == len(calls)
    assert (second.paid.used, third.paid.used) == (5, 12)
    assert first.spent < second.spent == third.spent


def test_equal_calls_at_the_same_time_are_paid_for_once(tmp_path: Path) -> None:
    with provider() as made:
        done = ran(made, tmp_path, calls_to("a") * 4, concurrency=4)
        assert len(made.requests) == 1
    assert done.paid.used == 3


def test_as_many_calls_as_asked_are_under_way(tmp_path: Path) -> None:
    together = threading.Barrier(5)

    def script(_: Request) -> Act:
        together.wait(PATIENCE_S)  # all five are here at the same time, or the test fails
        return Says()

    with provider(script) as made:
        ran(made, tmp_path, calls_to("a", prompts=10), concurrency=5)
        assert made.most == 5


def test_the_budget_ends_the_run_before_it_is_passed(tmp_path: Path) -> None:
    with provider(Says("x" * 150)) as made:
        done = ran(made, tmp_path, calls_to("a", prompts=50), budget=2_000_000)
        assert billed(made) == done.spent <= 2_000_000
        answered = len(made.requests)
    assert done.paid.stopped == BUDGET
    assert 3 <= answered < 50
    assert done.left == {BUDGET: 50 - answered}


@pytest.mark.parametrize("seed", range(12))
def test_no_mixture_of_answers_failures_and_lies_passes_the_budget(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    acts: list[Act] = [
        Says("word " * 70), Says("日本語の答え" * 8), Says("short"), Says("x", reasoning=80),
        Says("word " * 60, usage=None), Says("", finish="length", reasoning=99),
        Says("word " * 60, usage={"prompt_tokens": 1, "completion_tokens": 1}),
        Says("word " * 60, usage={"prompt_tokens": 0, "completion_tokens": -9}),
        Refuses(429), Refuses(500), Breaks("Half an answer of it"), Says("", choices=False),
    ]  # fmt: skip
    chosen = {(model, n): chance.choices(acts, k=6) for model in "ab" for n in range(30)}
    budget, concurrency = chance.randrange(1_000_000, 9_000_000), chance.choice([1, 3, 8])

    def script(request: Request) -> Act:
        number = int(request.prompt.split()[1].rstrip("?"))
        return chosen[request.model, number][request.before % 6]

    with provider(script) as made:
        for _ in range(2):  # the second run goes on, within the same budget
            done = ran(
                made, tmp_path, calls_to("a", "b", prompts=30), budget=budget, concurrency=concurrency,
                stream=chance.random() < 0.5, patience=Patience(tries=3, failures=1_000),
            )  # fmt: skip
            assert billed(made) <= done.spent <= budget
            assert max(made.answered.values(), default=0) <= 2  # an empty answer is tried once more
        assert made.most <= concurrency


def test_a_stop_awaits_what_is_under_way_and_sends_nothing_more(tmp_path: Path) -> None:
    holder: list[PaidCalls] = []

    def script(_: Request) -> Act:
        holder[0].stop("somebody said so")
        return Says()

    with provider(script) as made:
        done = ran(made, tmp_path, calls_to("a", prompts=9), begun=holder.append)
        assert len(made.requests) == 1
    assert [type(one) for one in done.outcomes.values()] == [Answered]
    assert done.left == {"somebody said so": 8}


def test_a_fault_in_one_call_is_an_outcome_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Tariff.count_text

    def faulty(self: Tariff, text: str) -> TokenCount:
        if "oops" in text:
            raise RuntimeError(text)
        return counted(self, text)

    monkeypatch.setattr(Tariff, "count_text", faulty)
    calls = calls_to("a", prompts=6)
    with provider(lambda one: Says("oops") if "2" in one.prompt else Says()) as made:
        done = ran(made, tmp_path, calls, concurrency=2)
        assert ran(made, tmp_path, calls).spent == done.spent
        # It may have been billed, so it is booked at its worst case, and no run asks it again.
        assert len(made.requests) == 6
    failures = [one for one in done.outcomes.values() if isinstance(one, Failed)]
    assert [(one.kind, one.key, one.final) for one in failures] == [("internal", "2-a", True)]
    assert failures[0].detail == "RuntimeError, a fault of this program; please report it"
    assert failures[0].booked > 100 * 4_000
    assert (len(done.outcomes), done.left) == (6, {})


def test_a_fault_in_one_task_lets_the_others_finish(tmp_path: Path) -> None:
    got: list[int] = []

    async def main(made: FakeProvider) -> dict[str, int]:
        tariffs = tariffs_of(["m"], CATALOG, {"m": RATES}, COUNTER, NOW)
        with open_journal(tmp_path / "j", {}) as journal:
            endpoint = Endpoint(made.url, None, PATIENCE_S, now=lambda: NOW)
            paid = PaidCalls(endpoint, tariffs, Budget(PLENTY), journal, lambda: NOW)

            def task(number: int) -> Callable[[], Awaitable[None]]:
                async def work() -> None:
                    await paid.ask(calls_to("m", prompts=6)[number])
                    got.append(1 // (number % 3))

                return work

            left = await run_tasks(
                paid, map(task, range(6)), concurrency=2, done=lambda: None, notify=print
            )
            assert len(journal.outcomes) == 6
            await endpoint.close()
            return dict(left)

    with provider() as made:
        left = asyncio.run(main(made))
    assert left == {"ZeroDivisionError, a fault of this program; please report it": 2}
    assert len(got) == 4


def test_a_redirect_costs_one_request_and_stops_the_run(tmp_path: Path) -> None:
    with provider(Refuses(307, headers={"Location": "/v1/chat/completions"})) as made:
        done = ran(made, tmp_path, calls_to("a", "b", prompts=4))
        assert len(made.requests) == 1
    assert "redirected, status 307; name the address" in done.paid.stopped
    assert done.spent == 0


def test_a_stop_ends_waits(tmp_path: Path) -> None:
    holder: list[PaidCalls] = []
    limited = threading.Event()

    def script(request: Request) -> Act:
        if "0" in request.prompt:
            limited.set()
            return Refuses(429, headers={"Retry-After": "100"})
        limited.wait(PATIENCE_S)
        holder[0].stop("somebody said so")
        return Says()

    with provider(script) as made:
        done = ran(
            made, tmp_path, calls_to("a", prompts=2), concurrency=2, begun=holder.append, endless=True
        )  # fmt: skip
    assert done.left == {"somebody said so": 1}
