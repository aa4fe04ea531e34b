"""What the environment says becomes a history and a bundle, or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.core.errors import InvalidInput
from router.paths import DEFAULT_BUNDLE
from training.histories.demonstration import ARMS
from training.simulation.workbench import open_workbench

ROWS = "prompt,model,quality,output_tokens\n" + "".join(
    f"question {n},{model},{quality},{tokens}\n"
    for n in range(40)
    for model, quality, tokens in (("a", n % 2, 50), ("b", 1, 100))
)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def test_without_a_setting_it_is_the_demonstration() -> None:
    bench = open_workbench({})
    assert bench.demonstration
    assert bench.table.outcomes.arms == tuple(ARMS)
    assert bench.directory == open_workbench({}).directory


def test_a_history_with_arms_and_prices(history: Path) -> None:
    told = {"HISTORY": str(history), "ARMS": "weak=a,strong=b", "PRICES": "a=1,2 b=3,4"}
    bench = open_workbench(told)
    assert not bench.demonstration
    assert bench.table.outcomes.arms == ("weak", "strong")
    assert bench.table.rates["strong"] is not None
    assert (bench.table.outcomes.cost_nanos > 0).all()
    swapped = open_workbench({**told, "ARMS": "weak=b,strong=a"})
    assert swapped.directory != bench.directory


def test_a_bundle_is_looked_at_as_it_is(history: Path) -> None:
    told = {
        "HISTORY": str(history), "ARMS": "low=a,high=b", "PRICES": "low=1,2 high=3,4",
        "BUNDLE": str(DEFAULT_BUNDLE),
    }  # fmt: skip
    bench = open_workbench(told)
    assert bench.directory == DEFAULT_BUNDLE
    assert bench.unseen.predicted.predictions.first.shape == (40, 2)
    with pytest.raises(InvalidInput, match="has no arm weak"):
        _ = open_workbench({**told, "ARMS": "weak=a,high=b", "PRICES": "weak=1,2 b=3,4"}).unseen


@pytest.mark.parametrize("name", ["HISTORY", "BUNDLE"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name}=nowhere.parquet: there is no such file"):
        open_workbench({name: "nowhere.parquet"})
