"""What each kind of error becomes for a caller."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2

from router.core import errors
from router.core.errors import (
    BadArtifact,
    CallerGone,
    Conflict,
    Exhausted,
    InvalidInput,
    MitsumoriError,
    NotAllowed,
    NotFound,
    NotPossible,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from router.rpc import server
from router.rpc.error_interceptor import status_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("m"), "INVALID_ARGUMENT"),
        (TooLarge("m"), "RESOURCE_EXHAUSTED"),
        (NotPossible("m"), "FAILED_PRECONDITION"),
        (Conflict("m"), "ALREADY_EXISTS"),
        (NotFound("m"), "NOT_FOUND"),
        (Exhausted("m"), "RESOURCE_EXHAUSTED"),
        (Unauthenticated("m"), "UNAUTHENTICATED"),
        (NotAllowed("m"), "PERMISSION_DENIED"),
        (Throttled("m", retry_after_s=1.0), "RESOURCE_EXHAUSTED"),
        (CallerGone("m"), "CANCELLED"),
        (Unavailable("m"), "UNAVAILABLE"),
        (BadArtifact("m"), "FAILED_PRECONDITION"),
        (MitsumoriError("m"), "INTERNAL"),
    ],
)
def test_every_kind_of_error_has_a_code(error: MitsumoriError, code: str) -> None:
    assert code_pb2.Code.Name(status_of(error).code) == code


def test_the_tree_at_the_top_of_the_errors_names_every_kind() -> None:
    assert server  # it brings in every room that serves
    kinds = {kind.__name__: kind.__module__ for kind in MitsumoriError.__subclasses__()}
    ours = {name for name, module in kinds.items() if module.startswith("router.")}
    assert {kinds[name] for name in ours} == {errors.__name__}
    drawn = {
        line.split()[1]
        for line in (errors.__doc__ or "").splitlines()
        if line.strip().startswith(("├──", "└──"))
    }
    assert drawn == ours
    assert ours <= set(errors.__all__)
