"""The short version of ``make soak``: what it counts, and that nothing is opened and left open."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import SAMPLES, figures, main, soaked
from router.core.errors import InvalidInput


@pytest.mark.slow
def test_every_call_of_a_short_soak_is_answered_and_no_descriptor_stays_open(
    tmp_path: Path,
) -> None:
    found = soaked(1_000, tmp_path)
    assert found.failed == {}
    assert found.decisions == 500
    assert [one.calls for one in found.samples] == [10 * n for n in range(1, SAMPLES + 1)]
    values = {figure.name: figure for figure in figures(found)}
    assert values["most descriptors opened since"].holds
    assert values["longest write-ahead log"].holds
    assert values["ledger per decision"].value == found.ledger_bytes / 500


def test_a_soak_too_short_to_measure_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidInput, match="--calls: '5' is not a number of 100"):
        main(["--calls", "5"])
