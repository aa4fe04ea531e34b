"""Small faults that a tired programmer might write, made systematically from the syntax tree.

Every place of a module where an operator below applies gives a mutant; nothing is picked by hand.

| operator | what it does |
|---|---|
| boundary | ``<`` and ``<=``, ``>`` and ``>=`` change places |
| equality | ``==`` and ``!=``, ``is`` and ``is not``, ``in`` and ``not in`` change places |
| arithmetic | ``+`` and ``-``, ``*`` and ``/``, also in ``+=``; ``//`` and ``%`` become ``/`` and ``*`` |
| logic | ``and`` and ``or`` change places; ``not`` and the minus sign go |
| constant | whole numbers one more and one less, fractions a tenth more and less, True and False |
| branch | a condition is always true, or never |
| call | min and max, any and all, ceil and floor … change places; nothing is sorted |
| return | nothing is returned |
| statement | a call for its effect is left out |

Left alone: annotations, decorators, assertions, texts (f-strings included), ``__all__``, and the ``strict=``
of ``zip``, which only guards against what cannot happen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

__all__ = ["Mutant", "mutants_of"]

_BOUNDARY: dict[type, type] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_EQUALITY: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_PAIRS = [
    ("min", "max"), ("any", "all"), ("ceil", "floor"), ("minimum", "maximum"), ("argmin", "argmax"),
]  # fmt: skip
_CALLS = dict(_PAIRS) | {b: a for a, b in _PAIRS} | {"sorted": "list"}

Edit = tuple[str, ast.AST, ast.AST]
"""Operator, the node as it is, and what stands in its place."""


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        operator: its name, of the table above.
        line: in the file, from 1.
        function: first line of the innermost function that holds it, decorators included; 0 for the module.
        before: the line as it is, white space collapsed.
        after: the line with the fault.
        code: the compiled module with the fault.
    """

    operator: str
    line: int
    function: int
    before: str
    after: str
    code: CodeType


def mutants_of(source: str, path: str, functions: frozenset[str] = frozenset()) -> Iterator[Mutant]:
    """All mutants of a module, in the order of the text.

    Args:
        source: the text.
        path: for tracebacks.
        functions: only what stands in these; empty for the whole module.
    """
    tree = ast.parse(source)
    places = list(_places(tree, 0, not functions, functions))
    for parent, field, index, node, function in places:
        for operator, old, new in _edits(node):
            target = parent if old is node else node
            slot = (field, index) if old is node else _slot(node, old)
            before, after = _texts(source, old, new)
            _put(target, slot, new)
            if not hasattr(new, "lineno"):
                ast.copy_location(new, old)
            ast.fix_missing_locations(new)
            yield Mutant(
                operator, _span(old)[0], function, before, after, compile(tree, path, "exec")
            )
            _put(target, slot, old)


def _places(
    node: ast.AST, function: int, inside: bool, functions: frozenset[str]
) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, int]]:
    """Every node that may be mutated, with where it hangs and the function that holds it."""
    if isinstance(node, ast.FunctionDef):
        first = node.decorator_list[0] if node.decorator_list else node
        function, inside = first.lineno, inside or node.name in functions
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list"}:
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or _left_alone(child):
                continue
            if inside:
                yield node, field, index if isinstance(value, list) else None, child, function
            yield from _places(child, function, inside, functions)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    return isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)


def _edits(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Compare):
        yield from _compared(node)
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        yield from _calculated(node)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "logic", node, ast.BoolOp(other, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "logic", node, node.operand
    elif isinstance(node, ast.Constant):
        yield from (("constant", node, ast.Constant(value)) for value in _others(node.value))
    elif isinstance(node, ast.Call):
        yield from _called(node)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return", node.value, ast.Constant(None)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield):
        yield "statement", node, ast.Pass()
    for test in _conditions(node):
        yield from (("branch", test, ast.Constant(value)) for value in (True, False))


def _conditions(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.If | ast.IfExp):
        return [node.test]
    return list(node.ifs) if isinstance(node, ast.comprehension) else []


def _compared(node: ast.Compare) -> Iterator[Edit]:
    for name, table in (("boundary", _BOUNDARY), ("equality", _EQUALITY)):
        for place, op in enumerate(node.ops):
            if type(op) in table:
                ops = [*node.ops[:place], table[type(op)](), *node.ops[place + 1 :]]
                yield name, node, ast.Compare(node.left, ops, node.comparators)


def _calculated(node: ast.BinOp | ast.AugAssign) -> Iterator[Edit]:
    other = _ARITHMETIC.get(type(node.op))
    if other is None:
        return
    new: ast.AST
    if isinstance(node, ast.BinOp):
        new = ast.BinOp(node.left, other(), node.right)
    else:
        new = ast.AugAssign(node.target, other(), node.value)
    yield "arithmetic", node, new


def _others(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.1, value * 0.9] if value else [1.0, -1.0]
    return []


def _called(node: ast.Call) -> Iterator[Edit]:
    function = node.func
    if isinstance(function, ast.Name) and function.id in _CALLS:
        other = ast.Name(_CALLS[function.id], ast.Load())
        keywords = [] if other.id == "list" else node.keywords
        yield "call", node, ast.Call(other, node.args, keywords)
    elif isinstance(function, ast.Attribute) and function.attr in _CALLS:
        swapped = ast.Attribute(function.value, _CALLS[function.attr], ast.Load())
        yield "call", node, ast.Call(swapped, node.args, node.keywords)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _slot(parent: ast.AST, child: ast.AST) -> tuple[str, int | None]:
    for field, value in ast.iter_fields(parent):
        if value is child:
            return field, None
        if isinstance(value, list) and any(one is child for one in value):
            return field, next(place for place, one in enumerate(value) if one is child)
    raise LookupError(f"no such child of {ast.dump(parent)}")


def _put(parent: ast.AST, slot: tuple[str, int | None], node: ast.AST) -> None:
    field, index = slot
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _span(node: Any) -> tuple[int, int, int, int]:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def _texts(source: str, old: ast.AST, new: ast.AST) -> tuple[str, str]:
    """The lines of a node before and after, white space collapsed."""
    first, start, last, end = _span(old)
    lines = source.splitlines()[first - 1 : last]
    head, tail = lines[0].encode()[:start].decode(), lines[-1].encode()[end:].decode()
    after = f"{head}{ast.unparse(new)}{tail}"
    return " ".join(" ".join(lines).split()), " ".join(after.split())
