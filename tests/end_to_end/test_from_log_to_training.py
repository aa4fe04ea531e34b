"""From a server's traffic to a history that training accepts, and to a replay with another bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from mitsumori import Router
from router.cli.demo import PROMPTS, serving
from router.cli.main import app as mitsumori
from router.paths import MODELS
from tests.readiness import PATIENCE_S
from training.cli import app as training
from training.histories.history import read_history
from training.histories.ladders import Ladder
from training.histories.outcome_table import ReadOptions, tabulate

EMAIL = "canary.4711@example.co.jp"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A ledger and an export of it, after a server answered, and was told how the answers were."""
    folder = tmp_path_factory.mktemp("served")
    config = folder / "settings.yaml"
    config.write_text("log_prompts: text\n")
    ledger, log = folder / "ledger.sqlite", folder / "log.parquet"
    texts = [f"{text[:500]} ({n})" for n in range(4) for _, text in PROMPTS]
    with (
        serving("--config", str(config), "--ledger", f"sqlite:{ledger}") as (address, _),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        for place, text in enumerate([*texts, f"Write to {EMAIL}, please."]):
            decision = client.route(text, scope={"team": "search", "user": "u1"})
            client.settle(
                decision.id, input_tokens=40, output_tokens=90, quality=float(place % 3 > 0)
            )
        client.route("Never answered")
        words = ["decisions", "--server", address, "--out", str(log)]
        assert CliRunner().invoke(mitsumori, words).exit_code == 0
    return ledger, log


@pytest.mark.parametrize("source", ["ledger", "export"])
def test_traffic_becomes_a_history_that_training_accepts(
    source: str, served: tuple[Path, Path], tmp_path: Path
) -> None:
    ledger, log = served
    out = tmp_path / "history.parquet"
    address = f"sqlite:{ledger}" if source == "ledger" else str(log)
    words = ["import", "--from", "decisions", address, "--out", str(out), "--json"]
    summary = json.loads(CliRunner().invoke(training, words, catch_exceptions=False).stdout)
    count = 4 * len(PROMPTS) + 1
    assert (summary["attempts"], summary["judged"], summary["with_propensity"]) == (count,) * 3
    assert [(one["rows"], one["remedy"]) for one in summary["left_out"]] == [
        (1, "settle the calls that were answered")
    ]
    assert EMAIL.encode() not in out.read_bytes()
    assert EMAIL not in pd.read_parquet(out).to_json()
    history = read_history(out)
    assert history.attempts["prompt"].iloc[-1] == "Write to [email], please."
    assert set(history.attempts["user"]) == {"u1"}
    ladder = Ladder({name: name for name in history.models}, 0.5, None, "")
    outcomes, _, _ = tabulate(history, ladder, history.models, ReadOptions())
    assert len(outcomes) == count
    assert outcomes.judged.sum() == count
    assert (outcomes.cost_nanos[outcomes.judged] > 0).all()
    assert outcomes.propensity is not None


def test_the_same_traffic_is_replayed_with_another_bundle(served: tuple[Path, Path]) -> None:
    ledger, log = served
    words = ["--bundle", str(MODELS / "bundles" / "multilingual"), "--json"]
    told = [
        json.loads(
            CliRunner().invoke(mitsumori, ["replay", source, *words], catch_exceptions=False).stdout
        )
        for source in (f"sqlite:{ledger}", str(log))
    ]
    assert told[0] == told[1]
    (found, _) = told
    count = 4 * len(PROMPTS) + 1
    assert (found["read"], found["replayed"]) == (count + 1, count)
    assert found["left_out"] == {"not settled": 1}
    assert found["overlap"]["deterministic"] == 1.0
    assert found["estimates"]["quality"]["logged"]["value"] == pytest.approx(2 / 3, abs=0.02)
    assert found["cautions"]
