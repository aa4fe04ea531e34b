"""Logged decisions made anew: from ledgers and files, with other bundles and policies."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from router.catalog.catalog import Catalog, load_catalog
from router.classifier.bundle import Bundle, load_bundle
from router.cli.commands.replay_command import _cell
from router.cli.demo import PROMPTS
from router.cli.main import app
from router.core.errors import InvalidInput
from router.core.off_policy import Interval
from router.core.types import Constraints, Importance, Message, Prompt, QualityTarget
from router.decision_log import reader
from router.decision_log import replay as replaying
from router.decision_log.export import usd, write_table
from router.decision_log.reader import Damaged, LoggedDecision, LogRow, read_log
from router.decision_log.reader import logged as logged_row
from router.decision_log.record import (
    LoggedMissCost,
    LoggedQualityTarget,
    LoggedUsage,
    serialize,
    with_usage,
)
from router.decision_log.replay import ReplayPolicy, ReplayReport, replay
from router.ledger.base import HoldState, StoredDecision
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.paths import DEFAULT_BUNDLE, ENCODERS, MODELS
from router.routing.reservations import UsageReport
from router.routing.router import RouteQuery, Router
from router.rpc.server import build_reservations
from router.settings import Settings
from tests.conftest import NOON

OTHER = MODELS / "bundles" / "multilingual"
CATALOG = load_catalog()
GOLDEN = Path(__file__).parents[2] / "golden" / "decision_records"


def prompts(count: int) -> list[str]:
    """Varied prompts, each with words of its own."""
    texts = [text[:400] for _, text in PROMPTS]
    return [f"{texts[place % len(texts)]} (case {place})" for place in range(count)]


def fill(
    ledger: Any, router: Router, texts: Sequence[str], *, seed: int = 7, **kept: Any
) -> dict[str, float]:
    """Decide on each text and settle it, good with the promised probability; what was promised."""
    reservations = build_reservations(Settings(ledger="memory:", **kept), router, ledger)
    rng = np.random.default_rng(seed)
    promised = {}
    for place, text in enumerate(texts):
        chosen: list[Any] = []

        def render(held: Any, chosen: list[Any] = chosen) -> bytes:
            chosen.append(held.routed.decision.chosen)
            return b""

        prompt = Prompt((Message("system", "Be brief."), Message("user", text)))
        query = RouteQuery("", {"team": "a"}, prompt, Constraints(), None, Importance.MEDIUM, "", 1)
        reservations.decide(query, f"d{place:04}", "f" * 64, render)
        model, p = chosen[0].model.id, chosen[0].p_adequate
        promised[f"d{place:04}"] = p
        details = {
            "outcome": "success", "quality": float(rng.random() < p), "input_tokens": 50,
            "output_tokens": 100,
        }  # fmt: skip
        cost = chosen[0].quote.price.expected
        reservations.settle(
            f"d{place:04}", "", "s" * 64, UsageReport(model, 50, 0, 100, cost, details)
        )
    return promised


def rows_of(ledger: Any) -> list[LoggedDecision]:
    rows = [logged_row(one) for one in ledger.decisions(count=10_000)]
    assert all(isinstance(row, LoggedDecision) for row in rows)
    return rows


def logged(router: Router, texts: Sequence[str], **kept: Any) -> list[LoggedDecision]:
    ledger = MemoryLedger()
    fill(ledger, router, texts, **kept)
    return rows_of(ledger)


def policy(bundle: Bundle, **changes: Any) -> ReplayPolicy:
    tiers = {entry.spec.id: entry.spec.tier for entry in CATALOG.entries}
    return replace(ReplayPolicy(bundle, tiers, None, None, NOON), **changes)


def with_record(row: LoggedDecision, **changes: Any) -> LoggedDecision:
    return replace(row, record=msgspec.structs.replace(row.record, **changes))


def usage_of(row: LoggedDecision) -> LoggedUsage:
    assert row.record.usage is not None
    return row.record.usage


def with_usage_of(row: LoggedDecision, **changes: Any) -> LoggedDecision:
    return with_record(row, usage=msgspec.structs.replace(usage_of(row), **changes))


def with_candidates(row: LoggedDecision, **changes: Any) -> LoggedDecision:
    """Every candidate with these fields."""
    changed = [msgspec.structs.replace(one, **changes) for one in row.record.candidates]
    return with_record(row, candidates=tuple(changed))


def renamed(folder: Path, source: Path = DEFAULT_BUNDLE) -> Bundle:
    """The same classifier under another version."""
    shutil.copytree(source, folder / "renamed")
    path = folder / "renamed" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "name": "renamed"}), encoding="utf-8")
    return load_bundle(folder / "renamed", ENCODERS)


@pytest.fixture(scope="module")
def other() -> Bundle:
    return load_bundle(OTHER, ENCODERS)


@pytest.fixture(scope="module")
def ledger(
    router: Router, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, SqliteLedger]]:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    made = SqliteLedger(path)
    fill(made, router, prompts(48), log_prompts="text")
    yield path, made
    made.close()


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["replay", *words], catch_exceptions=False)


def output_of(*words: str) -> dict[str, Any]:
    result = invoke(*words, "--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


# --- Reading the log ---------------------------------------------------------------------------


def exported(ledger: SqliteLedger, target: Path) -> Path:
    """As ``mitsumori decisions --out`` writes it, without the columns that are for accountants."""
    rows = [
        [row.id, row.state.value, row.created.isoformat(),
         None if row.actual is None else usd(row.actual.money),
         " ".join(f"{k}={v}" for k, v in sorted(row.labels.items())),
         with_usage(row.record, row.usage)]
        for row in ledger.decisions(count=10_000)
    ]  # fmt: skip
    columns = ("decision_id", "state", "created", "spent_usd", "labels", "record")
    write_table(target, columns, rows)
    return target


def test_a_ledger_in_use_and_every_export_of_it_read_the_same(
    ledger: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    path, open_one = ledger
    wanted = rows_of(open_one)
    assert list(read_log(f"sqlite:{path}")) == wanted
    for suffix in (".csv", ".jsonl", ".parquet"):
        assert list(read_log(str(exported(open_one, tmp_path / f"log{suffix}")))) == wanted


def test_a_log_longer_than_a_page_is_read_to_its_end(router: Router, tmp_path: Path) -> None:
    made = SqliteLedger(tmp_path / "ledger.sqlite")
    fill(made, router, ["What is 2 + 2?"] * 1_003)
    made.close()
    found = list(read_log(f"sqlite:{tmp_path}/ledger.sqlite"))
    assert len({row.id for row in found if isinstance(row, LoggedDecision)}) == 1_003


def test_a_shared_ledger_is_read_page_by_page_and_closed(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MemoryLedger()
    fill(made, router, prompts(7))
    wanted, closed = rows_of(made), []
    monkeypatch.setattr(made, "close", lambda: closed.append(True), raising=False)
    monkeypatch.setattr(reader, "open_ledger", lambda address: made)
    monkeypatch.setattr(reader, "_PAGE", 3)
    assert list(read_log("postgresql://who:secret@somewhere/ledger")) == wanted
    assert closed == [True]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"record": "{"}, "record"),
        ({"record": "[]"}, "record"),
        ({"created": "yesterday"}, "created"),
        ({"spent_usd": "much"}, "spent_usd"),
    ],
)
def test_a_damaged_row_is_named_and_never_shown(
    change: dict[str, Any], column: str, tmp_path: Path
) -> None:
    sound = {
        "decision_id": "secret", "state": "settled", "created": "2026-11-23T10:00:00Z",
        "spent_usd": "0.1", "labels": "", "record": GOLDEN.joinpath("v1_text.json").read_text(),
    }  # fmt: skip
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(sound) + "\n" + json.dumps({**sound, **change}) + "\n")
    first, second = read_log(str(path))
    assert isinstance(first, LoggedDecision)
    assert isinstance(second, Damaged)
    assert second.column == column
    with pytest.raises(InvalidInput, match=f"row 2 of the log: {column}: ") as caught:
        invoke(str(path))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"decision_id": 1}\n', b"PAR1"])
def test_what_is_no_log_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    for suffix in (".jsonl", ".parquet", ".csv", ".txt"):
        path = tmp_path / f"log{suffix}"
        path.write_bytes(content)
        with pytest.raises(InvalidInput) as caught:
            invoke(str(path))
        assert "\n" not in caught.value.message
    with pytest.raises(InvalidInput, match="no ledger"):
        invoke(f"sqlite:{tmp_path}/none.sqlite")
    with pytest.raises(InvalidInput, match="cannot be read"):
        invoke(str(tmp_path / "none.csv"))


# --- Replaying ---------------------------------------------------------------------------------


def test_the_same_bundle_decides_the_same_even_where_nothing_was_kept(router: Router) -> None:
    rows = logged(router, prompts(40))
    found = replay(rows, policy(router.bundle))
    assert (found.replayed, found.overlap.agreement, found.moves) == (40, 1.0, {})
    for estimates in found.estimates.values():
        assert estimates.dr.value == pytest.approx(estimates.logged.value)
        assert estimates.difference.value == pytest.approx(0)
    spent = sum(row.spent or 0 for row in rows) / len(rows) / 1e9
    assert found.estimates["cost_usd"].logged.value == pytest.approx(spent)


def test_the_text_scores_as_it_was_served_without_the_system_messages(
    router: Router, tmp_path: Path
) -> None:
    for kind in ("text", "redacted"):
        rows = logged(router, prompts(24), log_prompts=kind)
        found = replay(rows, policy(renamed(tmp_path / kind)))
        assert (found.replayed, found.overlap.agreement) == (24, 1.0)


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


def test_the_kept_vector_scores_without_words_and_says_so(router: Router, tmp_path: Path) -> None:
    rows = logged(router, prompts(24), log_prompts="embedding")
    found = replay(rows, policy(renamed(tmp_path)))
    assert found.replayed == 24
    assert any("without their words" in line for line in found.cautions) == (
        router.bundle.classifier.reads_tokens
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("off", "nothing of the prompt was kept"),
        ("hash", "only a hash"),
        ("embedding", "another encoder"),
    ],
)
def test_where_the_prompt_cannot_be_scored_the_remedy_is_named(
    kind: str, words: str, router: Router, other: Bundle
) -> None:
    rows = logged(router, prompts(3), log_prompts=kind, prompt_key="k")
    with pytest.raises(InvalidInput, match="none of 3 decisions can be replayed") as caught:
        replay(rows, policy(other))
    assert words in caught.value.message
    assert "log_prompts" in caught.value.message
    assert "\n" not in caught.value.message


def test_what_is_left_out_is_counted_by_reason(router: Router) -> None:
    rows: list[LogRow] = []
    first, *others = logged(router, prompts(11))
    rows.append(first)
    rows.append(replace(others[0], state="expired"))
    rows.append(with_usage_of(others[1], outcome="timeout"))
    rows.append(with_usage_of(others[2], quality=None))
    rows.append(with_usage_of(others[3], model="another"))
    rows.append(replace(others[4], spent=None))
    rows.append(with_candidates(others[5], latency_s=None))
    rows.append(others[6])
    rows.append(unreadable(others[7], version=2))
    rows.append(unreadable(others[8], goal=None))
    rows.append(unreadable(others[9], bundle=None))
    found = replay(rows, policy(router.bundle))
    assert (found.read, found.replayed) == (11, 2)
    assert found.left_out == {
        "not settled": 1,
        "the call failed": 1,
        "the quality was not reported": 1,
        "another model than the chosen one was called": 1,
        "its cost is not known": 1,
        "the record has no latencies": 1,
        "the record is of an unknown version": 1,
        "the record lacks goal": 1,
        "the record lacks bundle": 1,
    }
    assert any("too few to tell" in line for line in found.cautions)
    assert any("quality is known for 67% of the answers" in line for line in found.notes)
    newer = (
        "1 decision left out: the record is of an unknown version (read it with the release that"
    )
    assert any(line.startswith(newer) for line in found.notes)


def unreadable(row: LoggedDecision, **changes: Any) -> LogRow:
    """The row as a ledger would give it, had its record this field, or lacked it."""
    content = json.loads(serialize(row.record)) | changes
    text = json.dumps({name: value for name, value in content.items() if value is not None})
    return logged_row(
        StoredDecision(
            row.id, HoldState.SETTLED, row.created, row.created, row.labels, None, None, False, 0,
            text, {},
        )
    )  # fmt: skip


def test_a_fault_of_ours_is_no_reason_to_leave_a_decision_out(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = logged(router, prompts(1))
    monkeypatch.delattr(replaying, "decide")
    with pytest.raises(NameError):
        replay(rows, policy(router.bundle))


def test_a_record_that_does_not_say_tiers_takes_those_of_the_catalog(router: Router) -> None:
    rows = [with_candidates(row, tier="") for row in logged(router, prompts(12))]
    assert replay(rows, policy(router.bundle)).overlap.agreement == 1.0


def explored(rows: Sequence[LoggedDecision], seed: int) -> Iterator[LoggedDecision]:
    """As if the router had chosen among all candidates by lot, with its own promises kept."""
    rng = np.random.default_rng(seed)
    for row in rows:
        candidates = list(row.record.candidates)
        first = candidates.pop(int(rng.integers(len(candidates))))
        assert first.p_adequate is not None
        quality = float(rng.random() < first.p_adequate)
        yield replace(
            with_record(
                with_usage_of(row, model=first.model, quality=quality),
                candidates=(first, *candidates),
                propensity=1 / (len(candidates) + 1),
            ),
            spent=first.price_nanos.expected,
        )


def test_with_logged_exploration_the_intervals_cover_another_policy(
    router: Router,
) -> None:
    rows = logged(router, prompts(96)) * 12
    rows = [with_record(row, prompt_hash=str(place)) for place, row in enumerate(rows)]
    goal = QualityTarget(0.75)
    # The classifier's promises are the truth of this world.
    expected = np.mean([_promise(row, goal) for row in rows])
    asked = policy(router.bundle, goal=goal)
    reports: list[ReplayReport] = [replay(explored(rows, seed), asked) for seed in range(48)]
    for estimator in ("ips", "snips", "dr"):
        intervals = [getattr(found.estimates["adequate"], estimator) for found in reports]
        # Of one in fifteen decisions something is known: intervals of 95 % hold a little less often.
        assert sum(each.low <= expected <= each.high for each in intervals) >= 36
        assert np.mean([each.value for each in intervals]) == pytest.approx(expected, abs=0.04)
    for found in reports:
        adequate = found.estimates["adequate"]
        assert adequate.dr.high - adequate.dr.low < adequate.ips.high - adequate.ips.low
        assert found.overlap.uncovered == 0.0
        assert not any("certain" in line for line in found.cautions)


def _promise(row: LoggedDecision, goal: QualityTarget) -> float:
    """P(adequate) of the cheapest candidate that reaches the goal, else of those near the best."""
    promised = [
        (c.p_adequate, c.price_nanos.expected)
        for c in row.record.candidates
        if c.p_adequate is not None
    ]
    able = [one for one in promised if one[0] >= goal.p_adequate]
    if able:
        return min(able, key=lambda one: one[1])[0]
    best = max(p for p, _ in promised)
    level = [one for one in promised if one[0] >= best - goal.regret]
    return min(level, key=lambda one: one[1])[0]


def priced(folder: Path, models: set[str | None], input_usd: str, output_usd: str) -> Catalog:
    """A catalog of these models at these prices per million tokens."""
    text = "tiers: [low, medium, high]\ndefault_lengths:\n"
    text += "".join(f"  {t}: {{p50: 200, p90: 800, p99: 2000}}\n" for t in CATALOG.tiers)
    text += "models:\n"
    for entry in CATALOG.entries:
        if entry.spec.id in models:
            text += (
                f"  - id: {entry.spec.id}\n    provider: acme\n    tier: {entry.spec.tier}\n"
                "    tokenizer: {encoding: o200k_base}\n    context_window: 100000\n"
                "    max_output_tokens: 10000\n    capabilities: []\n"
                "    speed: {first_token_s: 1, output_tokens_per_s: 50}\n"
                "    prices:\n      - from: 2020-01-01\n"
                f"        input_usd_per_mtok: '{input_usd}'\n"
                f"        output_usd_per_mtok: '{output_usd}'\n"
            )
    path = folder / "catalog.yaml"
    path.write_text(text)
    return load_catalog(path)


def test_a_catalog_quotes_anew_at_its_prices(router: Router, tmp_path: Path) -> None:
    rows = logged(router, prompts(12))
    used = {usage_of(row).model for row in rows}
    catalog = priced(tmp_path, used, "1000", "2000")
    found = replay(rows, policy(router.bundle, catalog=catalog))
    # 50 tokens in at $1,000 and 100 out at $2,000 per million.
    assert found.estimates["cost_usd"].logged.value == pytest.approx(0.25)
    assert any(catalog.price_table in line for line in found.notes)


@pytest.mark.parametrize(
    ("quality", "adequate"), [(0.4999996, 1.0), (0.4999994, 0.0), (0.5, 1.0), (0.49, 0.0)]
)
def test_quality_counts_to_six_decimals_against_the_threshold(
    quality: float, adequate: float, router: Router
) -> None:
    """A float32 on the way to the log makes .7 of .69999999, which must still reach .7."""
    assert router.bundle.manifest.adequacy_threshold == 0.5
    (row,) = logged(router, prompts(1))
    found = replay([with_usage_of(row, quality=quality)], policy(router.bundle))
    assert found.estimates["adequate"].logged.value == adequate
    assert found.estimates["quality"].logged.value == quality


def test_money_counts_in_whole_nano_dollars_as_booked_or_rounded_up_at_new_prices(
    router: Router, tmp_path: Path
) -> None:
    (row,) = logged(router, prompts(1))
    row = replace(with_usage_of(row, input_tokens=3, output_tokens=0), spent=7)
    booked = replay([row], policy(router.bundle))
    assert booked.estimates["cost_usd"].logged.value == 7 / 1e9
    # Half a nano-dollar per token: three of them are 1.5, and a started nano-dollar counts whole.
    catalog = priced(tmp_path, {usage_of(row).model}, "0.0005", "1")
    anew = replay([row], policy(router.bundle, catalog=catalog))
    assert anew.estimates["cost_usd"].logged.value == 2 / 1e9


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
    # The log was made at the default goal, 40 cents a miss.
    assert output_of(log, "--miss-cost", "0.4")["moves"] == []
    assert output_of(log, "--willingness-to-pay", "0.4")["moves"] != []
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


def test_a_replay_keeps_the_logged_goals(router: Router) -> None:
    rows = logged(router, prompts(12))
    assert {type(row.record.goal) for row in rows} == {LoggedMissCost}
    assert replay(rows, policy(router.bundle)).moves == {}
    # What a record of before says of its target holds as it did then, with a regret of a point.
    old = [with_record(row, goal=LoggedQualityTarget(1.0)) for row in rows]
    then, now = policy(router.bundle), policy(router.bundle, goal=QualityTarget(1.0, 0.01))
    assert replay(old, then).moves == replay(rows, now).moves
