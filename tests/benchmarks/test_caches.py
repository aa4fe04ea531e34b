"""The benchmark of prompt caches pays for what it says, and its baselines are what their names say."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.caches import Assessor, counting, dialogues, first_turns, one_model, run
from router.core.types import Importance
from router.routing.router import Router

TALKS = dialogues()


@pytest.fixture(scope="module")
def assessors(router: Router) -> dict[int, Assessor]:
    return {tokens: Assessor(router, tokens, Importance.MEDIUM) for tokens in (0, 4_400)}


def test_each_turn_of_a_dialogue_goes_on_with_the_one_before() -> None:
    assert len(TALKS) == 144
    for talk in TALKS:
        for before, after in pairwise(talk):
            assert after.messages[: len(before.messages)] == before.messages
    assert all(talk[0].messages[0].role != "assistant" for talk in TALKS)


def test_one_model_never_changes_and_short_dialogues_have_no_cache(
    router: Router, assessors: dict[int, Assessor]
) -> None:
    short = assessors[0]
    alone = run(short, router, TALKS[:12], first_turns)
    assert run(short, router, TALKS[:12], one_model).changes == 0
    assert alone.changes > 0
    loopless = [talk for talk in TALKS[:12] if all(p.messages[-1].role == "user" for p in talk)]
    assert run(short, router, loopless, counting) == run(short, router, loopless, first_turns)


def test_what_was_read_before_is_paid_for_at_the_price_of_the_cache(
    router: Router, assessors: dict[int, Assessor]
) -> None:
    """Two turns within the life of the cache cost less than the same two as dialogues of their own."""
    long, (first, second) = assessors[4_400], TALKS[1][:2]
    whole = run(
        long, router, [(), (first, second)], one_model
    )  # the first of three has a long pause
    parts = run(long, router, [(first,), (second,)], one_model)
    assert whole.turns == parts.turns == 2
    assert whole.price < parts.price
