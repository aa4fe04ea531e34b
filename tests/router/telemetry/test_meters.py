"""What is counted of what happens, and that the number of series is bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from router.core.limits import LimitState, period_of
from router.telemetry.export import Telemetry, open_telemetry
from router.telemetry.metric_names import BUNDLE_INFO, METRICS, STORE_UP
from router.telemetry.observer import SettledCall
from router.telemetry.trace import CallTrace
from router.telemetry.tracing import Tracing
from tests.router.ledger.builders import START, limit

ROUTE = "mitsumori.v1.RouterService/Route"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SETTLED = SettledCall("gpt-5-nano", "openai", 100, 200, booked=1_500, quoted=1_000)


@pytest.fixture
def telemetry() -> Telemetry:
    return open_telemetry()


def samples(telemetry: Telemetry, name: str) -> dict[tuple[str, ...], float]:
    """Values of a series by its labels, as a parser of the format reads them."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in plain_families(telemetry.text(False))
        for sample in family.samples
        if sample.name == name
    }


def state(name: str, used: int, *, key: str = "", **labels: str) -> LimitState:
    made = limit(name, hard=100, scope=labels)
    return LimitState(made, key, period_of(made.window, "UTC", START), spent=used, held=0)


def test_calls_are_counted_by_method_and_code_with_their_time(telemetry: Telemetry) -> None:
    telemetry.meters.call(ROUTE, "OK", 0.15, None)
    telemetry.meters.call(ROUTE, "OK", 0.151, None)
    telemetry.meters.call(ROUTE, "UNAVAILABLE", 9.0, None)
    counts = samples(telemetry, "rpc_server_call_duration_seconds_count")
    assert counts == {("grpc", ROUTE, "OK"): 2, ("grpc", ROUTE, "UNAVAILABLE"): 1}
    buckets = samples(telemetry, "rpc_server_call_duration_seconds_bucket")
    assert buckets["grpc", ROUTE, "OK", "0.15"] == 1
    assert buckets["grpc", ROUTE, "OK", "0.25"] == 2
    assert buckets["grpc", ROUTE, "UNAVAILABLE", "5.0"] == 0
    assert buckets["grpc", ROUTE, "UNAVAILABLE", "+Inf"] == 1


def test_decisions_are_counted_by_model_and_holds_by_what_became_of_them(
    telemetry: Telemetry,
) -> None:
    meters = telemetry.meters
    meters.decided("gpt-5-nano", "openai", held=True)
    meters.decided("gemini", "google", held=False)
    meters.settled(SETTLED)
    meters.released()
    meters.expired(3)
    meters.expired(0)
    assert samples(telemetry, "mitsumori_decisions_total") == {
        ("gpt-5-nano", "openai"): 1,
        ("gemini", "gcp.gemini"): 1,
    }
    assert samples(telemetry, "mitsumori_holds_total") == {
        ("quoted",): 1,
        ("held",): 1,
        ("settled",): 1,
        ("released",): 1,
        ("expired",): 3,
    }


def test_before_anything_happens_the_counts_of_holds_are_there(telemetry: Telemetry) -> None:
    # Otherwise Prometheus would miss the first of each.
    assert set(samples(telemetry, "mitsumori_holds_total").values()) == {0}


def test_a_settlement_counts_its_tokens_and_by_how_much_the_quote_was_off(
    telemetry: Telemetry,
) -> None:
    telemetry.meters.settled(SETTLED)
    assert samples(telemetry, "mitsumori_quote_error_ratio_sum") == {(): 1.5}
    assert samples(telemetry, "mitsumori_spent_usd_total") == {
        ("gpt-5-nano", "openai"): SETTLED.booked / 10**9
    }
    named = ("chat", "gpt-5-nano", "openai")
    assert samples(telemetry, "gen_ai_client_token_usage_sum") == {
        (*named, "input"): 100,
        (*named, "output"): 200,
    }


def test_a_quote_of_nothing_has_no_ratio(telemetry: Telemetry) -> None:
    telemetry.meters.settled(replace(SETTLED, quoted=0))
    assert samples(telemetry, "mitsumori_quote_error_ratio_count") == {}


def test_a_hundred_reasons_are_told_apart_and_the_rest_count_as_one(telemetry: Telemetry) -> None:
    for number in range(120):
        telemetry.meters.refused(f"REASON_{number}")
        telemetry.meters.refused("REASON_0")
    counts = samples(telemetry, "mitsumori_refusals_total")
    assert len(counts) == 101
    assert counts["REASON_0",] == 121
    assert counts["other",] == 20


def test_five_hundred_models_are_told_apart_and_the_rest_count_as_one(telemetry: Telemetry) -> None:
    """As where a server follows a catalog in which models have other names every week."""
    for number in range(10_000):
        telemetry.meters.decided(f"model-{number}", "openai", held=True)
        telemetry.meters.settled(replace(SETTLED, model=f"model-{number}"))
    telemetry.meters.decided("model-7", "openai", held=True)
    decisions = samples(telemetry, "mitsumori_decisions_total")
    assert len(decisions) == 501
    assert decisions["model-7", "openai"] == 2
    assert decisions["other", "other"] == 9_500
    tokens = samples(telemetry, "gen_ai_client_token_usage_count")
    assert len(tokens) == 2 * 501
    spent = samples(telemetry, "mitsumori_spent_usd_total")
    assert len(spent) == 501
    assert spent["other", "other"] == pytest.approx(9_500 * 1_500 / 1e9)


def test_what_the_sdk_adds_up_because_there_is_too_much_of_it_counts_as_other(
    telemetry: Telemetry,
) -> None:
    for number in range(3_000):
        telemetry.meters.call(f"method-{number}", "OK", 0.1, None)
    counts = samples(telemetry, "rpc_server_call_duration_seconds_count")
    assert len(counts) <= 2_001
    assert sum(counts.values()) == 3_000
    assert counts["other", "other", "other"] > 900


def test_a_gauge_is_read_when_it_is_collected(telemetry: Telemetry) -> None:
    versions = ["a"]
    telemetry.meters.read(BUNDLE_INFO, lambda: [(1, (versions[-1],))])
    assert samples(telemetry, "mitsumori_bundle_info") == {("a",): 1}
    versions.append("b")
    assert samples(telemetry, "mitsumori_bundle_info") == {("b",): 1}


def test_a_gauge_that_fails_leaves_the_others(telemetry: Telemetry) -> None:
    def fail() -> list[tuple[float, tuple[str, ...]]]:
        raise OSError("gone")

    telemetry.meters.read(STORE_UP, fail)
    telemetry.meters.released()
    assert samples(telemetry, "mitsumori_store_up") == {}
    assert samples(telemetry, "mitsumori_holds_total")["released",] == 1


def test_holds_are_shown_once_they_were_counted(telemetry: Telemetry) -> None:
    assert samples(telemetry, "mitsumori_held_usd") == {}
    telemetry.meters.open_holds = (2, 1_500_000_000)
    assert samples(telemetry, "mitsumori_held_usd") == {(): 1.5}
    assert samples(telemetry, "mitsumori_open_holds") == {(): 2}


def test_the_hundred_fullest_limits_are_shown(telemetry: Telemetry) -> None:
    states = [state(f"limit {number:03}", used=number % 100) for number in range(150)]
    names = [each.limit.id for each in states]
    telemetry.meters.fullest.refresh(states, names)
    shown = samples(telemetry, "mitsumori_limit_headroom_ratio")
    assert len(shown) == 100
    assert shown["limit 099",] == pytest.approx(0.01)
    assert ("limit 000",) not in shown


def test_of_a_limit_per_user_the_fullest_account_that_calls_met_is_read_again(
    telemetry: Telemetry,
) -> None:
    fullest = telemetry.meters.fullest
    labels = {name: {"user": name} for name in ("ann", "bob")}
    for name, used in (("ann", 40), ("bob", 90), ("ann", 50)):
        telemetry.meters.saw_limits(
            (state("users", used, key=f"user={name}", user="*"),), labels[name]
        )
    assert fullest.labels() == [labels["bob"]]
    # Bob's holds were released; what the store says now counts, and so the next call of Ann is the fullest.
    fullest.refresh([state("users", 20, key="user=bob", user="*")], ["users"])
    assert samples(telemetry, "mitsumori_limit_headroom_ratio") == {("users",): 0.8}
    telemetry.meters.saw_limits((state("users", 50, key="user=ann", user="*"),), labels["ann"])
    assert fullest.labels() == [labels["ann"]]
    fullest.refresh([], [])
    assert fullest.labels() == []


def test_of_a_share_the_headroom_is_what_is_left_of_it_at_the_present_whole(
    telemetry: Telemetry,
) -> None:
    def shared(name: str, used: int, whole: int, **changes: Any) -> LimitState:
        one = state(name, used)
        made = replace(one.limit, **{"hard": None, "share": 0.1, **changes})
        return replace(one, limit=made, whole=whole)

    states = [
        shared("share", 30, 400),
        shared("free", 30, 400, free=120),
        shared("both", 30, 400, hard=32),
        shared("used up", 50, 400),
        shared("of nothing", 0, 0),
        shared("nothing free", 0, 0, free=1),
        shared("closed", 0, 0, hard=0, free=1),
    ]
    telemetry.meters.fullest.refresh(states, [each.limit.id for each in states])
    shown = samples(telemetry, "mitsumori_limit_headroom_ratio")
    assert shown == {
        ("share",): 0.25,
        ("free",): 0.75,
        ("both",): 0.0625,
        ("used up",): 0,
        ("nothing free",): 1,
        ("closed",): 0,
    }


def test_a_limit_of_nothing_is_full_and_one_without_a_hard_value_is_not_shown(
    telemetry: Telemetry,
) -> None:
    closed, soft = state("closed", 0), state("soft", 5)
    states = [
        replace(closed, limit=replace(closed.limit, hard=0)),
        replace(soft, limit=replace(soft.limit, hard=None)),
    ]
    telemetry.meters.fullest.refresh(states, ["closed", "soft"])
    assert samples(telemetry, "mitsumori_limit_headroom_ratio") == {("closed",): 0}


def test_an_exemplar_names_the_trace_of_a_call_that_its_caller_samples(
    telemetry: Telemetry,
) -> None:
    sampled = Tracing().begin([("traceparent", f"00-{TRACE}-{SPAN}-01")], ROUTE)
    telemetry.meters.call(ROUTE, "OK", 0.004, sampled)
    telemetry.meters.call(ROUTE, "OK", 0.2, None)
    telemetry.meters.call(ROUTE, "OK", 0.3, CallTrace(TRACE, SPAN))  # not sampled
    exemplars = {
        sample.labels["le"]: sample.exemplar
        for family in open_families(telemetry.text(True))
        for sample in family.samples
        if sample.name == "rpc_server_call_duration_seconds_bucket"
    }
    shown = exemplars.pop("0.005")
    assert shown is not None
    assert shown.labels == {"trace_id": TRACE, "span_id": SPAN}
    assert shown.value == 0.004
    assert set(exemplars.values()) == {None}
    assert TRACE not in telemetry.text(False)


def test_both_formats_say_the_same(telemetry: Telemetry) -> None:
    odd = 'a "quoted" \\ name\nwith a line'
    telemetry.meters.read(BUNDLE_INFO, lambda: [(1, (odd,))])
    telemetry.meters.refused("LIMIT_EXCEEDED")
    telemetry.meters.call(ROUTE, "OK", 0.004, None)

    def read(families: object) -> set[tuple[str, tuple[str, ...], float]]:
        return {
            (sample.name, tuple(sample.labels.values()), sample.value)
            for family in families  # type: ignore[attr-defined]
            for sample in family.samples
        }

    plain = read(plain_families(telemetry.text(False)))
    assert ("mitsumori_bundle_info", (odd,), 1) in plain
    assert plain == read(open_families(telemetry.text(True)))


def test_no_two_metrics_share_a_name() -> None:
    assert len({metric.instrument for metric in METRICS}) == len(METRICS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
