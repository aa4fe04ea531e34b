"""The coverage that the benchmark of latencies measures, on little traffic."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from benchmarks import latencies
from benchmarks.latencies import CATALOG, MODEL, Coverage, Traffic, offered
from router.core.corrections import Corrections
from router.core.latency import learn_timings


@pytest.mark.parametrize("streams", [True, False])
def test_about_nine_in_ten_calls_are_within_the_learned_90th_percentile(streams: bool) -> None:
    calls = list(chain.from_iterable(some for _, some in Traffic(20, streams=streams).hours()))
    before, after = calls[:2_000], calls[2_000:2_600]
    timings = learn_timings(before, {MODEL.id: CATALOG}, Corrections())
    found, plain = Coverage(), Coverage()
    for call in after:
        found.add(call, offered(call, MODEL, Corrections(timings=timings)))
        plain.add(call, offered(call, MODEL, Corrections()))
    assert 0.45 <= found.whole_p50 / found.calls <= 0.55
    assert 0.85 <= found.whole_p90 / found.calls <= 0.95
    assert plain.whole_p90 / plain.calls < 0.75
    assert found.first_calls == (600 if streams else 0)
    assert not streams or 0.85 <= found.first_p90 / found.first_calls <= 0.95


def test_without_histories_there_are_no_real_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latencies, "HISTORIES", tmp_path)
    assert list(latencies.real_calls()) == []
