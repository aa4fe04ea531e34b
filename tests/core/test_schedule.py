"""How soon a batch can be finished within the limits of its providers."""

from __future__ import annotations

import pytest

from router.core.load import Gauge, Load
from router.core.schedule import Demand, earliest_finish
from router.core.types import Quote
from tests.builders import candidate

QUOTE = candidate("small").quote
"""900 tokens, and 2.5 seconds in the median."""


def demand(calls: int) -> Demand:
    assert isinstance(QUOTE, Quote)
    made = Demand()
    for _ in range(calls):
        made.add(QUOTE)
    return made


def gauge(limit: str, most: int, used: int = 0, account: str = "acme") -> Gauge:
    rate = 0.0 if limit.endswith("in_flight") else most / 60
    return Gauge(account, limit, most, used, limit.startswith("tokens"), rate)


def finish(calls: int, *gauges: Gauge, share: float = 1.0) -> tuple[float, str]:
    found = earliest_finish([(("acme", "small"), demand(calls))], Load({"acme": gauges}, {}, share))
    assert found is not None
    return found.seconds, found.limit


def test_without_a_limit_of_these_providers_nothing_is_said() -> None:
    assert earliest_finish([(("acme", "small"), demand(9))], Load()) is None
    others = Load({"globex": (gauge("requests_per_minute", 1),)})
    assert earliest_finish([(("acme", "small"), demand(9))], others) is None


@pytest.mark.parametrize(
    ("calls", "seconds", "limit"),
    [
        (100, 2.5, ""),
        (101, 2.5 + 0.6, "requests_per_minute of acme"),
        (1_000, 2.5 + 540, "requests_per_minute of acme"),
    ],
)
def test_what_exceeds_the_minute_comes_at_the_rate(calls: int, seconds: float, limit: str) -> None:
    found = finish(calls, gauge("requests_per_minute", 100))
    assert found == (pytest.approx(seconds), limit)


def test_what_is_used_already_and_the_share_of_batch_work_count() -> None:
    seconds, _ = finish(100, gauge("requests_per_minute", 100, used=30), share=0.7)
    assert seconds == pytest.approx(2.5 + (100 - 40) / (100 / 60 * 0.7))


def test_tokens_are_those_that_are_held() -> None:
    found = finish(20, gauge("tokens_per_minute", 9_000))
    assert found == (pytest.approx(2.5 + 60), "tokens_per_minute of acme")


def test_in_flight_the_latencies_add_up() -> None:
    assert finish(100, gauge("requests_in_flight", 10))[0] == pytest.approx(25.0)
    assert finish(100, gauge("tokens_in_flight", 9_000))[0] == pytest.approx(25.0)
    assert finish(5, gauge("requests_in_flight", 10)) == (2.5, "")
    assert finish(4, gauge("requests_in_flight", 1), share=0.7)[0] == pytest.approx(10.0)


def test_models_of_a_provider_share_its_limits_and_the_slowest_says_when() -> None:
    load = Load(
        {"acme": (gauge("requests_per_minute", 60),)},
        {"small": (gauge("requests_per_minute", 10, account="acme/small"),)},
    )
    both = [(("acme", "small"), demand(20)), (("acme", "large"), demand(100))]
    found = earliest_finish(both, load)
    assert found is not None
    assert found == (pytest.approx(2.5 + 60), found.limit)  # 60 of 120 wait, and 10 of 20
    assert found.limit in ("requests_per_minute of acme", "requests_per_minute of acme/small")
