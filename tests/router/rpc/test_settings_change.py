"""Settings of a running server: which change, which need a restart, and what their version tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from router.core.errors import InvalidInput
from router.rpc.settings_change import CHANGEABLE, SettingsFile, settings_version
from router.settings import Settings
from router.settings_sources import load_settings

PAGE = Path(__file__).parents[3] / "docs" / "operations" / "hot-reload.md"


def changed(content: str, **flags: Any) -> Settings:
    started = load_settings(ledger="memory:", **flags)
    file = SettingsFile(Path("settings.yaml"), {"ledger": "memory:", **flags})
    return file.changed(content.encode(), started)


def test_what_can_change_is_a_setting_and_stands_on_the_page() -> None:
    assert set(Settings.model_fields) >= CHANGEABLE
    section = PAGE.read_text().split("## Settings that can change")[1].split("##")[0]
    assert {name for name in Settings.model_fields if f"`{name}`" in section} == CHANGEABLE


def test_another_content_gives_other_settings() -> None:
    assert changed("hold_ttl_s: 5\nstrict: true").hold_ttl_s == 5
    assert changed("").model_dump() == load_settings(ledger="memory:").model_dump()


def test_a_flag_stands_above_the_file_while_the_server_runs_too() -> None:
    assert changed("hold_ttl_s: 5\nport: 9", hold_ttl_s="7", port="1").hold_ttl_s == 7


@pytest.mark.parametrize(
    "name", sorted({"host", "port", "ledger", "catalog", "workers", "key_store"})
)
def test_what_needs_a_restart_is_named(name: str) -> None:
    flags = {} if name != "ledger" else {"ledger": None}
    started = load_settings(**flags)
    value = {"port": 9, "workers": 9, "ledger": "'memory:'"}.get(name, "127.0.0.9")
    with pytest.raises(InvalidInput) as caught:
        SettingsFile(Path("s.yaml"), flags).changed(f"{name}: {value}".encode(), started)
    assert caught.value.message == (
        f"s.yaml: {name} cannot change while the server runs; restart it"
    )
    assert caught.value.reason == "RESTART_NEEDED"


def test_the_bound_on_prompts_falls_and_rises_up_to_that_of_the_start() -> None:
    assert changed("max_prompt_bytes: 1000", max_prompt_bytes="2000").max_prompt_bytes == 2000
    assert changed("max_prompt_bytes: 1000").max_prompt_bytes == 1000
    assert changed(f"max_prompt_bytes: {1 << 20}").max_prompt_bytes == 1 << 20
    with pytest.raises(InvalidInput, match="cannot rise above 1048576"):
        changed(f"max_prompt_bytes: {(1 << 20) + 1}")


def test_the_version_tells_what_can_change_and_nothing_of_a_secret() -> None:
    plain = Settings(ledger="memory:")
    assert settings_version(plain) == settings_version(Settings(ledger="memory:", port=9))
    assert settings_version(plain) == settings_version(
        Settings(ledger="memory:", prompt_key=SecretStr("x"))
    )
    assert settings_version(plain) != settings_version(Settings(ledger="memory:", strict=True))
    assert len(settings_version(plain)) == 12
