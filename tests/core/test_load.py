"""A decision goes elsewhere before a limit of a provider bites, and says when there is room again."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.counterfactuals import needs
from router.core.decision import decide
from router.core.errors import Deferred, Exhausted
from router.core.explanation import explain
from router.core.health import Health
from router.core.inputs import Inputs
from router.core.load import (
    NO_LOAD,
    PROVIDER_FULL,
    Gauge,
    Leaving,
    Load,
    LoadShares,
    RateLimit,
    full_accounts,
    load_refusal,
    usable,
)
from router.core.relaxation import advised
from router.core.types import Candidate, Constraints, Decision, Importance, QualityTarget
from tests.builders import candidate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GOAL = QualityTarget(0.5)
LADDER = (
    candidate("small", 0.55, price=("0.1", "0.4"), tier="low", provider="acme"),
    candidate("middle", 0.75, price=("1", "4"), tier="medium", provider="acme"),
    candidate("large", 0.90, price=("5", "20"), tier="high", provider="globex"),
)
"""Each call is taken for 100 tokens of input and 800 of output, and half take 2.5 seconds."""
TOKENS = 900


def gauge(
    used: int,
    most: int = 100,
    *,
    account: str = "acme",
    limit: str = "requests_per_minute",
    leaves: tuple[tuple[float, int], ...] = (),
) -> Gauge:
    """``leaves``: (seconds from now, amount)."""
    rate = 0.0 if limit.endswith("in_flight") else most / 60
    leaving = None
    if leaves:
        first, by_second = leaves[0][0], dict(leaves)
        span = range(int(leaves[-1][0] - first) + 1)
        leaving = Leaving(first, tuple(by_second.get(first + each, 0) for each in span))
    return Gauge(account, limit, most, used, limit.startswith("tokens"), rate, leaving)


def load(*gauges: Gauge, share: float = 1.0, **queues: float) -> Load:
    providers: dict[str, tuple[Gauge, ...]] = {}
    models: dict[str, tuple[Gauge, ...]] = {}
    for each in gauges:
        provider, _, model = each.account.partition("/")
        into, key = (models, model) if model else (providers, provider)
        into[key] = (*into.get(key, ()), each)
    return Load(providers, models, share, queues)


def decided(
    of: Load, candidates: tuple[Candidate, ...] = LADDER, *, batch: bool = False
) -> Decision:
    return decide(candidates, Constraints(), GOAL, load=of, batch=batch, moment=NOW)


def ids(found: Decision) -> list[str]:
    return [each.model.id for each in found.ranked]


def codes(found: Decision) -> list[str]:
    return [each.code for each in found.reasons]


# --- Room, exactly ------------------------------------------------------------------------------


def test_without_limits_nothing_is_said_of_load() -> None:
    assert codes(decided(NO_LOAD)) == codes(decided(load())) == ["CHEAPEST_ADEQUATE"]


@pytest.mark.parametrize(("used", "model"), [(99, "small"), (100, "large"), (101, "large")])
def test_the_last_request_within_a_limit_is_sent_and_the_next_goes_elsewhere(
    used: int, model: str
) -> None:
    assert decided(load(gauge(used))).chosen.model.id == model


@pytest.mark.parametrize(("used", "model"), [(9_100, "small"), (9_101, "large")])
@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_in_flight"])
def test_a_limit_of_tokens_counts_those_of_this_call(limit: str, used: int, model: str) -> None:
    assert decided(load(gauge(used, 10_000, limit=limit))).chosen.model.id == model


@pytest.mark.parametrize(
    ("share", "used", "model"),
    [(0.7, 69, "small"), (0.7, 70, "large"), (0.29, 28, "small"), (0.29, 29, "large")],
)
def test_work_stops_at_its_share_of_the_limit(share: float, used: int, model: str) -> None:
    assert decided(load(gauge(used), share=share)).chosen.model.id == model


def test_a_limit_of_a_model_leaves_the_others_of_its_provider() -> None:
    found = decided(load(gauge(100, account="acme/small")))
    assert ids(found) == ["middle", "large"]
    assert found.full == ("small",)


def test_the_reason_names_the_limit_and_what_is_used_of_it() -> None:
    found = decided(load(gauge(1_200, 1_000)))
    assert codes(found) == [
        "CHEAPEST_ADEQUATE",
        "LOAD_SHIFTED",
        "MODELS_EXCLUDED",
    ]
    shifted, excluded = found.reasons[1:]
    assert shifted.text == (
        "small has no room for this call: requests_per_minute of acme is 1,200 of 1,000; "
        "large was chosen instead"
    )
    assert shifted.facts == {
        "without_load": "small",
        "account": "acme",
        "provider_limit": "requests_per_minute",
        "most": "1000",
        "used": "1200",
        "needed": "1",
    }
    assert excluded.facts == {"provider_full": "2"}
    assert found.full == ("middle", "small")


def test_a_full_model_that_would_not_be_chosen_anyway_changes_no_reason() -> None:
    found = decided(load(gauge(100, account="globex")))
    assert codes(found) == ["CHEAPEST_ADEQUATE", "MODELS_EXCLUDED"]
    assert [each.model.id for each in found.fallbacks] == ["middle"]


def test_health_comes_first_so_that_a_full_provider_makes_no_failing_one_good() -> None:
    health = Health({"large": "fails"})
    with pytest.raises(Exhausted):
        decide(LADDER, Constraints(), GOAL, load=load(gauge(100)), health=health)


@pytest.mark.parametrize(
    ("most", "used", "model"), [(1, 0, "small"), (1, 1, "large"), (2, 1, "large"), (3, 1, "small")]
)
def test_a_small_limit_lets_one_call_pass_whatever_the_share(
    most: int, used: int, model: str
) -> None:
    of = load(gauge(used, most, limit="requests_in_flight"), share=0.7)
    assert decided(of).chosen.model.id == model


def test_shares_rise_with_importance_and_batch_work_has_its_own() -> None:
    shares = LoadShares()
    assert [shares.of(each, batch=False) for each in Importance] == [0.8, 0.9, 1.0]
    assert {shares.of(each, batch=True) for each in Importance} == {0.7}
    assert [usable(100, share) for share in (0.29, 0.57, 0.7, 1.0)] == [29, 57, 70, 100]


@given(st.integers(0, 150), st.integers(1, 120), st.sampled_from([0.7, 0.8, 0.9, 1.0]))
def test_more_importance_never_has_less_room(used: int, most: int, share: float) -> None:
    def full(of: float) -> bool:
        return "small" in full_accounts(LADDER, load(gauge(used, most), share=of))

    assert full(share) or not full(1.0)


def test_the_order_of_candidates_does_not_matter() -> None:
    of = load(gauge(100, account="acme/small"))
    assert len({tuple(ids(decided(of, each))) for each in permutations(LADDER)}) == 1
    everything = load(gauge(100), gauge(100, account="globex"))
    texts = set()
    for each in permutations(LADDER):
        with pytest.raises(Exhausted) as refused:
            decided(everything, each)
        texts.add(refused.value.message)
    assert len(texts) == 1


# --- No room at all -----------------------------------------------------------------------------


def refused(of: Load, *, batch: bool = False) -> Exhausted:
    with pytest.raises(Exhausted) as caught:
        decided(of, batch=batch)
    return caught.value


def test_the_refusal_names_who_has_room_first_when_and_at_what_price() -> None:
    error = refused(
        load(
            gauge(100, leaves=((20.0, 1), (50.0, 99))),
            gauge(100, account="globex", leaves=((12.5, 1),)),
        )
    )
    assert error.reason == "PROVIDERS_FULL"
    assert error.retry_after_s == 12.5
    assert error.message == (
        "no model that could be chosen has room within the limits of its provider; large has some from "
        "12:00:12 UTC, for 0.0077 USD"
    )
    assert error.metadata["not_before"] == "2026-11-23T12:00:12.500+00:00"
    assert error.metadata["model"] == "large"
    assert error.metadata["account"] == "globex"


def test_room_comes_back_as_what_is_used_leaves_the_minute() -> None:
    leaves = ((1.0, 500), (2.0, 399), (3.0, 1), (4.0, 9_100))
    tokens = gauge(10_000, 10_000, limit="tokens_per_minute", leaves=leaves)
    only = load(tokens, gauge(100, account="globex", leaves=((59.0, 1),)))
    assert refused(only).retry_after_s == 3.0


def test_a_reported_limit_comes_back_at_its_rate() -> None:
    told = Gauge("acme/small", "reported_requests", 100, 103, False, 2.0)
    full = full_accounts(LADDER, load(told))
    assert full["small"].wait_s == 2.0  # 103 and this one: 4 too many, 2 a second


def test_calls_in_flight_end_about_as_soon_as_they_take() -> None:
    busy = gauge(10, 10, limit="requests_in_flight")
    assert full_accounts(LADDER, load(busy))["small"].wait_s == pytest.approx(2.5 / 10)
    over = gauge(40, 10, limit="requests_in_flight")
    assert full_accounts(LADDER, load(over))["small"].wait_s == pytest.approx(2.5 * 31 / 40)


def test_of_several_full_limits_the_longest_wait_counts() -> None:
    of = load(
        gauge(100, leaves=((20.0, 1),)), gauge(100, account="acme/small", leaves=((30.0, 1),))
    )
    full = full_accounts(LADDER, of)
    assert (full["small"].wait_s, full["middle"].wait_s) == (30.0, 20.0)


def test_a_call_that_is_larger_than_every_limit_is_told_not_to_wait() -> None:
    tiny = [
        gauge(0, TOKENS - 1, limit="tokens_per_minute", account=each) for each in ("acme", "globex")
    ]
    error = refused(load(*tiny), batch=True)
    assert error.reason == "PROVIDER_LIMIT_NEVER_FITS"
    assert error.retry_after_s is None
    assert error.message == (
        "the call needs 900 tokens, more than tokens_per_minute of acme, 899; shorten the prompt, set "
        "constraints.max_output_tokens or allow other models"
    )
    just = [each._replace(most=TOKENS) for each in tiny]
    assert decided(load(*just)).chosen.model.id == "small"


def test_a_call_that_needs_a_whole_limit_waits_until_nothing_else_counts() -> None:
    busy = gauge(1, TOKENS, limit="tokens_per_minute", leaves=((7.0, 1),))
    assert full_accounts(LADDER, load(busy))["small"].wait_s == 7.0
    nobody = gauge(0, TOKENS, limit="tokens_per_minute")
    assert full_accounts(LADDER, load(nobody, share=0.7)) == {}


def test_batch_work_is_deferred_where_other_work_is_refused() -> None:
    everything = load(
        gauge(70, leaves=((30.0, 70),)),
        gauge(70, account="globex", leaves=((40.0, 70),)),
        share=0.7,
    )
    error = refused(everything, batch=True)
    assert isinstance(error, Deferred)
    assert (error.reason, error.queue) == ("LOAD_DEFERRED", "acme requests_per_minute")
    assert error.retry_after_s == 30.0
    assert error.spacing_s == pytest.approx(60 / 70)  # 70 of them a minute
    assert error.message == "requests_per_minute of acme: batch work waits; send it again later"


def test_batch_work_waits_where_fewer_wait_already() -> None:
    full = (gauge(100, leaves=((30.0, 1),)), gauge(100, account="globex", leaves=((40.0, 1),)))
    waiting = {"acme requests_per_minute": 45.0}
    error = refused(load(*full, **waiting), batch=True)
    assert isinstance(error, Deferred)
    assert (error.queue, error.retry_after_s) == ("globex requests_per_minute", 40.0)
    assert refused(load(*full, **waiting)).retry_after_s == 30.0  # other work does not queue


def test_without_a_moment_the_refusal_says_only_how_long() -> None:
    of = load(gauge(100, leaves=((5.0, 1),)))
    full = full_accounts(LADDER[:1], of)
    error = load_refusal(LADDER[:1], full, of, batch=False, moment=None)
    assert error.retry_after_s == 5.0
    assert "not_before" not in error.metadata
    assert "; small has some, for " in error.message


# --- What a provider says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "used"),
    [(0.0, 40), (0.1, 40), (15.0, 30), (30.0, 20), (59.9, 1), (60.0, 0), (99.0, 0)],
)
def test_what_is_used_comes_back_evenly_until_the_reset(age_s: float, used: int) -> None:
    assert RateLimit(100, 60, 60.0).used(age_s) == used


def test_without_a_reset_it_is_a_minute_and_a_reset_at_once_leaves_nothing() -> None:
    assert RateLimit(100, 60).reset_s == 60.0
    assert RateLimit(100, 60, 0.0).used(0.0) == 0


# --- Explained ----------------------------------------------------------------------------------


def test_an_explanation_says_that_the_provider_has_no_room_and_nothing_that_would_help() -> None:
    inputs = Inputs(LADDER, Constraints(), GOAL, load=load(gauge(100, account="acme/small")))
    told = {each.candidate.model.id: each for each in explain(inputs, inputs.decide()).candidates}
    assert told["small"].exclusion == PROVIDER_FULL
    assert needs(LADDER[0], inputs) == ()


def test_a_refusal_for_want_of_room_gets_no_advice_on_what_to_relax() -> None:
    full = load(gauge(100), gauge(100, account="globex"))
    inputs = Inputs(LADDER, Constraints(), GOAL, load=full, moment=NOW)
    for batch in (False, True):
        error = refused(full, batch=batch)
        assert advised(error, inputs._replace(batch=batch)) is error
