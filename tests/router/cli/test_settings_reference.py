from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.cli.commands.serve_command import serve
from router.cli.settings_reference import settings_reference
from router.settings import Settings, flags_of_settings

PAGE = Path(__file__).parents[3] / "docs/operations/configuration.md"


def test_the_page_is_that_of_the_settings() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_reference(), "run `make reference`"


def test_every_setting_has_a_section_in_the_order_of_the_type() -> None:
    assert re.findall(r"^## (\w+)$", settings_reference(), re.MULTILINE) == list(
        Settings.model_fields
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("port", "- value: integer, ≥ 0, ≤ 65535"),
        ("port", "- default: `50051`"),
        ("quote_ttl_s", "- value: number, > 0, ≤ 86400"),
        ("strict", "- set by: `--strict`, `--no-strict`, `MITSUMORI_STRICT`"),
        ("prompt_key", "- set by: `MITSUMORI_PROMPT_KEY`"),
        ("prompt_key", "- value: secret"),
        ("bundle", "- default: `models/bundles/static`"),
        ("ledger", "- default: `sqlite:~/.local/share/mitsumori/ledger.sqlite`"),
        ("correct_by", "- default: `[tenant, team, project]`"),
        ("miss_costs", "- value: group of `low`, `medium`, `high`"),
        ("retention", "- value: list, each a group of `days`, `labels`"),
        ("log_format", "- value: one of `json`, `console`"),
    ],
)
def test_a_section_says_where_what_and_the_default(name: str, line: str) -> None:
    section = settings_reference().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert line in section.splitlines()


def test_the_page_names_no_folder_of_this_machine() -> None:
    assert str(Path.home()) not in settings_reference()


def test_help_names_the_settings_that_have_no_flag() -> None:
    without = sorted(set(Settings.model_fields) - set(flags_of_settings()))
    assert f"only there: {', '.join(without)}." in " ".join((serve.__doc__ or "").split())
