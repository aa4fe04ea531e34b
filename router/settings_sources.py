"""Where settings come from: flags, the environment, a file; and an error that says where to set one.

In order of precedence: command-line flags, environment variables (``MITSUMORI_PORT=…``), a YAML file
named by ``--config`` or ``MITSUMORI_CONFIG``, the defaults of :class:`Settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from router.core.errors import InvalidInput
from router.files import MAX_TEXT_BYTES, parse_yaml, read_bounded
from router.settings import ENVIRONMENT_PREFIX, Settings, flags_of_settings

__all__ = ["config_path", "load_settings"]


def config_path(config: Path | None) -> Path | None:
    """The settings file: as given, else the one that ``MITSUMORI_CONFIG`` names; ``None``: there is none."""
    chosen = os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    return config or (Path(chosen) if chosen else None)


def _read_file(path: Path | None, content: bytes | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = parse_yaml(read_bounded(path, MAX_TEXT_BYTES) if content is None else content)
    except OSError as error:
        raise InvalidInput(
            f"the settings file {path} is missing or not readable ({error.strerror})",
            field="config",
        ) from None
    except ValueError as error:
        raise InvalidInput(f"the settings file {path} {error}", field="config") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidInput(
            f"the settings file {path} must hold settings by name, such as `port: 50051`",
            field="config",
        )
    return values


def _refusal(first: Any, flags: Mapping[str, Any]) -> InvalidInput:
    """The error of a setting: what is wrong, and every place where it can be set."""
    name = ".".join(map(str, first["loc"]))
    top = str(first["loc"][0])
    if top not in Settings.model_fields:
        near = get_close_matches(top, Settings.model_fields, n=1)
        hint = f"did you mean {near[0]}?" if near else "`mitsumori serve --help` lists them"
        return InvalidInput(f"there is no setting {name}; {hint}", field=name)
    # A line of a list has no variable of its own.
    named = takewhile(lambda part: isinstance(part, str), first["loc"])
    places = [f"{ENVIRONMENT_PREFIX}{'__'.join(named).upper()}", "in the settings file"]
    if top in flags and top in flags_of_settings():
        places.insert(0, f"--{top.replace('_', '-')}")
    *some, last = places
    problem = first["msg"].removeprefix("Value error, ")
    return InvalidInput(
        f"setting {name}: {problem}; set it by {', '.join(some)} or {last}", field=name
    )


def load_settings(
    *, config: Path | None = None, content: bytes | None = None, **flags: Any
) -> Settings:
    """Settings from flags, environment and file.

    Args:
        config: the YAML file; ``None``: the one that ``MITSUMORI_CONFIG`` names, if any.
        content: of the file, where it was read before; ``None``: it is read.
        flags: values by setting; ``None``: not given.

    Raises:
        InvalidInput: a value is wrong or the file is missing; names the setting and where it can be
            set.
    """
    values = _read_file(config_path(config), content)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return (init_settings, env_settings, InitSettingsSource(settings_cls, values))

    try:
        return Sourced(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise _refusal(error.errors(include_input=False)[0], flags) from None
    except SettingsError as error:
        # The text of this error names the setting, not the value; the cause is always invalid JSON.
        raise InvalidInput(
            f"{error}; in the environment, lists and groups are written as JSON", field="settings"
        ) from None
