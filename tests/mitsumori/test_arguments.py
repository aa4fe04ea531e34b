"""Arguments of a wrong type or range: refused before anything is sent, by name, and never quoted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from mitsumori import Admin, InvalidArgument, Router, route_request
from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2

HALF = "secret \ud800"
"""Half of a surrogate pair, as a careless cut of a UTF-16 text leaves it."""
SURROGATE = "holds half of a surrogate pair, which cannot be sent; decode the text correctly"
INT64, INT32 = 2**63 - 1, 2**31 - 1


@pytest.fixture
def router() -> Iterator[Router]:
    """Nobody listens there: what is refused is refused without a server."""
    with Router("127.0.0.1:1") as made:
        yield made


@pytest.fixture
def admin() -> Iterator[Admin]:
    with Admin("127.0.0.1:1") as made:
        yield made


def refused(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InvalidArgument) as caught:
        call(*args, **kwargs)
    message = caught.value.message
    message.encode()  # it can be printed
    assert "secret" not in message
    assert message.startswith(f"{caught.value.field}: ")
    assert caught.value.__cause__ is caught.value.__context__ is None
    return message


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (HALF, f"prompt: {SURROGATE}"),
        ([("user", "a"), ("user", HALF)], f"prompt[1].content: {SURROGATE}"),
        ([{"role": "user", "content": HALF}], f"prompt[0].content: {SURROGATE}"),
        ([{"role": HALF, "content": "a"}], "prompt[0].role: must be one of system, user, assistant, tool"),
        ([{"role": "user", "content": "a", HALF: "b"}],
         "prompt[0]: has a key that is not supported yet: only role and content"),
        (b"secret", "prompt: write a text or a list of messages"),
    ],
)  # fmt: skip
def test_a_prompt_that_cannot_be_sent(prompt: Any, message: str) -> None:
    assert refused(route_request, prompt) == message


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"scope": "team=secret"}, "scope: write a mapping of label to value, not str"),
        ({"scope": 5}, "scope: write a mapping of label to value, not int"),
        ({"scope": [("team", "secret")]}, "scope: write a mapping of label to value, not list"),
        ({"scope": {1: "a"}}, "scope.1: a label must be a text, not int"),
        ({"scope": {"user": 17}}, "scope.user: must be a text, not int"),
        ({"scope": {HALF: "a"}}, f"scope: a label {SURROGATE}"),
        ({"scope": {"user": HALF}}, f"scope.user: {SURROGATE}"),
        ({"models": "gpt-5-nano"}, "models: write a list of names, not str"),
        ({"models": None}, "models: write a list of names, not NoneType"),
        ({"models": 5}, "models: write a list of names, not int"),
        ({"models": b"gpt"}, "models: write a list of names, not bytes"),
        ({"models": [1]}, "models[0]: must be a text, not int"),
        ({"models": ["a", HALF]}, f"models[1]: {SURROGATE}"),
        ({"tiers": {"low": 1}}, "tiers: write a list of names, not dict"),
        ({"capabilities": [None]}, "capabilities[0]: must be a text, not NoneType"),
        ({"max_output_tokens": INT64 + 1}, f"max_output_tokens: must be a whole number from 0 to {INT64}"),
        ({"max_output_tokens": -1}, f"max_output_tokens: must be a whole number from 0 to {INT64}"),
        ({"max_output_tokens": 1.5}, "max_output_tokens: must be a whole number, not float"),
        ({"max_output_tokens": "7"}, "max_output_tokens: must be a whole number, not str"),
        ({"max_output_tokens": True}, "max_output_tokens: must be a whole number, not bool"),
        ({"max_alternatives": INT32 + 1}, f"max_alternatives: must be a whole number from 0 to {INT32}"),
        ({"quote_only": "yes"}, "quote_only: must be True or False, not str"),
        ({"batch": None}, "batch: must be True or False, not NoneType"),
        ({"max_latency_s": "1"}, "max_latency_s: must be a finite number of seconds, not str"),
        ({"max_latency_s": Decimal(1)}, "max_latency_s: must be a finite number of seconds, not Decimal"),
        ({"max_latency_s": 1e300},
         "max_latency_s: must be a finite number of seconds from 0 to 315576000000"),
        ({"quality_target": "0.7"}, "quality_target: must be a number, not str"),
        ({"quality_target": True}, "quality_target: must be a number, not bool"),
        ({"quality_target": 1.0000001}, "quality_target: must be a number from 0 to 1"),
        ({"quality_target": 10**400}, "quality_target: must be a number from 0 to 1"),
        ({"importance": ["high"]}, "importance: must be one of low, medium, high"),
        ({"importance": None}, "importance: must be one of low, medium, high"),
        ({"conversation_id": 7}, "conversation_id: must be a text, not int"),
        ({"conversation_id": None}, "conversation_id: must be a text, not NoneType"),
        ({"conversation_id": HALF}, f"conversation_id: {SURROGATE}"),
        ({"request_id": 0}, "request_id: must be a text, not int"),
        ({"request_id": b"r"}, "request_id: must be a text, not bytes"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_sent(wishes: dict[str, Any], message: str) -> None:
    assert refused(route_request, "hello", **wishes) == message


def test_the_ends_of_a_range_can_be_sent() -> None:
    request = route_request(
        "hello",
        max_output_tokens=INT64,
        max_alternatives=INT32,
        max_latency_s=315_576_000_000,
        quality_target=1,
    )
    assert request.constraints.max_output_tokens == INT64
    assert request.max_alternatives == INT32
    assert request.constraints.max_latency.seconds == 315_576_000_000
    assert request.quality_target == 1
    assert route_request("hello", quality_target=Fraction(1, 4)).quality_target == 0.25
    assert route_request("hello", models=iter(["b", "a"])).constraints.allowed_models == ["a", "b"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"input_tokens": None}, "input_tokens: must be a whole number, not NoneType"),
        ({"output_tokens": None}, "output_tokens: must be a whole number, not NoneType"),
        ({"cached_input_tokens": INT64 + 1},
         f"cached_input_tokens: must be a whole number from 0 to {INT64}"),
        ({"reasoning_tokens": None}, "reasoning_tokens: must be a whole number, not NoneType"),
        ({"decision_id": None}, "decision_id: must be a text, not NoneType"),
        ({"decision_id": HALF}, f"decision_id: {SURROGATE}"),
        ({"tenant": None}, "tenant: must be a text, not NoneType"),
        ({"model": None}, "model: must be a text, not NoneType"),
        ({"latency_s": "1"}, "latency_s: must be a finite number of seconds, not str"),
        ({"latency_s": 1e300}, "latency_s: must be a finite number of seconds from 0 to 315576000000"),
        ({"quality": "good"}, "quality: must be a number, not str"),
        ({"outcome": {"success"}},
         "outcome: must be one of success, error, timeout, truncated, rate_limited, overloaded,"
         " server_error, refused, context_overflow, content_filtered"),
        ({"retry_after_s": -1}, "retry_after_s: must be a finite number of seconds from 0 to 315576000000"),
        ({"cost_usd": "1e-9999999"},
         "cost_usd: write USD, 0 or more with at most nine decimals, such as 0.05"),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_sent(router: Router, report: dict[str, Any], message: str) -> None:
    good = {"decision_id": "d", "input_tokens": 1, "output_tokens": 1}
    assert refused(router.settle, **good | report) == message


def test_what_else_a_router_takes(router: Router) -> None:
    assert refused(router.release, None) == "decision_id: must be a text, not NoneType"
    assert (
        refused(router.send, "hello") == "request: must be a RouteRequest of mitsumori.v1, not str"
    )
    assert (
        refused(router.reroute, "d", None)
        == "request: must be a RouteRequest of mitsumori.v1, not NoneType"
    )
    request = router_pb2.RouteRequest()
    assert (
        refused(router.reroute, "d", request, failed_models="gpt-5-nano")
        == "failed_models: write a list of names, not str"
    )


def test_what_an_admin_takes(admin: Admin) -> None:
    chosen = admin_pb2.DecisionFilter()
    assert refused(admin.limits, [("a", "b")]).startswith("labels: write a mapping")
    assert refused(admin.delete_limit, 5) == "limit_id: must be a text, not int"
    assert refused(admin.set_limit, None) == "limit: must be a Limit of mitsumori.v1, not NoneType"
    assert refused(admin.set_limit, limit_pb2.LimitStatus()).endswith("not LimitStatus")
    assert refused(admin.usage, chosen, "team") == "group_by: write a list of names, not str"
    assert refused(admin.usage, {}, []).startswith("chosen: must be a DecisionFilter")
    assert refused(admin.corrections, None) == "model: must be a text, not NoneType"
    assert refused(admin.erase, {"a": "b"}, None) == "before: must be a datetime, not NoneType"
    assert refused(admin.erase, {"a": 1}, datetime.max) == "labels.a: must be a text, not int"


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        (None, {}, "address: must be a text, not NoneType"),
        (5, {}, "address: must be a text, not int"),
        ("", {}, "address: write host:port, such as 127.0.0.1:50051"),
        (HALF, {}, f"address: {SURROGATE}"),
        ("a:1", {"timeout_s": "1"}, "timeout_s: must be a finite number of seconds, not str"),
        ("a:1", {"timeout_s": 0}, "timeout_s: must be more than 0 seconds"),
        ("a:1", {"attempts": 0}, f"attempts: must be a whole number from 1 to {INT64}"),
        ("a:1", {"attempts": 1.5}, "attempts: must be a whole number, not float"),
    ],
)
@pytest.mark.parametrize("client", [Router, Admin])
def test_a_connection_that_cannot_be_made(
    client: Any, address: Any, options: dict[str, Any], message: str
) -> None:
    assert refused(client, address, **options) == message


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (0, "channels: must be a whole number from 1 to 127"),
        (128, "channels: must be a whole number from 1 to 127"),
        ("2", "channels: must be a whole number, not str"),
    ],
)
def test_a_number_of_channels_that_cannot_be_made(channels: Any, message: str) -> None:
    assert refused(Router, "a:1", channels=channels) == message
