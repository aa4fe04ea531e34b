"""What a caller may write, and what is refused before it is sent: by name, and never in silence."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from mitsumori import InvalidArgument, Message, route_request
from mitsumori.v1 import prompt_pb2, router_pb2

SECRET = "the prompt, which no error may quote"


def turns(prompt: Any) -> list[tuple[int, str]]:
    return [(turn.role, turn.text) for turn in route_request(prompt).prompt.chat.messages]


def refusal(prompt: Any = "x", **wishes: Any) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        route_request(prompt, **wishes)
    assert str(caught.value) == caught.value.message
    assert caught.value.message.startswith(caught.value.field)
    assert SECRET not in caught.value.message
    return caught.value


def test_a_text_is_sent_as_it_is() -> None:
    assert route_request("hello").prompt == prompt_pb2.Prompt(text="hello")


def test_dicts_pairs_and_messages_are_the_same_chat() -> None:
    words = [("system", "a"), ("user", "b"), ("assistant", "c"), ("tool", "d")]
    expected = [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert turns([{"role": role, "content": text} for role, text in words]) == expected
    assert turns(words) == expected
    assert turns([Message(role, text) for role, text in words]) == expected


def test_labels_of_a_message_are_no_text_and_are_left_out() -> None:
    assert turns([{"role": "tool", "content": "42", "tool_call_id": "call_1", "name": "sum"}]) == [
        (4, "42")
    ]


def test_what_is_empty_is_not_lost() -> None:
    assert turns([{"role": "assistant", "content": "a", "tool_calls": None, "refusal": None}]) == [
        (3, "a")
    ]


@pytest.mark.parametrize("role", ["developer", "User", "", None, SECRET, ["user"]])
def test_a_wrong_role_names_the_message(role: object) -> None:
    error = refusal([{"role": "user", "content": "a"}, {"role": role, "content": SECRET}])
    assert error.message == "prompt[1].role: must be one of system, user, assistant, tool"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "must be a text, not NoneType"),
        (7, "must be a text, not int"),
        (b"bytes", "must be a text, not bytes"),
        ([], "must be a text, not parts (unnamed): only text is supported yet"),
        (
            [{"type": "text", "text": SECRET}, {"type": "image_url", "image_url": {"url": "x"}}],
            "must be a text, not parts (text, image_url): only text is supported yet",
        ),
    ],
)
def test_a_content_that_is_no_text_is_refused_by_its_kind(content: object, problem: str) -> None:
    error = refusal([{"role": "user", "content": content}])
    assert error.message == f"prompt[0].content: {problem}"


def test_what_would_be_lost_is_refused_by_name() -> None:
    error = refusal([{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}])
    assert error.message == "prompt[0].tool_calls: is not supported yet: only role and content"


@pytest.mark.parametrize("turn", ["user", ("user",), ("user", "a", "b"), 7])
def test_a_message_of_another_form_names_its_index(turn: object) -> None:
    assert refusal([("user", "a"), turn]).field == "prompt[1]"


@pytest.mark.parametrize("prompt", [None, 7, {"role": "user", "content": "a"}])
def test_a_prompt_is_a_text_or_a_list(prompt: object) -> None:
    assert refusal(prompt).message == "prompt: write a text or a list of messages"


def test_wishes_become_fields_of_the_request() -> None:
    request = route_request(
        "hello",
        scope={"team": "search"},
        capabilities=["tools"],
        models={"b", "a"},
        tiers=("low",),
        max_output_tokens=2_000,
        max_price_usd="0.05",
        max_latency_s=1.5,
        max_first_token_s=0.5,
        quality_target=0.7,
        importance="high",
        conversation_id="c",
        request_id="r",
        max_alternatives=0,
        quote_only=True,
        batch=True,
        regions={"us", "eu"},
    )
    expected = router_pb2.RouteRequest(
        request_id="r",
        scope={"team": "search"},
        prompt=prompt_pb2.Prompt(text="hello"),
        constraints=router_pb2.Constraints(
            allowed_models=["a", "b"],
            allowed_tiers=["low"],
            required_capabilities=["tools"],
            max_output_tokens=2_000,
            regions=["eu", "us"],
        ),
        quality_target=0.7,
        importance=router_pb2.IMPORTANCE_HIGH,
        conversation_id="c",
        max_alternatives=0,
        quote_only=True,
        batch=True,
    )
    expected.constraints.max_price.currency_code = "USD"
    expected.constraints.max_price.nanos = 50_000_000
    expected.constraints.max_latency.FromMilliseconds(1_500)
    expected.constraints.max_first_token.FromMilliseconds(500)
    assert request == expected


def test_what_was_not_wished_is_absent() -> None:
    request = route_request("hello")
    assert request.constraints == router_pb2.Constraints()
    assert request.WhichOneof("goal") is None
    assert not request.HasField("max_alternatives")
    assert request.request_id != route_request("hello").request_id


def test_a_willingness_to_pay_is_the_other_goal() -> None:
    request = route_request("hello", willingness_to_pay_usd=Decimal("0.10"))
    assert request.willingness_to_pay.nanos == 100_000_000
    assert refusal(quality_target=0.5, willingness_to_pay_usd=1).field == "quality_target"


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ({"importance": "urgent"}, "importance"),
        ({"models": "gpt-5-nano"}, "models"),
        ({"tiers": "low"}, "tiers"),
        ({"capabilities": "tools"}, "capabilities"),
        ({"scope": {"user": 17}}, "scope.user"),
        ({"max_price_usd": 0.05}, "max_price_usd"),
        ({"willingness_to_pay_usd": "much"}, "willingness_to_pay_usd"),
        ({"max_latency_s": math.nan}, "max_latency_s"),
        ({"max_latency_s": math.inf}, "max_latency_s"),
    ],
)
def test_an_argument_that_cannot_be_sent_is_named(wishes: dict[str, Any], field: str) -> None:
    assert refusal(**wishes).field == field
