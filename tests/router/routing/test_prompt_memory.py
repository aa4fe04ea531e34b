"""A prompt that comes again is not scored again: for the same tenant, within a number of bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.types import Constraints, Importance, Message, Prompt
from router.routing.prompt_memory import PromptMemory, key_of
from router.routing.router import RouteQuery, Router


def asked(text: str, tenant: str = "acme") -> RouteQuery:
    prompt = Prompt((Message("user", text),))
    return RouteQuery("", {"tenant": tenant}, prompt, Constraints(), None, Importance.MEDIUM, "", 5)


def test_a_prompt_that_comes_again_has_the_score_and_the_quotes_of_the_first_time(
    router: Router,
) -> None:
    router = replace(router)  # with a memory of its own
    text = "Prove that there are infinitely many primes."
    first, again = router.assess(asked(text)), router.assess(asked(text))
    assert again.score is first.score
    assert [one.p_adequate for one in again.candidates] == [
        one.p_adequate for one in first.candidates
    ]
    assert [one.quote and one.quote.price for one in again.candidates] == [
        one.quote and one.quote.price for one in first.candidates
    ]


def test_what_one_tenant_asked_is_computed_anew_for_another(router: Router) -> None:
    router = replace(router)
    first, other = router.assess(asked("Hi", "acme")), router.assess(asked("Hi", "globex"))
    assert other.score is not first.score
    assert other.score == first.score


def test_other_constraints_change_the_quotes_of_a_prompt_that_is_known(router: Router) -> None:
    router = replace(router)
    query = asked("Write a long story about the sea.")
    router.assess(query)
    capped = router.assess(replace(query, constraints=Constraints(max_output_tokens=10)))
    assert all(one.quote and one.quote.output_tokens_worst <= 10 for one in capped.candidates)


@pytest.mark.parametrize(
    "other",
    [
        (Message("user", "a"), Message("user", "bc")),
        (Message("user", "abc"),),
        (Message("system", "ab"), Message("user", "c")),
        (Message("user", "c"), Message("user", "ab")),
        (Message("user", "ab"), Message("user", "C")),
        (Message("user", "ab user 1 c"),),
        (Message("user", "ab"), Message("user", "c"), Message("user", "")),
    ],
)
def test_prompts_that_differ_in_any_role_or_text_have_different_keys(
    other: tuple[Message, ...],
) -> None:
    prompt = Prompt((Message("user", "ab"), Message("user", "c")))
    assert key_of("acme", prompt) == key_of("acme", prompt)
    assert key_of("acme", prompt) != key_of("acme", Prompt(other))
    assert key_of("acme", prompt) != key_of("", prompt)


def test_a_text_with_half_a_surrogate_pair_has_a_key() -> None:
    halves = [key_of("", Prompt((Message("user", half),))) for half in ("\ud800", "\ud801")]
    assert halves[0] != halves[1]


def test_a_value_of_another_version_is_computed_anew() -> None:
    memory, key = PromptMemory(), key_of("acme", Prompt((Message("user", "Hi"),)))
    versions = ["first a", "first b", "first a", "first b"]
    found = [memory.get(key, version, list, 10) for version in versions]
    assert found[0] is found[2]
    assert found[1] is found[3]
    assert found[0] is not found[1]


def test_what_is_remembered_stays_within_its_bytes_and_the_oldest_goes_first() -> None:
    memory = PromptMemory(100_000)
    keys = [key_of("acme", Prompt((Message("user", str(number)),))) for number in range(1_000)]
    values = [memory.get(key, "v", list, 5_000) for key in keys]
    assert memory.nbytes <= 100_000
    assert memory.get(keys[-1], "v", list, 5_000) is values[-1]
    assert memory.get(keys[0], "v", list, 5_000) is not values[0]
