"""Lanes: threads, tables and queues of each service, so that none keeps another from answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass

from router.logs import logger
from router.routing.background_jobs import PeriodicJob
from router.rpc.open_calls import OpenCalls
from router.rpc.service_names import ADMIN, HEALTH, ROUTER
from router.rpc.work_queue import WorkQueue
from router.settings import Settings

__all__ = ["LANE_LOOK_S", "Lane", "lane_job", "lanes_of"]

_SPARE_THREADS = 32
"""For calls that have left a table and not yet come to the next, or have ended and not yet gone."""
_ADMIN_SLOTS = 2
_ADMIN_WAIT_S = 5.0
_FEW_CALLS = 32
"""Calls of administration and reflection that may wait for their message, and streams, also of health."""
LANE_LOOK_S = 0.5
"""Seconds between two looks at the calls of all lanes. Each look logs two lines per lane at most."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What the calls of one service share.

    Attributes:
        name: of the lane.
        threads: that run its calls: enough for all that may be open at once.
        calls: that wait for their message.
        streams: that are open.
        work: the slots for work; ``None``: its calls take no time.
    """

    name: str
    threads: futures.ThreadPoolExecutor
    calls: OpenCalls
    streams: OpenCalls
    work: WorkQueue | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return 0 if self.work is None else self.work.waiting

    def close(self) -> None:
        """End the threads once the last calls have ended."""
        self.threads.shutdown(wait=False)


def _lane(
    name: str, settings: Settings, calls: int, streams: int, work: WorkQueue | None = None
) -> Lane:
    in_tables = 2 * (calls + streams)  # as many may wait for a place
    threads = in_tables + _SPARE_THREADS + (0 if work is None else work.most_threads)
    return Lane(
        name,
        futures.ThreadPoolExecutor(threads, thread_name_prefix=name),
        OpenCalls(calls, settings.message_wait_s),
        OpenCalls(streams, settings.stream_idle_s),
        work,
    )


def lanes_of(settings: Settings) -> Mapping[str, Lane]:
    """The lanes by full name of the service; that of the empty name is for every other service."""
    few = _FEW_CALLS
    return {
        ROUTER: _lane(
            "route",
            settings,
            settings.max_waiting_calls,
            settings.max_streams,
            WorkQueue(settings.workers, settings.queue_wait_s),
        ),
        ADMIN: _lane("admin", settings, few, few, WorkQueue(_ADMIN_SLOTS, _ADMIN_WAIT_S)),
        HEALTH: _lane("health", settings, settings.max_waiting_calls, few),
        "": _lane("other", settings, few, few),
    }


def lane_job(lanes: Sequence[Lane]) -> PeriodicJob:
    """Cut off calls that have waited too long; log how many were cut off or refused since the last look."""
    told = [(0, 0)] * len(lanes)

    def look() -> None:
        for index, lane in enumerate(lanes):
            lane.calls.cut_overdue()
            lane.streams.cut_overdue()
            cut = lane.calls.cut + lane.streams.cut
            refused = 0 if lane.work is None else lane.work.refused
            cut_before, refused_before = told[index]
            told[index] = cut, refused
            if cut > cut_before:
                logger().warning("cut_off", lane=lane.name, calls=cut - cut_before)
            if refused > refused_before:
                logger().warning("overloaded", lane=lane.name, refused=refused - refused_before)

    return PeriodicJob("lanes", LANE_LOOK_S, look)
