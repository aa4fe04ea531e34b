"""A short benchmark of the service: every figure is there, and none is judged that depends on the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import PARTS
from benchmarks.everyday_calls import Prompts
from benchmarks.http_router import ENCODER_KINDS, available_kind
from benchmarks.report import Figure, write_report
from benchmarks.service import SHARE_OF_EMPTY, WITH_TARGET, Plan, inside_ms, measure
from mitsumori.v1 import router_pb2

SHORT = Plan(
    rounds=1,
    seconds=0.2,
    in_flight=(1, WITH_TARGET),
    starts=1,
    open_loop=(0.3,),
    tries=1,
    encoder="onnxruntime",
)


@pytest.mark.slow
def test_a_short_benchmark_has_every_figure_beside_its_baseline() -> None:
    found = {figure.name: figure for figure in measure(SHORT)}
    service = "Route, SQLite, two limits"
    for in_flight in SHORT.in_flight:
        for name in (
            f"baseline: empty call, {in_flight} in flight",
            f"baseline: Route, memory, no limits, {in_flight} in flight",
            f"{service}, {in_flight} in flight",
            f"{service}, two processes, {in_flight} in flight",
        ):
            assert found[name].value > 0, name
        share = found[f"{service}, {in_flight} in flight, over empty calls"].value
        empty = found[f"baseline: empty call, {in_flight} in flight"].value
        assert share == found[f"{service}, {in_flight} in flight"].value / empty
    assert found["calls without a good answer"].value == 0
    assert found["calls without a good answer"].holds
    with_target = {
        name.split(" after ")[0]: figure.target for name, figure in found.items() if figure.target
    }
    assert with_target == {
        f"{service}, 32 in flight, over empty calls": SHARE_OF_EMPTY[1],
        f"{service}, two processes, 32 in flight, over empty calls": SHARE_OF_EMPTY[2],
        "Route adds to features + encode + classify, hold included, one in flight, p50": 1.2,
        f"{service}, best rate, over FastAPI + onnxruntime + scikit-learn": 20.0,
        "ready": 2.0,
        "resident when ready": 250.0,
        "resident": 250.0,
    }


def test_the_benchmark_can_be_asked_for_by_name() -> None:
    assert PARTS["service"] is measure
    assert available_kind() in ENCODER_KINDS


def test_no_two_calls_have_the_same_prompt_or_the_same_id() -> None:
    prompts = Prompts()
    asked = [router_pb2.RouteRequest.FromString(prompts.route().message or b"") for _ in range(500)]
    assert len({request.prompt.text for request in asked}) == 500
    assert len({request.request_id for request in asked}) == 500
    posted = [json.loads(prompts.posted()) for _ in range(100)]
    assert not {body["prompt"] for body in posted} & {request.prompt.text for request in asked}


def test_the_time_that_a_server_says_it_took_is_read_from_its_trailers() -> None:
    assert inside_ms(b"\0\rserver-timing\x13route;dur=12.375\0\x0bgrpc-status\x010") == 12.375
    assert inside_ms(b"\0\x0bgrpc-status\x010") is None


def test_a_report_can_be_printed_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    figures = [
        Figure("rate", 9.0, "calls/s", 10.0, ">="),
        Figure("baseline: rate", 20.0, "calls/s"),
    ]
    assert not write_report("some", figures, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "build/reports/some.json").read_text())
    assert [(row["figure"], row["holds"]) for row in printed] == [
        ("rate", False),
        ("baseline: rate", None),
    ]
