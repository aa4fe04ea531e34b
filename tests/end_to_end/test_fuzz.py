"""The short version of ``make fuzz``: nothing that is sent ends the server, or an error without a name."""

from __future__ import annotations

import random

import pytest

from benchmarks.fuzz.__main__ import figures, fuzzed, main
from benchmarks.fuzz.frames import connection_of
from benchmarks.fuzz.messages import proper_calls, spoiled
from router.core.errors import InvalidInput


@pytest.mark.slow
def test_damaged_frames_and_messages_end_no_server_and_are_refused_by_name() -> None:
    found = fuzzed(2_000, 1_000, seed=31)
    assert (found.crashed, found.failures, dict(found.unanswered)) == (0, [], {})
    assert all(figure.holds is not False for figure in figures(found))
    assert found.frames >= 2_000
    assert found.statuses.total() == 1_000
    assert {"OK", "INVALID_ARGUMENT"} <= set(found.statuses)


def test_the_seed_determines_what_is_sent() -> None:
    def sent(seed: int) -> tuple[bytes, bytes]:
        dice = random.Random(seed)
        calls = proper_calls()
        frames = connection_of(calls, "mk_key", dice)
        return b"".join(frame.bytes() for frame in frames), spoiled(calls[0][1], dice)

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_a_negative_count_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidInput, match="--frames: '-1' is not a number of 0"):
        main(["--frames", "-1"])
