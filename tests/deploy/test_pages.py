"""The pages of operation name commands, options, targets, files and sections that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router.cli.main import COMMANDS, app

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs/operations").glob("*.md")),
    ROOT / "deploy/README.md",
    ROOT / "SECURITY.md",
]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_calls_only_commands_and_options_that_exist(page: Path) -> None:
    for words in commands_of(page):
        name = next((one for one in COMMANDS if words[: len(one.split())] == one.split()), None)
        assert name, words
        offered = CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=200).output
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert [option for option in options if f"{option} " not in offered] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_what_is_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_targets_of_the_makefile(page: Path) -> None:
    named = re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))
    assert set(named) - TARGETS == set()
