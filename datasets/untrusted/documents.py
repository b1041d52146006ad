"""Reads JSON that a stranger may have written, within bounds, as typed values or with one clear error."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.text import printable

LARGEST_JSON = 64 << 20
"""Bytes. The index of a set of 100,000 shards has 30 MB."""
LARGEST_RECORD = 4 << 20
"""Bytes of documents that describe one run, one trial, one lease, one checkpoint."""
SHOWN = 80
"""Characters of a wrong value in a message."""

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
"""Since the epoch, or a duration."""

Document = TypeVar("Document")


class DocumentError(DataError):
    """A document that was read and is not what it should be: it is torn, damaged or foreign."""


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the validator of a type, which takes some milliseconds to make."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def parse_json(content: bytes | memoryview, kind: type[Document], where: str, limit: int = LARGEST_RECORD) -> Document:
    """Parse JSON as a value of a type, whose annotations bound lengths, ranges and patterns.

    Args:
        kind: a dataclass, or any type that pydantic validates. Fields that it does not name are passed over.
        where: the content comes from, for messages.
        limit: bytes.

    Raises:
        DocumentError: naming the field, when the content is larger, is not JSON, or is not of that type.
    """
    if len(content) > limit:
        raise DocumentError(f"{where}: has {len(content):,} bytes, at most {limit:,} are read")
    try:
        document: Document = _adapter(kind).validate_json(bytes(content), strict=True)
    except ValidationError as error:
        raise DocumentError(f"{where}: {_explained(error)}") from None
    return document


def check_document(value: Any, kind: type[Document], where: str) -> Document:
    """Check a value that was parsed already, see :func:`parse_json`.

    Raises:
        DocumentError: naming the field, when it is not of that type.
    """
    try:
        document: Document = _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise DocumentError(f"{where}: {_explained(error)}") from None
    return document


def _explained(error: ValidationError) -> str:
    """Describe the first mistake: the field, what was expected, what was found."""
    problem = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if isinstance(problem["input"], bytes | dict) else f" (found {printable(repr(problem['input'])[:SHOWN])})"
    return f"{printable(path)[:SHOWN]}: {message}{found}" if path else message
