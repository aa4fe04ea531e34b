"""Mutants are made in every place where an operator applies, and shown as the line that they make."""

from __future__ import annotations

import pytest

from tests.mutants.operators import mutants_of


def made(line: str) -> list[str]:
    """The lines that one line becomes."""
    return [mutant.after for mutant in mutants_of(line, "x.py")]


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("a < b", ["a <= b"]),
        ("a <= b < c", ["a < b < c", "a <= b <= c"]),
        ("a == b", ["a != b"]),
        ("a not in b", ["a in b"]),
        ("a + b", ["a - b"]),
        ("a += b", ["a -= b"]),
        ("a or b", ["a and b"]),
        ("not a", ["a"]),
        ("x[:-1]", ["x[:1]", "x[:-2]", "x[:-0]"]),
        ("x = True", ["x = False"]),
        ("x = 0.5", ["x = 0.55", "x = 0.45"]),
        ("x = 0.0", ["x = 1.0", "x = -1.0"]),
        ("b if a else c", ["b if True else c", "b if False else c"]),
        ("[a for a in b if a]", ["[a for a in b if True]", "[a for a in b if False]"]),
        ("f(min(a, b))", ["pass", "f(max(a, b))"]),
        ("x = np.argmax(a)", ["x = np.argmin(a)"]),
        ("x = sorted(a, key=b)", ["x = list(a)"]),
        # Left alone:
        ("x: Final[1] = y", []),
        ("assert a < b", []),
        ("x = f'{a + b}'", []),
        ("__all__ = ['a' + 'b']", []),
        ("x = zip(a, b, strict=True)", []),
    ],
)
def test_the_faults_of_a_line(line: str, faults: list[str]) -> None:
    assert made(line) == faults


SOURCE = """
LIMIT = 10

@cache
def f(a):
    if a > LIMIT:
        return a
    return None

def g(a):
    return a
"""


def test_a_mutant_knows_its_line_and_its_function_and_holds_the_fault_alone() -> None:
    found = list(mutants_of(SOURCE, "x.py"))
    assert [(one.line, one.function, one.after) for one in found] == [
        (2, 0, "LIMIT = 11"),
        (2, 0, "LIMIT = 9"),
        (6, 4, "if True:"),
        (6, 4, "if False:"),
        (6, 4, "if a >= LIMIT:"),
        (7, 4, "return None"),
        (11, 10, "return None"),
    ]
    places: dict[str, object] = {"cache": lambda function: function}
    exec(found[4].code, places)
    assert (places["LIMIT"], places["f"](10), places["g"](3)) == (10, 10, 3)  # type: ignore[operator]


def test_one_function_of_a_module() -> None:
    assert [one.line for one in mutants_of(SOURCE, "x.py", frozenset({"g"}))] == [11]
