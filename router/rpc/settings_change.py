"""Settings that change while the server runs, and those that need a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.core.errors import BadArtifact, InvalidInput
from router.files import sha256_of
from router.settings import Settings
from router.settings_sources import load_settings
from router.watched import FileSource, Watched

__all__ = ["CHANGEABLE", "SettingsFile", "settings_version", "watch_settings"]

CHANGEABLE = frozenset(
    {
        "canary",
        "explore",
        "explore_regret",
        "gadget_guard",
        "health",
        "hold_ttl_s",
        "load_shares",
        "log_level",
        "log_prompts",
        "max_prompt_bytes",
        "max_settle_usd",
        "miss_costs",
        "provider_limits",
        "quality_targets",
        "quote_ttl_s",
        "retention",
        "shadow",
        "strict",
        "target_regret",
    }
)
"""Settings that a running server takes over; for any other it must be restarted."""


def settings_version(settings: Settings) -> str:
    """The first digits of the SHA-256 of the settings that can change. No secret is among them."""
    values = settings.model_dump(mode="json", include=set(CHANGEABLE))
    return sha256_of(json.dumps(values, sort_keys=True).encode())[:12]


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Where the settings of a server came from.

    Attributes:
        path: the YAML file.
        flags: values given as flags, which stand above the file.
    """

    path: Path
    flags: Mapping[str, Any]

    def changed(self, content: bytes, started: Settings) -> Settings:
        """The settings of a server with another content of the file.

        Args:
            content: of the file.
            started: those that the server started with.

        Raises:
            InvalidInput: the content is wrong, or changes what needs a restart; names the settings.
        """
        settings = load_settings(config=self.path, content=content, **self.flags)
        fixed = [
            name
            for name in Settings.model_fields
            if name not in CHANGEABLE and getattr(settings, name) != getattr(started, name)
        ]
        if fixed:
            raise InvalidInput(
                f"{self.path}: {_listed(fixed)} cannot change while the server runs; restart it",
                reason="RESTART_NEEDED",
                field=fixed[0],
            )
        if settings.max_prompt_bytes > started.max_prompt_bytes:
            raise InvalidInput(
                f"{self.path}: max_prompt_bytes cannot rise above {started.max_prompt_bytes}, with which the "
                "server started, while it runs; restart it",
                reason="RESTART_NEEDED",
                field="max_prompt_bytes",
            )
        return settings


def watch_settings(file: SettingsFile, started: Settings) -> Watched[Settings]:
    """The settings of a running server, followed in its file.

    Args:
        file: where they came from.
        started: those that the server started with.

    Raises:
        MitsumoriError: the file cannot be read any more.
    """
    source = FileSource(
        [file.path],
        lambda contents: file.changed(contents[file.path], started),
        lambda path, why: BadArtifact(
            f"the settings file {path} cannot be read ({why})",
            reason="SETTINGS_MISSING",
            field="config",
        ),
    )
    return Watched("settings", source, version=settings_version)


def _listed(names: list[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last
