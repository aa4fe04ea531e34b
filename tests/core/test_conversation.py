"""The turns before: when a model is kept, when it changes, and when only a more able one will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.conversation import (
    FURTHER_TURNS,
    NO_CONVERSATION,
    Conversation,
    with_cache_worth,
)
from router.core.decision import decide
from router.core.errors import Exhausted, MitsumoriError
from router.core.exclusions import exclusion
from router.core.explanation import Criterion, Loss, explain
from router.core.health import Health
from router.core.inputs import Inputs
from router.core.limits import Amounts, Limit, LimitState, Period, SoftAction, Unit, Window
from router.core.rates import Rates
from router.core.ruling import Effects, Rule, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Goal,
    MissCost,
    QualityTarget,
    WillingnessToPay,
)
from tests.builders import candidate

ANYTHING = Constraints()
PRICE_ONLY = MissCost(0)
TOKENS = 10_000
CENT = 10_000_000
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def offer(
    name: str,
    input_usd: str = "1",
    cached_usd: str | None = None,
    *,
    p: float = 0.8,
    tokens: int = TOKENS,
    **changes: object,
) -> Candidate:
    """A candidate with these rates of input, and those of output alike for all."""
    made = candidate(name, p, price=(input_usd, "4"), input_tokens=tokens, **changes)
    read = None if cached_usd is None else Decimal(cached_usd)
    return made._replace(
        model=replace(made.model, rates=Rates(Decimal(input_usd), Decimal(4), read))
    )


def turn(
    candidates: Sequence[Candidate],
    conversation: Conversation,
    goal: Goal = PRICE_ONLY,
    constraints: Constraints = ANYTHING,
    **given_too: object,
) -> Decision:
    """The decision on a turn of a conversation."""
    return decide(
        with_cache_worth(candidates, conversation),
        constraints,
        goal,
        conversation=conversation,
        **given_too,  # type: ignore[arg-type]
    )


def chosen(*given_too: object, **and_more: object) -> str:
    return turn(*given_too, **and_more).chosen.model.id  # type: ignore[arg-type]


def codes(decision: Decision) -> list[str]:
    return [each.code for each in decision.reasons]


def text(decision: Decision, code: str) -> str:
    return next(each.text for each in decision.reasons if each.code == code)


# --- What a cache is worth ---------------------------------------------------------------------

DEAR = offer("dear", "3", "1")
CHEAP = offer("cheap", "1")


@pytest.mark.parametrize(("held", "kept"), [(TOKENS, "dear"), (TOKENS - 1, "cheap"), (0, "cheap")])
def test_a_model_is_kept_until_another_saves_more_than_its_cache_is_worth(
    held: int, kept: str
) -> None:
    """Both cost the same to the nano-dollar where all input is cached: $1 per million tokens."""
    conversation = Conversation("dear", {"dear": held} if held else {}, further_turns=0)
    assert chosen([DEAR, CHEAP], conversation) == kept


@pytest.mark.parametrize(
    ("turns", "kept"), [(0, "dear"), (3, "dear"), (17, "dear"), (17.1, "cheap"), (20, "cheap")]
)
def test_the_more_turns_are_to_come_the_sooner_a_cheaper_model_pays(
    turns: float, kept: str
) -> None:
    """The cheaper one reads its 2 cents of input anew, once; later it saves 0.1 cents a turn."""
    both = [offer("dear", "3", "0.3"), offer("cheap", "2", "0.2")]
    conversation = Conversation("dear", {"dear": TOKENS}, further_turns=turns)
    assert chosen(both, conversation) == kept


def test_the_reason_names_what_the_cache_is_worth_and_what_the_other_would_save() -> None:
    conversation = Conversation("dear", {"dear": 9_000})
    decision = turn([offer("dear", "3", "0.3"), offer("cheap", "2")], conversation)
    (reason,) = decision.reasons
    assert reason.code == "KEPT_MODEL"
    assert reason.text == (
        "kept dear: its prompt cache is worth about $0.0432 over this turn and the 0.7 likely to follow, "
        "cheap would save $0.0170"
    )
    assert reason.facts["instead_of"] == "cheap"
    assert float(reason.facts["cache_worth_usd"]) == pytest.approx(0.0432)
    assert float(reason.facts["would_save_usd"]) == pytest.approx(0.017)


def test_where_the_model_would_be_chosen_anyway_the_reason_is_as_ever() -> None:
    conversation = Conversation("cheap", {"cheap": TOKENS})
    assert (
        turn([DEAR, CHEAP], conversation).reasons
        == decide([DEAR, CHEAP], ANYTHING, PRICE_ONLY).reasons
    )


def test_a_model_of_two_turns_ago_comes_back_while_its_cache_lives() -> None:
    dear, mid = offer("dear", "3", "0.3"), offer("mid", "2")
    conversation = Conversation("mid", {"dear": TOKENS, "mid": TOKENS}, further_turns=0)
    decision = turn([dear, mid], conversation)
    assert decision.chosen.model.id == "dear"
    assert text(decision, "KEPT_MODEL").startswith("back to dear: its prompt cache is worth")


def test_quotes_and_amounts_to_hold_do_not_count_on_a_cache() -> None:
    conversation = Conversation("dear", {"dear": TOKENS}, further_turns=0)
    assert turn([DEAR, CHEAP], conversation).chosen.quote == DEAR.quote


def test_a_cache_that_is_too_short_for_the_provider_holds_nothing() -> None:
    """The usual cache keeps prefixes from 1,024 tokens on."""
    for tokens, kept in ((1_024, "dear"), (1_023, "cheap")):
        both = [offer("dear", "3", "0.3", tokens=tokens), offer("cheap", "2", tokens=tokens)]
        assert chosen(both, Conversation("dear", {"dear": tokens})) == kept
    for held, kept in ((1_024, "dear"), (1_023, "cheap")):
        both = [offer("dear", "3", "0.3", tokens=1_500), offer("cheap", "2", tokens=1_500)]
        assert chosen(both, Conversation("dear", {"dear": held}, further_turns=0)) == kept


def test_a_cache_is_never_taken_to_cost_something() -> None:
    """The cheaper model would save twenty times as much in each further turn."""
    both = [offer("dear", "3", "2.9", p=0.9), offer("cheap", "2", "0", p=0.6)]
    decision = turn(both, Conversation("other", {"dear": TOKENS}), MissCost(100 * CENT))
    assert [each.cache_saving for each in decision.ranked] == [0, 0]


def test_where_no_cache_lives_the_turn_is_decided_as_a_first_one() -> None:
    both = [offer("dear", "3", "0.3"), offer("cheap", "2")]
    assert turn(both, Conversation("dear")) == decide(both, ANYTHING, PRICE_ONLY)
    assert turn(both, NO_CONVERSATION) == decide(both, ANYTHING, PRICE_ONLY)


def test_by_default_seven_turns_follow_ten() -> None:
    assert Conversation("dear").further_turns == FURTHER_TURNS == 0.7


# --- A cache against quality -------------------------------------------------------------------

WEAK = offer("weak", "1", "0.1", p=0.6)
STRONG = offer("strong", "2", p=0.8)


@pytest.mark.parametrize(("cents", "model"), [(9, "weak"), (9.4, "weak"), (9.6, "strong")])
@pytest.mark.parametrize("goal", [MissCost, WillingnessToPay])
def test_a_task_whose_miss_costs_more_than_the_cache_is_worth_gets_the_better_model(
    goal: type[MissCost | WillingnessToPay], cents: float, model: str
) -> None:
    """The strong one costs 1 cent more, and the cache saves 0.9 cents: 1.9 against a fifth of the stake."""
    conversation = Conversation("weak", {"weak": TOKENS}, further_turns=0)
    assert chosen([WEAK, STRONG], conversation, goal(round(cents * CENT))) == model


def test_under_a_quality_target_a_model_is_kept_only_if_it_reaches_it() -> None:
    conversation = Conversation("weak", {"weak": TOKENS}, further_turns=0)
    assert chosen([WEAK, STRONG], conversation, QualityTarget(0.6)) == "weak"
    assert chosen([WEAK, STRONG], conversation, QualityTarget(0.61)) == "strong"
    dear = offer("dear", "3", "0.3", p=0.9)
    kept = Conversation("dear", {"dear": TOKENS}, further_turns=0)
    assert chosen([dear, STRONG], kept, QualityTarget(0.8)) == "dear"


def test_nothing_is_left_to_chance_where_a_cache_counts() -> None:
    given_too = {"exploration": Exploration(1.0, 100.0, 0.99)}
    conversation = Conversation("dear", {"dear": TOKENS}, further_turns=0)
    assert turn([DEAR, CHEAP], conversation, **given_too).explored is None
    assert turn([DEAR, CHEAP], Conversation("dear"), **given_too).explored is not None


# --- Inside a tool loop ------------------------------------------------------------------------

LOOP = Conversation("strong", in_tool_loop=True)


def test_inside_a_tool_loop_the_model_goes_on() -> None:
    decision = turn([WEAK, STRONG], LOOP)
    assert decision.chosen.model.id == "strong"
    assert [each.model.id for each in decision.ranked] == ["strong", "weak"]
    assert text(decision, "KEPT_MODEL") == (
        "kept strong: the conversation is inside a tool loop; weak would be chosen outside of one"
    )
    assert turn([WEAK, STRONG], replace(LOOP, in_tool_loop=False)).chosen.model.id == "weak"


@pytest.mark.parametrize(
    "left_out",
    [
        {"constraints": Constraints(models=frozenset({"weak"}))},
        {"health": Health({"strong": "5 failures in a row"})},
        {
            "ruling": Ruling(
                (
                    Rule(
                        "no-strong",
                        Effects(forbidden_models=frozenset({"strong"})),
                        "forbid strong",
                    ),
                )
            )
        },
    ],
    ids=["the caller", "health", "a rule"],
)
def test_it_does_not_go_on_where_it_is_left_out(left_out: dict[str, object]) -> None:
    decision = turn([WEAK, STRONG], LOOP, **left_out)  # type: ignore[arg-type]
    assert decision.chosen.model.id == "weak"
    assert "KEPT_MODEL" not in codes(decision)


def under(action: SoftAction, *, soft: int | None = 50, hard: int = 1_000) -> list[Candidate]:
    """The weak and the strong model, of the high tier, under a limit whose soft value both pass."""
    limit = Limit("team", {}, Unit.REQUESTS, Window.TOTAL, soft=soft, hard=hard, on_soft=action)
    state = LimitState(limit, "", Period(NOW, NOW.replace(hour=13)), spent=100, held=0)
    strong = STRONG._replace(model=replace(STRONG.model, tier="high"))
    return [each._replace(amounts=Amounts(1, 1), limits=(state,)) for each in (WEAK, strong)]


def test_a_soft_limit_changes_it_only_where_it_forbids_the_tier() -> None:
    given_too = {"top_tier": "high"}
    for action in (SoftAction.WARN, SoftAction.PREFER_CHEAPER):
        decision = turn(under(action), LOOP, **given_too)  # type: ignore[arg-type]
        assert decision.chosen.model.id == "strong"
        assert "SOFT_LIMIT" in codes(decision)
    forbidding = turn(under(SoftAction.FORBID_TOP_TIER), LOOP, **given_too)  # type: ignore[arg-type]
    assert forbidding.chosen.model.id == "weak"
    assert "DOWNGRADED" in codes(forbidding)


def test_a_hard_limit_holds_inside_a_tool_loop() -> None:
    with pytest.raises(Exhausted):
        turn(under(SoftAction.WARN, soft=None, hard=100), LOOP)


# --- After an inadequate answer ----------------------------------------------------------------

MIDDLE = offer("middle", "1.5", p=0.7)


def test_only_models_are_chosen_that_are_more_able_than_the_one_that_failed() -> None:
    decision = turn([WEAK, MIDDLE, STRONG], Conversation("middle", inadequate={"middle": 0.7}))
    assert [each.model.id for each in decision.ranked] == ["strong"]
    assert text(decision, "ESCALATED") == (
        "an answer of middle to this task was reported inadequate; left out, since they are no more able: "
        "middle, weak"
    )
    excluded = next(each for each in decision.reasons if each.code == "MODELS_EXCLUDED")
    assert excluded.facts == {"no_more_able": "2"}


def test_a_model_as_able_as_the_one_that_failed_is_left_out_and_one_a_little_more_able_is_not() -> (
    None
):
    failed = Conversation("middle", inadequate={"middle": 0.7})
    for p, model in ((0.7, "strong"), (0.7001, "twin")):
        assert chosen([MIDDLE, offer("twin", p=p), STRONG], failed) == model


def test_of_several_that_failed_the_most_able_counts() -> None:
    failed = Conversation("middle", inadequate={"weak": 0.6, "middle": 0.7})
    assert chosen([WEAK, MIDDLE, STRONG], failed) == "strong"


def test_one_that_is_no_candidate_any_more_counts_as_it_was() -> None:
    failed = Conversation("gone", inadequate={"gone": 0.65})
    decision = turn([WEAK, MIDDLE, STRONG], failed)
    assert [each.model.id for each in decision.ranked] == ["middle", "strong"]


def test_where_no_model_is_more_able_none_is_left_out() -> None:
    decision = turn([WEAK, STRONG], Conversation("strong", inadequate={"strong": 0.8}))
    assert decision.chosen.model.id == "weak"
    assert "ESCALATED" not in codes(decision)


def test_a_more_able_model_that_cannot_be_chosen_does_not_count_as_left() -> None:
    failed = Conversation("middle", inadequate={"middle": 0.7})
    decision = turn([MIDDLE, STRONG], failed, constraints=Constraints(models=frozenset({"middle"})))
    assert decision.chosen.model.id == "middle"


def test_a_tool_loop_does_not_keep_a_model_that_failed() -> None:
    failed = Conversation("weak", in_tool_loop=True, inadequate={"weak": 0.6})
    assert chosen([WEAK, STRONG], failed) == "strong"


# --- Whatever comes ----------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Candidate], Conversation]:
    """Candidates with all kinds of prices, and a conversation among them."""
    names = "abcdef"[: draw(st.integers(2, 6))]
    usd = st.sampled_from(["0", "0.1", "0.5", "1", "3", "10"])
    made = []
    for name in names:
        price = draw(usd)
        cached = draw(st.sampled_from([None, "0", str(Decimal(price) / 10), price]))
        p = draw(st.sampled_from([0.2, 0.5, 0.6, 0.9]))
        made.append(offer(name, price, cached, p=p, tier=draw(st.sampled_from(["low", "high"]))))
    held = draw(st.dictionaries(st.sampled_from(names), st.integers(0, 2 * TOKENS)))
    failed = draw(st.dictionaries(st.sampled_from(names), st.just(0.5), max_size=2))
    loop, turns = draw(st.booleans()), draw(st.sampled_from([0, 0.7, 5]))
    return made, Conversation(draw(st.sampled_from(names)), held, loop, failed, turns)


GOALS = st.one_of(
    st.builds(MissCost, st.integers(0, 100 * CENT)),
    st.builds(WillingnessToPay, st.integers(0, 100 * CENT)),
    st.builds(QualityTarget, st.floats(0, 1)),
)


@given(conversations(), GOALS, st.integers(0, 4 * CENT), st.sets(st.sampled_from("abcdef")))
def test_a_conversation_never_leads_past_a_constraint_or_a_hard_limit(
    drawn: tuple[list[Candidate], Conversation], goal: Goal, hard: int, allowed: set[str]
) -> None:
    candidates, conversation = drawn
    limit = Limit("team", {}, Unit.MONEY, Window.TOTAL, hard=hard)
    state = LimitState(limit, "", Period(NOW, NOW.replace(hour=13)), spent=0, held=0)
    candidates = [
        each._replace(amounts=Amounts(each.quote.price.high, 1), limits=(state,))
        for each in candidates
        if each.quote is not None
    ]
    constraints = Constraints(models=frozenset(allowed))
    try:
        decision = turn(candidates, conversation, goal, constraints)
    except MitsumoriError:
        assert all(exclusion(each, constraints) is not None for each in candidates)
        return
    for each in decision.ranked:
        assert exclusion(each, constraints) is None


@given(conversations(), st.integers(0, 100 * CENT), st.integers(0, 100 * CENT))
def test_a_higher_cost_of_a_miss_never_leads_to_a_less_able_model(
    drawn: tuple[list[Candidate], Conversation], stake: int, more: int
) -> None:
    candidates, conversation = drawn
    before = turn(candidates, conversation, MissCost(stake)).chosen
    after = turn(candidates, conversation, MissCost(stake + more)).chosen
    assert (after.p_adequate or 0) >= (before.p_adequate or 0)


@given(conversations(), GOALS, st.randoms())
def test_the_order_of_candidates_does_not_matter(
    drawn: tuple[list[Candidate], Conversation], goal: Goal, random: object
) -> None:
    candidates, conversation = drawn
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert turn(shuffled, conversation, goal) == turn(candidates, conversation, goal)


@given(conversations(), GOALS)
def test_what_is_kept_is_worth_no_less_than_what_another_would_save(
    drawn: tuple[list[Candidate], Conversation], goal: Goal
) -> None:
    candidates, conversation = drawn
    decision = turn(candidates, conversation, goal)
    reason = decision.reasons[0]
    if reason.facts.get("because") != "prompt_cache":
        return
    saved, worth = float(reason.facts["would_save_usd"]), float(reason.facts["cache_worth_usd"])
    assert worth >= saved - 1e-8
    assert saved >= 0


@given(conversations(), GOALS)
def test_the_turns_before_only_ever_lead_to_a_model_that_they_know(
    drawn: tuple[list[Candidate], Conversation], goal: Goal
) -> None:
    """What caches of other models would hold later changes nothing among those."""
    candidates, conversation = drawn
    conversation = replace(conversation, inadequate={})
    found = turn(candidates, conversation, goal)
    alone = decide(candidates, ANYTHING, goal)
    if found.chosen.model.id != alone.chosen.model.id:
        assert found.chosen.cache.now or found.chosen.model.id == conversation.bound_to
    known = {each.model.id for each in found.ranked if each.cache.now} | {conversation.bound_to}
    assert min(each.cache_saving for each in found.ranked) >= 0

    def others(decision: Decision) -> list[str]:
        return [each.model.id for each in decision.ranked if each.model.id not in known]

    if not isinstance(goal, QualityTarget):
        assert others(found) == others(alone)


# --- Explained ---------------------------------------------------------------------------------


def test_an_explanation_says_that_the_goal_alone_would_choose_otherwise_and_what_is_no_more_able() -> (
    None
):
    kept = Conversation("dear", {"dear": TOKENS}, further_turns=0)
    inputs = Inputs(with_cache_worth([DEAR, CHEAP], kept), ANYTHING, PRICE_ONLY, conversation=kept)
    chosen_one, other = explain(inputs, inputs.decide()).candidates
    assert chosen_one.candidate.model.id == "dear"
    assert other.loss == Loss("dear", Criterion.OTHER)
    failed = Conversation("weak", inadequate={"weak": 0.6})
    inputs = Inputs([WEAK, STRONG], ANYTHING, PRICE_ONLY, conversation=failed)
    strong, weak = explain(inputs, inputs.decide()).candidates
    assert (strong.place, weak.place, weak.exclusion) == (1, 0, "no_more_able")
