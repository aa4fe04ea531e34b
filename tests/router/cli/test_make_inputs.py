"""Whoever types ``make train HISTORY=file`` is told of HISTORY=, not only of the option behind it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from router.cli.make_inputs import as_typed

ROOT = Path(__file__).parents[3]
INPUTS = ("HISTORY", "ARMS", "BUNDLE", "A", "B", "DRY_RUN")


@pytest.mark.parametrize(
    ("message", "words", "typed"),
    [
        ("a.csv: cannot be read", "fit --history a.csv", "HISTORY=a.csv: cannot be read"),
        ("a.csv: cannot be read", "fit --history b.csv --history a.csv", "HISTORY=a.csv: cannot be read"),
        ("a.csv.gz: no", "fit --history a.csv", "a.csv.gz: no"),
        ("--arms: 'x' is wrong", "fit --arms x", "--arms (ARMS=): 'x' is wrong"),
        ("give --arms; --arms has tiers", "fit", "give --arms (ARMS=); --arms has tiers"),
        ("leave --dry-run out", "promote", "leave --dry-run (DRY_RUN=) out"),
        ("leave --seed out", "promote", "leave --seed out"),
        ("old is no bundle", "compare new old --history h.csv", "B=old is no bundle"),
        ("old is no bundle", "evaluate --bundle old", "BUNDLE=old is no bundle"),
        ("nothing is known", "", "nothing is known"),
    ],
)  # fmt: skip
def test_a_message_names_what_was_typed(message: str, words: str, typed: str) -> None:
    assert as_typed(message, words.split(), INPUTS) == typed
    assert as_typed(message, words.split(), ()) == message


def test_every_input_that_help_names_is_taken() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    inputs = set(re.findall(r"^([A-Z_]+) *[:?]?=", makefile, re.MULTILINE))
    helped = " ".join(re.findall(r"^[a-z-]+:.*?## (.*)$", makefile, re.MULTILINE))
    assert set(re.findall(r"\b([A-Z_]+)=", helped)) - inputs == {"NAME"}  # of PRICE= and ARM=


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A target of the Makefile with the environment of the tests instead of one of its own."""
    for kind in ("serve", "dev"):
        (folder / f"stamp-{kind}").touch()
    given = [f"PY={sys.executable}", f"BIN={Path(sys.executable).parent}", f"STAMPS={folder}/stamp"]
    return subprocess.run(
        ["make", *given, f"BUILD={folder}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "HISTORY=nofile"), "error: HISTORY=nofile: there is no such file"),
        (("promote", "HISTORY=no.csv", "PRICE=x"), "error: --price (PRICE=) 'x' is not NAME=IN,OUT"),
        (("compare", "A=nowhere", "B=x", "HISTORY=no.csv"), "error: A=nowhere is not a bundle: "),
        (("import", "FROM=litellm", "LOG=nolog"), "error: LOG=nolog: there is no such file"),
        (("sign", "KEY=nokey"), "error: --key (KEY=): nokey cannot be read (No such file or directory); "),
        (("sign",), "error: name a private key with KEY=file"),
    ],
)  # fmt: skip
def test_an_error_under_make_names_the_variable(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = make(tmp_path, *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_misspelt_variable_is_no_silent_default(tmp_path: Path) -> None:
    done = make(tmp_path, "train", "HISTROY=attempts.parquet")
    assert done.returncode == 2
    assert "there is no input HISTROY=; `make help` names those of each target" in done.stderr
    assert done.stdout == ""
    listed = make(tmp_path, "--dry-run", "evaluate", "HISTORY=a.csv b.csv", "PRICE=X=1,2 Y=3,4")
    assert listed.returncode == 0, listed.stderr
    assert '--price "Y=3,4"' in listed.stdout
