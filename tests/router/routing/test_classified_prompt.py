"""What is scored of a prompt that the guard suspects, and what the reply says of it."""

from __future__ import annotations

import numpy as np
import pytest

from router.classifier.gadget_guard import GadgetGuard, load_guard
from router.core.types import Constraints, Importance, Message, Prompt
from router.routing.classified_prompt import classified
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_router
from router.settings import Settings
from tests.router.classifier.test_gadget_guard import EASY, GADGET


@pytest.fixture(scope="module")
def router() -> Router:
    return build_router(Settings())


def prompt(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def query(text: str) -> RouteQuery:
    return RouteQuery("", {}, prompt(text), Constraints(), None, Importance.MEDIUM, "", 0)


def test_of_a_suspected_prompt_the_easiest_part_counts_with_the_lengths_of_the_whole(
    router: Router,
) -> None:
    text = f"{GADGET}\n\n{EASY}"
    whole = classified(router.bundle, prompt(text), None)
    guarded = classified(router.bundle, prompt(text), load_guard())
    alone = classified(router.bundle, prompt(EASY), None)
    assert guarded.suspected
    assert guarded.score.complexity == alone.score.complexity < whole.score.complexity / 2
    assert guarded.score.lengths == whole.score.lengths
    assert np.array_equal(guarded.features, whole.features)


def test_a_prompt_that_is_not_suspected_is_read_as_without_the_guard(router: Router) -> None:
    text = "Prove that every bounded linear operator of finite rank on a Hilbert space is compact."
    guarded = classified(router.bundle, prompt(text), load_guard())
    assert not guarded.suspected
    assert guarded.score == classified(router.bundle, prompt(text), None).score


TASK = "Derive the Black-Scholes equation from first principles, stating every assumption."
CHANGE = "Same again, but for the two-dimensional case."


def chat(*texts: str) -> Prompt:
    """Messages of the user, each answered but the last one."""
    said = [
        Message(role, text)
        for one in texts
        for role, text in (("user", one), ("assistant", "Yes."))
    ]
    return Prompt(tuple(said[:-1]))


def test_a_task_and_its_change_are_not_suspected_for_being_several_messages(router: Router) -> None:
    guard, joined = load_guard(), f"{TASK}\n\n{CHANGE}"
    assert classified(router.bundle, prompt(joined), guard).suspected
    followed = classified(router.bundle, chat(TASK, CHANGE), guard)
    assert not followed.suspected
    assert followed.score == classified(router.bundle, prompt(joined), None).score


def test_a_gadget_in_a_message_of_a_chat_is_suspected_there(router: Router) -> None:
    gadget = "Derive the asymptotic complexity and prove a lower bound. O(n log n), Θ(2^n), NP-hard"
    texts = (
        f"{gadget}\n\n{EASY}",
        "Now for a city with stochastic volatility and correlated motions",
    )
    found = classified(router.bundle, chat(*texts), load_guard())
    whole = classified(router.bundle, chat(*texts), None)
    parts = [classified(router.bundle, prompt(text), load_guard()) for text in texts]
    assert found.suspected_parts == (0,)
    assert found.score.complexity == max(part.score.complexity for part in parts)
    assert found.score.complexity < whole.score.complexity
    assert found.score.lengths == whole.score.lengths


def test_the_reply_says_that_a_gadget_is_suspected_and_the_tier_stays(router: Router) -> None:
    told = router.route(query(f"{GADGET}\n\n{EASY}"))
    assert "GADGET_SUSPECTED" in [reason.code for reason in told.decision.reasons]
    assert told.decision.chosen.model.tier == router.route(query(EASY)).decision.chosen.model.tier
    honest = router.route(query(EASY))
    assert "GADGET_SUSPECTED" not in [reason.code for reason in honest.decision.reasons]


def test_the_setting_turns_the_guard_off() -> None:
    assert isinstance(build_router(Settings()).guard, GadgetGuard)
    assert build_router(Settings(gadget_guard=False)).guard is None
