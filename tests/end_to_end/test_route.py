"""Route over a real socket, with the real ONNX files, tokenizers and prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from google.type.money_pb2 import Money
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsumori import CallFailed, Message, Router
from mitsumori.money import nanos_of
from mitsumori.v1 import prompt_pb2, router_pb2, router_pb2_grpc
from router.rpc.server import RunningServer
from tests.conftest import NOON
from tests.readiness import PATIENCE_S

PROOF = "Prove that every bounded sequence of real numbers has a convergent subsequence."
TRIVIA = "What is the capital of France?"


def reply_to(
    client: Router, prompt: str | list[Message], **wishes: Any
) -> router_pb2.RouteResponse:
    return client.route(prompt, **wishes).message


def refusal(client: Router, request: router_pb2.RouteRequest) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        client.send(request)
    assert "Traceback" not in caught.value.message
    return caught.value


def test_a_reply_has_everything_it_promises(client: Router) -> None:
    reply = reply_to(
        client, TRIVIA, scope={"team": "search"}, request_id="everything", max_alternatives=100
    )
    assert reply.decision_id == "everything"
    assert reply.bundle_version.startswith("mitsumori-static@")
    assert reply.chosen.tier in {"low", "medium", "high"}
    assert reply.reasons[0].text
    assessment = reply.assessment
    labels = [arm.p_label for arm in assessment.arms]
    assert [arm.arm for arm in assessment.arms] == ["low", "medium", "high"]
    assert sum(labels) + assessment.p_none == pytest.approx(1, abs=1e-5)
    assert 0 <= assessment.complexity <= 1
    for option in (reply.chosen, *reply.alternatives):
        price = option.quote.price
        low, expected, high, worst = (
            nanos_of(amount) for amount in (price.low, price.expected, price.high, price.worst)
        )
        assert 0 < low <= expected <= worst
        assert low <= high <= worst
        assert option.quote.input_tokens.tokens > 0
        assert option.quote.expire_time.ToDatetime(NOON.tzinfo) > NOON
        assert "genai-prices" in option.quote.price_table_version
    assert len({option.model for option in (reply.chosen, *reply.alternatives)}) == 15


def test_a_proof_is_more_complex_than_small_talk(client: Router) -> None:
    proof = reply_to(client, PROOF).assessment
    hello = reply_to(client, "Hi! How are you today?").assessment
    assert proof.arms[0].p_adequate < hello.arms[0].p_adequate


def test_the_quote_is_the_price_table_times_the_tokens(client: Router) -> None:
    reply = reply_to(
        client,
        "hello world",
        models=["gpt-5-nano"],
        max_output_tokens=1000,
    )
    quote = reply.chosen.quote
    assert (quote.input_tokens.tokens, quote.input_tokens.exact) == (3 + 4 + 2, True)
    # $0.05 and $0.40 per million tokens
    assert nanos_of(quote.price.worst) == 9 * 50 + 1000 * 400


def test_five_alternatives_unless_asked_for_more_or_none(client: Router) -> None:
    assert len(reply_to(client, TRIVIA).alternatives) == 5
    assert len(reply_to(client, TRIVIA, max_alternatives=0).alternatives) == 0


def test_a_higher_importance_never_lowers_the_probability(client: Router) -> None:
    by_importance = [
        reply_to(client, PROOF, importance=importance).chosen.p_adequate
        for importance in ("low", "medium", "high")
    ]
    assert by_importance == sorted(by_importance)


def test_a_request_without_a_goal_gets_the_least_expected_cost(client: Router) -> None:
    for importance, full_cost in (("low", 5 * 10**7), ("medium", 25 * 10**7), ("high", 25 * 10**8)):
        reply = reply_to(client, PROOF, importance=importance, max_alternatives=100)
        miss_cost = nanos_of(reply.miss_cost)
        assert miss_cost == round(full_cost * reply.assessment.complexity)
        costs = [
            nanos_of(option.quote.price.expected) + (1 - option.p_adequate) * miss_cost
            for option in (reply.chosen, *reply.alternatives)
        ]
        assert costs == sorted(costs)
        reason = reply.reasons[0]
        assert reason.code == router_pb2.REASON_CODE_LEAST_EXPECTED_COST
        assert float(reason.facts["expected_cost_usd"]) * 1e9 == pytest.approx(costs[0], abs=1)


@pytest.mark.parametrize(
    "goal", [{"quality_target": 0.5}, {"willingness_to_pay_usd": "0.1"}], ids=str
)
def test_under_another_goal_no_cost_of_a_miss_is_told(client: Router, goal: dict[str, Any]) -> None:
    assert not reply_to(client, PROOF, **goal).HasField("miss_cost")


def test_a_quality_target_of_zero_takes_the_cheapest_model(client: Router) -> None:
    reply = reply_to(client, PROOF, quality_target=0.0, max_alternatives=100)
    prices = [nanos_of(o.quote.price.expected) for o in (reply.chosen, *reply.alternatives)]
    assert prices[0] == min(prices)


def test_an_answer_worth_a_fortune_gets_a_top_model(client: Router) -> None:
    reply = reply_to(client, PROOF, willingness_to_pay_usd=1_000, max_alternatives=100)
    best = max(option.p_adequate for option in (reply.chosen, *reply.alternatives))
    assert reply.chosen.p_adequate == best
    assert reply.reasons[0].code == router_pb2.REASON_CODE_BEST_VALUE


def test_constraints_are_respected(client: Router) -> None:
    reply = reply_to(
        client,
        PROOF,
        tiers=["medium", "high"],
        capabilities=["audio"],
        max_output_tokens=500,
    )
    models = {option.model for option in (reply.chosen, *reply.alternatives)}
    assert models == {"gemini-3.8-flash", "gemini-3.1-pro-preview"}
    assert reply.chosen.quote.output_tokens.worst == 500


def test_a_long_prompt_leaves_out_small_context_windows(client: Router) -> None:
    reply = reply_to(client, "word " * 19_000, tiers=["low"])
    assert reply.chosen.quote.input_tokens.tokens > 19_000


def test_japanese_is_quoted_and_the_encoders_limits_are_said(client: Router) -> None:
    reply = reply_to(client, "東京の明日の天気を教えてください。")
    codes = {reason.code for reason in reply.reasons}
    assert router_pb2.REASON_CODE_LANGUAGE_NOT_COVERED in codes


def test_the_system_message_counts_but_does_not_judge(client: Router) -> None:
    alone = reply_to(client, [Message("user", TRIVIA)])
    ruled = reply_to(client, [Message("system", "You are terse. " * 50), Message("user", TRIVIA)])
    assert ruled.assessment == alone.assessment
    assert ruled.chosen.quote.input_tokens.tokens > alone.chosen.quote.input_tokens.tokens + 100


def test_the_same_request_id_gets_the_same_answer_again(client: Router) -> None:
    first = reply_to(client, PROOF, request_id="again")
    assert reply_to(client, PROOF, request_id="again") == first


def test_the_same_request_id_with_another_body_is_refused(client: Router) -> None:
    reply_to(client, PROOF, request_id="reused")
    with pytest.raises(CallFailed) as caught:
        reply_to(client, TRIVIA, request_id="reused")
    assert (caught.value.code, caught.value.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_without_a_request_id_every_call_is_a_decision_of_its_own(client: Router) -> None:
    request = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text=TRIVIA))
    assert client.send(request).decision_id != client.send(request).decision_id


def test_many_callers_at_once_get_what_one_caller_gets(client: Router) -> None:
    alone = reply_to(client, PROOF).assessment
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: reply_to(client, PROOF).assessment, range(64)))
    assert all(reply == alone for reply in replies)


def ask(**changes: object) -> router_pb2.RouteRequest:
    request = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text=TRIVIA))
    request.MergeFrom(router_pb2.RouteRequest(**changes))  # type: ignore[arg-type]
    return request


def chat(*turns: tuple[int, str]) -> prompt_pb2.Prompt:
    messages = [prompt_pb2.Message(role=role, text=text) for role, text in turns]  # type: ignore[arg-type]
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))


def limited(**changes: object) -> router_pb2.RouteRequest:
    return ask(constraints=router_pb2.Constraints(**changes))  # type: ignore[arg-type]


def usd(units: int = 0, nano: int = 0, currency: str = "USD") -> Money:
    return Money(currency_code=currency, units=units, nanos=nano)


BAD_REQUESTS: dict[str, tuple[router_pb2.RouteRequest, str]] = {
    "no prompt": (router_pb2.RouteRequest(), "prompt"),
    "empty prompt": (router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="")), "prompt"),
    "white space": (router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text=" \n\t")), "prompt"),
    "no messages": (router_pb2.RouteRequest(prompt=chat()), "prompt.chat.messages"),
    "role missing": (
        router_pb2.RouteRequest(prompt=chat((0, "x"))),
        "prompt.chat.messages[0].role",
    ),
    "role unknown": (
        router_pb2.RouteRequest(prompt=chat((9, "x"))),
        "prompt.chat.messages[0].role",
    ),
    "target NaN": (ask(quality_target=math.nan), "quality_target"),
    "target infinite": (ask(quality_target=math.inf), "quality_target"),
    "target over 1": (ask(quality_target=1.01), "quality_target"),
    "target negative": (ask(quality_target=-0.1), "quality_target"),
    "worth nothing": (ask(willingness_to_pay=usd()), "willingness_to_pay"),
    "worth negative": (ask(willingness_to_pay=usd(-1)), "willingness_to_pay"),
    "worth in yen": (ask(willingness_to_pay=usd(1, 0, "JPY")), "willingness_to_pay"),
    "worth overflow": (ask(willingness_to_pay=usd(2**62)), "willingness_to_pay"),
    "nanos overflow": (ask(willingness_to_pay=usd(0, 2**30)), "willingness_to_pay"),
    "unknown model": (
        limited(allowed_models=["gpt-5-nano", "gpt-99"]),
        "constraints.allowed_models[1]",
    ),
    "unknown tier": (limited(allowed_tiers=["top"]), "constraints.allowed_tiers[0]"),
    "unknown capability": (
        limited(required_capabilities=["telepathy"]),
        "constraints.required_capabilities[0]",
    ),
    "price negative": (limited(max_price=usd(-1)), "constraints.max_price"),
    "no latency": (limited(max_latency={"seconds": 0}), "constraints.max_latency"),
    "latency negative": (limited(max_latency={"seconds": -1}), "constraints.max_latency"),
    "no first token": (limited(max_first_token={"seconds": 0}), "constraints.max_first_token"),
    "first token negative": (
        limited(max_first_token={"seconds": -1}),
        "constraints.max_first_token",
    ),
    "no output": (limited(max_output_tokens=0), "constraints.max_output_tokens"),
    "output overflow": (limited(max_output_tokens=2**40), "constraints.max_output_tokens"),
    "importance unknown": (ask(importance=17), "importance"),
    "id with spaces": (ask(request_id="a b"), "request_id"),
    "id too long": (ask(request_id="a" * 129), "request_id"),
    "conversation id": (ask(conversation_id="é"), "conversation_id"),
    "scope key": (ask(scope={"Team": "x"}), "scope"),
    "scope value empty": (ask(scope={"team": ""}), "scope.team"),
    "too many alternatives": (ask(max_alternatives=1001), "max_alternatives"),
    "scope too wide": (ask(scope={f"k{i}": "x" for i in range(33)}), "scope"),
}


@pytest.mark.parametrize(("request_", "field"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_bad_request_names_its_field(
    client: Router, request_: router_pb2.RouteRequest, field: str
) -> None:
    error = refusal(client, request_)
    assert error.code == "INVALID_ARGUMENT"
    assert error.field == field
    assert error.message.startswith(field)


def test_a_prompt_above_the_limit_is_refused_before_any_work(client: Router) -> None:
    error = refusal(client, router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="é" * 50_001)))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "PROMPT_TOO_LARGE")
    assert error.metadata == {"bytes": "100002", "max_bytes": "100000"}
    assert "max_prompt_bytes" in error.message


def test_impossible_constraints_say_what_stands_in_the_way(client: Router) -> None:
    error = refusal(client, limited(max_price=usd(0, 1)))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NO_ELIGIBLE_MODEL")
    assert error.metadata["over_max_price"] == "15"
    assert "raise constraints.max_price to at least $" in error.message


def test_an_error_carries_one_error_info_and_the_field_violation(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Route(ask(quality_target=2.0))
    status = rpc_status.from_call(caught.value)
    kinds = [detail.type_url.rsplit(".", 1)[-1] for detail in status.details]
    assert kinds == ["ErrorInfo", "BadRequest"]
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert (info.domain, info.reason, dict(info.metadata)) == (
        "mitsumori",
        "INVALID_INPUT",
        {"field": "quality_target"},
    )


def send_bytes(
    server: RunningServer,
    data: bytes,
    compression: grpc.Compression = grpc.Compression.NoCompression,
    metadata: Sequence[tuple[str, str]] = (),
) -> grpc.StatusCode:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/mitsumori.v1.RouterService/Route")
        try:
            call(data, timeout=PATIENCE_S, compression=compression, metadata=metadata)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 8,
        b"\x1a\x05\x0a\x03ab",
        b"\x1a\x04\x0a\x02\xff\xfe",
        b"\x0a\xff\xff\xff\xff\xff\x0f",
    ],
    ids=["garbage", "truncated", "invalid UTF-8", "length overflow"],
)
def test_bytes_that_are_no_message_are_the_callers_fault(
    server: RunningServer, data: bytes
) -> None:
    assert send_bytes(server, data) is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_far_above_the_limit_is_cut_off(server: RunningServer) -> None:
    big = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="a" * 2_000_000))
    assert send_bytes(server, big.SerializeToString()) is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_message_is_measured_as_it_is_not_as_it_was_compressed(
    server: RunningServer, compression: grpc.Compression
) -> None:
    bomb = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="a" * 50_000_000))
    assert send_bytes(server, bomb.SerializeToString(), compression) is (
        grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    honest = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="What is DNS?"))
    assert send_bytes(server, honest.SerializeToString(), compression) is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "metadata",
    [[("x-note", "a" * 100_000)], [(f"x-note-{number}", "a") for number in range(1_000)]],
    ids=["one long value", "a thousand keys"],
)
def test_metadata_of_many_kilobytes_is_refused(
    server: RunningServer, metadata: list[tuple[str, str]]
) -> None:
    data = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text="What is DNS?"))
    found = send_bytes(server, data.SerializeToString(), metadata=metadata)
    assert found is grpc.StatusCode.RESOURCE_EXHAUSTED


@settings(max_examples=150)
@given(data=st.binary(max_size=300))
def test_no_bytes_whatever_get_an_unknown_or_internal_error(
    server: RunningServer, data: bytes
) -> None:
    assert send_bytes(server, data) in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}


@settings(max_examples=150)
@given(text=st.text(min_size=1, max_size=2000))
def test_any_text_is_routed_or_refused_as_empty(server: RunningServer, text: str) -> None:
    with Router(server.address, timeout_s=PATIENCE_S) as client:
        if not text.strip():
            with pytest.raises(CallFailed, match="is empty"):
                reply_to(client, text)
            return
        assert math.isfinite(reply_to(client, text).assessment.complexity)
