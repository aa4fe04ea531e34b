from __future__ import annotations

import pytest

from router.core.plurals import counted


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_200, "1,200 rows")]
)
def test_one_is_singular(count: int, text: str) -> None:
    assert counted(count, "row") == text


def test_a_verb_goes_with_its_noun() -> None:
    assert counted(1, "row was", "rows were") == "1 row was"
    assert counted(3, "row was", "rows were") == "3 rows were"
