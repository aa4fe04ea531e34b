"""The reference of all settings as a page of Markdown, made from :class:`Settings`.

``make reference`` writes it to ``docs/operations/configuration.md``; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from platformdirs import user_cache_path, user_data_path
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from router.paths import MODELS
from router.rpc.settings_change import CHANGEABLE
from router.settings import Settings, flags_of_settings

__all__ = ["settings_reference"]

_HEAD = """\
# Settings

Made by `make reference` from `router/settings.py`; do not edit.

In order of precedence: a flag of `mitsumori serve`, an environment variable, the YAML file that `--config` or
`MITSUMORI_CONFIG` names, the default. A setting without a flag is a secret, a list or a group: a flag can be
read by every user of the machine, and holds one word. In the environment lists and groups are JSON; a member
of a group also has a variable of its own, such as `MITSUMORI_MISS_COSTS__HIGH=4.00`. A wrong value stops
the start with one line that names the setting. Settings of the file that «change while the server runs» are
[followed](hot-reload.md); all others need a restart.
"""
_WORDS: dict[Any, str] = {
    bool: "on or off",
    float: "number",
    int: "integer",
    Path: "path",
    SecretStr: "secret",
    str: "text",
}


def _type(annotation: Any) -> str:
    """A type in words."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    names = getattr(annotation, "model_fields", None) or getattr(
        annotation, "__dataclass_fields__", None
    )
    if names:
        return "group of " + ", ".join(f"`{name}`" for name in names)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        # Of «a path, or the address of a registry» the description says the second.
        return next(_type(each) for each in arguments if each is not NoneType)
    if origin in (list, tuple):
        return f"list, each a {_type(arguments[0])}"
    if origin is dict:
        return f"mapping, each value a {_type(arguments[1])}"
    return str(getattr(annotation, "__name__", annotation))


def _bounds(field: FieldInfo) -> str:
    """The range of a number in words; empty where there is none."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for name, sign in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return f", {', '.join(found)}" if found else ""


def _default(value: Any) -> str:
    """A default as it is written in a settings file, the same on every machine."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", [], ()):
        return "unset"
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    if is_dataclass(value) and not isinstance(value, type):
        members = (f"{name}: {member}" for name, member in asdict(value).items())
        return f"`{{{', '.join(members)}}}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    text = str(value)
    for folder, name in (
        (str(MODELS), "models"),
        (str(user_cache_path("mitsumori")), "~/.cache/mitsumori"),
        (str(user_data_path("mitsumori")), "~/.local/share/mitsumori"),
    ):
        text = text.replace(folder, name)
    return f"`{text}`"


def _section(name: str, field: FieldInfo, *, has_flag: bool) -> Iterator[str]:
    description = (field.description or "").replace("\n", " ")
    places = [f"`MITSUMORI_{name.upper()}`"]
    if has_flag:
        flag = name.replace("_", "-")
        both = field.annotation is bool
        places.insert(0, f"`--{flag}`, `--no-{flag}`" if both else f"`--{flag}`")
    yield f"\n## {name}\n"
    yield f"{description[:1].upper()}{description[1:]}.\n"
    yield f"- set by: {', '.join(places)}"
    yield f"- value: {_type(field.annotation)}{_bounds(field)}"
    yield f"- default: {_default(field.get_default(call_default_factory=True))}"
    if name in CHANGEABLE:
        yield "- changes while the server runs"


def settings_reference() -> str:
    """The page: one section per setting, in the order of the type."""
    flags = set(flags_of_settings())
    lines = [_HEAD.rstrip("\n")]
    for name, field in Settings.model_fields.items():
        lines.extend(_section(name, field, has_flag=name in flags))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_reference())
