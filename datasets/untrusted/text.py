"""Text from a storage or a server, made safe to print."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")
"""Control characters other than tab and newline, those that change the direction of text, and bytes that are not UTF-8."""


def printable(text: str) -> str:
    """Write control characters as escapes, such as ``\\x1b``, which a terminal shows and does not act on.

    Tabs and newlines stay.
    """
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def in_one_line(text: object, limit: int = 300) -> str:
    """Put an error's message, or a server's answer, on one printable line of at most ``limit`` characters."""
    return printable(" ".join(str(text).split()))[:limit] or type(text).__name__
