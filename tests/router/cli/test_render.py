"""Tables on narrow terminals and in pipes: no digit is ever cut off."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from mitsumori.v1 import router_pb2
from router.cli.render import FittedTable, console, print_json, print_reply, table

LIMITS = table(
    "Limits",
    ("limit", "scope", "?window", ">soft", ">left of the budget"),
    [
        ("search-monthly", "team=search user=u-17 project=atlas", "month", "$1,400.00", "$500.123"),
        ("a", "everything", "day", "–", "$0.000000001"),
    ],
)


def printed(shown: FittedTable, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(shown)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_numbers_and_names_stay_whole_while_other_texts_are_folded() -> None:
    lines = printed(LIMITS, 64)
    assert max(map(len, lines)) <= 64
    (first,) = (line for line in lines if "search-monthly" in line)
    assert "$1,400.00" in first
    assert "$500.123" in first
    text = " ".join(lines)
    for piece in ("team=search", "user=u-17", "project=atlas", "$0.000000001"):
        assert piece in text
    assert "…" not in text


def test_a_terminal_too_narrow_for_the_columns_gets_a_block_per_row() -> None:
    assert printed(LIMITS, 40) == [
        "Limits",
        "search-monthly",
        "  scope               team=search",
        "user=u-17 project=atlas",
        "  soft                $1,400.00",
        "  left of the budget  $500.123",
        "a",
        "  scope               everything",
        "  soft                –",
        "  left of the budget  $0.000000001",
    ]


@pytest.mark.parametrize("width", [20, 40, 50, 60, 80, 119, 120, 200])
def test_every_cell_that_is_shown_is_whole_at_every_width(width: int) -> None:
    text = "\n".join(printed(LIMITS, width))
    assert [cell for cell in ("$1,400.00", "$500.123", "$0.000000001") if cell not in text] == []
    assert ("month" in text.replace("search-monthly", "")) == (width >= 120)


def test_a_pipe_has_no_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    long = "x" * 500
    console().print(table("T", ("name", "text"), [("a", f"{long} end")]))
    assert f"{long} end" in capsys.readouterr().out
    print_json({"text": long})
    assert json.loads(capsys.readouterr().out) == {"text": long}


def _option(model: str, basis: str) -> router_pb2.Option:
    return router_pb2.Option(model=model, tier="low", p_adequate=0.9, p_adequate_basis=basis)


def _printed(capsys: pytest.CaptureFixture[str], *options: router_pb2.Option) -> str:
    first, *others = options
    print_reply(router_pb2.RouteResponse(chosen=first, alternatives=others))
    return capsys.readouterr().out


def test_a_reply_says_what_each_probability_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    own, published = _option("a", "180 attempts of its own"), _option("b", "MMLU-Pro, 2026-04-09")
    tier = _option("c", "its tier, low")
    printed = _printed(capsys, own, published, tier)
    assert (
        "rests on: a 180 attempts of its own; b MMLU-Pro, 2026-04-09; the others on their tier."
        in printed
    )
    assert "the others" not in _printed(capsys, own)
    assert "P(adequate) rests on the tier of each model." in _printed(capsys, tier)
