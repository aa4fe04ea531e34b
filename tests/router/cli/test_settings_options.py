from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.cli.commands.settings_options import notes_on_variables
from router.settings import Settings

ROOT = Path(__file__).parents[3]


def test_a_misspelt_variable_is_noted() -> None:
    assert notes_on_variables(["PATH", "MITSUMORI_LEGDER", "MITSUMORI_MISS_COST__HIGH"]) == [
        "note: MITSUMORI_LEGDER is not a setting and changes nothing; did you mean MITSUMORI_LEDGER?",
        "note: MITSUMORI_MISS_COST__HIGH is not a setting and changes nothing; did you mean "
        "MITSUMORI_MISS_COSTS__HIGH?",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "MITSUMORI_PORT_50051_TCP_ADDR",  # of Kubernetes, for a service named mitsumori
        "MITSUMORI_SERVICE_PORT",
        "MITSUMORI_BUILD",
        "MITSUMORI_",
        "LEGDER",
    ],
)
def test_what_resembles_no_setting_is_left_alone(name: str) -> None:
    assert notes_on_variables([name]) == []


def test_no_variable_that_is_read_is_noted() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for room in ("router", "mitsumori", "training/commands")
        for path in (ROOT / room).rglob("*.py")
    ]
    read = set(re.findall(r'"(MITSUMORI_[A-Z_]+)"', " ".join(sources)))
    assert len(read) > 15
    settings = [f"MITSUMORI_{name.upper()}" for name in Settings.model_fields]
    assert notes_on_variables([*read, *settings, "MITSUMORI_MISS_COSTS__HIGH"]) == []
