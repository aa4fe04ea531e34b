from __future__ import annotations

from router.core.errors import InvalidInput, MitsumoriError, shortened, shown


def test_an_error_is_one_line_with_a_reason_for_programs() -> None:
    error = InvalidInput("the prompt is empty", field="prompt", metadata={"least": "1"})
    assert (str(error), error.message) == ("the prompt is empty", "the prompt is empty")
    assert (error.reason, error.field) == ("INVALID_INPUT", "prompt")
    assert error.metadata == {"least": "1"}
    assert isinstance(error, MitsumoriError)


def test_a_reason_of_its_own_goes_before_that_of_its_kind() -> None:
    assert InvalidInput("too much", reason="OVERFLOW").reason == "OVERFLOW"


def test_what_a_message_repeats_is_printable_and_cut() -> None:
    assert shown("東京's") == "'東京's'"
    assert shown("a\nb\x00\ud83d") == "'a�b��'"
    assert shown("x" * 80) == f"'{'x' * 80}'"
    assert shown("x" * 1_000_000) == f"'{'x' * 80}…' (1,000,000 characters)"


def test_a_shortened_text_has_so_many_bytes_at_most_and_whole_characters() -> None:
    assert shortened("short", 5) == "short"
    assert shortened("longer", 5) == "lo…"
    assert shortened("東京都東京都", 11) == "東京…"
    assert shortened("half a pair: \ud83d", 100) == "half a pair: ?"
