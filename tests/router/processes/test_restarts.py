"""How often a process that dies is started again."""

from __future__ import annotations

import pytest

from router.processes.restarts import restart_delay


def test_a_process_that_dies_is_started_at_once() -> None:
    assert restart_delay([1_000.0]) == 0.0


@pytest.mark.parametrize(
    ("deaths", "delay"), [(1, 0.0), (2, 0.5), (3, 1.0), (4, 2.0), (5, None), (6, None)]
)
def test_each_further_death_within_a_minute_makes_it_wait_longer_and_the_fifth_is_the_last(
    deaths: int, delay: float | None
) -> None:
    assert restart_delay([1_000.0 + number for number in range(deaths)]) == delay


def test_deaths_of_more_than_a_minute_ago_are_forgotten() -> None:
    assert restart_delay([0.0, 1.0, 2.0, 3.0, 60.0]) is None
    assert restart_delay([0.0, 1.0, 2.0, 3.0, 60.5]) == 2.0
    assert restart_delay([0.0, 1.0, 2.0, 3.0, 120.0]) == 0.0
