"""What an explanation says would change the choice does so, and just short of it does not."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from router.core.changes import GRID, Change, Lever, changed
from router.core.errors import MitsumoriError
from router.core.explanation import Criterion, Explained, explain
from router.core.health import ALL_HEALTHY, Health
from router.core.inputs import Inputs
from router.core.limits import Amounts, SoftAction
from router.core.ruling import Effects
from router.core.types import (
    Candidate,
    Constraints,
    Exploration,
    Goal,
    LatencyRange,
    MissCost,
    QualityTarget,
    WillingnessToPay,
)
from tests.builders import candidate
from tests.core.test_decision_limits import MIDDLE, state
from tests.core.test_ruling import ruled

TIERS = ("low", "medium", "high")
NAMES = ("a", "b", "c", "d", "e")


@st.composite
def models(draw: st.DrawFn) -> list[Candidate]:
    limits = draw(st.lists(LIMITS, max_size=2, unique_by=lambda one: one.limit.id).map(tuple))
    made = []
    for name in NAMES[: draw(st.integers(2, 5))]:
        one = candidate(
            name,
            draw(st.integers(0, 20)) / 20 if draw(st.integers(0, 9)) else None,
            price=(str(draw(st.integers(1, 6))), str(draw(st.integers(1, 30)))),
            tier=draw(st.sampled_from(TIERS)),
            provider=draw(st.sampled_from(["acme", "bolt"])),
            regions=draw(
                st.sampled_from([frozenset(), frozenset({"eu"}), frozenset({"eu", "us"})])
            ),
            capabilities=draw(st.sampled_from([frozenset(), frozenset({"tools"})])),
        )
        assert one.quote is not None
        quote = one.quote
        slow = draw(st.integers(1, 4))
        quote = quote._replace(latency=LatencyRange(slow / 3, slow))
        made.append(
            one._replace(quote=quote, limits=limits, amounts=Amounts(quote.price.high, 1_000))
        )
    return made


LIMITS = st.builds(
    lambda name, hard, soft, spent, action, paced, shared: state(
        hard, soft=soft, spent=spent, on_soft=action, paced=paced, name=name, **shared
    ),
    st.sampled_from(["team", "user"]),
    st.none() | st.integers(10_000_000, 90_000_000),
    st.none() | st.integers(1_000_000, 60_000_000),
    st.integers(0, 30_000_000),
    st.sampled_from([SoftAction.WARN, SoftAction.PREFER_CHEAPER, SoftAction.FORBID_TOP_TIER]),
    st.booleans(),
    st.just({})
    | st.fixed_dictionaries(
        {
            "share": st.sampled_from([0.1, 0.3, 0.5]),
            "free": st.just(0) | st.integers(1_000_000, 40_000_000),
            "whole": st.integers(30_000_000, 100_000_000),
        }
    ),
)
GOALS: st.SearchStrategy[Goal] = (
    st.integers(0, 10**9).map(MissCost)
    | st.integers(1, 10**9).map(WillingnessToPay)
    | st.builds(
        QualityTarget, st.integers(0, 20).map(lambda p: p / 20), st.sampled_from([0, 0.05, 0.2])
    )
)
SUBSETS = st.sampled_from([frozenset(), frozenset({"a", "b"}), frozenset({"c"})])
FIELDS = {
    "models": SUBSETS,
    "tiers": st.just(frozenset({"low", "high"})),
    "capabilities": st.just(frozenset({"tools"})),
    "max_price_nanos": st.integers(1_000_000, 30_000_000),
    "max_latency_s": st.floats(1, 4),
    "max_first_token_s": st.floats(1, 2),
    "regions": st.sampled_from([frozenset({"us"}), frozenset({"eu"})]),
}
CONSTRAINTS = (
    st.lists(st.sampled_from(sorted(FIELDS)), max_size=2, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names}))
    .map(lambda given: Constraints(**given))
)
EFFECTS = st.one_of(
    st.builds(Effects, goal=GOALS),
    st.builds(Effects, tiers=st.sampled_from([frozenset({"medium", "high"}), frozenset({"low"})])),
    st.builds(Effects, regions=st.just(frozenset({"us"}))),
    st.builds(Effects, max_price_nanos=st.integers(1_000_000, 30_000_000)),
)
HEALTHS = st.just(ALL_HEALTHY) | st.builds(
    Health,
    models=st.dictionaries(st.sampled_from(NAMES), st.just("it fails"), max_size=2),
    providers=st.dictionaries(st.just("bolt"), st.just("two fail"), max_size=1),
    failed_providers=st.sampled_from([frozenset(), frozenset({"acme"})]),
    max_ejected_share=st.sampled_from([0.5, 1.0]),
)
SHARES = st.none() | st.builds(Exploration, st.just(1.0), st.floats(0, 2), st.floats(0, 0.999))


@st.composite
def situations(draw: st.DrawFn) -> Inputs:
    effects = draw(st.lists(EFFECTS, max_size=2))
    giving_way = "".join(
        name
        for name, each in zip("ab", effects, strict=False)
        if each.binds and draw(st.booleans())
    )
    ruling = ruled(*effects, giving_way=giving_way)
    own = draw(GOALS)
    return Inputs(
        draw(models()),
        draw(CONSTRAINTS),
        ruling.goal or own,
        ruling=ruling,
        health=draw(HEALTHS),
        complexity=draw(st.integers(0, 10)) / 10,
        top_tier="high",
        moment=draw(st.none() | st.just(MIDDLE)),
        exploration=draw(SHARES),
        next_goal=own if ruling.goal is not None else None,
    )


def chosen(inputs: Inputs) -> str:
    """The choice where nothing is left to chance; empty: it is refused."""
    try:
        return inputs._replace(exploration=None).decide().chosen.model.id
    except MitsumoriError:
        return ""


BOUNDED = {Lever.MAX_PRICE, Lever.MAX_LATENCY, Lever.MAX_FIRST_TOKEN, Lever.LIMIT}
IN_UNITS = {Lever.PRICE, Lever.MISS_COST, Lever.WILLINGNESS_TO_PAY, Lever.MAX_PRICE, Lever.LIMIT}


def short_of(change: Change) -> Change:
    step = 1 if change.lever in IN_UNITS else 1 / GRID
    value = change.value - step if change.rises else change.value + step
    return replace(change, value=round(value * GRID) / GRID if step < 1 else value)


def explained(inputs: Inputs) -> list[Explained]:
    try:
        decision = inputs.decide()
    except MitsumoriError:
        return []
    found = explain(inputs, decision)
    assert [each.candidate.model.id for each in found.candidates if each.place] == [
        each.model.id for each in decision.ranked
    ]
    return list(found.candidates)


@given(situations())
def test_each_change_alone_makes_it_the_choice_and_just_short_of_it_does_not(
    inputs: Inputs,
) -> None:
    for each in explained(inputs):
        model = each.candidate.model.id
        for change in each.changes:
            event(f"changed {change.lever.value}{change.rises}")
            assert chosen(changed(inputs, change)) == model, change
            if change.value:
                assert chosen(changed(inputs, short_of(change))) != model, change


@given(situations())
def test_all_that_it_needs_lets_it_take_part_and_nothing_less_does(inputs: Inputs) -> None:
    base = inputs._replace(exploration=None)
    for each in explained(inputs):
        model = each.candidate.model.id
        if not each.needs:
            continue
        event(f"needs {len(each.needs)} {each.exclusion}")
        with_all = changed(base, *each.needs).decide()
        assert model in [one.model.id for one in with_all.ranked]
        if each.loss is None:
            assert with_all.chosen.model.id == model
        else:
            assert with_all.chosen.model.id == each.loss.to
        for at, change in enumerate(each.needs):
            others = each.needs[:at] + each.needs[at + 1 :]
            if change.lever is not Lever.RULE:  # one rule may ask for what two regions leave
                assert chosen(changed(base, *others)) != model
            if change.lever in BOUNDED:
                assert chosen(changed(base, *others, short_of(change))) != model


@given(situations())
def test_where_a_model_would_win_at_no_price_or_at_certainty_the_change_is_told(
    inputs: Inputs,
) -> None:
    if isinstance(inputs.goal, QualityTarget) or any(each.limits for each in inputs.candidates):
        return  # there, less of a price or more of P(adequate) can also bring other changes about
    for each in explained(inputs):
        model, p = each.candidate.model.id, each.candidate.p_adequate or 0
        if each.place < 2 or (each.loss and each.loss.criterion is Criterion.CHANCE):
            continue
        told = {change.lever for change in each.changes}
        free = Change(Lever.PRICE, model, 0, rises=False)
        sure = Change(Lever.P_ADEQUATE, model, 1.0)
        assert (Lever.PRICE in told) == (chosen(changed(inputs, free)) == model)
        assert (Lever.P_ADEQUATE in told) == (p < 1 and chosen(changed(inputs, sure)) == model)
        stakes = [
            changed(inputs, Change(Lever.MISS_COST, "", stake))
            for stake in (*range(1, 10**6, 10**4), *range(10**6, 10**9, 10**7))
        ]
        if any(chosen(each) == model for each in stakes):
            assert told & {Lever.MISS_COST, Lever.WILLINGNESS_TO_PAY}


@given(situations())
def test_everything_but_the_choice_lost_to_something(inputs: Inputs) -> None:
    found = explained(inputs)
    event(" ".join(sorted({each.loss.criterion.value for each in found if each.loss})))
    for each in found:
        assert (each.place > 0) == (each.exclusion == "")
        if each.place > 1:
            assert each.loss is not None
            assert each.loss.gap >= 0
            assert each.loss.criterion is not Criterion.OTHER
