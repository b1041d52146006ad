"""What people write into configurations: values by the type of the field that they are for, and mistakes in plain words."""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from unbraid.datasets.untrusted.yaml12 import Scalar, parse_scalars, plain

LONGEST_NAME = 100
NAME_WORDS = f"expected letters, digits, dots, dashes and underscores, a letter or digit first, at most {LONGEST_NAME} in all"
"""What the names of runs and campaigns are made of."""
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 19 digits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list, such as [10, 10]",
    "list_type": "a list, such as [10, 10]",
    "dict_type": "a section of keys",
    "mapping_type": "a section of keys",
    "model_type": "a section of keys",
    "model_attributes_type": "a section of keys",
    "dataclass_type": "a section of keys",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "none_required": "null",
    "too_short": "{min_length} values or more",
    "too_long": "{max_length} values or fewer",
    "string_too_long": "at most {max_length} characters",
}
"""What is expected, by pydantic's kind of error, with its numbers."""


def meant(content: Any, kind: Any) -> Any:
    """A parsed YAML document as the type that it is for says: plain values, and texts as they were typed.

    ``run.name=010`` is the name ``010``, and ``run.updates=010`` the number ten. ``10,10`` is a list where one is expected.

    Args:
        content: of :func:`unbraid.datasets.untrusted.yaml12.parse_scalars`.
        kind: a configuration class, a dataclass, or any annotation.
    """
    kinds = _alternatives(kind)
    if isinstance(content, Scalar):
        return content.text if _is_text(content, kinds) else content.value
    if isinstance(content, str):
        items = next((items for each in kinds if (items := _items(each)) is not None), None)
        return _list_of(content, items) if items is not None and str not in kinds else content
    if isinstance(content, list):
        items = next((items for each in kinds if (items := _items(each)) is not None), (Any, ...))
        return [meant(value, _item(items, index)) for index, value in enumerate(content)]
    if isinstance(content, dict):
        sections = [fields for each in kinds if (fields := fields_of(each))]
        values = next((get_args(each)[1] for each in kinds if get_origin(each) in (dict, Mapping) and get_args(each)), Any)
        return {
            key: meant(value, next((fields[key] for fields in sections if key in fields), values))
            for key, value in content.items()
        }
    return plain(content)


def fields_of(kind: Any) -> dict[str, Any]:
    """The annotation of each field of a configuration class or a dataclass; empty for anything else."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {}


def _alternatives(kind: Any) -> list[Any]:
    """The types that a value of an annotation may have."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [each for part in get_args(kind) for each in _alternatives(part)]
    if get_origin(kind) is Literal:
        return list(dict.fromkeys(type(value) for value in get_args(kind)))
    return [kind]


def _is_text(scalar: Scalar, kinds: list[Any]) -> bool:
    own = float if isinstance(scalar.value, int) and not isinstance(scalar.value, bool) else type(scalar.value)
    return str in kinds and not {type(scalar.value), own} & set(kinds)


def _items(kind: Any) -> tuple[Any, ...] | None:
    """The items' annotations of a list or a tuple; None for anything else."""
    return get_args(kind) or (Any, ...) if kind in (list, tuple) or get_origin(kind) in (list, tuple) else None


def _item(items: tuple[Any, ...], index: int) -> Any:
    return items[index] if index < len(items) and items[index] is not Ellipsis else items[0]


def _list_of(text: str, items: tuple[Any, ...]) -> Any:
    if "," not in text:
        return text
    try:
        values = parse_scalars(f"[{text}]")
    except yaml.YAMLError:
        return text
    return [meant(value, _item(items, index)) for index, value in enumerate(values)]


def is_name(text: str) -> bool:
    """Whether a run or a campaign may be called so, see :data:`NAME_WORDS`."""
    first, rest = text[:1], text.replace(".", "").replace("-", "").replace("_", "")
    return text.isascii() and first.isalnum() and rest.isalnum() and len(text) <= LONGEST_NAME


def a_name(text: str) -> str:
    """The text, if a run or a campaign may be called so.

    Raises:
        ValueError: otherwise, in words.
    """
    if not is_name(text):
        raise ValueError(NAME_WORDS)
    return text


def nearest(key: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` where something known is close to what was given, whatever its case; else nothing."""
    lower = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(key.casefold(), lower, n=1, cutoff=0.5)
    return f" (did you mean {lower[matches[0]]}?)" if matches else ""


def explain(error: ValidationError) -> str:
    """Describe validation errors, one line each: the dotted key, what was expected, what was given."""
    return "\n".join(dict.fromkeys(_lines(error)))


def _lines(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        # pydantic puts union branches in its path: "variance.literal['fixed','learnt']", "space.x.uniform.uniform"
        parts = [str(part) for part in problem["loc"] if "[" not in str(part) or str(part).isdigit()]
        path = ".".join(part for part, before in zip(parts, ["", *parts], strict=False) if part != before)
        given = "" if isinstance(problem["input"], dict) or not path else f" (got {problem['input']!r})"
        yield f"{path}: {_expected(problem)}{given}" if path else _expected(problem)


def _expected(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    words = _EXPECTED.get(problem["type"])
    if words is None:
        return problem["msg"].removeprefix("Value error, ")
    numbers = {name: f"{value:g}" if isinstance(value, float) else value for name, value in problem.get("ctx", {}).items()}
    return f"expected {words.format(**numbers)}"
