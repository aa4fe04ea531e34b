"""Conditions in CEL, the Common Expression Language: checked one by one, evaluated together.

CEL loops only over lists and has no side effects, so that a condition ends and touches nothing; the library
bounds the steps, and matches patterns in linear time (RE2). Types are checked when a condition is compiled.
Evaluating many in one list takes a tenth of the time of one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cel_expr_python import cel

from router.rules.facts import VARIABLES

__all__ = ["MAX_CHARACTERS", "BadCondition", "Conditions"]

MAX_CHARACTERS = 2_000
"""Of one condition."""
_TOGETHER = 50
"""Conditions that are evaluated in one step; the library bounds the size of what it compiles."""
_TYPES = {
    "string": cel.Type.STRING,
    "double": cel.Type.DOUBLE,
    "int": cel.Type.INT,
    "bool": cel.Type.BOOL,
    "list<string>": cel.Type.List(cel.Type.STRING),
    "map<string, string>": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|filter|map)\s*\(")
"""Several of them in one another take as many steps as their lists have elements, multiplied."""
_PRESENCE = re.compile(r"\bhas\s*\(\s*scope\b|\bin\s+scope\b(?!\s*[.\[])")
"""Labels that some condition of the table names are there for every request."""
_NO_CODE = re.compile(
    r"""//[^\n]*
    |(?:[bB]?[rR]|[rR][bB])(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"[^"\n]*"|'[^'\n]*')
    |\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}(?:\\[\s\S]|[^\\])*?'{3}
    |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""",
    re.VERBOSE,
)
"""Comments and texts."""
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.+)")
_WORD = re.compile(r"\w+")
_LABEL = re.compile(
    r"""\bscope\s*(?:\.\s*([A-Za-z_]\w*)\b(?!\s*\()|\[\s*(?:"([^"\\]+)"|'([^'\\]+)')\s*\])"""
)


class BadCondition(Exception):
    """A condition that cannot be used.

    Attributes:
        why: what is wrong, in one line.
        line: of the expression, from 1.
        column: from 1.
        index: of the condition among those that were given.
    """

    def __init__(self, why: str, line: int = 1, column: int = 1, index: int = 0) -> None:
        super().__init__(why)
        self.why, self.line, self.column, self.index = why, line, column, index


def _environment() -> cel.Env:
    return cel.NewEnv(variables={name: _TYPES[type_] for name, (type_, _) in VARIABLES.items()})


def _compiled(environment: cel.Env, expression: str) -> cel.Expression:
    """One condition.

    Raises:
        BadCondition: it is too long, wrong, or no condition.
    """
    if len(expression) > MAX_CHARACTERS:
        raise BadCondition(f"a condition may have {MAX_CHARACTERS:,} characters")
    code = _code_of(expression)
    loops = list(_LOOP.finditer(code))
    if len(loops) > 1:
        raise BadCondition(
            f"a condition may go through one list, and {loops[1][1]} goes through a second; use `in`, or two"
            " rules",
            *_place_of(loops[1].start(1), expression),
        )
    if presence := _PRESENCE.search(code):
        raise BadCondition(
            'whether there is a label is asked by its value, which is "" where the caller has none: '
            'scope.team != ""',
            *_place_of(presence.start(), expression),
        )
    try:
        compiled = environment.compile(expression)
    except RuntimeError as error:
        found = _PLACE.search(str(error))
        if found is None or int(found[1]) < 1:
            raise BadCondition("the condition is nested too deeply") from None
        why = found[3].replace(" (in container '')", "").removesuffix(" [INVALID_ARGUMENT]")
        raise BadCondition(why, int(found[1]), int(found[2])) from None
    if compiled.return_type() != cel.Type.BOOL:
        kind = compiled.return_type().name().lower()
        raise BadCondition(f"a condition must be true or false, and this is of type {kind}")
    return compiled


def _code_of(expression: str) -> str:
    """An expression with blanks for comments and texts, as long as it was."""
    return _NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), expression)


def _place_of(offset: int, expression: str) -> tuple[int, int]:
    """Line and column, from 1."""
    before = expression[:offset]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class Conditions:
    """Conditions that are asked about the same facts. Thread-safe.

    Args:
        expressions: in CEL.

    Raises:
        BadCondition: of the first that cannot be used.
    """

    def __init__(self, expressions: Sequence[str]) -> None:
        environment = _environment()
        self._single = []
        for index, expression in enumerate(expressions):
            try:
                self._single.append(_compiled(environment, expression))
            except BadCondition as error:
                raise BadCondition(error.why, error.line, error.column, index) from None
        self._environment = environment
        self._groups = [
            environment.compile(_list_of(expressions[start : start + _TOGETHER]))
            for start in range(0, len(expressions), _TOGETHER)
        ]
        self.failed: set[int] = set()
        """Conditions that have failed when they were asked, by index: they did not hold."""
        self.labels = {label: "" for each in expressions for label in _labels_of(each)}
        """Labels that conditions name → the value for requests that do not have them."""
        words = {word for each in expressions for word in _WORD.findall(each)}
        self.names = tuple([name for name in VARIABLES if name in words])
        """The variables that conditions name, and perhaps a few more."""

    def hold(self, values: Mapping[str, Any]) -> list[bool]:
        """Which conditions hold, in their order. One that fails, such as by a division by zero, does not.

        Args:
            values: of :attr:`names`; more do no harm.
        """
        activation = self._environment.Activation(values)
        found: list[bool] = []
        for group in self._groups:
            try:
                result = group.eval(activation)
            except RuntimeError:  # too many steps
                break
            if result.type() == cel.Type.ERROR:
                break
            found += result.plain_value()
        # What fails spoils its list.
        asked = range(len(found), len(self._single))
        return found + [self._holds(index, activation) for index in asked]

    def _holds(self, index: int, activation: cel.Activation) -> bool:
        try:
            result = self._single[index].eval(activation)
        except RuntimeError:  # too many steps
            self.failed.add(index)
            return False
        if result.type() == cel.Type.ERROR:
            self.failed.add(index)
            return False
        return result.value() is True


def _list_of(expressions: Sequence[str]) -> str:
    # An expression may end with a comment.
    return "[" + ", ".join(f"({each}\n)" for each in expressions) + "]"


def _labels_of(expression: str) -> Iterable[str]:
    for found in _LABEL.finditer(expression):
        yield found[1] or found[2] or found[3]
