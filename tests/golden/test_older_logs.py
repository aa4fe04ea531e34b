"""A ledger and its exports, written when records had no version yet, still read everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from router.cli.main import app as mitsumori
from router.core.corrections import Observation
from router.core.types import Lengths
from router.decision_log.observation import newest_settled, observation_of
from router.decision_log.reader import LoggedDecision, read_log
from router.ledger.sqlite.ledger import SqliteLedger
from router.paths import MODELS
from tests.training.commands.test_import_command import run
from training.cli import app as training
from training.histories.history import read_history

GOLDEN = Path(__file__).parent / "decision_records"
OTHER = MODELS / "bundles" / "multilingual"
SOURCES = ("v0_ledger.sqlite", "v0_log.csv", "v0_log.jsonl", "v0_log.parquet")


@pytest.fixture(params=SOURCES)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address of the log; of the ledger a copy, for reading may write beside it."""
    copy = tmp_path / request.param
    shutil.copy(GOLDEN / request.param, copy)
    return f"sqlite:{copy}" if copy.suffix == ".sqlite" else str(copy)


def output_of(app: Any, *words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


def test_every_row_reads_the_same_from_the_ledger_and_its_exports(log: str, tmp_path: Path) -> None:
    ledger = tmp_path / "wanted.sqlite"
    shutil.copy(GOLDEN / "v0_ledger.sqlite", ledger)
    wanted = list(read_log(f"sqlite:{ledger}"))
    rows = [row for row in read_log(log) if isinstance(row, LoggedDecision)]
    assert rows == wanted
    assert [row.id for row in rows] == ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]
    kinds = ("off", "hash", "embedding", "redacted", "text", "text", "text")
    assert tuple(row.record.prompt_log for row in rows) == kinds
    assert [row.state for row in rows] == ["settled"] * 5 + ["expired", "settled"]


def test_replay_makes_them_anew_with_another_bundle(log: str) -> None:
    found = output_of(mitsumori, "replay", log, "--bundle", str(OTHER))
    assert (found["read"], found["replayed"]) == (7, 2)
    assert found["left_out"] == {
        "nothing of the prompt was kept": 1,
        "only a hash of the prompt was kept": 1,
        "the vector comes from another encoder": 1,
        "not settled": 1,
        "the call failed": 1,
    }


def test_drift_counts_them(log: str) -> None:
    found = output_of(training, "drift", "--recent", log)
    assert "7 decisions read, 7 distinct prompts" in found["notes"]


def test_import_takes_the_texts(log: str, tmp_path: Path) -> None:
    out = tmp_path / "history.parquet"
    assert run("--from", "decisions", log, "--out", out).exit_code == 0
    attempts = read_history(out).attempts
    assert attempts["prompt"].tolist() == ["Mail [email] about the invoice.", "Name three rivers."]
    assert attempts["quality"].tolist() == [1.0, 1.0]
    assert attempts["output_tokens"].tolist() == [120, 120]


def test_corrections_learn_from_them(tmp_path: Path) -> None:
    copy = tmp_path / "ledger.sqlite"
    shutil.copy(GOLDEN / "v0_ledger.sqlite", copy)
    store = SqliteLedger(copy)
    allowances = {"gpt-6.1-terra": Lengths(130.0, 1200.0, 5600.0)}
    rows = [observation_of(row, allowances) for row in newest_settled(store, 100)]
    found = [each for each in rows if each is not None]
    store.close()
    models = ("gpt-5-nano", "gpt-6.1-terra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6.1-terra")
    assert tuple(each.model for each in found) == models
    labels = {"team": "search", "user": "u1", "provider": "openai", "tier": "medium"}
    assert found[3] == Observation(
        model="gpt-6.1-terra",
        scope={**labels, "model": "gpt-6.1-terra"},
        counted=16,
        exact=False,
        input_tokens=31,
        p50=177.9,
        p90=1350.5,
        mean=pytest.approx(656.2419668),
        quoted_p50=178,
        quoted_p90=500,
        cap=500,
        output_tokens=120,
    )
