"""Additions to the text of a catalog file: everything that is there stays, to the last comment.

Lines are only ever added: prices after the last price of a model, models after the last model. What cannot be
added like this, as to a list within brackets, is refused. Whatever was added, the values of the new text are
compared with what they should be before anybody gets to see it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import yaml

from router.catalog.catalog_changes import NewModel, PriceChange
from router.catalog.prices import PRICE_SOURCE
from router.catalog.tokens import is_exact
from router.core.errors import InvalidInput
from router.core.rates import Rates
from router.files import parse_yaml

__all__ = ["with_models", "with_prices"]

_CAUTIOUS_OUTPUT = 8192
"""Output tokens that a new model is taken to have at most, until somebody looks it up."""
_PLAIN = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)


def with_prices(text: str, changes: Sequence[PriceChange]) -> str:
    """The text of a catalog file with more prices.

    Args:
        text: YAML that is a catalog.
        changes: prices to add, for models that it lists.

    Raises:
        InvalidInput: it is not written in a way that lines could be added to; says where, and what to do.
    """
    expected = parse_yaml(text)
    for change in changes:
        position = [model["id"] for model in expected["models"]].index(change.model)
        text = _with_price(text, position, change)
        values = expected["models"][position]
        added = parse_yaml("\n".join(_price_lines(change)))
        values["prices"] = [*(values.get("prices") or ()), *added]
    return _checked(text, expected)


def with_models(text: str, models: Sequence[NewModel]) -> str:
    """The text of a catalog file with more models, after the last one.

    Args:
        text: YAML that is a catalog.
        models: to add.

    Raises:
        InvalidInput: as of :func:`with_prices`.
    """
    expected = parse_yaml(text)
    for model in models:
        listed = _value(_composed(text), "models")
        column = _block_column(listed, "models")
        text = _inserted(text, _end(listed), ["", *_indented(_model_lines(model), column)])
        expected["models"].append(parse_yaml("\n".join(_model_lines(model)))[0])
    return _checked(text, expected)


# --- Lines -------------------------------------------------------------------------------------


def _usd(rates: Rates) -> dict[str, str]:
    told: Mapping[str, Decimal | None] = {
        "input_usd_per_mtok": rates.input,
        "output_usd_per_mtok": rates.output,
        "cache_read_usd_per_mtok": rates.cache_read,
        "cache_write_usd_per_mtok": rates.cache_write,
    }
    return {name: format(rate, "f") for name, rate in told.items() if rate is not None}


def _price_lines(change: PriceChange) -> list[str]:
    lines = [f"- from: {change.start}", *_indented(_usd_lines(change.new), 2)]
    if change.new.surcharges:
        lines.append("  long_inputs:")
    for each in change.new.surcharges:
        lines.append(f"    - above_input_tokens: {each.above_input_tokens}")
        lines += _indented(_usd_lines(each.rates), 6)
    return [*lines, f"  source: {PRICE_SOURCE}"]


def _usd_lines(rates: Rates) -> list[str]:
    return [f'{name}: "{value}"' for name, value in _usd(rates).items()]


def _model_lines(model: NewModel) -> list[str]:
    """A new model as lines, with a comment wherever somebody has to look something up."""
    listed, rule, speed = model.listed, model.token_rule, model.speed
    alike = f"as {model.alike}" if model.alike else "a guess"
    counted = "" if is_exact(listed.record.id, rule) else f" # {alike}"
    factor = "" if rule.factor == 1 else f', factor: "{rule.factor}"'
    lines = [
        f"id: {_scalar(model.id)} # {_told(listed.rates)} in {PRICE_SOURCE}",
        f"provider: {_scalar(listed.provider)}",
        *([f"price_id: {_scalar(listed.record.id)}"] if model.id != listed.record.id else []),
        f"tier: {_scalar(model.tier)}",
        f"tokenizer: {{ encoding: {rule.encoding}{factor} }}{counted}",
        f"max_output_tokens: {_CAUTIOUS_OUTPUT} # a cautious guess; see its provider's documentation",
        "capabilities: [] # not known; see there",
        f"speed: {{ first_token_s: {speed.first_token_s:g}, output_tokens_per_s: "
        f"{speed.output_tokens_per_s:g} }} # {alike}",
    ]
    return [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]


def _told(rates: Rates) -> str:
    return f"${rates.input:f} in, ${rates.output:f} out per million tokens"


def _scalar(text: str) -> str:
    """A text as YAML, in quotes where it would otherwise be read as something else."""
    plain = _PLAIN.fullmatch(text) is not None and parse_yaml(text) == text
    return text if plain else json.dumps(text)


# --- Where they go -----------------------------------------------------------------------------


def _with_price(text: str, position: int, change: PriceChange) -> str:
    models = _value(_composed(text), "models")
    model = models.value[position]
    where = f"models[{position}] ({change.model})"
    lines = _price_lines(change)
    prices = _value(model, "prices") if _has(model, "prices") else None
    if prices is not None and getattr(prices, "value", None):
        return _inserted(
            text, _end(prices), _indented(lines, _block_column(prices, f"{where}: prices"))
        )
    if prices is not None:
        raise _refused(f"{where}: prices", "is empty; remove it")
    column = _block_column(model, where)
    return _inserted(text, _end(model), _indented(["prices:", *_indented(lines, 2)], column))


def _composed(text: str) -> Any:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # by what was added just now
        raise _no_place() from None


def _has(node: Any, key: str) -> bool:
    return isinstance(node, yaml.MappingNode) and any(k.value == key for k, _ in node.value)


def _value(node: Any, key: str) -> Any:
    return next(value for name, value in node.value if name.value == key)


def _block_column(node: Any, where: str) -> int:
    """The column in which the lines of a list or a mapping begin.

    Raises:
        InvalidInput: it is written in one line, within brackets.
    """
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        raise _refused(
            where, "is written within brackets; write it as lines, as the shipped catalog has it"
        )
    return int(node.start_mark.column)


def _end(node: Any) -> int:
    """The character after the last value of a node. Its own mark stands after the comments that follow."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _inserted(text: str, after: int, lines: Iterable[str]) -> str:
    """A text with lines after the one in which a character stands."""
    newline = "\r\n" if "\r\n" in text else "\n"
    # The end of a text in lines of its own (| or >) is the begin of the next line.
    cut = after if text[:after].endswith("\n") else text.find("\n", after) + 1
    if not cut:
        text += newline
        cut = len(text)
    return text[:cut] + "".join(f"{line}{newline}" for line in lines) + text[cut:]


def _indented(lines: Iterable[str], column: int) -> list[str]:
    return [" " * column + line for line in lines]


def _checked(text: str, expected: Any) -> str:
    """A text whose values are what they should be.

    Raises:
        InvalidInput: they are not; anchors and aliases may be why.
    """
    try:
        same = parse_yaml(text) == expected
    except ValueError:
        same = False
    if not same:
        raise _no_place()
    return text


def _no_place() -> InvalidInput:
    return _refused(
        "the catalog", "has anchors, or another form that lines cannot be added to; write it out"
    )


def _refused(where: str, problem: str) -> InvalidInput:
    return InvalidInput(f"{where} {problem}, and try again", reason="CATALOG_FORM", field="catalog")
