"""The service's own decision log becomes a history: what was kept decides what can be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.core.errors import InvalidInput
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from tests.router.decision_log.builders import (
    exported,
    fill,
    logged,
    prompts,
    with_record,
    with_usage_of,
)
from tests.training.commands.test_import_command import imported, run
from training.histories.log_import import decisions
from training.histories.log_import.row_adapters import ExcludedRow, LoggedAttempt, Options


def ledger_of(router: Router, folder: Path, kind: str, count: int = 12) -> SqliteLedger:
    made = SqliteLedger(folder / "ledger.sqlite")
    fill(made, router, prompts(count), log_prompts=kind, prompt_key="k")
    return made


def test_a_ledger_in_use_and_its_export_give_the_same_history(
    router: Router, tmp_path: Path
) -> None:
    made = ledger_of(router, tmp_path, "text")
    log = exported(made, tmp_path / "log.csv")
    _, of_file = imported("decisions", log)
    out = tmp_path / "direct.parquet"
    assert (
        run("--from", "decisions", f"sqlite:{tmp_path}/ledger.sqlite", "--out", out).exit_code == 0
    )
    made.close()
    assert (tmp_path / "out" / "history.parquet").read_bytes() == out.read_bytes()
    assert len(of_file) == 12
    # As the classifier read them: without the system message.
    assert of_file["prompt"].tolist() == prompts(12)
    assert set(of_file["propensity"]) == {1.0}
    assert of_file["quality"].isin([0.0, 1.0]).all()
    assert (of_file["cost_usd"] > 0).all()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("off", "nothing of the prompt was kept"),
        ("hash", "only a hash of the prompt was kept"),
        ("embedding", "only the prompt's vector was kept"),
    ],
)
def test_what_cannot_be_trained_on_is_counted_and_the_remedy_named(
    kind: str, words: str, router: Router, tmp_path: Path
) -> None:
    ledger_of(router, tmp_path, kind, 5).close()
    with pytest.raises(InvalidInput) as caught:
        run(
            "--from",
            "decisions",
            f"sqlite:{tmp_path}/ledger.sqlite",
            "--out",
            tmp_path / "h.parquet",
        )
    assert f"of 5 rows: 5: {words}" in caught.value.message
    assert "set log_prompts to redacted or text" in caught.value.message


def adapted(monkeypatch: pytest.MonkeyPatch, *rows: Any) -> list[Any]:
    monkeypatch.setattr(decisions, "read_log", lambda source: iter(rows))
    return [one for _, one in decisions.adapted_rows(["log"], Options())]


def test_only_what_happened_is_an_attempt(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = logged(router, prompts(1), log_prompts="text")
    chosen = row.record.chosen.model
    good, held, failed, elsewhere, unjudged = adapted(
        monkeypatch,
        row,
        replace(row, state="held"),
        with_usage_of(row, outcome="error"),
        with_usage_of(row, model="another"),
        with_usage_of(row, quality=None),
    )
    assert isinstance(good, LoggedAttempt)
    assert (good.values["model"], good.values["propensity"]) == (chosen, 1.0)
    assert isinstance(held, ExcludedRow)
    assert held.reason.startswith("held")
    assert failed == ExcludedRow(3, "the call failed (error)")
    # The probability is of the router's choice, not of the caller's own.
    assert (elsewhere.values["model"], elsewhere.values["propensity"]) == ("another", None)
    assert unjudged.values["quality"] is None


def test_a_choice_made_again_after_a_limit_filled_up_has_no_propensity(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = logged(router, prompts(1), log_prompts="text")
    (again,) = adapted(monkeypatch, with_record(row, redrawn=True))
    assert again.values["propensity"] is None


def test_hidden_reasoning_that_was_settled_is_kept_apart(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = logged(router, prompts(1), log_prompts="text")
    reported = with_usage_of(row, output_tokens=900, reasoning_tokens=700)
    told, untold = adapted(monkeypatch, reported, with_usage_of(row, output_tokens=900))
    assert (told.values["output_tokens"], told.values["reasoning_tokens"]) == (900, 700)
    assert untold.values["reasoning_tokens"] is None


def test_labels_that_describe_a_prompt_are_columns_of_its_attempt(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = logged(router, prompts(1), log_prompts="text")
    labels = {"team": "a", "language": "ja", "category": "e-mail", "user": "u-1"}
    told, untold = adapted(monkeypatch, replace(row, labels=labels), row)
    names = ("language", "category", "user")
    assert [told.values[name] for name in names] == ["ja", "e-mail", "u-1"]
    assert [untold.values[name] for name in names] == [None, None, None]
