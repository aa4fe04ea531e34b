"""`make demo`, as whoever tries the project first sees it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from router.cli.demo import PROMPTS
from tests.readiness import PATIENCE_S


def test_the_demo_looks_right_to_whoever_reads_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "router.cli.demo"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    rows = {
        cells[0]: cells[1:]
        for line in done.stdout.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("│").split("│")]) == 8
    }
    assert set(dict(PROMPTS)) < set(rows)
    # Every prompt is there to be read, whole; of the long one the beginning.
    shown = re.sub(r"[│\s]", "", done.stdout)
    for name, text in PROMPTS:
        first, *others = (re.sub(r"\s", "", line) for line in text.splitlines() if line.strip())
        assert name.replace(" ", "") + first in shown
        assert [
            line for line in others[: 2 if len(text) > 1000 else None] if line not in shown
        ] == []
    assert "… and 118 lines like these" in done.stdout
    tiers = {name: row[1] for name, row in rows.items()}
    simple = ("greeting", "look-up", "percentage", "日本語: お礼の返事")
    assert [tiers[name] for name in simple] == ["low"] * len(simple)
    # A line translated has so few tokens that a model of the medium tier without hidden reasoning costs less
    # than most of the low tier: what matters is that it costs next to nothing.
    for name in (*simple, "one line translated"):
        assert float(rows[name][4].removeprefix("$")) < 0.0001
    assert tiers["a lock-free queue"] == tiers["proof, importance high"] == "high"
    saved = re.search(r"(\d+)% saved", done.stdout)
    assert saved is not None
    assert int(saved[1]) >= 30
    adequate = re.search(
        r"Adequate answers expected: (\d+)%, and (\d+)% with the highest tier\.", done.stdout
    )
    assert adequate is not None
    chosen, high = map(int, adequate.groups())
    of_each = [int(rows[name][3].rstrip("%")) for name, _ in PROMPTS]
    assert chosen == pytest.approx(sum(of_each) / len(of_each), abs=1)
    assert chosen <= high <= 100
