"""The headers of providers, as they send them, and as they should not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mitsumori import rate_limits_from_headers
from mitsumori.v1 import router_pb2

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-tokens": "159000",
    "x-ratelimit-reset-tokens": "6m0.5s",
}
ANTHROPIC = {
    "Anthropic-RateLimit-Requests-Limit": "50",
    "Anthropic-RateLimit-Requests-Remaining": "0",
    "Anthropic-RateLimit-Requests-Reset": "2026-11-23T12:00:30Z",
    "Anthropic-RateLimit-Tokens-Limit": "40000",
    "Anthropic-RateLimit-Tokens-Remaining": "1000",
    "Anthropic-RateLimit-Tokens-Reset": "2026-11-23T13:01:00+01:00",
}


def told(headers: dict[str, str]) -> tuple[tuple[int, int, float | None] | None, ...]:
    """Limit, remaining and seconds until the reset, of requests and of tokens."""
    found = rate_limits_from_headers(headers, NOW) or router_pb2.RateLimits()
    return tuple(
        (
            each.limit,
            each.remaining,
            each.reset.ToTimedelta().total_seconds() if each.HasField("reset") else None,
        )
        if found.HasField(name)
        else None
        for name, each in (("requests", found.requests), ("tokens", found.tokens))
    )


def test_the_headers_of_openai_and_of_those_who_copy_them() -> None:
    assert told(OPENAI) == ((5000, 4999, 0.012), (160000, 159000, 360.5))


def test_the_headers_of_anthropic_in_any_case() -> None:
    assert told(ANTHROPIC) == ((50, 0, 30.0), (40000, 1000, 60.0))


def test_input_tokens_stand_for_tokens_where_these_are_not_said() -> None:
    of_input = {name.replace("Tokens", "Input-Tokens"): value for name, value in ANTHROPIC.items()}
    assert told(of_input)[1] == (40000, 1000, 60.0)
    assert told({**of_input, "anthropic-ratelimit-tokens-limit": "9",
                 "anthropic-ratelimit-tokens-remaining": "1"})[1] == (9, 1, None)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0), ("1h2m3.5s", 3723.5), ("59", 59.0), ("1d", 86_400.0), ("0.25", 0.25),
        ("2026-11-23T11:59:00Z", 0.0), ("-5", 0.0), ("99999d", 31 * 86_400.0),
        ("", None), ("soon", None), ("1s later", None), ("2026-11-23T12:00:30", None), ("nan", None),
        ("inf", None), ("9" * 400, None), ("s", None),
    ],
)  # fmt: skip
def test_the_time_until_a_reset(text: str, seconds: float | None) -> None:
    assert told({**OPENAI, "x-ratelimit-reset-requests": text})[0] == (5000, 4999, seconds)


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("10", "11"), ("0", "0"), ("", "1"), ("10", ""), ("ten", "1"), ("10", "-1"), ("٣", "1"), ("1.5", "1"),
     ("9" * 18, "1"), ("9" * 5_000, "1")],
)  # fmt: skip
def test_a_limit_whose_headers_contradict_each_other_or_cannot_be_read_is_left_out(
    limit: str, remaining: str
) -> None:
    headers = {
        **OPENAI,
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-remaining-requests": remaining,
    }
    assert told(headers) == (None, (160000, 159000, 360.5))


def test_other_headers_say_nothing() -> None:
    assert rate_limits_from_headers({"retry-after": "3", "content-type": "text/html"}) is None


def test_without_a_moment_the_clock_says_how_long_a_reset_is_away() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    headers = {**ANTHROPIC, "Anthropic-RateLimit-Requests-Reset": later.isoformat()}
    found = rate_limits_from_headers(headers)
    assert found is not None
    assert 3_500 < found.requests.reset.seconds <= 3_600
