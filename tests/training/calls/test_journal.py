"""The journal: what was paid for is on disk before the run goes on, and survives a kill at any byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

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


HOSTILE = [
    ("answered", "booked", [-1, 4, 2**63, "7", None, True, 7.5, "<Infinity>", "<NaN>", "<1e400>"]),
    ("answered", "cost", [-1, "5", None, "<Infinity>", "<-1e400>"]),
    ("answered", "about", [{}, "", "m", [], None, 5, {"model": None}, {"model": ["m"]}, {"other": "m"}]),
    ("answered", "text", ["", None, 5, ["a"], "\ud800"]),
    ("answered", "finish", [None, 5]),
    ("answered", "input_tokens", [-3, "3", None, 2**63, 0.5]),
    ("answered", "reasoning_tokens", [-1, "3", 2**70]),
    ("answered", "doubts", ["doubt", None, [1], {"a": 1}]),
    ("answered", "latency_s", [-0.5, "0.5", None, True, "<NaN>", "<Infinity>", "<1e400>"]),
    ("answered", "timestamp", [None, 5]),
    ("answered", "tries", [0, -1, "1", None, True]),
    ("answered", "key", [None, 5, "", ["a"]]),
    ("answered", "event", [None, 5, ["answered"], {}, "run"]),
    ("failed", "booked", [-1, "7", None, "<Infinity>"]),
    ("failed", "about", [{}, "m", {"model": 5}]),
    ("failed", "kind", [None, ["timeout"], {}]),
    ("failed", "detail", [None, 5]),
    ("failed", "final", [None, 1, "yes"]),
    ("failed", "passing", [None, 0, []]),
    ("sent", "held", [-1, "20", None, 2**63, "<Infinity>"]),
    ("sent", "key", [None, {}, []]),
    ("lost", "booked", [-1, 19, 21, "20", None, "<Infinity>"]),
    ("run", "id", [None, 5, []]),
    ("run", "purpose", [None, 5, [], "collect", {"kind": None}, {"kind": [["collect"]]}]),
    ("run", "version", [None, "1", -1]),
]  # fmt: skip


@pytest.fixture
def of_every_kind(path: Path) -> Path:
    """A journal whose lines are: run, sent, answered, sent, failed, sent, lost."""
    with open_journal(path, PURPOSE) as journal:
        for key, outcome in (("a", answered("a")), ("b", failed("b", 3))):
            journal.sent(key, 20)
            journal.conclude(outcome)
        journal.sent("c", 20)
        journal.book_lost()
    return path


def rewritten(path: Path, number: int, line: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize(
    ("event", "name", "value"),
    [(event, name, value) for event, name, values in HOSTILE for value in values],
)
def test_a_value_that_no_run_writes_is_named_by_its_line(
    event: str, name: str, value: object, of_every_kind: Path
) -> None:
    lines = [json.loads(line) for line in of_every_kind.read_bytes().splitlines()]
    number = next(n for n, line in enumerate(lines, start=1) if line["event"] == event)
    content = json.dumps({**lines[number - 1], name: value})
    rewritten(of_every_kind, number, content.replace('"<', "").replace('>"', "").encode())
    with (
        pytest.raises(InvalidInput) as caught,
        open_journal(of_every_kind, PURPOSE, about=("model",)),
    ):
        pass
    assert caught.value.message.startswith(f"{of_every_kind}, line {number}: is damaged")
    assert caught.value.message.endswith("restore the file, or name another --out to start anew")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("line", range(1, 8))
@pytest.mark.parametrize("name", ["key", "event", "about", "more"])
@pytest.mark.parametrize("depth", [3, 900, 200_000])
def test_brackets_within_brackets_are_damage(
    line: int, name: str, depth: int, of_every_kind: Path
) -> None:
    kept = json.loads(of_every_kind.read_bytes().splitlines()[line - 1])
    kept[name] = "DEEP"
    deep = "[" * depth + "]" * depth
    rewritten(of_every_kind, line, json.dumps(kept).replace('"DEEP"', deep).encode())
    with (
        pytest.raises(InvalidInput, match=f"line {line}: is damaged"),
        open_journal(of_every_kind, PURPOSE, about=("model",)),
    ):
        pass


@pytest.mark.parametrize("lines", [(3,), (5,), (7,), (2, 3), (4, 5), (2,), (2, 3, 4, 5)])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_lines_that_are_there_twice_count_once(
    lines: tuple[int, ...], at_the_end: bool, of_every_kind: Path
) -> None:
    with open_journal(of_every_kind, PURPOSE) as journal:
        expected = (journal.spent, journal.lost, dict(journal.outcomes), journal.tries("a"))
    content = of_every_kind.read_bytes().splitlines(keepends=True)
    again = [content[number - 1] for number in lines]
    place = len(content) if at_the_end else lines[-1]
    of_every_kind.write_bytes(b"".join([*content[:place], *again, *content[place:]]))
    with open_journal(of_every_kind, PURPOSE) as journal:
        found = (journal.spent, journal.lost, dict(journal.outcomes), journal.tries("a"))
        assert (found, journal.book_lost()) == (expected, 0)


def test_a_second_outcome_of_one_request_that_differs_is_damage(of_every_kind: Path) -> None:
    content = of_every_kind.read_bytes().splitlines(keepends=True)
    other = {**json.loads(content[2]), "cost": 4, "booked": 4}
    of_every_kind.write_bytes(b"".join([*content, json.dumps(other).encode() + b"\n"]))
    with pytest.raises(InvalidInput, match="line 8: is damaged"):  # noqa: SIM117
        with open_journal(of_every_kind, PURPOSE):
            pass


def test_a_journal_of_another_release_is_no_damage(of_every_kind: Path) -> None:
    rewritten(of_every_kind, 1, b'{"event": "run", "version": 2, "name": "x"}')
    with (
        pytest.raises(InvalidInput, match="was written by another release"),
        open_journal(of_every_kind, PURPOSE),
    ):
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


def test_an_answer_that_is_asked_again_stays_paid_for(path: Path) -> None:
    with open_journal(path, PURPOSE) as journal:
        journal.sent("a", 20)
        journal.conclude(answered("a"))
        journal.ask_again("a")
        assert (journal.known("a"), journal.spent, journal.replaced) == (None, 7, 7)
        # A kill while it is under way books the worst case, as for any call.
        journal.sent("a", 20)
    with open_journal(path, PURPOSE) as journal:
        assert journal.known("a") is None
        assert (journal.book_lost(), journal.spent, journal.tries("a")) == (1, 27, 1)
        journal.sent("a", 20)
        second = replace(answered("a", 5), tries=2)
        journal.conclude(second)
    again = next(line for line in path.read_bytes().splitlines(True) if b'"again"' in line)
    path.write_bytes(path.read_bytes() + again)  # there twice, it gives up nothing more
    with open_journal(path, PURPOSE) as journal:
        assert (journal.known("a"), journal.spent, journal.replaced) == (second, 32, 7)


@pytest.mark.parametrize("line", [{"key": "b", "tries": 1}, {"key": "a", "tries": 2}])
def test_only_an_answer_can_be_asked_again(line: dict[str, Any], of_every_kind: Path) -> None:
    content = of_every_kind.read_bytes()
    of_every_kind.write_bytes(content + json.dumps({"event": "again", **line}).encode() + b"\n")
    with (
        pytest.raises(InvalidInput, match="line 8: is damaged"),
        open_journal(of_every_kind, PURPOSE),
    ):
        pass


def test_a_journal_that_lost_its_first_line_is_damaged(of_every_kind: Path) -> None:
    of_every_kind.write_bytes(b"".join(of_every_kind.read_bytes().splitlines(keepends=True)[1:]))
    with (
        pytest.raises(
            InvalidInput, match=r"line 1: is damaged \(the first line is that of a run\)"
        ),
        open_journal(of_every_kind, PURPOSE),
    ):
        pass
