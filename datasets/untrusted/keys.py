"""Keys of objects and of samples: relative paths that cannot leave the folder that they are relative to."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

LONGEST_KEY = 1024
"""Bytes in UTF-8, as on S3."""


def relative_key(key: str) -> str:
    """Return a key as it is.

    Raises:
        ValueError: when it is empty, too long, absolute, or has parts such as ``..``, backslashes or control characters.
    """
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{key[:80]!r} is not a relative path without empty parts, '.' and '..'")
    if len(key.encode("utf-8", "replace")) > LONGEST_KEY or "\\" in key or not key.isprintable():
        raise ValueError(f"{key[:80]!r} is longer than {LONGEST_KEY} bytes, or has backslashes or control characters")
    return key


Key = Annotated[str, StringConstraints(max_length=LONGEST_KEY), AfterValidator(relative_key)]
