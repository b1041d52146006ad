"""Reads lists that lie beside raw images: text and tables, as spreadsheets and editors of all systems write them."""

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.files import require_file

LARGEST_LIST = 1 << 30
"""Bytes."""
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""What a text file may begin with to say its encoding."""
_DELIMITERS = ",;\t"
_NAMED_DELIMITER = re.compile(r"sep=(.)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        number: of the line in its file, from 1.
        cells: as many as the header has.
    """

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ListTable:
    """A table with a header.

    Attributes:
        where: names the file in messages.
    """

    where: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in the encoding that its byte-order mark names.

    Raises:
        DataError: when it cannot be read, or is no such text.
    """
    try:
        size = require_file(path).stat().st_size
        if size > LARGEST_LIST:
            raise DataError(f"{path}: has {size:,} bytes, at most {LARGEST_LIST:,} are read of a list")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return decode_text(content, str(path))


def decode_text(content: bytes, where: str) -> str:
    """Decode the content of a text file, see :func:`read_text`.

    Raises:
        DataError: when it is no such text.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{where}: line {line} is not text in {encoding.upper()}; save the file as UTF-8") from None
    if "\0" in text:
        raise DataError(f"{where}: is not a text file")
    return text


def text_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and content of each line that is not empty, without white space around it."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def read_table(path: Path) -> ListTable:
    """Read a table whose columns commas, semicolons or tabs separate, the first line being the header.

    Raises:
        DataError: naming file and line, when it is no such table.
    """
    text = read_text(path)
    first = next((line for _, line in text_lines(text)), "")
    named = _NAMED_DELIMITER.fullmatch(first)
    if named:  # a line by which Excel is told
        text, first = text.replace(first, "", 1), ""
    delimiter = named[1] if named else max(_DELIMITERS, key=first.count)
    rows: list[Row] = []
    header: tuple[str, ...] = ()
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in lines:
            stripped = tuple(cell.strip() for cell in cells)
            if not any(stripped):
                continue
            if not header:
                header = stripped
            elif len(stripped) != len(header):
                raise DataError(
                    f"{path}: line {lines.line_num}: has {len(stripped)} columns, the header has {len(header)} "
                    f"({', '.join(header[:4])}{', …' if len(header) > 4 else ''})"
                )
            else:
                rows.append(Row(lines.line_num, stripped))
    except csv.Error as error:
        raise DataError(f"{path}: line {lines.line_num}: {error}") from None
    if not header:
        raise DataError(f"{path}: is empty; expected a header and a line for each image")
    while header and not header[-1] and not any(row.cells[-1] for row in rows):  # every line ends with a delimiter
        header, rows = header[:-1], [Row(row.number, row.cells[:-1]) for row in rows]
    if "" in header:
        raise DataError(f"{path}: its column {header.index('') + 1} has no name; name it, or take it out")
    double = next((name for name in header if header.count(name) > 1), None)
    if double is not None:
        raise DataError(f"{path}: its header names the column {double!r} twice")
    return ListTable(str(path), header, tuple(rows))


def parse_number(text: str, where: str) -> float:
    """Read a finite number.

    Args:
        where: names file, line and column.

    Raises:
        DataError: when it is none.
    """
    try:
        number = float(text)
    except ValueError:
        raise DataError(f"{where}: {text!r} is not a number") from None
    if not math.isfinite(number):
        raise DataError(f"{where}: {text!r} is not a finite number; correct it, or take the line out")
    return number
