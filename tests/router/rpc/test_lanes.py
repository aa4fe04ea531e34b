"""Each service has threads, tables and slots of its own."""

from __future__ import annotations

from router.rpc.lanes import lanes_of
from router.settings import Settings


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
