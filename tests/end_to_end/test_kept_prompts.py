"""What is on disk, in the logs and in what commands print, with each kind of prompt log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mitsumori import Router
from router.cli.demo import serving
from router.cli.main import app
from router.ledger.sqlite.ledger import SqliteLedger
from tests.readiness import PATIENCE_S, wait_until

EMAIL = "canary.4711@example.co.jp"
PHONE = "090-1234-5678"
WIDE_PHONE = "０８０−８７６５−４３２１"
CARD = "4111 1111 1111 1111"
KEY = "sk-proj-Canary4711Canary4711Canary4711"
PASSWORD = "cAnary-4711!"
CANARIES = (EMAIL, PHONE, WIDE_PHONE, CARD, KEY, PASSWORD)
PROMPT = (
    f"Write to {EMAIL} or call {PHONE}. 携帯は{WIDE_PHONE}です。カードは{CARD}。"
    f"The key is {KEY} and パスワード：{PASSWORD} なのに、ログインできません。"
)


def printed(address: str, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--server", address], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output or result.exception
    return result.output


def files(directory: Path) -> bytes:
    """Everything that is on disk, the write-ahead log included."""
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def settings_file(directory: Path, text: str) -> str:
    path = directory / "settings.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("kind", ["off", "hash", "embedding", "redacted"])
def test_canaries_are_nowhere_to_be_found(tmp_path: Path, kind: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    log = tmp_path / "log"
    config = settings_file(tmp_path, f"log_prompts: {kind}\nprompt_key: a key\nlog_level: debug\n")
    with (
        log.open("w") as out,
        serving(
            "--config", config, "--log-level", "info", "--ledger", f"sqlite:{store}/ledger", log=out
        ) as (address, _),
    ):
        with Router(address, timeout_s=PATIENCE_S) as client:
            client.route(PROMPT, scope={"team": "search"})
        shown = printed(address, "decisions", "--json")
        on_disk = files(store)
    (decision,) = json.loads(shown)
    record = json.loads(decision["record"])
    assert record.get("prompt_log", "off") == kind
    assert ("prompt_hash" in record) == (kind != "off")
    if kind == "redacted":
        assert record["prompt"] == (
            "Write to [email] or call [phone]. 携帯は[phone]です。カードは[card]。"
            "The key is [secret] and パスワード：[secret] なのに、ログインできません。"
        )
    for canary in CANARIES:
        for place in (shown, log.read_text(), (on_disk + files(store)).decode("utf-8", "replace")):
            assert canary not in place
            assert json.dumps(canary)[1:-1] not in place


def test_a_server_keeps_house_while_nobody_asks(tmp_path: Path) -> None:
    config = settings_file(
        tmp_path,
        "hold_ttl_s: 0.2\nexpire_every_s: 0.1\nretention:\n- days: 30\n  labels: {team: search}\n",
    )
    log = tmp_path / "log"
    path = tmp_path / "ledger"
    with (
        log.open("w") as out,
        serving(
            "--config", config, "--log-level", "info", "--ledger", f"sqlite:{path}", log=out
        ) as (
            address,
            _,
        ),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        client.route("What is 2 + 2?", scope={"team": "search"})
        wait_until(lambda: '"event": "expired"' in log.read_text())
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["holds"] for entry in said if entry["event"] == "expired"] == [1]
    ledger = SqliteLedger(path)
    (made,) = ledger.decisions()
    ledger.close()
    assert made.state.value == "expired"
