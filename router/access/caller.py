"""Who calls, and what a credential allows: the values that keys and tokens are turned into."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.core.errors import InvalidInput
from router.core.limits import CHOICE_LABELS, LABEL_NAME

__all__ = ["ANONYMOUS", "EVERY_TENANT", "Caller", "Role", "caller_of"]

EVERY_TENANT = "*"
"""Written for the tenant of a credential that is bound to none."""

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,62}")
_NOT_FIXED = CHOICE_LABELS | {"tenant"}
_MAX_LABELS, _MAX_VALUES, _MAX_CHARACTERS = 16, 256, 128


class Role(enum.StrEnum):
    """What a credential may be used for."""

    ROUTE = "route"
    """Ask for decisions and quotes, which holds money."""
    SETTLE = "settle"
    """Report usage, and release holds."""
    READ = "read"
    """See limits, usage and the decision log."""
    ADMIN = "admin"
    """Set and delete limits, erase decisions, and read."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call.

    Attributes:
        name: for logs, such as ``key mk_a2b3c4d5e6``; never a secret.
        tenant: whose decisions these are; ``None``: the caller names any tenant, as an operator does.
        roles: what the caller may do.
        labels: labels that each of its requests carries.
        scopes: for a label, the values of which each request must carry one.
    """

    name: str
    tenant: str | None
    roles: frozenset[Role]
    labels: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, frozenset[str]] = field(default_factory=dict)


ANONYMOUS = Caller("anonymous", None, frozenset(Role))
"""Any caller of a server without credentials: it may do everything."""


def caller_of(
    name: str, *, tenant: Any, roles: Any, labels: Any = None, scopes: Any = None
) -> Caller:
    """A caller from what a key or the claims of a token say.

    Args:
        name: for logs.
        tenant: a name, or :data:`EVERY_TENANT`.
        roles: a list of names, or a text with spaces between them. Names that are no role of ours are
            left out, since a token may carry those of other services.
        labels: an object of label and value; ``None``: none.
        scopes: an object of label and list of values; ``None``: none.

    Raises:
        InvalidInput: one of them has another form; names it, and does not quote it.
    """
    if not isinstance(tenant, str) or not (tenant == EVERY_TENANT or _TENANT.fullmatch(tenant)):
        raise _wrong(
            "tenant", "must be 1 to 63 letters, digits, '.', '_' or '-', or * for every tenant"
        )
    named = roles.split() if isinstance(roles, str) else roles
    if not isinstance(named, list) or not all(isinstance(role, str) for role in named):
        raise _wrong("roles", f"must be a list of {', '.join(Role)}")
    return Caller(
        name=name,
        tenant=None if tenant == EVERY_TENANT else tenant,
        roles=frozenset(role for role in Role if role.value in named),
        labels={key: _value(key, value, "labels") for key, value in _object(labels, "labels")},
        scopes={key: _values(key, values) for key, values in _object(scopes, "scopes")},
    )


def _wrong(field_name: str, problem: str) -> InvalidInput:
    return InvalidInput(f"{field_name}: {problem}", field=field_name)


def _object(given: Any, name: str) -> list[tuple[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, dict) or len(given) > _MAX_LABELS:
        raise _wrong(name, f"must be an object of at most {_MAX_LABELS} labels")
    for key in given:
        if not (isinstance(key, str) and LABEL_NAME.fullmatch(key)) or key in _NOT_FIXED:
            raise _wrong(
                name,
                f"a label must match {LABEL_NAME.pattern}, and not be tenant, model, provider or tier",
            )
    return list(given.items())


def _value(key: str, value: Any, name: str) -> str:
    if not (isinstance(value, str) and 1 <= len(value) <= _MAX_CHARACTERS):
        raise _wrong(f"{name}.{key}", f"must be a text of 1 to {_MAX_CHARACTERS} characters")
    return value


def _values(key: str, values: Any) -> frozenset[str]:
    if not (isinstance(values, list) and 1 <= len(values) <= _MAX_VALUES):
        raise _wrong(f"scopes.{key}", f"must be a list of 1 to {_MAX_VALUES} values")
    return frozenset(_value(key, value, "scopes") for value in values)
