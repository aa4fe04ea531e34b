"""The budget of a run: the worst case is held first, and no order of events passes it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from training.calls.budget import Budget


def test_a_hold_is_granted_while_it_fits_and_not_beyond() -> None:
    async def run() -> list[bool]:
        budget = Budget(100, spent=40)
        first = await budget.hold(60)
        assert budget.left == 0
        budget.settle(60, 60)
        return [first, await budget.hold(1), await budget.hold(0)]

    assert asyncio.run(run()) == [True, False, True]


def test_a_budget_of_zero_means_zero() -> None:
    async def run() -> list[bool]:
        return [await Budget(0).hold(1), await Budget(0).hold(0)]

    assert asyncio.run(run()) == [False, True]


def test_a_hold_that_does_not_fit_waits_for_the_calls_under_way() -> None:
    async def run() -> tuple[bool, bool]:
        budget = Budget(100)
        assert await budget.hold(80)
        waiting = asyncio.ensure_future(budget.hold(50))
        for _ in range(5):
            await asyncio.sleep(0)
        waited = not waiting.done()
        budget.settle(80, 10)
        return waited, await waiting

    assert asyncio.run(run()) == (True, True)


def test_a_small_hold_does_not_overtake_a_large_one() -> None:
    async def run() -> list[str]:
        budget, order = Budget(100), list[str]()

        async def take(name: str, amount: int) -> None:
            assert await budget.hold(amount)
            order.append(name)

        assert await budget.hold(80)
        tasks = [asyncio.ensure_future(take(*one)) for one in (("large", 50), ("small", 5))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert order == []
        budget.settle(80, 0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["large", "small"]


@given(
    total=st.integers(0, 300),
    calls=st.lists(st.tuples(st.integers(0, 120), st.floats(0, 1)), max_size=30),
    concurrency=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
)
def test_concurrent_calls_never_pass_the_budget(
    total: int, calls: list[tuple[int, float]], concurrency: int, order: object
) -> None:
    async def run() -> None:
        budget, pending = Budget(total), iter(calls)
        open_holds = 0

        async def work() -> None:
            nonlocal open_holds
            for worst, share in pending:
                if not await budget.hold(worst):
                    return
                open_holds += worst
                assert budget.spent + open_holds <= total
                for _ in range(order.randrange(4)):  # type: ignore[attr-defined]
                    await asyncio.sleep(0)
                open_holds -= worst
                budget.settle(worst, int(worst * share))

        await asyncio.gather(*(work() for _ in range(concurrency)))
        assert 0 <= budget.spent <= total
        assert budget.left == total - budget.spent

    asyncio.run(run())
