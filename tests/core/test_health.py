"""A decision leaves out what is unhealthy, within a cap, and names what to try next."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.breaker import Breaker, HealthPolicy, Outcome, Report, after, with_probe
from router.core.decision import decide
from router.core.errors import NotPossible
from router.core.health import ALL_HEALTHY, Health, fallback_chain, health_of, left_out
from router.core.types import Candidate, Constraints, Decision, QualityTarget
from tests.builders import candidate

ANYTHING = Constraints()
GOAL = QualityTarget(0.5)
POLICY = HealthPolicy()
LADDER = (
    candidate("small", 0.55, price=("0.1", "0.4"), tier="low", provider="acme"),
    candidate("middle", 0.75, price=("1", "4"), tier="medium", provider="acme"),
    candidate("large", 0.90, price=("5", "20"), tier="high", provider="globex"),
)


def sick(*models: str, **changes: object) -> Health:
    return Health({each: f"{each} fails" for each in models}, **changes)  # type: ignore[arg-type]


def decided(health: Health, candidates: tuple[Candidate, ...] = LADDER) -> Decision:
    return decide(candidates, ANYTHING, GOAL, health=health)


def codes(decision: Decision) -> list[str]:
    return [each.code for each in decision.reasons]


def ids(candidates: tuple[Candidate, ...]) -> list[str]:
    return [each.model.id for each in candidates]


def test_where_all_are_healthy_nothing_is_said_of_it() -> None:
    assert codes(decided(ALL_HEALTHY)) == ["CHEAPEST_ADEQUATE"]


def test_a_model_that_fails_is_left_out_and_the_reply_says_why() -> None:
    found = decided(sick("small"))
    assert ids(found.ranked) == ["middle", "large"]
    assert codes(found) == ["CHEAPEST_ADEQUATE", "MODELS_UNHEALTHY", "MODELS_EXCLUDED"]
    assert found.reasons[1].text == "left out because calls to them fail: small (small fails)"
    assert found.reasons[1].facts == {"small": "small fails"}
    assert found.reasons[2].facts == {"unhealthy": "1"}


def test_a_model_that_fails_and_could_not_be_chosen_anyway_is_not_mentioned() -> None:
    found = decide(LADDER, Constraints(tiers=frozenset({"low"})), GOAL, health=sick("large"))
    assert codes(found) == ["CHEAPEST_ADEQUATE", "ONLY_CANDIDATE", "MODELS_EXCLUDED"]


def test_where_all_are_unhealthy_the_choice_is_as_if_all_were_healthy() -> None:
    found = decided(sick("small", "middle", "large"))
    assert found.ranked == decided(ALL_HEALTHY).ranked
    assert codes(found) == ["CHEAPEST_ADEQUATE", "ALL_UNHEALTHY"]
    assert found.reasons[1].facts["large"] == "large fails"


def test_health_never_makes_a_request_impossible_nor_possible() -> None:
    nobody = Constraints(capabilities=frozenset({"flying"}))
    with pytest.raises(NotPossible, match="lacks capability"):
        decide(LADDER, nobody, GOAL, health=sick("small", "middle", "large"))


def many(count: int, tier: str = "low") -> tuple[Candidate, ...]:
    return tuple(candidate(f"{tier}{at}", 0.8, tier=tier, provider=f"p{at}") for at in range(count))


@pytest.mark.parametrize(
    ("models", "share", "most"),
    [
        (1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 1), (4, 0.5, 2), (5, 0.5, 2),
        (10, 0.7, 7), (3, 0.7, 2), (4, 1.0, 4), (4, 0.0, 0), (4, 0.01, 1),
        (100, 0.29, 29), (3, 1 / 3, 1), (3, 2 / 3, 2),
    ],
)  # fmt: skip
def test_of_a_tier_at_most_the_share_is_left_out_but_at_least_one(
    models: int, share: float, most: int
) -> None:
    failing = many(models)
    healthy = candidate("healthy", 0.9, tier="high")
    out, _ = left_out([*failing, healthy], sick(*ids(failing), max_ejected_share=share))
    assert len(out) == most


def test_of_too_many_those_stay_that_are_tried_again_soonest() -> None:
    four = many(4)
    healthy = candidate("healthy", 0.9, tier="high")
    health = sick("low2", "low0", "low3", "low1", max_ejected_share=0.5)
    out, reasons = left_out([*four, healthy], health)
    assert set(out) == {"low3", "low1"}
    assert reasons[0].text.endswith("; kept, since at most 50% of a tier are left out: low0, low2")
    assert set(reasons[0].facts) == {"low3", "low1"}


def test_models_that_did_not_fail_themselves_stay_before_those_that_did() -> None:
    three = tuple(candidate(name, tier="low", provider="acme") for name in "abc")
    health = Health({"c": "fails"}, {"acme": "2 of its models fail"}, max_ejected_share=0.5)
    out, _ = left_out([*three, candidate("other", tier="high", provider="globex")], health)
    assert set(out) == {"c"}


def test_a_provider_that_fails_takes_its_other_models_with_it() -> None:
    found = decided(Health(providers={"acme": "2 of its models fail"}))
    assert ids(found.ranked) == ["large"]
    assert found.reasons[1].facts == dict.fromkeys(("middle", "small"), "2 of its models fail")


def test_a_model_that_may_be_tried_counts_as_healthy_for_a_call_and_not_for_a_quote() -> None:
    health = Health(due={"small": "fails"}, providers={"acme": "fails"})
    assert ids(decided(health).ranked) == ["small", "large"]
    assert ids(decided(health.without_probes).ranked) == ["large"]


def test_the_order_of_candidates_does_not_matter() -> None:
    health = sick("small", max_ejected_share=0.5)
    assert len({tuple(ids(decided(health, each).ranked)) for each in permutations(LADDER)}) == 1


def test_health_that_is_only_watched_changes_nothing() -> None:
    watched = HealthPolicy(max_ejected_share=0)
    health = health_of({("acme", "small"): opened(0), ("acme", "middle"): opened(0)}, 500, watched)
    assert (set(health.models), health.due) == ({"small", "middle"}, {})
    assert decided(health) == decided(ALL_HEALTHY)
    assert decided(sick(*ids(LADDER), max_ejected_share=0)) == decided(ALL_HEALTHY)


# --- What to try next --------------------------------------------------------------------------


def ranked(*providers: str) -> tuple[Candidate, ...]:
    return tuple(
        candidate(f"{provider}{at}", provider=provider) for at, provider in enumerate(providers)
    )


@pytest.mark.parametrize(
    ("providers", "chain"),
    [
        ("a", []),
        ("aa", ["a1"]),
        ("ab", ["b1"]),
        ("aab", ["b2", "a1"]),
        ("aaabbc", ["b3", "c5", "a1"]),
        ("abab", ["b1", "a2", "b3"]),
        ("abcde", ["b1", "c2", "d3"]),
    ],
)
def test_another_provider_goes_first(providers: str, chain: list[str]) -> None:
    assert ids(fallback_chain(ranked(*providers))) == chain


def test_a_model_that_is_being_tried_is_in_no_chain() -> None:
    assert ids(fallback_chain(ranked(*"abc"), Health(due={"b1": "fails"}))) == ["c2"]


def test_after_a_failure_the_next_of_the_chain_is_chosen() -> None:
    first = decided(ALL_HEALTHY)
    assert ids(first.fallbacks) == ["large", "middle"]
    left = tuple(each for each in LADDER if each != first.chosen)
    second = decided(Health(failed_providers=frozenset({"acme"})), left)
    assert second.chosen == first.fallbacks[0]
    assert second.reasons[-1].facts == {"of_a_failed_provider": "1"}


def test_where_only_the_failed_provider_is_left_it_is_asked_again() -> None:
    health = Health(failed_providers=frozenset({"acme", "globex"}))
    assert decided(health).ranked == decided(ALL_HEALTHY).ranked
    health = sick("large", failed_providers=frozenset({"acme"}))
    assert ids(decided(health).ranked) == ["small", "middle"]


# --- What breakers say together ----------------------------------------------------------------


def opened(at: float = 100) -> Breaker:
    breaker = Breaker()
    for _ in range(POLICY.consecutive_failures):
        breaker = after(breaker, Report(Outcome.OVERLOADED, at, at, "d"), POLICY)
    return breaker


def answered(at: float) -> Breaker:
    return after(Breaker(), Report(Outcome.SUCCESS, at, at, "d"), POLICY)


def test_no_news_is_good_news() -> None:
    assert health_of({}, 0, POLICY) is ALL_HEALTHY
    assert health_of({("acme", "a"): answered(1)}, 2, POLICY) is ALL_HEALTHY


def test_a_model_is_unhealthy_until_its_wait_is_over_then_it_may_be_tried() -> None:
    breakers = {("acme", "a"): opened()}
    told = "5 failures in a row, the last: overloaded; tried again from 00:02:10 UTC"
    assert health_of(breakers, 129, POLICY).models == {"a": told}
    due = health_of(breakers, 130, POLICY)
    assert (due.models, list(due.due)) == ({}, ["a"])
    breakers["acme", "a"] = with_probe(opened(), "d", 130, POLICY)
    tried = health_of(breakers, 131, POLICY)
    assert (list(tried.models.values()), tried.due) == (
        ["5 failures in a row, the last: overloaded; a call is trying it"], {},
    )  # fmt: skip


def test_those_that_are_tried_again_soonest_come_first() -> None:
    breakers = {("acme", "a"): opened(102), ("acme", "b"): opened(101), ("b", "c"): opened(103)}
    assert list(health_of(breakers, 104, POLICY).models) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("third", "failing"),
    [(None, True), (answered(99), True), (answered(100), False), (opened(), True)],
)
def test_a_provider_fails_where_two_of_its_models_do_and_no_other_answers(
    third: Breaker | None, failing: bool
) -> None:
    breakers = {
        ("acme", "a"): opened(100),
        ("acme", "b"): opened(101),
        ("globex", "g"): opened(100),
    }
    if third is not None:
        breakers["acme", "c"] = third
    assert (set(health_of(breakers, 105, POLICY).providers) == {"acme"}) == failing


def test_one_model_of_a_provider_does_not_condemn_it() -> None:
    assert health_of({("acme", "a"): opened()}, 105, POLICY).providers == {}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.floats(0, 1),
)
def test_there_is_always_somebody_left_and_the_cap_holds(
    made: list[tuple[str, str, bool]], share: float
) -> None:
    candidates = [
        candidate(f"m{at}", tier=tier, provider=provider)
        for at, (tier, provider, _) in enumerate(made)
    ]
    failing = [one.model.id for one, (*_, fails) in zip(candidates, made, strict=True) if fails]
    out, _ = left_out(candidates, sick(*failing, max_ejected_share=share))
    assert set(out) <= set(failing)
    assert len(out) < len(candidates)
    for tier in "abc":
        of_tier = [each.model.id for each in candidates if each.model.tier == tier]
        count = len(out.keys() & set(of_tier))
        assert count <= max(1, share * len(of_tier))
