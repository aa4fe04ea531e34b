"""The client against the real server: what a caller writes, what it gets, how it is refused."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

import mitsumori
from mitsumori import CallFailed, Decision, Usd
from mitsumori.money import nanos_of
from mitsumori.v1 import router_pb2
from router.rpc.server import RunningServer
from tests.certificates import Authority
from tests.conftest import NOON

ROOT = Path(__file__).parents[2]
PROOF = "Prove that every bounded sequence of real numbers has a convergent subsequence."


def examples(page: str) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_the_readme_prints_a_readable_price(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    asking, reporting = examples("README.md")
    asking = asking.replace("127.0.0.1:50051", server.address)
    settle, release = reporting.splitlines()
    release = release.partition("made: ")[2]  # as a comment, so that the block can be pasted whole
    for report in (settle, release):
        names: dict[str, object] = {}
        exec(asking, names)
        model, price, reason = capsys.readouterr().out.split(" ", 2)
        exec(report, names)
        decision, router = names["decision"], names["router"]
        assert isinstance(decision, Decision)
        assert isinstance(router, mitsumori.Router)
        assert model == decision.chosen.model
        assert re.fullmatch(r"\$0\.\d{2,9}", price)
        assert reason.strip() == decision.reasons[0].text
        with pytest.raises(CallFailed) as caught:  # the other report comes too late
            router.settle(decision.id, input_tokens=1, output_tokens=1)
        assert caught.value.code == (
            "ALREADY_EXISTS" if report == settle else "FAILED_PRECONDITION"
        )
        router.close()


def test_the_example_of_an_agent_run_stays_within_its_cap(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [asking, _], [running] = examples("README.md"), examples("docs/operations/tasks.md")
    answers = iter(range(3))

    def call(model: str, messages: list[tuple[str, str]]) -> SimpleNamespace:
        turn = next(answers)
        assert len(messages) == 1 + 2 * turn
        return SimpleNamespace(
            text="I look.",
            tool_result="1 failed",
            input_tokens=50,
            output_tokens=20,
            done=turn == 2,
        )

    names: dict[str, object] = {"call": call}
    exec(asking.replace("127.0.0.1:50051", server.address), names)
    capsys.readouterr()
    exec(running, names)
    assert re.fullmatch(r"\$0\.\d{2,9} to \$0\.\d{2,9}\n", capsys.readouterr().out)
    task, router = names["task"], names["router"]
    assert isinstance(task, mitsumori.Task)
    assert isinstance(router, mitsumori.Router)
    over = router.task(task.id)
    assert (over.state, over.turns, str(over.held)) == ("ended", 3, "$0.00")
    assert over.cap.nanos == over.spent.nanos + over.left.nanos == 500_000_000
    router.close()


def test_the_example_of_models_that_fail_moves_the_hold(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [asking, _], [failing] = examples("README.md"), examples("docs/operations/model-health.md")
    names: dict[str, object] = {}
    exec(asking.replace("127.0.0.1:50051", server.address), names)
    first = names["decision"]
    exec(failing, names)
    second, router = names["decision"], names["router"]
    assert isinstance(first, Decision)
    assert isinstance(second, Decision)
    assert isinstance(router, mitsumori.Router)
    assert second.chosen.provider != first.chosen.provider
    with pytest.raises(CallFailed, match="released"):
        router.settle(first.id, input_tokens=1, output_tokens=1)
    router.close()


def test_the_example_of_failing_open_gives_a_decision_where_no_server_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [failing_open] = examples("docs/guide/client.md")
    monkeypatch.setenv("MITSUMORI_API_KEY", "mk_a2b3c4d5e6_" + "x" * 43)
    monkeypatch.chdir(tmp_path)
    Authority(tmp_path, "ca")
    names: dict[str, object] = {}
    exec(failing_open.replace("10.0.0.", "127.0.0.").replace(":50051", ":1"), names)
    router = names["router"]
    assert isinstance(router, mitsumori.Router)
    with router:
        decision = router.route(PROOF)
    assert (decision.fallback, decision.model) == (True, "gpt-5-nano")


def test_a_decision_says_what_its_message_says(client: mitsumori.Router) -> None:
    decision = client.route(PROOF, scope={"team": "search"}, request_id="as-values")
    message = decision.message
    assert decision == Decision.of(message)
    assert (decision.id, decision.model) == ("as-values", message.chosen.model)
    assert decision.bundle == message.bundle_version
    assert decision.complexity == message.assessment.complexity
    assert len(decision.alternatives) == len(message.alternatives) == 5
    quote, sent = decision.quote, message.chosen.quote
    assert quote.price.expected == Usd(nanos_of(sent.price.expected))
    assert quote.price.low <= quote.price.expected <= quote.price.worst
    assert quote.price.low <= quote.price.high <= quote.price.worst
    assert quote.output_tokens.p50 == sent.output_tokens.p50
    assert quote.input_tokens == sent.input_tokens.tokens
    assert 0 < quote.latency.p50_s <= quote.latency.p90_s
    assert quote.expires > NOON
    assert quote.expires.tzinfo is UTC
    assert "genai-prices" in quote.price_table
    assert "message" not in repr(decision)


def test_a_hold_is_there_unless_only_a_quote_was_asked_for(client: mitsumori.Router) -> None:
    decision = client.route(PROOF)
    assert decision.hold is not None
    assert decision.hold.amount == decision.quote.price.high
    assert decision.hold.expires - NOON > timedelta(0)
    assert client.route(PROOF, quote_only=True).hold is None


def test_a_model_without_an_allowance_has_no_reasoning_tokens(client: mitsumori.Router) -> None:
    assert client.route(PROOF, models=["ministral-8b-2512"]).quote.reasoning_tokens is None
    reasoning = client.route(PROOF, models=["gpt-5-nano"]).quote.reasoning_tokens
    assert reasoning is not None
    assert 0 < reasoning.p50 <= reasoning.p90 <= reasoning.worst


def test_warnings_are_the_reasons_to_look_at(client: mitsumori.Router) -> None:
    assert client.route("What is the capital of France?", quality_target=0.1).warnings == ()
    decision = client.route(PROOF, tiers=["low"], quality_target=1.0)
    assert decision.reasons[0].code == "TARGET_NOT_REACHED"
    assert decision.warnings[0] == decision.reasons[0].text


def test_the_cost_of_a_miss_that_was_weighed_is_exact_and_absent_under_another_goal(
    client: mitsumori.Router,
) -> None:
    decision = client.route(PROOF, importance="low")
    assert decision.miss_cost is not None
    assert decision.miss_cost.nanos == round(50_000_000 * decision.complexity)
    assert client.route(PROOF, quality_target=0.5).miss_cost is None


def test_a_code_of_a_newer_server_is_its_number() -> None:
    message = router_pb2.RouteResponse()
    message.reasons.add(code=99, text="new")  # type: ignore[arg-type]
    assert Decision.of(message).reasons[0].code == "99"


def test_a_settlement_says_what_was_booked(client: mitsumori.Router) -> None:
    decision = client.route(PROOF, models=["gpt-5-nano"])
    booked = client.settle(decision.id, input_tokens=20, output_tokens=100)
    assert str(booked.spent) == "$0.000041"  # $0.05 and $0.40 per million tokens
    assert (booked.overage, booked.late, booked.repeated) == (Usd(0), False, False)
    again = client.settle(decision.id, input_tokens=20, output_tokens=100)
    assert (again.spent, again.repeated) == (booked.spent, True)


def test_a_settlement_at_the_providers_price_is_exact(client: mitsumori.Router) -> None:
    decision = client.route(PROOF, models=["gpt-5-nano"])
    cost = "0.000000001"
    booked = client.settle(decision.id, input_tokens=1, output_tokens=1, cost_usd=cost)
    assert booked.spent == Usd(1)


def test_an_outcome_that_there_is_not_is_refused(client: mitsumori.Router) -> None:
    with pytest.raises(mitsumori.InvalidArgument, match="outcome: must be one of success, error"):
        client.settle("x", input_tokens=1, output_tokens=1, outcome="late")  # type: ignore[arg-type]


def test_a_refused_call_says_code_reason_field_and_facts(client: mitsumori.Router) -> None:
    with pytest.raises(CallFailed, match="scope") as caught:
        client.route(PROOF, scope={"Team": "x"})
    error = caught.value
    assert (error.code, error.reason, error.field) == ("INVALID_ARGUMENT", "INVALID_INPUT", "scope")
    with pytest.raises(CallFailed) as caught:
        client.route(PROOF, max_price_usd="0.000000001")
    error = caught.value
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NO_ELIGIBLE_MODEL")
    assert error.metadata["over_max_price"] == "15"


def test_rerouting_leaves_out_what_failed(client: mitsumori.Router) -> None:
    first = client.route(PROOF)
    second = client.reroute(first.id, mitsumori.route_request(PROOF), failed_models=[first.model])
    assert second.model != first.model
    with pytest.raises(mitsumori.InvalidArgument, match="failed_models: write a list"):
        client.reroute(second.id, mitsumori.route_request(PROOF), failed_models=second.model)
