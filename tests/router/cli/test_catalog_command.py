"""``mitsumori catalog update``: shows before it writes, and writes what it has shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from router.catalog.catalog import load_catalog
from router.catalog.prices import PRICE_SOURCE
from router.cli.commands import catalog_command
from router.cli.main import app
from router.core.errors import MitsumoriError
from tests.conftest import NOON
from tests.router.catalog.test_catalog_changes import HEAD, OLD_PRICE, model

TEXT = HEAD + model("gpt-5-nano", *OLD_PRICE) + model("gpt-nought", provider="openai")


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_command, "utc_now", lambda: NOON)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(TEXT)
    return path


def update(*words: str) -> Result:
    return CliRunner().invoke(app, ["catalog", "update", *words])


def refusal(*words: str) -> str:
    result = update(*words)
    assert isinstance(result.exception, MitsumoriError)
    assert "\n" not in result.exception.message
    return result.exception.message


def test_it_shows_what_differs_and_writes_nothing(file: Path) -> None:
    shown = update("--catalog", str(file)).output
    assert "9 in, 9 out" in shown
    assert "0.05 in, 0.4 out, 0.005 cached" in shown
    assert str(NOON.date()) in shown
    assert "gpt-nought" in shown
    assert (
        f"1 price and 0 new models from {PRICE_SOURCE}; nothing is written without --write" in shown
    )
    assert file.read_text() == TEXT


def test_as_json_it_says_the_same(file: Path) -> None:
    told = json.loads(update("--catalog", str(file), "--json", "--add", "gpt-6-sol").output)
    assert told["price_table"] == PRICE_SOURCE
    (changed,) = told["changed"]
    assert (changed["model"], changed["from"]) == ("gpt-5-nano", str(NOON.date()))
    assert (changed["old"]["input_usd_per_mtok"], changed["new"]["input_usd_per_mtok"]) == (
        "9",
        "0.05",
    )
    assert [(each["model"], each["tier"]) for each in told["added"]] == [("gpt-6-sol", "?")]
    assert [each["model"] for each in told["removed"]] == ["gpt-nought"]
    assert (told["pinned"], told["written"]) == ([], False)
    assert "available" not in told


def test_what_could_be_added_is_listed_on_demand(file: Path) -> None:
    told = json.loads(update("--catalog", str(file), "--json", "--available").output)
    assert "gpt-6-sol" in {each["model"] for each in told["available"]}
    assert "gpt-6-sol" in update("--catalog", str(file), "--available").output


def test_with_write_the_file_has_it_and_there_is_nothing_left_to_do(file: Path) -> None:
    file.chmod(0o640)
    shown = update("--catalog", str(file), "--write", "--add", "gpt-6-sol", "--tier", "high").output
    assert f"1 price and 1 new model from {PRICE_SOURCE}, written to" in shown
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert load_catalog(file).ids == ("gpt-5-nano", "gpt-nought", "gpt-6-sol")
    written = file.read_text()
    again = json.loads(update("--catalog", str(file), "--write", "--json").output)
    assert (again["changed"], again["added"], again["written"]) == ([], [], False)
    assert file.read_text() == written


def test_a_file_with_a_model_without_a_tier_says_what_to_do_until_it_is_done(file: Path) -> None:
    shown = update("--catalog", str(file), "--write", "--add", "gpt-6-sol").output
    assert (
        "cannot be served until you have given a tier to gpt-6-sol: low or high instead of '?'"
        in shown
    )
    assert "models[2] (gpt-6-sol): its tier is still '?'" in refusal("--catalog", str(file))


def test_behind_a_link_the_file_is_changed_and_the_link_stays(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    update("--catalog", str(link), "--write")
    assert link.is_symlink()
    assert file.read_text() != TEXT


def test_pinned_prices_are_written_where_there_were_none(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(HEAD + model("gpt-6.1-sol"))
    (pinned,) = json.loads(update("--catalog", str(path), "--pin", "--write", "--json").output)[
        "pinned"
    ]
    assert pinned["old"] is None
    assert pinned["new"]["long_inputs"]
    (entry,) = load_catalog(path).entries
    assert entry.spec.prices[0].source == PRICE_SOURCE
    assert "more above" in update("--catalog", str(path), "--available", "--pin").output


def test_what_ships_is_shown_and_not_written() -> None:
    assert "0 prices and 0 new models" in update().output
    assert "the shipped catalog belongs to the package; copy it" in refusal("--write")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"models: []", "tiers"),
        (b"]", "is not valid YAML"),
        (TEXT.encode("utf-16"), "is not UTF-8 text"),
        (json.dumps({"a": 1}).encode(), "tiers"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_bytes(content)
    assert problem in refusal("--catalog", str(path), "--write")
    assert path.read_bytes() == content


def test_what_cannot_be_done_is_refused_by_name(file: Path, tmp_path: Path) -> None:
    assert "cannot be read" in refusal("--catalog", str(tmp_path / "none.yaml"), "--write")
    assert "--tier is for models to --add" in refusal("--catalog", str(file), "--tier", "low")
    assert "fits no model" in refusal("--catalog", str(file), "--add", "gpt-nought-9")
    assert file.read_text() == TEXT


def test_a_file_that_changes_meanwhile_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_catalog(file)
    file.write_text(TEXT + "# a colleague was here\n")
    monkeypatch.setattr(catalog_command, "load_catalog", lambda _: loaded)
    assert "has changed meanwhile; try again" in refusal("--catalog", str(file), "--write")
    assert file.read_text().endswith("# a colleague was here\n")
