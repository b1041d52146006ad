"""Standard output and error that pass on no control characters and no passwords, whoever wrote the text."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from unbraid.datasets.passwords import without_password
from unbraid.datasets.untrusted.text import printable

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""Ray colours the beginnings of lines that come from its workers, in files too."""
NO_READER = (errno.EPIPE, errno.EIO)
"""Of writing to a pipe, and to a terminal, whose other end is closed."""


class PrintableStream:
    """A text stream that writes control characters as escapes, and URLs without the user and the password in them.

    Everything that is printed passes through it, a progress line's own moves of the cursor excepted: these are functions of
    this module. It has no ``buffer``, through which bytes would pass unseen.

    Once nobody reads any more (``| head``, a terminal that was closed), what is written goes nowhere: that ends the printing,
    and not the run.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text to the stream below; returns the number of characters that were given."""
        with self.as_long_as_somebody_reads():
            self.stream.write(without_password(printable(_COLOUR.sub("", text).replace("\r\n", "\n"))))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with self.as_long_as_somebody_reads():
            self.stream.flush()

    @contextmanager
    def as_long_as_somebody_reads(self) -> Iterator[None]:
        """Exchange the stream below for one to nowhere, where writing to it fails for want of a reader."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_READER:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError, ValueError):
                os.dup2(nowhere, self.stream.fileno())  # what it still holds goes there when the process ends
            self.stream = os.fdopen(nowhere, "w")

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several pieces of text."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "stream"):
            raise AttributeError(name)
        return getattr(self.stream, name)


def protect_terminal() -> None:
    """Make standard output and standard error of this process :class:`PrintableStream`, for tracebacks too."""
    sys.stdout, sys.stderr = _protected(sys.stdout), _protected(sys.stderr)


def rewrite_line(stream: TextIO, text: str, end: str = "") -> None:
    """Replace the line that a terminal's cursor is in."""
    _control(stream, "\r\x1b[2K")
    stream.write(text + end)
    stream.flush()


def erase_lines(stream: TextIO, count: int) -> None:
    """Erase the lines that were printed last, and move a terminal's cursor to the first of them."""
    _control(stream, f"\x1b[{count}F\x1b[J")


def _control(stream: TextIO | PrintableStream, sequence: str) -> None:
    if isinstance(stream, PrintableStream):
        with stream.as_long_as_somebody_reads():
            stream.stream.write(sequence)
    else:
        stream.write(sequence)


def _protected(stream: TextIO) -> TextIO:
    if stream is None or isinstance(cast(object, stream), PrintableStream):
        return stream
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a terminal may not know all letters
    return cast(TextIO, PrintableStream(stream))
