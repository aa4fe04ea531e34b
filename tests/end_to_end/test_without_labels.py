"""The guide's path of a company without labels, as it is written there: only the endpoint is another one."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from mitsumori import Router
from router.classifier.manifest import read_manifest
from router.cli.demo import serving
from router.cli.main import app as mitsumori
from tests.readiness import PATIENCE_S
from tests.training.fake_provider import Act, Request, Says, provider
from training.cli import app as training
from training.histories.demonstration import demonstration_history

ROOT = Path(__file__).parents[2]
ENDPOINT = "http://localhost:4000/v1"
LADDER = {
    "gpt-5-nano": "demo-small",
    "gemini-3.8-flash": "demo-middle",
    "gpt-6.1-sol": "demo-large",
}
JUDGE = "claude-sonnet-5-5"
PROMPTS = 150


def commands() -> list[str]:
    """The commands of the page."""
    page = (ROOT / "docs/training/without-labels.md").read_text(encoding="utf-8")
    block = page.split("```console")[1].split("```")[0]
    return [line.split("#")[0].strip()[2:] for line in block.strip().splitlines()]


def what_make_runs(command: str) -> list[str]:
    """The call of Python in the recipe of a target."""
    words = ["make", "--dry-run", "--silent", *shlex.split(command)[1:]]
    recipe = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(one for one in re.sub(r"\\\n", " ", recipe).splitlines() if "-m training" in one)
    return shlex.split(line.split("||")[0])[1:]


@pytest.mark.slow
def test_prompts_become_a_bundle_by_the_commands_of_the_page(tmp_path: Path) -> None:
    history = demonstration_history(11).attempts
    prompts = list(dict.fromkeys(history["prompt"]))[:PROMPTS]
    quality = {(row.prompt, row.model): row.quality for row in history.itertuples()}

    def provide(request: Request) -> Act:
        if request.model == JUDGE:
            right = "Right. " in request.prompt.split("[answer ")[1]
            return Says(f"Checked.\nGRADE: {9 if right else 3}")
        right = quality[request.prompt, LADDER[request.model]]
        return Says(("Right. " if right else "Wrong. ") + "word " * (len(request.prompt) // 6))

    config = tmp_path / "settings.yaml"
    config.write_text("log_prompts: text\n")
    first, *others = commands()
    assert shlex.split(first)[0] == "mitsumori"
    with (
        serving("--config", str(config), "--ledger", f"sqlite:{tmp_path}/ledger.sqlite") as (at, _),
        Router(at, timeout_s=PATIENCE_S) as client,
    ):
        for text in prompts:
            client.route(text)
        words = [*shlex.split(first)[1:-1], str(tmp_path / "prompts.jsonl"), "--server", at]
        assert CliRunner().invoke(mitsumori, words, catch_exceptions=False).exit_code == 0

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-test"}
    codes = []
    with provider(provide) as made:
        for command in others:
            given = [made.url if one == ENDPOINT else one for one in what_make_runs(command)]
            done = subprocess.run(
                [sys.executable, *given],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
            )
            codes.append(done.returncode)
            assert done.returncode in (0, 3), done.stderr
    # So few prompts may be too few for the gate of promotion, and then it says so; nothing else stops early.
    assert codes[:-1] == [0, 0, 0]

    judged = pd.read_parquet(tmp_path / "build/judged.parquet")
    assert len(judged) == 3 * len(prompts)
    of_truth = [quality[row.prompt, LADDER[row.model]] for row in judged.itertuples()]
    assert (judged["quality"] >= 0.7).astype(float).tolist() == of_truth
    assert judged["judge"].str.startswith(f"{JUDGE}/rubric@").all()
    manifest, _ = read_manifest(tmp_path / "build/bundle")
    assert [arm.models for arm in manifest.arms] == [[name] for name in LADDER]
    verdict = json.loads((tmp_path / "build/reports/promote.json").read_text())
    assert verdict


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_language_and_category_go_with_a_prompt_from_its_route_to_the_history_of_its_answers(
    suffix: str, tmp_path: Path
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("log_prompts: text\n")
    log, out = tmp_path / f"prompts{suffix}", tmp_path / "answers.parquet"
    asked = {
        "Translate: good morning": {
            "language": "en",
            "category": "customer support",
            "user": "u 1",
        },
        "お礼の返事を書いてください": {"language": "ja", "category": "e-mail", "team": "a=b"},
        "Anything else?": {"team": "search"},
    }
    with (
        serving("--config", str(config)) as (at, _),
        Router(at, timeout_s=PATIENCE_S) as client,
        provider(lambda request: Says("Done.")) as made,
    ):
        for text, labels in asked.items():
            client.route(text, scope=labels)
        words = ["decisions", "--out", str(log), "--server", at]
        assert CliRunner().invoke(mitsumori, words, catch_exceptions=False).exit_code == 0
        words = [
            "collect", "--prompts", str(log), "--models", "gpt-5-nano", "--endpoint", made.url,
            "--budget", "1", "--out", str(out),
        ]  # fmt: skip
        result = CliRunner(env={"OPENAI_API_KEY": "sk-test"}).invoke(training, words)
        assert result.exit_code == 0, result.output or result.exception
    history = pd.read_parquet(out).astype(object).set_index("prompt")
    for text, labels in asked.items():
        found = {
            name: history[name][text]
            for name in ("language", "category", "user")
            if not pd.isna(history[name][text])
        }
        assert found == {name: value for name, value in labels.items() if name != "team"}
