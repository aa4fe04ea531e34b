"""The journal: what was paid for is on disk before the run goes on, and survives a kill at any byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.core.errors import InvalidInput, NotPossible
from training.calls.journal import Answered, Failed, open_journal

PURPOSE = {"kind": "collect", "endpoint": "http://x/v1"}


def answered(key: str, booked: int = 7) -> Answered:
    return Answered(
        key, {"model": "m"}, "はい ok", "stop", 3, 4, None, 5, booked, ("doubt",), 0.5, "t", 1
    )


def failed(
    key: str, booked: int, *, final: bool = True, tries: int = 1, passing: bool = True
) -> Failed:
    return Failed(
        key, {"model": "m"}, "timeout", "no answer", 3, 0, booked, "t", tries, final, passing
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.parquet.journal"


def test_outcomes_and_money_are_there_again(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        run = journal.run
        for key, outcome in (("a", answered("a")), ("b", failed("b", 0)), ("c", failed("c", 9))):
            journal.sent(key, 20)
            journal.conclude(outcome)
    with open_journal(path, PURPOSE) as journal:
        assert (journal.run, journal.spent, journal.lost) == (run, 16, 0)
        assert journal.outcomes == {"a": answered("a"), "b": failed("b", 0), "c": failed("c", 9)}
        # What cost nothing is asked again, what may have been billed is not.
        assert [journal.known(key) is not None for key in "abcd"] == [True, False, True, False]


def test_a_call_under_way_when_the_run_was_killed_is_booked_and_asked_again(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        journal.sent("a", 20)
    with open_journal(path, PURPOSE) as journal:
        assert (journal.spent, journal.known("a")) == (0, None)
        assert journal.book_lost() == 1
        assert (journal.spent, journal.lost, journal.known("a")) == (20, 1, None)
        assert journal.book_lost() == 0
        journal.sent("a", 20)
        journal.conclude(answered("a"))
    with open_journal(path, PURPOSE) as journal:
        assert (journal.spent, journal.book_lost()) == (27, 0)


def test_a_refusal_is_not_asked_again_unless_somebody_wants_it(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        for key, outcome in (("a", failed("a", 0, passing=False)), ("b", answered("b"))):
            journal.sent(key, 20)
            journal.conclude(outcome)
    with open_journal(path, PURPOSE) as journal:
        assert journal.known("a") == failed("a", 0, passing=False)
        journal.forget_failures()
        assert (journal.known("a"), journal.known("b")) == (None, answered("b"))
        assert (journal.spent, journal.tries("a")) == (7, 1)


def test_tries_go_on_where_they_were(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        journal.sent("a", 20)
        journal.conclude(failed("a", 3, final=False, tries=2))
    with open_journal(path, PURPOSE) as journal:
        assert (journal.tries("a"), journal.tries("b"), journal.booked("a")) == (2, 0, 3)
        assert journal.known("a") is None


def test_a_kill_at_any_byte_loses_the_last_line_at_most(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        for key in "ab":
            journal.sent(key, 20)
            journal.conclude(answered(key))
    content = path.read_bytes()
    lines = content.split(b"\n")[:-1]
    ends = [sum(len(line) + 1 for line in lines[: n + 1]) for n in range(len(lines))]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        with open_journal(path, PURPOSE) as journal:
            whole = max(sum(end <= cut for end in ends) - 1, 0)
            assert len(journal.outcomes) == whole // 2
            assert journal.book_lost() == whole % 2
        if whole:
            assert path.read_bytes().startswith(content[: ends[whole]])
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


@pytest.mark.parametrize(
    ("line", "content"),
    [
        (2, b"\x00\xff"),
        (3, b'{"event": "answered", "key": "a"}'),
        (2, b"[]"),
        (3, b'{"event": "x"}'),
        (1, b"{}"),
    ],
)
def test_damage_before_the_last_line_is_named(path: Path, line: int, content: bytes) -> None:
    with open_journal(path, PURPOSE) as journal:
        for key in "ab":
            journal.sent(key, 20)
            journal.conclude(answered(key))
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = content
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InvalidInput, match=f"line {line}: is damaged"), open_journal(path, PURPOSE):
        pass


def test_a_journal_of_another_run_is_refused_by_what_differs(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        journal.sent("a", 1)
    with (
        pytest.raises(InvalidInput, match="with endpoint 'http://x/v1', not 'http://y/v1'"),
        open_journal(path, {**PURPOSE, "endpoint": "http://y/v1"}),
    ):
        pass


def test_a_journal_without_calls_may_begin_anew(path: Path) -> None:
    with open_journal(path, PURPOSE):
        pass
    with open_journal(path, {"kind": "judge"}) as journal:
        journal.sent("a", 1)
    with open_journal(path, {"kind": "judge"}) as journal:
        assert journal.book_lost() == 1


def test_two_runs_cannot_share_a_journal(path: Path) -> None:
    with (
        open_journal(path, PURPOSE),
        pytest.raises(NotPossible, match="in use by another run"),
        open_journal(path, PURPOSE),
    ):
        pass


def test_answers_are_for_the_user_alone(path: Path) -> None:
    with open_journal(path, PURPOSE):
        assert path.stat().st_mode & 0o077 == 0
