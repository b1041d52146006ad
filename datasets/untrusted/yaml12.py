"""Reads YAML as people write it: by the core schema of YAML 1.2, within bounds, and with the text of each scalar at hand.

By YAML 1.1, which PyYAML reads, ``1e3`` is a text, ``010`` is eight, ``1:30`` is ninety and ``no`` is false.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from unbraid.datasets.untrusted.text import in_one_line, printable

LARGEST = 256 << 10
"""Bytes. YAML is parsed at some 100 kB/s."""
DEEPEST = 30
"""Levels of nesting."""
SHOWN = 80
"""Characters of a wrong value in a message."""
Plain = bool | int | float | None
_SCALARS = {
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "int": (re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), "-+0123456789"),
    "float": (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        "-+.0123456789",
    ),
}
"""Of each kind: what its scalars look like, and how they may begin (YAML 1.2, section 10.3.2)."""


@dataclass(frozen=True)
class Scalar:
    """A scalar that is no text by the core schema; where a text is meant, its own text counts.

    Attributes:
        value: by the schema.
        text: as it was written.
    """

    value: Plain
    text: str

    def __repr__(self) -> str:
        return self.text


def parse_yaml(text: str | bytes, limit: int = LARGEST) -> Any:
    """Parse YAML to plain values, without aliases: a few hundred bytes of them take all memory.

    Raises:
        yaml.YAMLError: on one line, with line and column, when the text is larger, nested deeper, not UTF-8, not YAML, or has
            aliases, a key twice, or numbers that cannot be.
    """
    return plain(parse_scalars(text, limit))


def parse_scalars(text: str | bytes, limit: int = LARGEST) -> Any:
    """Parse YAML as :func:`parse_yaml` does, with a :class:`Scalar` in place of each value that is no text.

    Raises:
        yaml.YAMLError: as there.
    """
    if len(text) > limit:
        raise yaml.YAMLError(f"has {len(text):,} bytes, at most {limit:,} are read")
    try:
        return yaml.load(decoded(text) if isinstance(text, bytes) else text, _Loader)  # noqa: S506  # it builds plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise yaml.YAMLError(f"{place}{in_one_line(error.problem or error.context)}") from None
    except yaml.reader.ReaderError as error:
        raise yaml.YAMLError(f"a character that YAML does not have, {error.character!r}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise yaml.YAMLError(printable(str(error))[:SHOWN]) from None


def decoded(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        yaml.YAMLError: naming line and column of what is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise yaml.YAMLError(f"line {line}, column {column}: is not text in UTF-8; save the file as UTF-8") from None


def plain(content: Any) -> Any:
    """The content with the value of each :class:`Scalar`."""
    if isinstance(content, Scalar):
        return content.value
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list):
        return [plain(value) for value in content]
    return content


class _Loader(yaml.SafeLoader):
    """Builds mappings, lists, texts and :class:`Scalar` only; refuses aliases, deep nesting and keys that come twice."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"an alias (*{event.anchor}) is not read: write its value out")
        if self._depth >= DEEPEST:
            raise yaml.YAMLError(f"nested deeper than {DEEPEST} levels")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        content: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key has to be a text", problem_mark=key_node.start_mark)
            key = key_node.value
            if key in content:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} comes twice; keep one of them", problem_mark=key_node.start_mark
                )
            content[key] = self.construct_object(value_node, deep=True)
        return content

    def _scalar(self, node: yaml.ScalarNode) -> Scalar:
        text, kind = str(node.value), node.tag.rpartition(":")[2]
        value: Plain = None
        if kind == "bool":
            value = text.lower() == "true"
        elif kind == "int":
            value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        elif kind == "float":
            lower = text.lower()
            value = float(lower.replace(".inf", "inf").replace(".nan", "nan"))
        return Scalar(value, text)

    def _mapping(self, node: yaml.MappingNode) -> dict[Hashable, Any]:
        return self.construct_mapping(node)

    def _refused(self, node: yaml.Node) -> None:
        raise yaml.MarkedYAMLError(problem=f"a tag ({node.tag}) is not read", problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {}  # in place of those of YAML 1.1
for _kind, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern.pattern})$"), list(_first))
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader._scalar)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader._mapping)
for _kind in ("timestamp", "binary", "omap", "pairs", "set", "merge"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader._refused)
_Loader.add_constructor(None, _Loader._refused)
