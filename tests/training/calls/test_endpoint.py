"""The endpoint over real HTTP with the official client: every way in which a provider answers or does not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from router.core.errors import InvalidInput
from router.core.types import Message
from tests.readiness import PATIENCE_S
from tests.training.fake_provider import (
    Act,
    Breaks,
    FakeProvider,
    Hangs,
    Refuses,
    Request,
    Says,
    Script,
    Sends,
    Streams,
    provider,
)
from training.calls.endpoint import Endpoint
from training.calls.reply import Failure, Reach, Reply, checked_url

CANARY = "canary-prompt-4711"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


KEY = "sk-canary-key"


def asked(
    url: str,
    *,
    stream: bool = False,
    timeout_s: float = PATIENCE_S,
    times: int = 1,
    key: str = KEY,
) -> Reply | Failure:
    """What becomes of a request, the last of several."""

    async def run() -> Reply | Failure:
        endpoint = Endpoint(url, key, timeout_s, stream, now=lambda: NOW)
        try:
            for _ in range(times):
                found = await endpoint.complete("m", [Message("user", CANARY)], 50, name="n1")
            return found
        finally:
            await endpoint.close()

    return asyncio.run(run())


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def served(script: Script | Act, **options: object) -> tuple[FakeProvider, Reply | Failure]:
    with provider(script) as made:
        return made, asked(made.url, **options)  # type: ignore[arg-type]


def test_an_answer_arrives_with_its_usage(stream: bool) -> None:
    made, found = served(Says("こんにちは, world", reasoning=9), stream=stream)
    assert isinstance(found, Reply)
    assert (found.text, found.finish) == ("こんにちは, world", "stop")
    assert isinstance(found.usage, dict)
    assert found.usage["completion_tokens_details"]["reasoning_tokens"] == 9
    assert found.latency_s > 0
    (request,) = made.requests
    assert (request.limit, request.body.get("stream", False)) == (50, stream)
    assert made.keys == {"sk-canary-key"}
    assert request.headers["idempotency-key"] == "n1"


@pytest.mark.parametrize(
    ("act", "kind", "again", "billed", "reach"),
    [
        (Refuses(429), "rate_limited", True, False, Reach.CALL),
        (Refuses(500), "server_error", True, False, Reach.CALL),
        (Refuses(503), "server_error", True, False, Reach.CALL),
        (Refuses(408), "server_error", True, False, Reach.CALL),
        (Refuses(400, "content_policy_violation"), "refused", False, False, Reach.CALL),
        (Refuses(422), "refused", False, False, Reach.CALL),
        (Refuses(401, "invalid_api_key"), "key_refused", False, False, Reach.RUN),
        # Some providers refuse a single prompt so.
        (Refuses(403), "refused", False, False, Reach.CALL),
        (Refuses(402), "no_credit", False, False, Reach.RUN),
        (Refuses(429, "insufficient_quota"), "no_credit", False, False, Reach.RUN),
        (Refuses(404, "model_not_found"), "model_unknown", False, False, Reach.MODEL),
        (Says(""), "empty", True, True, Reach.CALL),
        (Says(" \n"), "empty", True, True, Reach.CALL),
        (Says("", choices=False), "empty", True, True, Reach.CALL),
        (Says("", finish="length"), "empty", False, True, Reach.CALL),
        (Says("", finish="content_filter"), "filtered", False, True, Reach.CALL),
    ],
)  # fmt: skip
def test_every_failure_has_a_name_and_a_remedy(
    act: Act, kind: str, again: bool, billed: bool, reach: Reach, stream: bool
) -> None:
    _, found = served(act, stream=stream)
    assert isinstance(found, Failure)
    assert (found.kind, found.again, found.billed, found.reach) == (kind, again, billed, reach)
    # Errors of the provider repeat the prompt; ours never do.
    assert CANARY not in found.detail
    assert "sk-canary" not in found.detail


@pytest.mark.parametrize("body", ["", "<html>busy</html>", "[]", "7", "null", '{"choices": 5}',
                                  '{"choices": [7]}',
                                  '{"choices": [{"message": null}], "usage": "much"}'])  # fmt: skip
def test_a_body_that_is_no_completion_is_a_failure_that_may_be_billed(body: str) -> None:
    _, found = served(Sends(body))
    assert isinstance(found, Failure)
    assert found.kind in ("malformed", "empty")
    assert (found.again, found.billed) == (True, True)


DEEP = "[" * 200_000
WHOLE = json.dumps(
    {
        "choices": [{"message": {"content": "ab\u2028c"}, "finish_reason": "stop"}],
        "usage": {"a": 1},
    },
    ensure_ascii=False,
)
PIECE = json.dumps({"choices": [{"index": 0, "delta": {"content": "Half"}}]})


@pytest.mark.parametrize("event", ["null", "5", "[1]", '"text"', "{", DEEP, f'{{"a": {DEEP}'],
                         ids=["null", "number", "list", "text", "half", "deep", "deep within"])  # fmt: skip
def test_an_event_that_is_no_object_makes_the_answer_malformed_and_keeps_what_was_seen(
    event: str,
) -> None:
    _, found = served(Streams((PIECE, event)), stream=True)
    assert isinstance(found, Failure)
    assert (found.kind, found.text) == ("malformed", "Half")
    assert (found.again, found.billed) == (True, True)


def test_a_body_of_brackets_within_brackets_is_malformed(stream: bool) -> None:
    _, found = served(Sends(DEEP), stream=stream)
    assert isinstance(found, Failure)
    assert (found.kind, found.billed) == ("malformed", True)


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_an_error_of_brackets_within_brackets_is_still_an_error(status: int, stream: bool) -> None:
    for depth in (400, 900, 200_000):
        words = "[" * depth + "]" * depth
        body = f'{{"error": {{"message": "no", "code": {words}}}}}'
        _, found = served(Refuses(status, body=body), stream=stream)
        assert isinstance(found, Failure)
        assert found.kind in (
            "refused",
            "model_unknown",
            "rate_limited",
            "server_error",
            "malformed",
        )


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/event-stream"])
def test_an_endpoint_that_does_not_stream_is_read_as_the_completion_that_it_sends(
    kind: str, stream: bool
) -> None:
    _, found = served(Sends(WHOLE, kind), stream=stream)
    assert isinstance(found, Reply)
    assert (found.text, found.finish, found.usage) == ("ab\u2028c", "stop", {"a": 1})


def test_an_endpoint_that_streams_unasked_is_read_as_the_stream_that_it_sends(stream: bool) -> None:
    end = json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    _, found = served(Streams((PIECE, PIECE, end)), stream=stream)
    assert isinstance(found, Reply)
    assert (found.text, found.finish) == ("HalfHalf", "stop")
    _, cut = served(Streams((PIECE,)), stream=stream)
    assert isinstance(cut, Failure)
    assert (cut.kind, cut.text) == ("broken_stream", "Half")


def test_an_error_within_a_stream_is_an_error_and_what_was_seen_is_kept() -> None:
    error = json.dumps({"error": {"code": "overloaded", "message": CANARY}})
    _, found = served(Streams((PIECE, error)), stream=True)
    assert isinstance(found, Failure)
    assert (found.kind, found.text) == ("server_error", "Half")
    assert found.detail == "an error within the answer (overloaded)"


LONG_KEY = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFG"


@pytest.mark.parametrize("word", [LONG_KEY, LONG_KEY[:30], f"code.{LONG_KEY}"[:60], LONG_KEY[-12:]])
@pytest.mark.parametrize("status", [200, 400, 401, 402, 404, 429, 500])
def test_a_code_that_repeats_the_key_is_not_kept(word: str, status: int, stream: bool) -> None:
    if status == 200:
        act: Act = Sends(json.dumps({"error": {"code": word}}))
    else:
        act = Refuses(status, word)
    _, found = served(act, stream=stream, key=LONG_KEY)
    assert isinstance(found, Failure)
    assert word not in found.detail
    assert "(" not in found.detail


@pytest.mark.parametrize("finish", [LONG_KEY, "x" * 30 + LONG_KEY, "s" * 1_000, f"see {CANARY}"])
def test_a_reason_to_end_that_is_no_such_word_is_not_kept(finish: str, stream: bool) -> None:
    _, found = served(Says(f"Your key is {LONG_KEY}.", finish=finish), stream=stream, key=LONG_KEY)
    assert isinstance(found, Reply)
    assert (found.text, found.finish) == ("Your key is [API key].", "other")


def test_a_placeholder_that_is_no_secret_is_not_taken_out_of_answers(stream: bool) -> None:
    _, found = served(Says("none of the above"), stream=stream, key="none")
    assert isinstance(found, Reply)
    assert found.text == "none of the above"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/v1/chat/completions", "http://elsewhere.invalid/v1"])
def test_a_redirect_is_not_followed_and_stops_the_run(
    status: int, target: str, stream: bool
) -> None:
    made, found = served(Refuses(status, headers={"Location": target}), stream=stream)
    assert isinstance(found, Failure)
    assert (found.kind, found.again, found.billed, found.reach) == (
        "redirected", False, False, Reach.RUN,
    )  # fmt: skip
    assert found.detail == f"status {status}; name the address that it leads to with --endpoint"
    assert len(made.requests) == 1


def test_half_of_a_surrogate_pair_in_an_answer_harms_no_file() -> None:
    _, found = served(Sends('{"choices": [{"message": {"content": "ab \\ud83d"}}]}'))
    assert isinstance(found, Reply)
    assert found.text == "ab \ufffd"


def test_a_letter_that_a_stream_cuts_in_two_is_one_again() -> None:
    # The provider cuts its answer after every five characters.
    _, found = served(Says("1234\ud83d\ude00 fine"), stream=True)
    assert isinstance(found, Reply)
    assert found.text == "1234😀 fine"


def test_an_error_with_status_200_is_an_error() -> None:
    _, found = served(Sends(f'{{"error": {{"code": 502, "message": "{CANARY}"}}}}'))
    assert isinstance(found, Failure)
    assert (found.kind, found.detail) == ("server_error", "an error instead of an answer (502)")


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_stream_that_ends_early_is_no_answer_and_keeps_what_was_seen(cleanly: bool) -> None:
    _, found = served(Breaks("Half an ans", cleanly), stream=True)
    assert isinstance(found, Failure)
    assert (found.kind, found.text) == ("broken_stream", "Half an ans")
    assert (found.again, found.billed) == (True, True)


def test_a_reply_that_breaks_off_is_no_answer() -> None:
    _, found = served(Breaks())
    assert isinstance(found, Failure)
    assert (found.kind, found.billed) == ("broken_reply", True)


def test_a_provider_that_hangs_is_given_up(stream: bool) -> None:
    _, found = served(Hangs(), stream=stream, timeout_s=0.3)
    assert isinstance(found, Failure)
    assert (found.kind, found.again, found.billed) == ("timeout", True, True)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_an_endpoint_that_is_away_costs_nothing(closed_port: int) -> None:
    found = asked(f"http://127.0.0.1:{closed_port}/v1")
    assert isinstance(found, Failure)
    assert (found.kind, found.again, found.billed) == ("no_connection", True, False)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After-Ms": "1500", "Retry-After": "7"}, 1.5),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
    ],
)
def test_the_endpoint_says_how_long_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    _, found = served(Refuses(429, headers=headers))
    assert isinstance(found, Failure)
    assert found.wait_s == wait_s


def test_a_model_that_wants_another_name_of_the_limit_gets_it_from_then_on(stream: bool) -> None:
    words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."

    def script(request: Request) -> Act:
        return Refuses(400, words=words) if "max_tokens" in request.body else Says()

    made, found = served(script, stream=stream, times=2)
    assert isinstance(found, Reply)
    limits = [[name for name in one.body if name.startswith("max_")] for one in made.requests]
    assert limits == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]


def test_an_endpoint_without_usage_in_streams_is_asked_without() -> None:
    def script(request: Request) -> Act:
        refused = "stream_options" in request.body
        return Refuses(400, words="unknown field stream_options") if refused else Says()

    _, found = served(script, stream=True)
    assert isinstance(found, Reply)
    assert found.usage is None


@pytest.mark.parametrize("url", ["", "api.example/v1", "ftp://x/v1", "https://", "https://me:secret@x/v1",
                                 "https://x/v1?key=secret", "http://x:99999999/v1", "http://a b/v1",
                                 "http://[::1/v1"])  # fmt: skip
def test_an_address_that_cannot_be_one_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_url(url)
    assert "secret" not in caught.value.message
    assert caught.value.field == "endpoint"
