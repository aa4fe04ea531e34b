from __future__ import annotations

from router.core.errors import InvalidInput, MitsumoriError


def test_an_error_is_one_line_with_a_reason_for_programs() -> None:
    error = InvalidInput("the prompt is empty", field="prompt", metadata={"least": "1"})
    assert (str(error), error.message) == ("the prompt is empty", "the prompt is empty")
    assert (error.reason, error.field) == ("INVALID_INPUT", "prompt")
    assert error.metadata == {"least": "1"}
    assert isinstance(error, MitsumoriError)


def test_a_reason_of_its_own_goes_before_that_of_its_kind() -> None:
    assert InvalidInput("too much", reason="OVERFLOW").reason == "OVERFLOW"
