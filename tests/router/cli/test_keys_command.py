from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from router.cli.commands.connection import admin_address
from router.cli.main import app


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MITSUMORI_KEY_STORE", str(tmp_path / "keys.json"))
    return tmp_path / "keys.json"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["keys", *words])


def listed() -> list[dict[str, object]]:
    shown: list[dict[str, object]] = json.loads(invoke("list", "--json").stdout)
    return shown


def test_a_key_is_made_listed_rotated_and_revoked(store: Path) -> None:
    made = invoke("create", "gateway", "--tenant", "acme", "--role", "route", "--role", "settle",
                  "--label", "team=search", "--scope", "user=a", "--scope", "user=b",
                  "--days", "90")  # fmt: skip
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    assert key.startswith("mk_")
    (row,) = listed()
    assert row["id"] == key[:13]
    assert (row["tenant"], row["roles"], row["state"]) == ("acme", ["route", "settle"], "active")
    assert (row["labels"], row["scopes"]) == ({"team": "search"}, {"user": ["a", "b"]})
    table = invoke("list").stdout
    assert key[:13] in table
    assert key not in table + json.dumps(listed()) + store.read_text()
    rotated = json.loads(invoke("rotate", key[:13], "--overlap-hours", "0", "--json").stdout)
    assert rotated["key"].startswith(rotated["id"])
    assert [row["state"] for row in listed()] == ["expired", "active"]
    assert invoke("revoke", rotated["id"]).stdout == f"revoked {rotated['id']} (gateway)\n"
    assert [row["state"] for row in listed()] == ["expired", "revoked"]


def test_who_made_which_key_is_on_the_record_without_the_key(store: Path, tmp_path: Path) -> None:
    key = invoke("create", "ops", "--every-tenant", "--role", "admin").stdout.strip()
    new = invoke("rotate", key).stdout.strip()  # by its whole text, as who finds it somewhere would
    invoke("revoke", key)
    invoke("revoke", "mk_none")
    audit = store.with_name("keys.json.audit.jsonl")
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("CreateKey", "asked"), ("CreateKey", "done"), ("RotateKey", "asked"), ("RotateKey", "done"),
        ("RevokeKey", "asked"), ("RevokeKey", "done"), ("RevokeKey", "asked"), ("RevokeKey", "refused"),
    ]  # fmt: skip
    assert [line["key"] for line in lines[1:6]] == [key[:13]] * 5
    assert lines[3]["new_key"] == new[:13]
    assert {line["who"] for line in lines} == {lines[0]["who"]}
    assert key[14:] not in audit.read_text()
    assert new[14:] not in audit.read_text()
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "x", "--role", "route"), "--tenant NAME, or --every-tenant"),
        (("create", "x", "--role", "route", "--tenant", "*"), "--tenant NAME, or --every-tenant"),
        (("create", "x", "--role", "route", "--tenant", "a", "--every-tenant"), "--every-tenant"),
        (
            ("create", "x", "--role", "root", "--tenant", "a"),
            "'root' is none of route, settle, read, admin",
        ),
        (("create", "x\ny", "--role", "route", "--tenant", "a"), "printable"),
        (("create", "x", "--role", "route", "--tenant", "a b"), "tenant: must be"),
        (("create", "x", "--role", "route", "--tenant", "a", "--label", "team"), "is not a label"),
        (
            ("create", "x", "--role", "route", "--tenant", "a", "--label", "tenant=b"),
            "labels: a label must",
        ),
        (("list",), "there is no key store"),
        (("revoke", "mk_x"), "no key with this id"),
        (("rotate", "mk_x"), "no key with this id"),
    ],
)
def test_what_cannot_be_done_is_one_line(store: Path, words: tuple[str, ...], told: str) -> None:
    result = invoke(*words)
    assert told in str(result.exception)
    assert not store.exists()


def test_the_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MITSUMORI_KEY_STORE", raising=False)
    assert "--key-store PATH or MITSUMORI_KEY_STORE" in str(invoke("list").exception)


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1:50051"),
        ({"PORT": "6001"}, "127.0.0.1:6001"),
        ({"HOST": "0.0.0.0", "PORT": "6001"}, "127.0.0.1:50052"),
        ({"PORT": "6001", "PROCESSES": "1"}, "127.0.0.1:6001"),
        ({"PORT": "6001", "PROCESSES": "2"}, "127.0.0.1:50052"),
        ({"HOST": "0.0.0.0", "ADMIN_PORT": "7"}, "127.0.0.1:7"),
        ({"ADMIN_PORT": "7", "ADMIN_HOST": "10.0.0.1"}, "10.0.0.1:7"),
        ({"ADMIN_PORT": "7", "ADMIN_HOST": "::"}, "[::1]:7"),
    ],
)
def test_administration_is_called_where_serve_offers_it(
    environment: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOST", "PORT", "ADMIN_HOST", "ADMIN_PORT", "PROCESSES"):
        monkeypatch.delenv(f"MITSUMORI_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"MITSUMORI_{name}", value)
    assert admin_address("") == address
    assert admin_address("x:1") == "x:1"
