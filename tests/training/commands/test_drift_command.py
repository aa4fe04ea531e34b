"""``python -m training drift`` over logs, ledgers and histories, with the shipped bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from router.classifier.bundle import load_bundle
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.core.errors import InvalidInput
from router.core.types import Constraints, Importance, Message, Prompt
from router.decision_log.export import usd, write_table
from router.decision_log.record_json import with_usage
from router.files import sha256_of
from router.ledger.sqlite.ledger import SqliteLedger
from router.paths import DEFAULT_BUNDLE, ENCODERS
from router.routing.reservations import Reservations
from router.routing.router import RouteQuery, Router
from router.routing.settlement import UsageReport
from router.rpc.assembly import build_reservations
from router.settings import Settings
from training.cli import app
from training.commands.drift_command import DRIFTED
from training.drift.traffic import of_bundle
from training.encoders.embedding import features_of
from training.histories.demonstration import demonstration_history

COUNT = 360


def prompts(seed: int) -> list[str]:
    """The kinds of the demonstration history, other words for every seed."""
    return demonstration_history(seed).attempts["prompt"].drop_duplicates().tolist()[:COUNT]


def drift(*words: str) -> Any:
    return CliRunner().invoke(app, ["drift", *words], catch_exceptions=False)


def told(*words: str) -> tuple[int, dict[str, Any]]:
    result = drift(*words, "--json")
    return result.exit_code, json.loads(result.stdout)


def drifted(report: dict[str, Any]) -> set[str]:
    return {finding["what"] for finding in report["findings"] if finding["drifted"]}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("history") / "training.jsonl"
    rows = [{"prompt": text, "model": "m"} for text in prompts(1)]
    target.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return target


def served(
    router: Router, folder: Path, texts: list[str], chance: Callable[[float], float], **kept: Any
) -> tuple[Path, SqliteLedger]:
    """A ledger in which every prompt was decided on and settled, adequate with this chance."""
    path = folder / "ledger.sqlite"
    ledger = SqliteLedger(path)
    reservations: Reservations = build_reservations(
        Settings(ledger="memory:", **kept), router, ledger
    )
    rng = np.random.default_rng(7)
    for place, text in enumerate(texts):
        seen: list[tuple[str, float]] = []

        def render(held: Any, seen: list[tuple[str, float]] = seen) -> bytes:
            chosen = held.routed.decision.chosen
            seen.append((chosen.model.id, chosen.p_adequate))
            return b""

        query = RouteQuery(
            "", {}, Prompt((Message("user", text),)), Constraints(), None, Importance.MEDIUM, "", 1
        )
        reservations.decide(query, f"d{place}", "f" * 64, render)
        ((model, p),) = seen
        details = {
            "outcome": "success", "quality": float(rng.random() < chance(p)),
            "input_tokens": 10, "output_tokens": 10,
        }  # fmt: skip
        reservations.reports.settle(
            f"d{place}", "", "s" * 64, UsageReport(model, 10, 0, 10, 1, details)
        )
    return path, ledger


@pytest.fixture(scope="module")
def usual(
    router: Router, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, SqliteLedger]]:
    """Prompts of the same kind as the history, outcomes as promised; vectors are kept."""
    folder = tmp_path_factory.mktemp("usual")
    path, ledger = served(router, folder, prompts(3), lambda p: p, log_prompts="embedding")
    yield path, ledger
    ledger.close()


def exported(ledger: SqliteLedger, target: Path) -> Path:
    """As ``mitsumori decisions --out`` writes it, without the columns that are for accountants."""
    rows = [
        [one.id, one.state.value, one.created.isoformat(),
         None if one.actual is None else usd(one.actual.money), with_usage(one.record, one.usage)]
        for one in ledger.decisions(count=10_000)
    ]  # fmt: skip
    write_table(target, ("decision_id", "state", "created", "spent_usd", "record"), rows)
    return target


def test_usual_traffic_in_a_ledger_that_is_in_use_is_no_drift(
    usual: tuple[Path, SqliteLedger], history: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "drift.png"
    code, report = told(
        "--recent", f"sqlite:{usual[0]}", "--history", str(history), "--plot", str(picture),
        "--cache", str(tmp_path / "cache"),
    )  # fmt: skip
    assert (code, drifted(report)) == (0, set())
    assert {"vectors", "form", "length", "language", "score of high"} <= {
        finding["what"] for finding in report["findings"]
    }
    assert sum(one["n"] for one in report["calibration"].values()) > 100
    assert any("not one of the histories" in note for note in report["notes"])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_an_export_says_the_same_as_the_ledger(
    suffix: str, usual: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    log = exported(usual[1], tmp_path / f"log{suffix}")
    code, report = told("--recent", str(log))
    assert (code, report) == told("--recent", f"sqlite:{usual[0]}")


def test_an_export_with_a_byte_order_mark_says_the_same(
    usual: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    for suffix in (".jsonl", ".csv"):
        log = exported(usual[1], tmp_path / f"log{suffix}")
        wanted = told("--recent", str(log))
        log.write_bytes(b"\xef\xbb\xbf" + log.read_bytes())
        assert told("--recent", str(log)) == wanted


def test_a_prompt_of_more_than_128_kib_is_read_from_csv(router: Router, tmp_path: Path) -> None:
    _, ledger = served(
        router, tmp_path, ["A long story. " * 12_000], lambda p: p, log_prompts="text"
    )
    log = exported(ledger, tmp_path / "log.csv")
    ledger.close()
    assert log.stat().st_size > 128 * 1024
    assert "1 decisions read, 1 distinct prompts" in told("--recent", str(log))[1]["notes"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_damaged_row_is_one_clear_error(
    suffix: str, usual: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    log = exported(usual[1], tmp_path / f"log{suffix}")
    text = log.read_text(encoding="utf-8")
    log.write_text(text.replace("2026-", "soon-", 1), encoding="utf-8")
    with pytest.raises(InvalidInput, match="row 1 of the log: created: is no moment") as caught:
        drift("--recent", str(log))
    assert "\n" not in caught.value.message


def test_decisions_of_a_newer_release_are_left_out_and_counted(
    usual: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    log = exported(usual[1], tmp_path / "log.jsonl")
    text = log.read_text(encoding="utf-8")
    log.write_text(text.replace('\\"version\\": 1', '\\"version\\": 2', 3), encoding="utf-8")
    notes = told("--recent", str(log))[1]["notes"]
    assert any(
        note.startswith("3 decisions were left out: the record is of an unknown version")
        for note in notes
    )


def test_other_traffic_without_a_word_kept_of_it_is_found_named_and_has_a_remedy(
    router: Router, history: Path, tmp_path: Path
) -> None:
    texts = [f"{text[:40]} 東京の天気を調べる方法を{place}個教えてください。" * 3
             for place, text in enumerate(prompts(3))]  # fmt: skip
    path, ledger = served(router, tmp_path, texts, lambda p: p * 0.5)
    ledger.close()
    words = ["--recent", f"sqlite:{path}", "--cache", str(tmp_path / "cache")]
    code, report = told(*words, "--history", str(history))
    assert code == DRIFTED == 3
    assert {"form", "length", "language"} <= drifted(report)
    assert any(what.startswith("calibration of") for what in drifted(report))
    assert "vectors" not in {finding["what"] for finding in report["findings"]}
    assert any("log_prompts: embedding" in line for line in report["untold"])
    shown = drift(*words, "--history", str(history))
    assert shown.exit_code == DRIFTED
    assert "drifted: language: Japanese: 100.0% of recent prompts" in shown.stdout
    assert "  do: train with a history that has more Japanese prompts" in shown.stdout


def test_an_older_bundle_alone_tells_languages_and_says_what_it_cannot(
    usual: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"].pop(REFERENCE_FILE, None)
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    code, report = told("--recent", f"sqlite:{usual[0]}", "--bundle", str(bundle))
    # The shipped bundle was trained on next to no Japanese, and these prompts are Japanese in part.
    assert (code, drifted(report)) == (DRIFTED, {"language"})
    assert "score of high" not in {finding["what"] for finding in report["findings"]}
    assert any("keeps no sample" in line for line in report["untold"])


def test_where_nothing_can_be_compared_the_last_line_says_so(tmp_path: Path) -> None:
    recent = tmp_path / "recent.jsonl"
    recent.write_text('{"prompt": "What is 2 + 2?", "model": "m"}\n', encoding="utf-8")
    words = ["--recent", str(recent), "--cache", str(tmp_path / "cache")]
    code, report = told(*words)
    assert (code, report["drifted"], report["undecided"]) == (0, False, True)
    shown = drift(*words)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == (
        "undecided: nothing could be compared, so drift is neither found nor ruled out"
    )
    assert "nothing drifted" not in shown.stdout


def test_a_bundle_with_a_sample_of_its_prompts_tells_form_length_and_score(
    usual: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    plain = load_bundle(bundle, ENCODERS)
    texts = prompts(1)
    scores = np.array([list(plain.score(text).p_adequate.values()) for text in texts])
    content = ReferenceSample(features_of(texts), scores).to_json()
    (bundle / REFERENCE_FILE).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][REFERENCE_FILE] = sha256_of(content)
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = of_bundle(load_bundle(bundle, ENCODERS), bundle)
    assert found.features.shape[0] == found.p_adequate.shape[0] == len(texts)
    code, report = told("--recent", f"sqlite:{usual[0]}", "--bundle", str(bundle))
    assert (code, drifted(report)) == (0, set())
    assert {"form", "length", "language"} <= {one["what"] for one in report["findings"]}
    # These decisions were another bundle's, for another manifest is another version.
    assert any("made by another bundle" in note for note in report["notes"])


def test_a_history_is_recent_traffic_too(history: Path, tmp_path: Path) -> None:
    recent = tmp_path / "recent.jsonl"
    rng = np.random.default_rng(1)
    bundle = load_bundle(DEFAULT_BUNDLE, ENCODERS)
    model = bundle.manifest.arms[0].models[0]
    rows = [
        {"prompt": text, "model": model, "timestamp": "2026-11-23T10:00:00Z",
         "quality": float(rng.random() < bundle.score(text).p_adequate["low"])}
        for text in prompts(3)
    ]  # fmt: skip
    recent.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["--recent", str(recent), "--history", str(history), "--cache", str(tmp_path / "c")]
    code, report = told(*words)
    assert (code, drifted(report), report["undecided"]) == (0, set(), False)
    assert list(report["weeks"]["low"]) == ["2026-W48"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"decision_id": 1}\n', b"PAR1"])
def test_what_cannot_be_read_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    for suffix in (".jsonl", ".parquet", ".csv", ".txt"):
        path = tmp_path / f"recent{suffix}"
        path.write_bytes(content)
        with pytest.raises(InvalidInput) as caught:
            drift("--recent", str(path))
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message
    with pytest.raises(InvalidInput, match="no ledger"):
        drift("--recent", f"sqlite:{tmp_path}/none.sqlite")
