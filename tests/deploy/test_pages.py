"""The pages of the documentation name commands, options, targets, files and sections that exist."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from router.cli.main import COMMANDS, app
from router.settings import Settings
from router.telemetry.metric_names import METRICS
from tests.deploy.test_monitoring import series_names

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deploy/README.md",
    ROOT / "SECURITY.md",
    ROOT / "README.md",
    ROOT / "proto/README.md",
]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for room in ("router", "mitsumori", "training")
    for path in sorted((ROOT / room).rglob("*.py"))
)
OF_OTHERS = ("MITSUMORI_", "OTEL_", "MLFLOW_", "OPENAI_", "SIGNATURE_")
TARGETS = set(
    re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)


def commands_of(page: Path) -> list[list[str]]:
    """The words of each call of `mitsumori` on a page, in blocks and in sentences."""
    text = page.read_text(encoding="utf-8")
    calls = re.findall(r"(?:^\$ |`|&& )mitsumori ([^`\n#]+)", text, re.MULTILINE)
    return [call.split() for call in calls]


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_calls_only_commands_and_options_that_exist(page: Path) -> None:
    for words in commands_of(page):
        name = next((one for one in COMMANDS if words[: len(one.split())] == one.split()), None)
        assert name, words
        offered = CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=200).output
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert [option for option in options if f"{option} " not in offered] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_variables_metrics_alerts_and_events_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    settings = "|".join(name.upper() for name in Settings.model_fields)
    variables = rf"MITSUMORI_(CONFIG|({settings})(__\w+)?)"
    for variable in set(re.findall(r"MITSUMORI_[A-Z_]*[A-Z]\b", text)):
        assert re.fullmatch(variables, variable) or f'"{variable}"' in SOURCES, variable
    metrics = re.findall(r"`((?:mitsumori|rpc_server|gen_ai)_[a-z_]+)`", text)
    labels = {label for labels in series_names().values() for label in labels}
    assert (
        set(metrics) - series_names().keys() - {metric.name for metric in METRICS} - labels == set()
    )
    rules = (ROOT / "deploy/prometheus/rules.yaml").read_text(encoding="utf-8")
    for alert in re.findall(r"\bMitsumori[A-Z]\w+", text):
        assert f"alert: {alert}\n" in rules, alert
    events = re.findall(r'"event": "([^"]+)"', text) + re.findall(r"`([a-z]+_refused)`", text)
    for event in events:
        named = event.removesuffix("_refused")  # told by the name of the input
        assert f'"{event}"' in SOURCES or f'"{named}"' in SOURCES, event


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_reasons_that_exist(page: Path) -> None:
    words = re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page.read_text(encoding="utf-8"))
    codes = {code.name for code in grpc.StatusCode} | {"NOT_SERVING"}
    told = [word for word in words if word not in codes and not word.startswith(OF_OTHERS)]
    assert [word for word in told if f'"{word}"' not in SOURCES] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_links_to_what_is_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https://)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_targets_of_the_makefile(page: Path) -> None:
    named = re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))
    assert set(named) - TARGETS == set()
