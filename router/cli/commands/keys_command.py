"""``mitsumori keys``: API keys, made and ended in the key store of a server."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from router.access.api_keys import ApiKey
from router.access.audit_log import AuditLog
from router.access.caller import EVERY_TENANT, Role
from router.access.key_store import KeyStore
from router.cli.commands.arguments import Json, labels_of
from router.cli.render import console, print_json, table
from router.clock import utc_now
from router.core.errors import InvalidInput

__all__ = ["create_key", "list_keys", "revoke_key", "rotate_key"]

_MAX_DAYS = 36_500

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--key-store",
        envvar="MITSUMORI_KEY_STORE",
        help="File of the keys, as serve has it; the first key makes it.",
    ),
]
AuditOption = Annotated[
    Path | None,
    typer.Option(
        "--audit-log",
        envvar="MITSUMORI_AUDIT_LOG",
        help="File to which this is added (default: beside the key store).",
    ),
]
KeyArgument = Annotated[str, typer.Argument(help="Id of the key, such as mk_a2b3c4d5e6.")]


def list_keys(key_store: StoreOption = None, json_output: Json = False) -> None:
    """List every key: what it may do, and whether it is in force; the keys themselves are kept nowhere."""
    now = utc_now()
    keys = _store(key_store).keys()
    if json_output:
        print_json([{**_rights(key), "state": key.state_at(now)} for key in keys])
        return
    rows = [
        [
            f"mk_{key.id}",
            key.name,
            "every tenant" if key.tenant == EVERY_TENANT else key.tenant,
            " ".join(key.roles),
            _labels_text(key),
            f"{key.created:%Y-%m-%d}",
            f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "never",
            key.state_at(now),
        ]
        for key in keys
    ]
    columns = ("key", "name", "tenant", "roles", "labels", "created", "expires, UTC", "state")
    console().print(table("API keys", columns, rows))


def create_key(
    name: Annotated[str, typer.Argument(help="What uses it, such as the name of a service.")],
    role: Annotated[
        list[str], typer.Option(help=f"What it may do: {', '.join(Role)}; repeatable.")
    ],
    tenant: Annotated[
        str | None, typer.Option(help="Tenant whose requests and decisions these are.")
    ] = None,
    every_tenant: Annotated[
        bool, typer.Option("--every-tenant", help="Not bound to one tenant, for operators.")
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label that each request carries, such as team=search; repeatable."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Label and value that requests may carry, of which one; repeatable."),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=_MAX_DAYS, help="Days until it expires (default: never)."),
    ] = None,
    key_store: StoreOption = None,
    audit_log: AuditOption = None,
    json_output: Json = False,
) -> None:
    """Make a key and print it. It cannot be shown again.

    A running server takes it within a second.
    """
    if (tenant is None) != every_tenant or tenant == EVERY_TENANT:
        raise InvalidInput(
            "say whose key it is with --tenant NAME, or --every-tenant", field="tenant"
        )
    unknown = sorted(set(role) - set(Role))
    if unknown:
        raise InvalidInput(f"--role: {unknown[0]!r} is none of {', '.join(Role)}", field="role")
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInput("NAME must have 1 to 100 printable characters", field="name")
    store = _store(key_store)
    facts = {
        "name": name,
        "tenant": tenant or EVERY_TENANT,
        "roles": sorted(set(role)),
        "labels": labels_of(label, "--label"),
        "scopes": _scopes_of(scope),
    }
    expires = None if days is None else utc_now() + timedelta(days=days)
    with _audit(store, audit_log).recorded(
        _who(), "CreateKey", {**facts, "expires": None if expires is None else str(expires)}
    ) as recorded:
        text, key = store.create(**facts, expires=expires)  # type: ignore[arg-type]
        recorded["key"] = f"mk_{key.id}"
    _show_once(text, key, json_output)


def rotate_key(
    key: KeyArgument,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=24 * 366, help="How long the old key stays in force, hours.")
    ] = 24.0,
    key_store: StoreOption = None,
    audit_log: AuditOption = None,
    json_output: Json = False,
) -> None:
    """Make a key with the rights of another and print it; the old one expires after an overlap."""
    store = _store(key_store)
    with _audit(store, audit_log).recorded(
        _who(), "RotateKey", {"key": _shown(key), "overlap_hours": overlap_hours}
    ) as recorded:
        text, made = store.rotate(key, timedelta(hours=overlap_hours))
        recorded["new_key"] = f"mk_{made.id}"
    _show_once(text, made, json_output)


def revoke_key(
    key: KeyArgument, key_store: StoreOption = None, audit_log: AuditOption = None
) -> None:
    """End a key for good. A running server refuses it within a second."""
    store = _store(key_store)
    with _audit(store, audit_log).recorded(_who(), "RevokeKey", {"key": _shown(key)}):
        revoked = store.revoke(key)
    console().print(f"revoked mk_{revoked.id} ({revoked.name})", highlight=False, markup=False)


def _store(path: Path | None) -> KeyStore:
    if path is None:
        raise InvalidInput(
            "name the key store with --key-store PATH or MITSUMORI_KEY_STORE, as for `mitsumori serve`",
            field="key_store",
        )
    return KeyStore(path)


def _audit(store: KeyStore, path: Path | None) -> AuditLog:
    beside = store.path.with_name(f"{store.path.name}.audit.jsonl")
    return AuditLog(path or beside, logs=False)


def _who() -> str:
    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):  # a container without a name for its user
        return "a user of this machine"


def _shown(key: str) -> str:
    """The id alone, where someone gives the whole key."""
    return f"mk_{key.removeprefix('mk_')[:10]}"


def _scopes_of(pairs: Sequence[str] | None) -> dict[str, list[str]]:
    scopes: dict[str, list[str]] = {}
    for pair in pairs or ():
        for label, value in labels_of([pair], "--scope").items():
            scopes.setdefault(label, []).append(value)
    return scopes


def _labels_text(key: ApiKey) -> str:
    fixed = [f"{label}={value}" for label, value in key.labels.items()]
    return " ".join(fixed + [f"{label}={'|'.join(values)}" for label, values in key.scopes.items()])


def _rights(key: ApiKey) -> dict[str, Any]:
    return {
        "id": f"mk_{key.id}",
        "name": key.name,
        "tenant": key.tenant,
        "roles": key.roles,
        "labels": key.labels,
        "scopes": key.scopes,
        "created": key.created.isoformat(),
        "expires": None if key.expires is None else key.expires.isoformat(),
    }


def _show_once(text: str, key: ApiKey, json_output: bool) -> None:
    if json_output:
        print_json({**_rights(key), "key": text})
        return
    # The key alone on standard output, so that it can be sent on to a store of secrets.
    print(text)  # noqa: T201
    told = console(stderr=True)
    told.print(
        f"key mk_{key.id} ({key.name}); it is shown this once", highlight=False, markup=False
    )
