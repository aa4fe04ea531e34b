"""`mitsumori replay`: tables for people, JSON for programs, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from router.cli.commands.replay_command import _cell
from router.cli.main import app
from router.core.errors import InvalidInput
from router.core.off_policy import Interval
from router.ledger.sqlite.ledger import SqliteLedger
from router.paths import MODELS
from tests.router.decision_log.builders import (
    exported,
    invoke,
)

OTHER = MODELS / "bundles" / "multilingual"


def output_of(*words: str) -> dict[str, Any]:
    result = invoke(*words, "--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_another_bundle_moves_decisions_and_certainty_gets_a_caution(
    ledger: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    path, open_one = ledger
    found = output_of(f"sqlite:{path}", "--bundle", str(OTHER))
    assert (found["read"], found["replayed"]) == (48, 48)
    assert found["bundle"].startswith("mitsumori-multilingual@")
    assert set(found["estimates"]) == {"quality", "adequate", "cost_usd"}
    known = found["overlap"]
    assert known["deterministic"] == 1.0
    assert known["uncovered"] == pytest.approx(1 - known["agreement"])
    assert sum(move["decisions"] for move in found["moves"]) == round(48 * known["uncovered"])
    if found["moves"]:
        assert any("propensity 1" in line for line in found["cautions"])
    assert found == output_of(str(exported(open_one, tmp_path / "log.csv")), "--bundle", str(OTHER))


def test_people_read_a_table_with_cautions_and_notes(ledger: tuple[Path, SqliteLedger]) -> None:
    result = CliRunner().invoke(
        app, ["replay", f"sqlite:{ledger[0]}", "--quality-target", "0.3"], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0
    for words in ("mean quality", "new: dr", "agreement", "moved: ", "caution: ", "note: "):
        assert words in result.output


def test_a_thin_log_is_said_before_the_figures(ledger: tuple[Path, SqliteLedger]) -> None:
    shown = invoke(f"sqlite:{ledger[0]}", "--quality-target", "0.3").output
    assert 0 <= shown.index("caution: ") < shown.index("mean quality") < shown.index("note: ")


def test_a_difference_that_is_only_noise_of_floats_is_zero() -> None:
    noise = Interval(1.73e-18, -1e-19, 0.25)
    assert _cell("cost_usd", noise, signed=True) == "0 (0 … 0.25)"
    assert _cell("quality", noise, signed=True) == "0.000 (0.000 … 0.250)"
    small = Interval(2e-9, -1e-9, 0.0)
    assert _cell("cost_usd", small, signed=True) == "+2e-09 (-1e-09 … 0)"
    assert _cell("cost_usd", replace(small, value=-2e-9), signed=True) == "-2e-09 (-1e-09 … 0)"


def test_no_figure_of_the_table_is_cut_off(ledger: tuple[Path, SqliteLedger]) -> None:
    def figures(**terminal: str) -> list[str]:
        words = ["replay", f"sqlite:{ledger[0]}", "--quality-target", "0.3"]
        shown = CliRunner().invoke(app, words, env={"TERM": "xterm", "NO_COLOR": "1", **terminal})
        return sorted(re.findall(r"[-+.\de]+ \([-.\de]+ … [-.\de]+\)", shown.output))

    whole = figures(COLUMNS="300", FORCE_COLOR="1")
    assert len(whole) == 15
    assert figures(COLUMNS="80") == figures(COLUMNS="80", FORCE_COLOR="1") == whole


def test_a_wrong_goal_is_named(ledger: tuple[Path, SqliteLedger]) -> None:
    log = f"sqlite:{ledger[0]}"
    with pytest.raises(InvalidInput, match="not both"):
        invoke(log, "--quality-target", "0.5", "--willingness-to-pay", "1")
    refused = invoke(log, "--quality-target", "nan")
    assert refused.exit_code == 2
    assert "--quality-target" in refused.output
    with pytest.raises(InvalidInput, match="give --quality-target or --miss-cost, not both"):
        invoke(log, "--quality-target", "0.5", "--miss-cost", "1")
    with pytest.raises(InvalidInput, match="--miss-cost: 'much' is not an amount"):
        invoke(log, "--miss-cost", "much")
    found = output_of(log, "--willingness-to-pay", "0.5")
    assert found["replayed"] == 48


def test_the_goal_of_a_replay_can_be_the_cost_of_a_miss(
    ledger: tuple[Path, SqliteLedger],
) -> None:
    log = f"sqlite:{ledger[0]}"
    # The log was made at the default goal, 25 cents a miss.
    assert output_of(log, "--miss-cost", "0.25")["moves"] == []
    assert output_of(log, "--willingness-to-pay", "0.25")["moves"] != []
    assert output_of(log, "--miss-cost", "0")["moves"] != []


def test_the_regret_of_a_target_that_nobody_reaches_can_be_tried(
    ledger: tuple[Path, SqliteLedger],
) -> None:
    log = f"sqlite:{ledger[0]}"
    strict = output_of(log, "--quality-target", "1", "--target-regret", "0")
    easy = output_of(log, "--quality-target", "1", "--target-regret", "1")
    assert (
        easy["estimates"]["cost_usd"]["dr"]["value"]
        < strict["estimates"]["cost_usd"]["dr"]["value"]
    )
