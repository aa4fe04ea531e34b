"""Where in a YAML file each value stands, so that an error can say line and column."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import yaml

__all__ = ["Place", "Places"]


class Place(NamedTuple):
    """A line and a column of a file, from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class Places:
    """The places of all values of a YAML document that ``parse_yaml`` reads.

    Args:
        text: the document.

    Raises:
        ValueError: a key is given twice; the message says where.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._nodes: dict[tuple[Hashable, ...], yaml.Node] = {}
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            self._walk(root, ())

    def _walk(self, node: yaml.Node, path: tuple[Hashable, ...]) -> None:
        self._nodes[path] = node
        if isinstance(node, yaml.SequenceNode):
            for index, child in enumerate(node.value):
                self._walk(child, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            for key, child in node.value:
                below = (*path, str(key.value))
                if below in self._nodes:
                    raise ValueError(
                        f"has the key {str(key.value)[:40]!r} twice, at {self._start(key)}"
                    )
                self._walk(child, below)

    @staticmethod
    def _start(node: yaml.Node) -> Place:
        return Place(node.start_mark.line + 1, node.start_mark.column + 1)

    def of(self, path: Sequence[Hashable]) -> Place:
        """The place of a value, or of the nearest around it that is there.

        Args:
            path: keys and indices from the root.
        """
        for length in range(len(path), -1, -1):
            node = self._nodes.get(tuple(path[:length]))
            if node is not None:
                return self._start(node)
        return Place(1, 1)

    def within(self, path: Sequence[Hashable], line: int, column: int) -> Place:
        """The place in the file of a place in the text of a value.

        Args:
            path: of the value, a text.
            line: of the text, from 1.
            column: from 1.
        """
        node = self._nodes.get(tuple(path))
        if not isinstance(node, yaml.ScalarNode):
            return self.of(path)
        start = self._start(node)
        if node.style == "|":
            first = next((text for text in self._lines[start.line :] if text.strip()), "")
            return Place(start.line + line, len(first) - len(first.lstrip(" ")) + column)
        if node.style == ">" or node.start_mark.line != node.end_mark.line:
            return start  # lines were folded
        return Place(start.line, start.column + column - 1 + (node.style in ("'", '"')))
