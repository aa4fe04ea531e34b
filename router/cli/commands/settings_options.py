"""Flags made from the fields of :class:`Settings`, so that a setting is described in one place."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from router.rpc.settings_change import SettingsFile
from router.settings import Settings, flags_of_settings
from router.settings_sources import config_path, load_settings

__all__ = ["notes_on_variables", "takes_settings"]

_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, typer.Option(help="YAML file of settings.")],
)


_PREFIX = "MITSUMORI_"
_OF_COMMANDS = frozenset(
    {
        "ADMIN_SERVER", "API_KEY", "API_KEY_FILE", "CA", "CLIENT_CERTIFICATE", "CLIENT_KEY", "CONFIG",
        "CURRENCY", "SERVER", "SERVER_NAME", "SIGNING_PASSWORD", "TLS", "TOKEN", "TOKEN_FILE",
    }
)  # fmt: skip
"""Variables that are no settings, without their prefix."""
_MIN_SIMILARITY = 0.8


def notes_on_variables(environ: Iterable[str]) -> list[str]:
    """A line for each variable whose name is close to that of a setting: a misspelt one would change nothing.

    Others of our prefix are left alone, such as those by which Kubernetes announces a service of our name.
    """
    known = {name.upper() for name in Settings.model_fields} | _OF_COMMANDS
    notes = []
    for name in sorted(environ):
        top, separator, member = name.removeprefix(_PREFIX).partition("__")
        if not name.startswith(_PREFIX) or top in known or len(top) > 64:
            continue
        for near in get_close_matches(top, sorted(known), n=1, cutoff=_MIN_SIMILARITY):
            meant = f"{_PREFIX}{near}{separator}{member}"
            notes.append(
                f"note: {name} is not a setting and changes nothing; did you mean {meant}?"
            )
    return notes


def _metavar(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "|".join(map(str, get_args(field.annotation)))
    kinds: dict[Any, str] = {
        int: "INTEGER", int | None: "INTEGER", float: "NUMBER", Path: "PATH", Path | None: "PATH",
    }  # fmt: skip
    return kinds.get(field.annotation, "TEXT")


def _default(value: Any) -> str:
    if value is None or value == "":
        return ""
    return f" (default: {'on' if value is True else 'off' if value is False else value})"


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """A flag that takes any text; ``Settings`` checks it as it checks the environment and the file."""
    text = field.description or ""
    text = f"{text[:1].upper()}{text[1:]}{_default(field.default)}."
    # `None` means not given; the value then comes from the environment or the file.
    kind: Any = (
        Annotated[bool | None, typer.Option(help=text, show_default=False)]
        if field.annotation in (bool, bool | None)
        else Annotated[str | None, typer.Option(help=text, metavar=_metavar(field))]
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``settings`` of a command by the flags of all settings and ``--config``.

    Args:
        command: takes ``settings``, options of its own, and, where it has such a parameter, ``file``: the
            settings file, ``None`` where there is none.

    Returns:
        The command as typer reads it.
    """
    own = inspect.signature(command, eval_str=True).parameters
    parameters = [
        *(_parameter(name, Settings.model_fields[name]) for name in flags_of_settings()),
        _CONFIG,
        *(
            one.replace(kind=one.KEYWORD_ONLY)
            for one in own.values()
            if one.name not in ("settings", "file")
        ),
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        for note in notes_on_variables(os.environ):
            typer.echo(note, err=True)
        flags = {name: given.pop(name) for name in flags_of_settings()}
        path = config_path(given.pop("config"))
        if "file" in own:
            given["file"] = None if path is None else SettingsFile(path, flags)
        command(settings=load_settings(config=path, **flags), **given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
