from __future__ import annotations

import pytest

from router.core.conformal import conformal_rank


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    [
        (1, 0.5, 1),
        (3, 0.5, 2),  # (3 + 1) / 2: the one in the middle
        (4, 0.5, 3),  # 2.5, rounded up
        (9, 0.9, 9),
        (19, 0.9, 18),
        (20, 0.9, 19),  # 18.9, rounded up
        (8, 0.9, 8),  # 8.1 would be the ninth of eight: the greatest there is
        (99, 0.99, 99),
        (199, 0.99, 198),
    ],
)
def test_the_rank_that_a_new_score_stays_within(count: int, level: float, rank: int) -> None:
    assert conformal_rank(count, level) == rank
