"""What holds of every decision, whatever comes together: rules, limits, health, chance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import assume, example, given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import MitsumoriError
from router.core.exclusions import exclusion
from router.core.goals import at_stake, expected_cost
from router.core.health import Health
from router.core.limits import Amounts, Limit, LimitState, Period, SoftAction, Unit, Window
from router.core.ruling import Effects, Rule, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Goal,
    Importance,
    LatencyRange,
    MissCost,
    MissCosts,
    PriceRange,
    QualityTarget,
    WillingnessToPay,
)
from tests.builders import candidate

TIERS = ("low", "medium", "high")
NAMES = "abcdefgh"
MONTH = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
MIDDLE = datetime(2026, 11, 16, tzinfo=UTC)
DOLLAR = 10**9


def offered(name: str, tier: str, p: float, price: int, seconds: float, provider: str) -> Candidate:
    """A candidate; its price at the 90th percentile is twice the expected one, and that is what it holds."""
    made = candidate(name, p, tier=tier, provider=provider)
    assert made.quote is not None
    quote = made.quote._replace(
        price=PriceRange(0, price, 2 * price, 4 * price), latency=LatencyRange(seconds, 2 * seconds)
    )
    return made._replace(quote=quote, amounts=Amounts(2 * price, 500))


def some(names: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names), max_size=3)


PRICES = st.integers(0, DOLLAR)
SECONDS = st.floats(0, 100)
CANDIDATES = st.lists(
    st.builds(
        offered,
        st.sampled_from(NAMES),
        st.sampled_from(TIERS),
        st.floats(0, 1),
        PRICES,
        SECONDS,
        st.sampled_from(["acme", "globex", "initech"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda made: made.model.id,
)
ASKED = st.builds(
    Constraints,
    models=some(NAMES),
    max_price_nanos=st.none() | PRICES,
    max_latency_s=st.none() | SECONDS,
)
TIER_SETS = st.sampled_from([frozenset(TIERS[a:b]) for a in range(3) for b in range(a + 1, 4)])
CEILINGS = st.builds(
    Effects,
    models=some(NAMES),
    forbidden_models=some(NAMES),
    tiers=TIER_SETS,
    max_price_nanos=st.none() | PRICES,
    max_latency_s=st.none() | SECONDS,
)
STAKES = st.integers(0, 10 * DOLLAR)
BY_COST: st.SearchStrategy[MissCost | WillingnessToPay] = st.one_of(
    STAKES.map(MissCost), STAKES.map(WillingnessToPay)
)
GOALS: st.SearchStrategy[Goal] = BY_COST | st.builds(
    QualityTarget, st.floats(0, 1), st.floats(0, 0.3)
)
BALANCES = st.lists(
    st.builds(
        lambda soft, hard, on_soft, spent, held: LimitState(
            Limit("budget", {}, Unit.MONEY, Window.MONTH, "UTC", soft, hard, on_soft, True),
            "",
            MONTH,
            spent,
            held,
        ),
        st.none() | PRICES,
        st.none() | st.integers(0, 4 * DOLLAR),
        st.sampled_from(SoftAction),
        PRICES,
        PRICES,
    ),
    max_size=2,
).map(tuple)
PHRASES = st.dictionaries(st.sampled_from(NAMES), st.just("fails"), max_size=4)
HEALTHS = st.builds(
    Health,
    PHRASES,
    st.dictionaries(st.sampled_from(["acme", "globex"]), st.just("fails")),
    max_ejected_share=st.floats(0, 1),
    failed_providers=st.frozensets(st.sampled_from(["acme", "globex"])),
)
CHANCES = st.none() | st.builds(
    Exploration, st.floats(0, 1), st.floats(0, 2), st.floats(0, 1, exclude_max=True)
)
COMPLEXITIES = st.floats(0, 1)


def ruled(effects: Sequence[Effects]) -> Ruling:
    return Ruling(tuple(Rule(f"rule-{at}", each, "a text") for at, each in enumerate(effects)))


def holding(made: Sequence[Candidate], balances: tuple[LimitState, ...]) -> list[Candidate]:
    return [each._replace(limits=balances) for each in made]


def p_of(one: Candidate) -> float:
    assert one.p_adequate is not None
    return one.p_adequate


def price_of(one: Candidate) -> PriceRange:
    assert one.quote is not None
    return one.quote.price


@given(
    CANDIDATES,
    ASKED,
    st.lists(CEILINGS, max_size=3),
    GOALS,
    BALANCES,
    HEALTHS,
    CHANCES,
    COMPLEXITIES,
)
def test_nothing_that_may_be_called_is_above_a_ceiling_or_a_hard_limit(
    made: list[Candidate],
    asked: Constraints,
    ceilings: list[Effects],
    goal: Goal,
    balances: tuple[LimitState, ...],
    health: Health,
    chance: Exploration | None,
    complexity: float,
) -> None:
    """Neither the choice nor a fallback nor an alternative: a caller may turn to each of them."""
    try:
        decision = decide(
            holding(made, balances),
            asked,
            goal,
            ruling=ruled(ceilings),
            health=health,
            complexity=complexity,
            top_tier="high",
            moment=MIDDLE,
            exploration=chance,
        )
    except MitsumoriError:
        return
    assert all(each in decision.ranked[1:] for each in decision.fallbacks)
    for each in decision.ranked:
        assert each.quote is not None
        assert each.amounts is not None
        high, slow = each.quote.price.high, each.quote.latency.p90_s
        for bound in (asked, *ceilings):
            assert not bound.models or each.model.id in bound.models
            assert not bound.tiers or each.model.tier in bound.tiers
            assert bound.max_price_nanos is None or high <= bound.max_price_nanos
            assert bound.max_latency_s is None or slow <= bound.max_latency_s
        assert all(each.model.id not in one.forbidden_models for one in ceilings)
        for state in balances:
            hard = state.limit.hard
            assert hard is None or state.spent + state.held + each.amounts.money <= hard


@given(CANDIDATES, ASKED, BY_COST, COMPLEXITIES, st.data())
def test_one_more_model_never_raises_the_expected_cost(
    made: list[Candidate],
    asked: Constraints,
    goal: MissCost | WillingnessToPay,
    complexity: float,
    data: st.DataObject,
) -> None:
    """To the nano-dollar to which expected costs are rounded."""
    before, after = one_more(made, asked, goal, complexity, data)
    stake = at_stake(goal, complexity)
    assert isinstance(stake, MissCost | WillingnessToPay)
    costs = [expected_cost(each.chosen, stake.nanos) for each in (before, after)]
    assert costs[1] <= costs[0] + 1


@given(CANDIDATES, ASKED, st.floats(0, 1), st.floats(0, 0.3), st.data())
def test_one_more_model_that_is_better_never_makes_a_target_harder_to_reach(
    made: list[Candidate], asked: Constraints, target: float, regret: float, data: st.DataObject
) -> None:
    before, after = one_more(made, asked, QualityTarget(target, regret), 1.0, data)
    old, new = before.chosen, after.chosen
    best = max(map(p_of, before.ranked))
    added = next(each for each in after.ranked if each.model.id == "new")
    assume(p_of(added) >= best)
    cheaper = price_of(new).expected <= price_of(old).expected
    assert p_of(new) >= p_of(old) or (p_of(new) >= target and cheaper)


def one_more(
    made: list[Candidate], asked: Constraints, goal: Goal, complexity: float, data: st.DataObject
) -> tuple[Decision, Decision]:
    """The decisions without and with a further model that meets the constraints."""
    tier, p, price = data.draw(
        st.tuples(st.sampled_from(TIERS), st.floats(0, 1), PRICES), label="tier, p, price"
    )
    added = offered("new", tier, p, price, 1.0, "acme")
    asked = Constraints(
        asked.models and asked.models | {"new"},
        max_price_nanos=asked.max_price_nanos,
        max_latency_s=asked.max_latency_s,
    )
    assume(exclusion(added, asked) is None)
    assume(any(exclusion(each, asked) is None for each in made))
    before = decide(made, asked, goal, complexity=complexity)
    after = decide([*made, added], asked, goal, complexity=complexity)
    assert set(after.ranked) == {*before.ranked, added}
    return before, after


TIERED = st.lists(
    st.tuples(st.sampled_from(range(3)), st.floats(0, 1), PRICES, SECONDS), min_size=1, max_size=8
).map(
    lambda made: [
        offered(NAMES[at], TIERS[tier], (tier + p) / 3, price, seconds, "acme")
        for at, (tier, p, price, seconds) in enumerate(made)
    ]
)
"""Candidates of which those of a higher tier are at least as likely adequate."""


def prefers_cheaper_above(soft: int) -> LimitState:
    limit = Limit(
        "budget", {}, Unit.MONEY, Window.MONTH, "UTC", soft, None, SoftAction.PREFER_CHEAPER
    )
    return LimitState(limit, "", MONTH, 0, 0)


@given(TIERED, ASKED, st.lists(CEILINGS, max_size=2), BALANCES, COMPLEXITIES)
@example(
    [
        offered("a", "low", 0.5, DOLLAR // 1000, 1, "acme"),
        offered("b", "medium", 0.8, DOLLAR // 100, 1, "acme"),
        offered("c", "high", 0.95, DOLLAR // 10, 1, "acme"),
    ],
    Constraints(),
    [],
    (prefers_cheaper_above(DOLLAR // 10),),
    1.0,
)
def test_a_higher_importance_never_lowers_the_tier(
    made: list[Candidate],
    asked: Constraints,
    ceilings: list[Effects],
    balances: tuple[LimitState, ...],
    complexity: float,
) -> None:
    """Under the same rules and limits, on the default goals."""
    chosen = []
    for importance in Importance:
        try:
            decision = decide(
                holding(made, balances),
                asked,
                MissCosts().of(importance),
                ruling=ruled(ceilings),
                complexity=complexity,
                top_tier="high",
                moment=MIDDLE,
            )
        except MitsumoriError:
            return
        chosen.append(TIERS.index(decision.chosen.model.tier))
    assert all(less <= more for less, more in pairwise(chosen))


@given(
    CANDIDATES,
    ASKED,
    GOALS,
    BALANCES,
    HEALTHS,
    CHANCES,
    st.lists(CEILINGS, max_size=3),
    st.randoms(use_true_random=False),
)
def test_neither_the_order_of_models_nor_that_of_rules_changes_a_decision(
    made: list[Candidate],
    asked: Constraints,
    goal: Goal,
    balances: tuple[LimitState, ...],
    health: Health,
    chance: Exploration | None,
    ceilings: list[Effects],
    order: st.DataObject,
) -> None:
    def outcome(models: list[Candidate], effects: list[Effects]) -> object:
        try:
            decision = decide(
                holding(models, balances),
                asked,
                goal,
                ruling=ruled(effects),
                health=health,
                top_tier="high",
                moment=MIDDLE,
                exploration=chance,
            )
        except MitsumoriError as error:
            return error.reason
        codes = [each.code for each in decision.reasons]
        return decision.ranked, decision.fallbacks, decision.explored, codes

    models, effects = list(made), list(ceilings)
    for each in (models, effects):
        order.shuffle(each)  # type: ignore[attr-defined]
    assert outcome(models, effects) == outcome(made, ceilings)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 1), st.integers(0, 2)), min_size=1, max_size=4
    ),
    GOALS,
    st.randoms(use_true_random=False),
)
def test_of_models_that_are_alike_the_first_by_name_is_chosen(
    kinds: list[tuple[int, float, int]], goal: Goal, order: st.DataObject
) -> None:
    """Each kind of model is there twice; of every pair the first by name comes first, too."""
    made = [
        offered(f"{twin}{at}", TIERS[tier], p, price, 1.0, "acme")
        for at, (tier, p, price) in enumerate(kinds)
        for twin in "ab"
    ]
    order.shuffle(made)  # type: ignore[attr-defined]
    ranked = [each.model.id for each in decide(made, Constraints(), goal).ranked]
    assert ranked[0].startswith("a")
    for at in range(len(kinds)):
        assert ranked.index(f"a{at}") < ranked.index(f"b{at}")
