"""Models that are arms stand on the scale, by their attempts and by what is known of some of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.core.ability import Ability
from router.core.errors import InvalidInput
from tests.training.pooled_world import attempts
from training.histories.history import History, read_history
from training.histories.ladders import Standard, parse_arms
from training.scale.arm_placement import PRIOR_SHARE, PlacedArms, place_arms, prior_beside
from training.scale.examples import Examples
from training.scale.known_abilities import known_abilities

STANDARD = Standard(0.5)
NANO = known_abilities()["gpt-5-nano"].points


def history(folder: Path, above_nano: dict[str, float], prompts: int = 400) -> History:
    """Attempts of models of these abilities, in points above gpt-5-nano."""
    path = folder / "own.jsonl"
    abilities = {name: (NANO + more) / 100 for name, more in above_nano.items()}
    rows = attempts("own", abilities, prompts, seed=3)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_history(path)


def placed(
    one: History, published: dict[str, Ability] | None = None, **arms: str
) -> PlacedArms | None:
    return place_arms([one], [STANDARD], arms, published or {})


def test_one_known_model_places_the_others_by_their_attempts(tmp_path: Path) -> None:
    one = history(tmp_path, {"gpt-5-nano": 0.0, "acme-1": 25.0, "acme-2": 50.0})
    found = placed(one, low="gpt-5-nano", medium="acme-1", high="acme-2")
    assert found is not None
    assert found.points == pytest.approx([NANO, NANO + 25, NANO + 50], abs=14)
    assert found.abilities["acme-2"].attempts == 400
    assert "linked by gpt-5-nano" in found.notes[0]


def test_arms_stand_where_their_attempts_put_them_also_against_what_they_did_elsewhere(
    tmp_path: Path,
) -> None:
    ablest = known_abilities()["gemini-2.5-pro"].points
    one = history(tmp_path, {"gpt-5-nano": ablest - NANO, "gemini-2.5-pro": 0.0})
    found = placed(one, low="gemini-2.5-pro", high="gpt-5-nano")
    assert found is not None
    low, high = found.points
    assert high > low + 20


def test_a_known_model_links_the_arms_although_it_is_none_of_them(tmp_path: Path) -> None:
    one = history(tmp_path, {"gpt-5-nano": 0.0, "acme-1": -30.0, "acme-2": 30.0})
    found = placed(one, low="acme-1", high="acme-2")
    assert found is not None
    low, high = found.points
    assert low < NANO < high


def test_an_ability_of_the_catalog_links_too(tmp_path: Path) -> None:
    one = history(tmp_path, {"acme-1": 0.0, "acme-2": 30.0})
    published = {"self-hosted/acme-1": Ability(20.0, 5.0, "exam X, 2026-04-09")}
    assert placed(one, low="acme-1", high="acme-2") is None
    found = placed(one, published, low="acme-1", high="acme-2")
    assert found is not None
    assert found.points[0] == pytest.approx(20, abs=6)


def test_models_that_the_history_lacks_keep_the_ability_that_ships(tmp_path: Path) -> None:
    one = history(tmp_path, {"gpt-5-nano": 0.0, "acme-1": 30.0})
    found = placed(one, low="gpt-5-nano", high="acme-1")
    assert found is not None
    assert found.elsewhere["gemini-2.5-pro"] == known_abilities()["gemini-2.5-pro"]
    assert "gpt-5-nano" not in found.elsewhere


def test_arms_in_the_wrong_order_are_refused_with_the_remedy(tmp_path: Path) -> None:
    one = history(tmp_path, {"gpt-5-nano": 0.0, "acme-1": 40.0})
    with pytest.raises(
        InvalidInput,
        match=r"high \(gpt-5-nano\) is at .* below low \(acme-1\) at .*leave one of them out of --arms",
    ):
        placed(one, low="acme-1", high="gpt-5-nano")


def test_arms_that_another_order_would_mend_are_told_it(tmp_path: Path) -> None:
    one = history(tmp_path, {"gpt-5-nano": 0.0, "acme-1": 25.0, "acme-2": 50.0})
    order = "low=gpt-5-nano,medium=acme-1,high=acme-2"
    with pytest.raises(InvalidInput, match="not in ascending order of ability") as caught:
        placed(one, low="acme-2", medium="gpt-5-nano", high="acme-1")
    assert f"--arms {order} (make: ARMS={order})" in caught.value.message
    # It works.
    assert placed(one, **parse_arms(order)) is not None
    # An arm that is called by another name than a tier keeps its model.
    with pytest.raises(InvalidInput, match="--arms cheap=gpt-5-nano,able=acme-2 "):
        placed(one, able="acme-2", cheap="gpt-5-nano")


def test_an_order_that_would_not_do_either_is_not_advised(tmp_path: Path) -> None:
    rows = []
    for row in attempts("own", {"gpt-5-nano": 0.5, "acme-1": 0.9}, 60, seed=1):
        rows.append(row)
        if row["model"] == "acme-1":
            rows.append({**row, "model": "acme-2"})
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(InvalidInput, match="leave one of them out of --arms") as caught:
        placed(read_history(path), low="acme-1", medium="acme-2", high="gpt-5-nano")
    assert "ARMS=" not in caught.value.message


def test_arms_that_did_the_same_are_less_than_a_point_apart_and_refused(tmp_path: Path) -> None:
    rows = []
    for row in attempts("own", {"gpt-5-nano": 0.5, "acme-1": 0.9}, 60, seed=1):
        rows.append(row)
        if row["model"] == "acme-1":
            rows.append({**row, "model": "acme-2"})
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(
        InvalidInput,
        match=r"high \(acme-2\) is at .* less than a point above medium \(acme-1\) at",
    ):
        placed(read_history(path), low="gpt-5-nano", medium="acme-1", high="acme-2")


# --- The prior ---------------------------------------------------------------------------------


def examples(count: int, weight: float) -> Examples:
    texts = np.array([str(place) for place in range(count)], dtype=object)
    return Examples(
        texts, texts, texts, texts, np.full((count, 2), 0.5), np.full((count, 2), weight)
    )


def test_all_annotation_together_weighs_a_share_of_the_attempts() -> None:
    prior, share = prior_beside(examples(100, 1.0), examples(1_000, 8.0))
    assert prior.weight.sum() == pytest.approx(PRIOR_SHARE * 200)
    assert share == pytest.approx(PRIOR_SHARE * 200 / 16_000)


def test_with_many_attempts_a_request_weighs_no_more_than_where_histories_are_pooled() -> None:
    prior, share = prior_beside(examples(100_000, 1.0), examples(10, 8.0))
    assert share == 1.0
    assert (prior.weight == 8.0).all()
