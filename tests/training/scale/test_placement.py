"""Which histories are linked to the scale of ability."""

from __future__ import annotations

import json
from pathlib import Path

from training.histories.history import History, read_history
from training.scale.placement import unlinked_histories


def history(folder: Path, name: str, *models: str) -> History:
    path = folder / f"{name}.jsonl"
    rows = [{"prompt": "p", "model": model, "quality": 1.0} for model in models]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_history(path)


def test_a_history_is_linked_by_a_model_whose_ability_ships(tmp_path: Path) -> None:
    linked = history(tmp_path, "linked", "meta-llama/Llama-3.1-8B-Instruct", "ours")
    assert unlinked_histories([linked]) == ()


def test_or_by_a_model_that_it_shares_with_one_that_is_linked(tmp_path: Path) -> None:
    linked = history(tmp_path, "linked", "gpt-5-nano", "ours")
    through = history(tmp_path, "through", "ours", "another")
    further = history(tmp_path, "further", "another", "last")
    assert unlinked_histories([further, through, linked]) == ()


def test_histories_that_share_models_with_each_other_alone_are_not(tmp_path: Path) -> None:
    linked = history(tmp_path, "linked", "gpt-5-nano")
    one, other = history(tmp_path, "one", "x", "y"), history(tmp_path, "other", "y", "z")
    assert unlinked_histories([one, linked, other]) == ("one", "other")
