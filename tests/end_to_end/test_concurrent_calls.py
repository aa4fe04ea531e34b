"""A request is sent again while the first one is still on its way: the same answer, not a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

import mitsumori
from mitsumori import CallFailed, route_request
from mitsumori.money import nanos_of
from mitsumori.v1 import limit_pb2
from router.core.limits import LimitState
from router.ledger.memory import MemoryLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import start
from router.settings import Settings
from tests.conftest import NOON
from tests.readiness import PATIENCE_S

NANO = "gpt-5-nano"


class SlowLedger(MemoryLedger):
    """Something happens between looking up a request and looking at the balances for it."""

    meanwhile: Callable[[], object] | None = None

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return super().view(options)


@pytest.fixture
def ledger() -> SlowLedger:
    return SlowLedger(clock=lambda: NOON)


@pytest.fixture
def shop(
    ledger: SlowLedger, settings: Settings, router: Router
) -> Iterator[tuple[mitsumori.Router, mitsumori.Admin]]:
    running = start(settings, build_reservations(settings, router, ledger))
    running.mark_serving()
    with (
        mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client,
        mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin,
    ):
        yield client, admin
    running.drain()


def test_a_retry_that_its_own_first_try_overtakes_gets_the_same_answer(
    shop: tuple[mitsumori.Router, mitsumori.Admin], ledger: SlowLedger
) -> None:
    client, admin = shop
    request = route_request("What is 2 + 2?", models=[NANO])
    (quoted, _) = client.quote_batch([request])
    price = nanos_of(quoted.response.chosen.quote.price.high)
    admin.set_limit(
        limit_pb2.Limit(  # room for one
            limit_id="tight", unit=limit_pb2.UNIT_MONEY, window=limit_pb2.WINDOW_MONTH, hard=price
        )
    )
    first = []
    ledger.meanwhile = lambda: first.append(client.send(request))
    assert [client.send(request)] == first


def test_a_reroute_that_its_own_first_try_overtakes_gets_the_same_answer(
    shop: tuple[mitsumori.Router, mitsumori.Admin], ledger: SlowLedger
) -> None:
    client, _ = shop
    failed = client.route("What is 2 + 2?")
    request = route_request("What is 2 + 2?")
    first = []
    ledger.meanwhile = lambda: first.append(client.reroute(failed.id, request))
    assert [client.reroute(failed.id, request)] == first


def test_a_refusal_that_is_nobodys_own_fault_stays_one(
    shop: tuple[mitsumori.Router, mitsumori.Admin],
) -> None:
    client, admin = shop
    admin.set_limit(
        limit_pb2.Limit(
            limit_id="nothing", unit=limit_pb2.UNIT_MONEY, window=limit_pb2.WINDOW_MONTH, hard=0
        )
    )
    for request_id in ("named", ""):
        request = route_request("What is 2 + 2?", request_id=request_id)
        request.request_id = request_id
        with pytest.raises(CallFailed) as caught:
            client.send(request)
        assert caught.value.reason == "LIMIT_NEVER_FITS"
