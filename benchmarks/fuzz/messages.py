"""Damaged protobufs as bodies of otherwise proper calls, by every method."""

from __future__ import annotations

import random
from collections.abc import Sequence

import grpc

from mitsumori import route_request
from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2

__all__ = ["METHODS", "proper_calls", "send", "spoiled"]

_ROUTER, _ADMIN = "/mitsumori.v1.RouterService/", "/mitsumori.v1.AdminService/"
METHODS = (
    *(
        _ROUTER + name
        for name in (
            "Route",
            "Settle",
            "Release",
            "Reroute",
            "ReportOutcome",
            "QuoteBatch",
            "BeginTask",
            "EndTask",
            "GetTask",
        )
    ),
    *(
        _ADMIN + method.name
        for method in admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods
    ),
)
"""Every method of the services."""
_STREAMS = frozenset({_ROUTER + "QuoteBatch"})


def proper_calls() -> list[tuple[str, bytes]]:
    """A proper message of each method that has fields worth damaging."""
    asked = route_request(
        [("user", "Prove it. 証明せよ。"), ("assistant", "By induction."), ("user", "Why?")],
        scope={"team": "a", "user": "b"}, capabilities=["tools"], tiers=["low", "high"],
        max_output_tokens=100, max_price_usd="0.5", max_latency_s=20, importance="high", request_id="f-1",
    )  # fmt: skip
    quoted = route_request("What is 2 + 2?", quality_target=0.5, quote_only=True, request_id="f-2")
    report = router_pb2.SettleRequest(
        decision_id="f-1",
        tenant="t",
        input_tokens=10,
        output_tokens=20,
        reasoning_tokens=5,
        quality=0.5,
    )
    report.cost.units, report.cost.currency_code = 1, "USD"
    report.latency.seconds = 2
    chosen = admin_pb2.DecisionFilter(labels={"team": "a"})
    chosen.SetInParent()
    limit = limit_pb2.Limit(
        limit_id="l", unit=limit_pb2.UNIT_MONEY, window=limit_pb2.WINDOW_DAY, hard=10**15,
        time_zone="Asia/Tokyo", scope={"team": "*"},
    )  # fmt: skip
    return [
        (_ROUTER + "Route", asked.SerializeToString()),
        (_ROUTER + "Route", quoted.SerializeToString()),
        (_ROUTER + "Settle", report.SerializeToString()),
        (_ROUTER + "Release", router_pb2.ReleaseRequest(decision_id="f-1").SerializeToString()),
        (
            _ROUTER + "ReportOutcome",
            router_pb2.ReportOutcomeRequest(
                decision_id="f-1", outcome=router_pb2.OUTCOME_OVERLOADED, attempt=1
            ).SerializeToString(),
        ),
        (
            _ROUTER + "BeginTask",
            router_pb2.BeginTaskRequest(
                request=quoted, turns=3, max_turns=5, input_growth=100, cap=report.cost
            ).SerializeToString(),
        ),
        (
            _ROUTER + "EndTask",
            router_pb2.EndTaskRequest(task_id="f-1", tenant="t").SerializeToString(),
        ),
        (
            _ROUTER + "Reroute",
            router_pb2.RerouteRequest(
                decision_id="f-2", request=asked, failed_models=["gpt-5-nano"]
            ).SerializeToString(),
        ),
        (_ROUTER + "QuoteBatch", router_pb2.QuoteBatchRequest(request=asked).SerializeToString()),
        (_ADMIN + "SetLimit", admin_pb2.SetLimitRequest(limit=limit).SerializeToString()),
        (
            _ADMIN + "ListLimits",
            admin_pb2.ListLimitsRequest(labels={"team": "a"}).SerializeToString(),
        ),
        (
            _ADMIN + "ListDecisions",
            admin_pb2.ListDecisionsRequest(filter=chosen, page_size=10).SerializeToString(),
        ),
        (
            _ADMIN + "ListUsage",
            admin_pb2.ListUsageRequest(
                filter=chosen, group_by=["team", "day"], time_zone="UTC"
            ).SerializeToString(),
        ),
    ]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def spoiled(body: bytes, dice: random.Random) -> bytes:
    """A message after one to three faults: of bytes, of fields, of lengths, of nesting.

    What is added lies behind the message as often as within it: there it can be read, and is a wrong value.
    """
    data = bytearray(body)
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = len(data) if dice.random() < 0.5 else dice.randint(0, len(data))
        match dice.randrange(9):
            case 0 if data:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            case 1:
                del data[dice.randint(0, len(data)) :]
            case 2:
                data[at:at] = dice.randbytes(dice.randint(1, 12))
            case 3:  # a field of any number and kind
                data[at:at] = _varint(
                    dice.choice((0, 1, 2, 3, 7, 15, 2**29)) << 3 | dice.randrange(8)
                )
            case 4:  # numbers at the edges, and varints that do not end
                edge = dice.choice((2**31, 2**63 - 1, 2**64 - 1, 2**70))
                data[at:at] = _varint(dice.randrange(1, 20) << 3) + _varint(edge)
            case 5:  # a text that is not UTF-8, holds NUL, or is long
                text = dice.choice(
                    (b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"a" * 5_000, "́".encode() * 500)
                )
                data[at:at] = _varint(dice.randrange(1, 20) << 3 | 2) + _varint(len(text)) + text
            case 6:  # nested deeper than any message is
                depth, number = dice.choice((10, 101, 2_000)), dice.randrange(1, 8)
                inner = b""
                for _ in range(depth):
                    inner = bytes([number << 3 | 2]) + _varint(len(inner)) + inner
                data[at:at] = inner
            case 7:  # floats that are no numbers
                odd = dice.choice(
                    (b"\x00" * 6 + b"\xf8\x7f", b"\x00" * 6 + b"\xf0\x7f", b"\xff" * 8)
                )
                data[at:at] = bytes([dice.randrange(1, 16) << 3 | 1]) + odd
            case _:
                data[at:at] = data[: dice.randint(0, len(data))]
    return bytes(data)


def send(
    channel: grpc.Channel,
    metadata: Sequence[tuple[str, str]],
    calls: Sequence[tuple[str, bytes]],
    dice: random.Random,
) -> str:
    """Send one damaged message; return its status by name.

    Args:
        channel: to the server.
        metadata: the credential.
        calls: methods and proper messages to damage.
        dice: decides.
    """
    method, body = dice.choice(calls)
    if dice.random() < 0.1:  # the message of one method by another
        method = dice.choice(METHODS)
    data = spoiled(body, dice)
    try:
        if method in _STREAMS:
            for _ in channel.stream_stream(method)(iter([data]), timeout=60, metadata=metadata):
                pass
        else:
            channel.unary_unary(method)(data, timeout=60, metadata=metadata)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
