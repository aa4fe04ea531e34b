"""What settled usage teaches about quotes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.corrections import PRIOR_STRENGTH, UNCORRECTED, Correction, Observation, learn
from router.core.quotes import mean_output, quote, with_reasoning
from router.core.types import Lengths, TokenCount
from tests.builders import EXPIRES, model, rates

MANY = 100 * PRIOR_STRENGTH
SEARCH = {"tenant": "acme", "team": "search"}
LEVELS = ("tenant", "team")


def seen(
    output: int = 100, input_tokens: int = 50, scope: Mapping[str, str] | None = None
) -> Observation:
    """An answer predicted at 100 tokens, 150 in the mean, at most 300, to a prompt counted as 50."""
    return Observation(
        "small", scope or {}, 50, False, input_tokens, 100.0, 300.0, 150.0, 100, 300, 4_000, output
    )


def test_without_settled_usage_nothing_is_corrected() -> None:
    assert learn([]).of("small", SEARCH) == UNCORRECTED == (1, 1, 1, 1)


def test_nineteen_decisions_by_hand() -> None:
    """Reported: 10, 20 … 190 input tokens and 20, 40 … 380 output tokens."""
    learned = learn([seen(20 * place, 10 * place) for place in range(1, 20)]).of("small", {})
    # The median is the tenth of nineteen, the 90th percentile the eighteenth. With thirty made-up
    # decisions beside them that were foretold exactly, nineteen of 49 parts of each logarithm are theirs.
    assert learned == pytest.approx(
        [
            (100 / 50) ** (19 / 49),
            (200 / 100) ** (19 / 49),
            (360 / 300) ** (19 / 49),
            (3_800 / (19 * 150)) ** (19 / 49),
        ]
    )


def test_no_factor_leaves_a_tenth_to_ten() -> None:
    # Thirty decisions against thirty made-up ones: the square root.
    high = learn([seen(output=10**6, input_tokens=10**6)] * 30).of("small", {})
    assert high == pytest.approx([10**0.5] * 4)
    low = learn([seen(output=0, input_tokens=0)] * 30).of("small", {})
    assert low == pytest.approx([0.1**0.5] * 4)


def test_one_answer_counts_for_no_more_than_ten_times_its_mean() -> None:
    observed = [seen(output=10**6), *[seen(output=150)] * 29]
    assert learn(observed).of("small", {}).mean == pytest.approx(((10 + 29) / 30) ** 0.5)


def test_an_answer_of_no_tokens_is_as_good_as_one_of_one() -> None:
    for output in (0, 1):
        short = replace(seen(output), p50=2.0, p90=4.0)
        learned = learn([short] * 30).of("small", {})
        assert (learned.p50, learned.p90) == pytest.approx((0.5**0.5, 0.25**0.5))


def test_answers_three_times_longer_than_predicted_make_quotes_three_times_longer() -> None:
    learned = learn([seen(output=300)] * MANY)
    assert learned.of("small", {}).p50 == pytest.approx(3, rel=0.02)
    assert learned.of("small", {}).p90 == pytest.approx(1, rel=0.02)
    assert learned.of("another", {}) == UNCORRECTED


def test_the_mean_is_corrected_by_what_answers_took_together() -> None:
    learned = learn([seen(output=100), seen(output=500)] * MANY)
    assert learned.of("small", {}).mean == pytest.approx(600 / 300, rel=0.02)


def test_few_decisions_count_as_much_as_the_prior_lets_them() -> None:
    learned = learn([seen(output=400)] * PRIOR_STRENGTH)
    assert learned.of("small", {}).p50 == pytest.approx(2)  # half way from 1 to 4, in the logarithm
    assert learn([seen(output=400)]).of("small", {}).p50 < 1.05


def test_a_team_has_its_own_factor_once_it_has_enough_decisions_of_its_own() -> None:
    everyone = [seen(output=200, scope={"tenant": "acme", "team": "ads"})] * MANY
    few = learn([*everyone, seen(output=800, scope=SEARCH)], LEVELS)
    assert few.of("small", SEARCH).p50 == pytest.approx(few.of("small", {}).p50, rel=0.1)
    many = learn([*everyone, *[seen(output=800, scope=SEARCH)] * MANY], LEVELS)
    assert many.of("small", SEARCH).p50 == pytest.approx(8, rel=0.05)
    assert many.of("small", {"tenant": "acme", "team": "ads"}).p50 == pytest.approx(2, rel=0.05)


def test_a_team_is_drawn_towards_its_tenant_and_not_towards_all() -> None:
    observed = [seen(output=200, scope={"tenant": "other"})] * 6_000
    observed += [seen(output=800, scope={"tenant": "acme"})] * 3_000
    observed += [seen(output=800, scope=SEARCH)]
    learned = learn(observed, LEVELS)
    assert learned.of("small", SEARCH).p50 == pytest.approx(8, rel=0.02)


def test_models_are_reported_as_a_whole_before_any_scope_of_theirs() -> None:
    both = [replace(seen(scope=SEARCH), model=name) for name in ("small", "large")]
    assert [(model, len(scope)) for model, scope in learn(both, LEVELS).learned] == [
        ("small", 0), ("large", 0), ("small", 1), ("large", 1), ("small", 2), ("large", 2),
    ]  # fmt: skip


def test_a_request_without_a_label_passes_over_its_level() -> None:
    learned = learn([seen(scope={"team": "search"})], LEVELS).learned
    assert list(learned) == [("small", ()), ("small", (("team", "search"),))]


def test_a_scope_that_is_not_known_gets_the_factor_of_the_level_above() -> None:
    learned = learn([seen(output=200, scope=SEARCH)] * MANY, LEVELS)
    tenant = learned.of("small", {"tenant": "acme"})
    assert learned.of("small", {"tenant": "acme", "team": "new"}) == tenant
    assert learned.of("small", {"team": "search"}) == learned.of("small", {})


def test_a_tokenizer_that_is_off_is_corrected_and_an_exact_one_is_not() -> None:
    off = [seen(input_tokens=60)] * MANY
    assert learn(off).of("small", {}).tokens == pytest.approx(1.2, rel=0.01)
    assert learn([replace(each, exact=True) for each in off]).of("small", {}).tokens == 1


def test_answers_that_their_cap_cut_off_teach_nothing_about_length() -> None:
    capped = replace(seen(output=20), cap=20, quoted_p50=20, quoted_p90=20)
    assert learn([capped] * MANY).of("small", {}) == UNCORRECTED


def test_a_cap_at_the_predicted_90th_percentile_cuts_off_and_one_token_more_does_not() -> None:
    assert learn([replace(seen(output=200), cap=300)]).of("small", {}).p50 == 1
    assert learn([replace(seen(output=200), cap=301)]).of("small", {}).p50 > 1


def test_one_absurd_report_moves_next_to_nothing() -> None:
    honest = [seen(output=90 + number % 20) for number in range(200)]
    absurd = seen(output=10**9, input_tokens=10**9)
    before, after = learn(honest).of("small", {}), learn([*honest, absurd]).of("small", {})
    assert after[:3] == pytest.approx(before[:3], rel=0.02)
    assert after.mean == pytest.approx(before.mean, rel=0.1)  # a mean cannot be as stubborn


def test_after_correction_nine_in_ten_answers_are_within_the_quoted_90th_percentile() -> None:
    chance = random.Random(7)

    def answers(count: int) -> list[int]:  # twice as long as predicted, and more widely spread
        return [round(200 * chance.lognormvariate(0, 1.2)) for _ in range(count)]

    correction = learn([seen(output=length) for length in answers(2_000)]).of("small", {})
    offer = quote(
        model(max_output_tokens=100_000),
        rates("1", "4"),
        TokenCount(50, True, 50),
        Lengths(100, 300, 500),
        correction=correction,
        max_output_tokens=None,
        expires=EXPIRES,
        price_table="test",
    )
    fresh = answers(5_000)
    within = [sum(length <= told for length in fresh) / len(fresh) for told in offer[2:4]]
    assert 0.47 <= within[0] <= 0.53
    assert 0.88 <= within[1] <= 0.92


@given(st.floats(0.2, 5), st.integers(0, 2**32))
@settings(max_examples=20)
def test_an_allowance_that_is_off_by_a_factor_is_brought_back_by_settled_usage(
    factor: float, seed: int
) -> None:
    chance = random.Random(seed)
    visible, allowance = Lengths(100, 300, 500), Lengths(400, 1_600, 4_000)
    foretold = with_reasoning(visible, allowance)

    def answers(count: int) -> list[int]:  # as foretold, but for the reasoning
        return [
            round(
                100 * chance.lognormvariate(0, 0.86) + factor * 400 * chance.lognormvariate(0, 1.08)
            )
            for _ in range(count)
        ]

    told = Observation(
        "small", {}, 50, True, 50, foretold.p50, foretold.p90, mean_output(visible, allowance),
        500, 1_900, 100_000, 0,
    )  # fmt: skip
    taught = learn([replace(told, output_tokens=length) for length in answers(3_000)])
    offer = quote(
        model(max_output_tokens=100_000, reasoning=allowance),
        rates("1", "4"),
        TokenCount(50, True, 50),
        visible,
        correction=taught.of("small", {}),
        max_output_tokens=None,
        expires=EXPIRES,
        price_table="test",
    )
    fresh = answers(3_000)
    within = [sum(length <= told for length in fresh) / len(fresh) for told in offer[2:4]]
    assert 0.45 <= within[0] <= 0.55
    assert 0.87 <= within[1] <= 0.93
    expected = (offer.price.expected - 50_000) / 4_000
    # Looser: no report counts for more than ten times its expectation, so that none can move it alone.
    assert expected == pytest.approx(sum(fresh) / len(fresh), rel=0.3)
    assert offer.reasoning_tokens_p50 <= offer.output_tokens_p50


def test_the_report_says_how_often_answers_stayed_within_the_quote() -> None:
    learned = learn([seen(output=length) for length in (50, 100, 300, 400)])
    (whole,) = learned.learned.values()
    assert (whole.observations, whole.within_p50, whole.within_p90) == (4, 0.5, 0.75)


COUNTS = st.integers(0, 10**9)
OBSERVATIONS = st.builds(
    lambda output, reported, team: seen(output, reported, {"team": team}),
    COUNTS,
    COUNTS,
    st.sampled_from(["a", "b", "c"]),
)


@given(st.lists(OBSERVATIONS, max_size=30), st.randoms(use_true_random=False))
def test_factors_are_bounded_and_do_not_depend_on_the_order(
    observed: list[Observation], chance: random.Random
) -> None:
    learned = learn(observed, ("team",))
    for one in learned.learned.values():
        assert all(0.0999 < factor < 10.001 for factor in one.correction)
        assert 0 <= one.within_p50 <= one.within_p90 <= 1
    chance.shuffle(observed)
    assert learn(observed, ("team",)).learned == learned.learned


@given(
    st.builds(Correction, *[st.floats(0.1, 10)] * 4),
    st.tuples(*[st.integers(1, 5_000)] * 3).map(sorted),
    st.integers(1, 5_000),
    st.booleans(),
)
def test_a_corrected_quote_is_still_in_order(
    correction: Correction, lengths: list[int], tokens: int, exact: bool
) -> None:
    offer = quote(
        model(),
        rates("1", "4"),
        TokenCount(tokens, exact, tokens if exact else 4 * tokens),
        Lengths(*map(float, lengths)),
        correction=correction,
        max_output_tokens=None,
        expires=EXPIRES,
        price_table="test",
    )
    assert offer.counted_tokens == tokens
    assert not exact or offer.input_tokens.tokens == tokens
    assert offer.input_tokens.tokens <= offer.input_tokens.worst
    assert offer.output_tokens_p50 <= offer.output_tokens_p90 <= offer.output_tokens_worst
    assert offer.price.low <= offer.price.expected <= offer.price.worst
    assert offer.price.low <= offer.price.high <= offer.price.worst
