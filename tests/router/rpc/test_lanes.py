"""Each service has threads, tables and slots of its own."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any

import pytest
import structlog

from router.core.errors import Throttled
from router.rpc.lanes import LANE_LOOK_S, Lane, lane_job, lanes_of
from router.rpc.work_queue import Priority, WorkQueue
from router.settings import Settings

Log = list[structlog.typing.EventDict]


class Caller:
    """A caller who waits without a deadline."""

    def is_active(self) -> bool:
        return True

    def time_remaining(self) -> float | None:
        return None

    def add_callback(self, callback: Any) -> bool:
        return True

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1"

    def cancel(self) -> None:
        pass


def test_no_service_shares_threads_or_slots_with_another() -> None:
    lanes = lanes_of(Settings())
    assert set(lanes) == {
        "mitsumori.v1.RouterService", "mitsumori.v1.AdminService", "grpc.health.v1.Health", "",
    }  # fmt: skip
    for shared in ("threads", "calls", "streams"):
        assert len({id(getattr(lane, shared)) for lane in lanes.values()}) == len(lanes)
    assert lanes["grpc.health.v1.Health"].work is None  # it never queues
    slots = [lane.work for lane in lanes.values() if lane.work is not None]
    assert len({id(each) for each in slots}) == 2


def lane_of(**settings: Any) -> Lane:
    return lanes_of(Settings(**settings))["mitsumori.v1.RouterService"]


def test_where_nothing_is_refused_or_cut_off_nothing_is_logged(log: Log) -> None:
    job = lane_job([*lanes_of(Settings()).values()])
    for _ in range(3):
        job.do()
    assert log == []


def test_however_many_are_refused_between_two_looks_one_line_says_how_many(log: Log) -> None:
    work = WorkQueue(slots=1, wait_limit_s=1.0, most=0)
    job = lane_job([dataclasses.replace(lane_of(), work=work)])
    work.enter("kind", Priority.INTERACTIVE, Caller())
    for _ in range(1_000):
        assert work.refusal(Priority.INTERACTIVE) is not None
    with pytest.raises(Throttled):
        work.enter("kind", Priority.INTERACTIVE, Caller())
    job.do()
    job.do()  # nothing has happened since
    work.refusal(Priority.INTERACTIVE)
    job.do()
    line = {"event": "overloaded", "log_level": "warning", "lane": "route"}
    assert log == [{**line, "refused": 1_001}, {**line, "refused": 1}]


def test_however_many_are_cut_off_between_two_looks_one_line_says_how_many(log: Log) -> None:
    lane = lane_of(max_waiting_calls=1, max_streams=1, message_wait_s=1e-9, stream_idle_s=1e-9)
    job = lane_job([lane])
    with ExitStack() as opened:
        for _ in range(100):  # each but the first in the place of the one before
            opened.enter_context(lane.calls.entered(Caller()))
            opened.enter_context(lane.streams.entered(Caller()))
        job.do()  # cuts off the two that are left
        job.do()
    assert log == [{"event": "cut_off", "log_level": "warning", "lane": "route", "calls": 200}]


def test_lines_about_overload_come_at_most_twice_a_second_for_each_lane() -> None:
    assert lane_job([]).every_s == LANE_LOOK_S == 0.5
